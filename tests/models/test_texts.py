"""A text's bits depend on its model and on no other text, so it can be kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from counterset.models.door import open_text_model
from counterset.models.kept_texts import KeptTexts
from counterset.models.open_clip_encoder import load_encoder
from counterset.models.packed import PackedLinear
from counterset.models.precision import Features
from counterset.models.prompts import mean_text_features
from counterset.models.text_tower import ShortTexts, TextTower, WholeTexts, are_independent

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 2}
"""That of ViT-B/32, with two of its twelve layers."""
VISION = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
TOKENIZER = open_clip.get_tokenizer("ViT-B-32")


@cache
def model() -> Any:
    torch.manual_seed(0)
    return open_clip.CLIP(512, VISION, TEXT).eval()


def tower(kind: str) -> TextTower:
    if kind == "whole":
        return WholeTexts(model(), TOKENIZER)
    return ShortTexts(model(), TOKENIZER, getattr(torch, kind))


def sentences(count: int) -> list[str]:
    words = ["lion", "ice", "bear", "snow", "grass", "three-toed", "sandpiper", "in", "behind the", "a", "photograph"]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, rng.integers(0, 20))) for _ in range(3 * count)]
    return list(dict.fromkeys(texts))[:count]


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "whole"])
def test_bits_depend_on_no_other_text_and_on_no_place(kind: str) -> None:
    """On this processor; where it were otherwise, `are_independent` says so and no text is kept."""
    chosen, texts = tower(kind), sentences(24 if kind == "whole" else 100)
    everything = dict(zip(texts, chosen.encode(texts), strict=True))
    rng = np.random.default_rng(1)
    for share in (0.05, 0.3, 0.9):
        some = [texts[row] for row in rng.permutation(len(texts))[: max(int(share * len(texts)), 1)]]
        np.testing.assert_array_equal(chosen.encode([*some, some[0]]), [everything[text] for text in [*some, some[0]]])
    assert are_independent("a model", chosen)


def test_a_tower_whose_bits_depend_on_neighbours_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    class Leaning(ShortTexts):
        def _encode(self, tokens: torch.Tensor) -> torch.Tensor:
            features = super()._encode(tokens)
            return features + 1e-7 * features.mean(dim=0)

    with caplog.at_level(logging.WARNING, "counterset"):
        assert not are_independent("a model", Leaning(model(), TOKENIZER, torch.float32))
    assert "texts of a model are not kept" in caplog.text


def test_short_texts_in_bfloat16_have_their_weights_laid_out_and_leave_the_model_alone() -> None:
    short = ShortTexts(model(), TOKENIZER, torch.bfloat16)
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch cannot lay weights out")
    assert any(isinstance(module, PackedLinear) for module in short._transformer.modules())
    assert not any(isinstance(module, PackedLinear) for module in model().modules())
    texts = sentences(20)
    assert np.sum(short.encode(texts) * tower("float32").encode(texts), axis=1).min() > 0.999


class Counting:
    """A model that notes what it encodes."""

    embedding_dim = 4
    texts_are_independent = True

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode_texts(self, texts: Sequence[str]) -> Features:
        self.seen += texts
        return np.array([[len(text), sum(map(ord, text)) % 97, 1, 2] for text in texts], np.float32)


def kept(model: Any, folder: Path) -> KeptTexts:
    return KeptTexts(model, folder)


def test_a_text_is_encoded_once_for_all_vocabularies_and_templates(tmp_path: Path) -> None:
    counting = Counting()
    first = [["a photo of snow", "snow"], ["a photo of grass", "grass"]]
    second = [["a photo of grass", "a sketch of grass"], ["a photo of sand"], ["snow", "snow"]]
    means = [mean_text_features(kept(counting, tmp_path), sets) for sets in (first, second, second)]
    assert sorted(counting.seen) == sorted({text for sets in (*first, *second) for text in sets})
    for sets, ours in zip((first, second, second), means, strict=True):
        np.testing.assert_array_equal(ours, mean_text_features(Counting(), sets))


def test_files_are_cut_so_that_little_is_computed_again_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("counterset.models.kept_texts.TEXTS_PER_FILE", 3)

    class Killed(Counting):
        def encode_texts(self, texts: Sequence[str]) -> Features:
            if len(self.seen) >= 6:
                raise KeyboardInterrupt
            return super().encode_texts(texts)

    texts = [f"a photo of {number}" for number in range(8)]
    with pytest.raises(KeyboardInterrupt):
        kept(Killed(), tmp_path).encode_texts(texts)
    counting = Counting()
    np.testing.assert_array_equal(kept(counting, tmp_path).encode_texts(texts), Counting().encode_texts(texts))
    assert counting.seen == sorted(texts)[6:]


def test_a_damaged_file_is_computed_again_and_put_right(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = ["snow", "grass", "sand"]
    kept(Counting(), tmp_path).encode_texts(texts)
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    counting = Counting()
    with caplog.at_level(logging.WARNING, "counterset"):
        np.testing.assert_array_equal(kept(counting, tmp_path).encode_texts(texts), Counting().encode_texts(texts))
    assert len(counting.seen) == 3 and "computed again" in caplog.text
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [whole]


def test_nothing_is_kept_of_a_model_that_does_not_say_that_its_texts_are_independent(tmp_path: Path) -> None:
    counting = Counting()
    del Counting.texts_are_independent
    try:
        for _ in range(2):
            kept(counting, tmp_path).encode_texts(["snow", "grass", "snow"])
    finally:
        Counting.texts_are_independent = True
    assert counting.seen == ["snow", "grass", "snow"] * 2 and not list(tmp_path.iterdir())


def test_kept_texts_are_the_models_own_bits(tmp_path: Path) -> None:
    selector, texts = open_text_model("demo:selector"), ["a lion in the snow", "snow", "a photo of an ice bear"]
    encoder = kept(selector, tmp_path)
    encoder.encode_texts(["grass", "a photo of sand"])
    for _ in range(2):
        np.testing.assert_array_equal(
            encoder.encode_texts([*texts, "grass"]), load_encoder("demo:selector").encode_texts([*texts, "grass"])
        )
    assert len(list(tmp_path.iterdir())) == 2
