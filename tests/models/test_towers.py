"""Large models' way: 8-bit pixels, laid-out bfloat16 weights, and the check against float32."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import ExifTags, Image
from safetensors.torch import save_file

from counterset.demo.world.photo import draw_photo
from counterset.errors import ModelError
from counterset.models import open_clip_encoder, openvino_tower
from counterset.models.decoding import PixelDecoder, rgb
from counterset.models.held import let_go
from counterset.models.open_clip_encoder import features_id, load_encoder, precision, texts_id
from counterset.models.packed import PackedAttention, PackedLinear, PackedPatches, pack
from counterset.models.precision import agrees, native_half, probes
from counterset.models.text_tower import ShortTexts, WholeTexts

SIZE = 64
PREPROCESS = PreprocessCfg(size=SIZE)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def photo(seed: int, size: tuple[int, int] = (180, 130)) -> Image.Image:
    return draw_photo("ice_bear" if seed % 2 else "lion", "grass", seed).resize(size, Image.Resampling.BICUBIC)


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return exif


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small vision transformer of random weights that passes for a large one."""
    folder = tmp_path_factory.mktemp("vit")
    vision = {"image_size": SIZE, "layers": 3, "width": 128, "head_width": 32, "patch_size": 16}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 64, "vision_cfg": vision, "text_cfg": text}
    torch.manual_seed(0)
    model = open_clip.CLIP(**config)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return folder


@pytest.fixture
def name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(open_clip_encoder, "LARGE_BYTES", 0)
    monkeypatch.setattr(open_clip_encoder, "native_half", lambda: torch.bfloat16)
    let_go()
    yield f"local-dir:{folder}"
    let_go()


def test_features_are_float32s_within_the_limits(name: str) -> None:
    images = [encoded(photo(seed), quality=90) for seed in range(10)]
    fast, exact = load_encoder(name), load_encoder(name, "torch-float32")
    assert (fast.precision, exact.precision) == ("bfloat16", "float32")
    ours, reference = fast.encode_images(images, 4), exact.encode_images(images, 4)
    assert ours.dtype == np.float32 and not np.array_equal(ours, reference)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    assert np.sum(ours * reference, axis=1).min() > 0.999
    np.testing.assert_array_equal(ours, fast.encode_images(images, 4))


TEXTS = ["snow", "a photo of an ice bear that stands on the sea ice", "", "snow", "a lion"]


def test_texts_are_float32s_within_the_limits(name: str) -> None:
    fast, exact = load_encoder(name), load_encoder(name, "torch-float32")
    ours, reference = fast.encode_texts(TEXTS), exact.encode_texts(TEXTS)
    assert ours.dtype == np.float32 and not np.array_equal(ours, reference)
    assert np.sum(ours * reference, axis=1).min() > 0.999
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(ours[0], ours[3])
    np.testing.assert_array_equal(ours, fast.encode_texts(TEXTS))


