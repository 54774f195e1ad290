"""One door to every kind of model; a package from outside adds a kind that works like ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import counterset
from counterset.classes import load_classes
from counterset.errors import ExtensionError, ModelError
from counterset.evaluation.models import folder_of, opened
from counterset.models import door
from counterset.models.door import (
    cached_weights,
    identity,
    kind_of,
    open_model,
    open_text_model,
    origin,
    prefixes,
    trained_on,
)
from counterset.models.kinds import KINDS
from counterset.models.labels import LabelSpace, label_space
from counterset.models.open_clip_encoder import features_id, texts_id
from counterset.models.prompts import check_labels
from counterset.models.timm_classifier import load_classifier
from counterset.registry import Registry
from counterset.workspace import digest

from ..evaluation.conftest import small  # noqa: F401
from ..toy_packages import add_package

LAION = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
TOY = """
import hashlib
import numpy as np

class Toy:
    family, weights_sha256, embedding_dim = "toy", "", 3

    def __init__(self, name, backend):
        self.name, self.features_id = name, "toy-" + name

    def encode_images(self, images, batch_size):
        return np.array([list(hashlib.sha256(image).digest()[:3]) for image in images], np.float32).reshape(-1, 3)

    def check_labels(self, space):
        pass

    def label_rows(self, space):
        return np.array([list(hashlib.sha256(label.encode()).digest()[:3]) for label in space.labels], np.float32)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs a version of a package that brings the kind `toy:`, in place of any other version."""

    def install(version: str, code: str = TOY) -> None:
        site = tmp_path / f"site-{version}"
        add_package(site, "toy_models", code=code, entry_points={KINDS.group: {"toy": "Toy"}}, version=version)
        monkeypatch.setattr(sys, "path", [str(site), *(one for one in sys.path if Path(one).parent != tmp_path)])
        monkeypatch.delitem(sys.modules, "toy_models", raising=False)
        monkeypatch.setattr(door, "KINDS", Registry(KINDS.group, KINDS.package, KINDS.attribute, KINDS.what))

    return install


def test_a_kind_from_outside_is_evaluated_and_its_version_is_in_the_keys(
    toy: Any,
    small: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    toy("1.0")
    assert "toy:" in prefixes()
    before = identity(open_model("toy:one"))
    asked: dict[str, Any] = {"label_space": "classes", "output": tmp_path / "out"}
    first = counterset.evaluate(small.load(), ["toy:one", "demo:weak"], **asked)
    total = first.num_computed["toy:one"]
    assert total > 0
    assert {row["model"]: row["family"] for row in first.metrics.to_pylist()} == {"toy:one": "toy", "demo:weak": "CLIP"}
    again = counterset.evaluate(small.load(), ["toy:one"], **asked)
    assert again.num_computed == {"toy:one": 0}, "its vectors are kept like any other's"
    assert again.predictions.equals(first.predictions)
    assert (origin("toy:one"), trained_on("toy:one"), cached_weights("toy:one")) == ("toy:one", frozenset(), None)
    toy("2.0")
    assert identity(open_model("toy:one")) != before
    assert counterset.evaluate(small.load(), ["toy:one"], **asked).num_computed == {"toy:one": total}


def test_a_kind_that_cannot_be_loaded_is_one_sentence(toy: Any) -> None:
    toy("1.0", code="import nothing_of_that_name\n")
    with pytest.raises(ExtensionError, match=r"kind of model 'toy' of toy_models 1\.0 cannot be loaded"):
        open_model("toy:one")


def test_every_kind_has_its_names() -> None:
    assert prefixes() == ["demo:", "hf-hub:", "local-dir:", "openai:", "openai-open:", "timm:", "torchvision:"]
    kinds = {name: kind_of(name) for name in ("ViT-B-32/openai", "RN50@/a:b/c.pt", "hf-hub:a/b", "timm:x", "demo:weak")}
    assert list(kinds.values()) == ["open_clip", "open_clip", "hf_hub", "timm", "demo"]
    for wrong in ("tim:resnet50", "open_clip:RN50", "open-clip:RN50"):
        with pytest.raises(ModelError, match=r"begin it with demo:, hf-hub:, local-dir:, openai:, .*, or give"):
            open_model(wrong)


def test_each_kind_says_where_its_models_come_from(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "recipe.json").write_text('{"pretraining_data": ["my photos"]}')
    demo = Path(counterset.__file__).parent / "demo/weights"
    said = {
        "ViT-B-16/openai": ("timm/vit_base_patch16_clip_224.openai", {"WIT-400M"}),
        "ViT-B-32@/a/../b.pt": ("/b.pt", set()),
        "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K": (
            "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
            {"LAION-2B", "LAION-5B"},
        ),
        f"local-dir:{folder}": (str(folder), {"my photos"}),
        f"timm:local-dir:{folder}": (str(folder), {"my photos"}),
        "timm:resnet18.tv_in1k": ("timm:resnet18.tv_in1k", {"ImageNet-1K"}),
        "timm:resnet18@/b.pt": ("/b.pt", set()),
        "torchvision:alexnet": ("torchvision:alexnet", {"ImageNet-1K"}),
        "torchvision:vit_b_16.IMAGENET1K_SWAG_E2E_V1": ("torchvision:vit_b_16.IMAGENET1K_SWAG_E2E_V1", set()),
        "demo:plain": (str(demo / "plain"), trained_on("demo:plain")),
        "demo:weak": (str(demo / "weak"), trained_on("demo:weak")),
        "none:here": ("none:here", set()),
    }
    assert {name: (origin(name), set(trained_on(name))) for name in said} == said
    assert trained_on("demo:plain") and trained_on("demo:weak")
    assert cached_weights("demo:plain") and cached_weights("demo:weak") and not cached_weights(f"local-dir:{folder}")


def test_nothing_is_fetched_or_read_to_open_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("image_text.features_id", "image_text.weights_sha256", "fixed_classes.load_classifier"):
        monkeypatch.setattr(f"counterset.models.{module}", lambda *_: pytest.fail("it was read"))
    space = label_space("classes", load_classes("demo"))
    for name in ("ViT-B-32/openai", "timm:resnet50", "torchvision:alexnet", "demo:plain", "demo:weak"):
        check_labels(open_model(name), space)
    unknown = LabelSpace("mine", ("yak",), {}, (None,))
    for name, said in (("timm:resnet50", "ImageNet's 1000"), ("demo:plain", "the 8 of its own")):
        with pytest.raises(ModelError, match=f"{said}, and the label 'yak'"):
            check_labels(open_model(name), unknown)
    check_labels(open_model("demo:weak"), unknown)
    with pytest.raises(ModelError, match="'timm:resnet50' knows fixed classes only and can be an evaluator"):
        open_text_model("timm:resnet50")


def test_ids_are_those_of_the_models_themselves() -> None:
    """Files of earlier builds and evaluations are found under them."""
    for name in ("demo:annotator", "demo:weak"):
        model = open_text_model(name)
        assert identity(model) == features_id(name)
        kept = (
            f"{name.replace(':', '-')}-{digest(name.replace(':', '-'), digest(features_id(name), texts_id(name)))[:12]}"
        )
        assert folder_of(opened(name)) == kept
    assert identity(open_model("demo:plain")) == load_classifier("demo:plain").features_id