def test_places_behind_a_text_give_nothing_to_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut behind the texts of each batch, the features are those of the whole context but for rounding."""
    monkeypatch.setattr("counterset.models.text_tower.SHORT_TEXTS_PER_BATCH", 2)
    monkeypatch.setattr(open_clip_encoder, "LARGE_BYTES", 10**12)
    short = load_encoder(name).texts
    assert isinstance(short, ShortTexts) and short.precision == "float32"
    whole = WholeTexts(short._model, short._tokenizer)
    seen: list[tuple[int, ...]] = []
    encode = short._encode
    monkeypatch.setattr(short, "_encode", lambda tokens: seen.append(tuple(tokens.shape)) or encode(tokens))
    np.testing.assert_allclose(short.encode(TEXTS), whole.encode(TEXTS), atol=1e-6)
    assert sorted(seen) == [(2, 2), (2, 4), (2, 14)]  # of 2, 3, 4 and 14 tokens; the context has 16 places


def test_texts_that_fail_the_check_stay_in_float32(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = ShortTexts.encode

    def spoilt(tower: ShortTexts, texts: list[str]) -> Any:
        return encode(tower, texts)[:: -1 if tower.precision == "bfloat16" else 1]

    monkeypatch.setattr(ShortTexts, "encode", spoilt)
    encoder = load_encoder(name)
    assert (encoder.precision, encoder.texts.precision) == ("bfloat16", "float32")
    np.testing.assert_array_equal(encoder.encode_texts(TEXTS), load_encoder(name, "torch-float32").encode_texts(TEXTS))


def test_what_texts_are_computed_in_is_part_of_what_names_them(name: str) -> None:
    assert texts_id(name).startswith(texts_id(name, "torch-float32") + "-bfloat16")


def test_a_load_gives_the_same_features_again(name: str) -> None:
    images = [encoded(photo(seed), quality=90) for seed in range(5)]
    first = load_encoder(name).encode_images(images, 4)
    let_go()
    np.testing.assert_array_equal(first, load_encoder(name).encode_images(images, 4))


def test_a_model_that_fails_the_check_stays_in_float32(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("counterset.models.precision.MIN_COSINE", 1.0)
    images = [encoded(photo(seed), quality=90) for seed in range(3)]
    with caplog.at_level(logging.WARNING, "counterset"):
        encoder = load_encoder(name)
    assert encoder.precision == "float32" and "so float32 is used" in caplog.text
    np.testing.assert_array_equal(
        encoder.encode_images(images, 4), load_encoder(name, "torch-float32").encode_images(images, 4)
    )


def test_precision_is_part_of_what_names_features(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert features_id(name).startswith(features_id(name, "torch-float32") + "-bfloat16")
    monkeypatch.setattr(open_clip_encoder, "native_half", lambda: None)
    assert precision(name) == "float32"
    monkeypatch.setattr(open_clip_encoder, "native_half", lambda: torch.bfloat16)
    monkeypatch.setattr(open_clip_encoder, "LARGE_BYTES", 200_000_000)
    assert precision(name) == "float32"


def test_the_check_tells_rounding_from_damage() -> None:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((16, 32)).astype(np.float32)
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    texts = reference[:8]
    assert agrees("m", "bfloat16", reference, reference, texts)
    damaged = reference.copy()
    damaged[3] = -damaged[3]
    assert not agrees("m", "bfloat16", damaged, reference, texts)
    assert not agrees("m", "bfloat16", reference * np.float32(np.nan), reference, texts)
    # Labels along directions in which the features hold nothing but rounding: their order is chance.
    first, second = reference.copy(), reference.copy()
    first[:, 24:], second[:, 24:] = 1e-3 * rng.standard_normal((2, 16, 8))
    assert not agrees("m", "bfloat16", first / norm(first), second / norm(second), np.eye(32, dtype=np.float32)[24:])


def norm(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows, axis=1, keepdims=True)


def test_probes_are_always_the_same_and_look_like_photos() -> None:
    images = probes((SIZE, SIZE))
    np.testing.assert_array_equal(images, probes((SIZE, SIZE)))
    assert images.shape == (16, 3, SIZE, SIZE) and images.dtype == np.uint8
    assert not np.array_equal(images, probes((SIZE, SIZE), seed=1))
    assert 80 < images.mean() < 180 and images.std(axis=(1, 2, 3)).min() > 15


@pytest.mark.parametrize("is_quick", [False, True])
def test_packing_changes_nothing_but_rounding(is_quick: bool) -> None:
    torch.manual_seed(0)
    vision = {"image_size": SIZE, "layers": 2, "width": 128, "patch_size": 16}
    tower = open_clip.CLIP(64, vision, {}, quick_gelu=is_quick).visual.eval()
    pixels = torch.randn(3, 3, SIZE, SIZE)
    with torch.inference_mode():
        plain = tower(pixels)
        assert pack(tower)
        packed = tower.bfloat16()(pixels.bfloat16()).float()
    kinds = {type(module) for module in tower.modules()}
    assert {PackedLinear, PackedAttention, PackedPatches} <= kinds and torch.nn.MultiheadAttention not in kinds
    assert torch.cosine_similarity(plain, packed).min() > 0.9999
    assert not pack(torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("content", "largest"),
    [
        (encoded(photo(0), quality=90), 4),
        (encoded(photo(1), quality=90, progressive=True), 4),
        (encoded(photo(2).convert("L"), quality=90), 4),
        (encoded(photo(3).convert("CMYK"), quality=90), 4),
        (encoded(photo(4), "PNG"), 4),
        (encoded(photo(5), "WEBP"), 4),
        (encoded(photo(6).quantize(32), "GIF"), 4),
        (encoded(photo(7), quality=90, exif=turned()), 4),
    ],
)
def test_pixels_are_open_clips(content: bytes, largest: int) -> None:
    reference = image_transform_v2(PREPROCESS, is_train=False)(rgb(content))
    decoder = PixelDecoder(PREPROCESS)
    ours = decoder.normalise(decoder.stack([content]), torch.float32)[0]
    std = torch.tensor(PREPROCESS.std).view(3, 1, 1)
    assert float(((ours - reference) * std).abs().max()) * 255 <= largest


def test_large_photos_are_decoded_smaller_and_look_the_same() -> None:
    content = encoded(photo(1, (1500, 1100)), quality=92)
    reference = image_transform_v2(PREPROCESS, is_train=False)(rgb(content))
    decoder = PixelDecoder(PREPROCESS)
    ours = decoder.normalise(decoder.stack([content]), torch.float32)[0]
    assert float((ours - reference).abs().mean()) < 0.02


def test_openvino_that_is_not_installed_is_said_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_tower.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match="pip install"):
        load_encoder(name, "openvino")


def test_int8_by_openvino_passes_the_check_or_gives_way(name: str) -> None:
    pytest.importorskip("nncf", reason="the extra counterset[openvino] is not installed")
    pytest.importorskip("openvino", reason="the extra counterset[openvino] is not installed")
    images = [encoded(photo(seed), quality=90) for seed in range(6)]
    encoder = load_encoder(name, "openvino")
    assert encoder.precision in ("int8", "bfloat16")
    reference = load_encoder(name, "torch-float32").encode_images(images, 4)
    assert np.sum(encoder.encode_images(images, 4) * reference, axis=1).min() > 0.998


def test_this_machine_answers_one_way_or_the_other() -> None:
    assert native_half() in (None, torch.bfloat16, torch.float16)
