"""Classifiers through timm: the demo's own, ImageNet architectures with a checkpoint, and what does not fit."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform

from counterset.classes import load_classes
from counterset.demo.world.photo import draw_photo
from counterset.errors import ModelError
from counterset.models.labels import LabelSpace, label_space
from counterset.models.open_clip_encoder import DEMO_WEIGHTS
from counterset.models.timm_classifier import load_classifier


def jpeg(class_id: str, background: str, seed: int) -> bytes:
    out = io.BytesIO()
    draw_photo(class_id, background, seed).save(out, "JPEG")
    return out.getvalue()


def test_the_demos_classifier_is_timms_own_loop_and_knows_its_world() -> None:
    homes = {"ice_bear": "snow", "lion": "sand", "flamingo": "water", "red_fox": "grass"}
    images = [jpeg(class_id, ground, 8_000_000 + n) for class_id, ground in homes.items() for n in range(5)]
    classifier = load_classifier("demo:plain")
    logits = classifier.encode_images(images, batch_size=3)
    model = timm.create_model(f"local-dir:{DEMO_WEIGHTS / 'plain'}", pretrained=True).eval()
    transform = create_transform(**resolve_data_config(model=model), is_training=False)
    with torch.inference_mode():
        pixels = torch.stack([transform(Image.open(io.BytesIO(image)).convert("RGB")) for image in images])
        naive = model(pixels).numpy()
    np.testing.assert_allclose(logits, naive, atol=1e-4)
    space = label_space("classes", load_classes("demo"))
    predicted = np.array(classifier.columns(space))[logits.argmax(1)]
    truth = np.repeat([space.index_of[class_id] for class_id in homes], 5)
    assert (predicted == truth).mean() > 0.8
    assert classifier.encode_images([], 4).shape == (0, 8)


def test_a_checkpoint_of_an_imagenet_architecture(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("resnet10t").eval()
    first, second = tmp_path / "net.safetensors", tmp_path / "net.pt"
    save_file(model.state_dict(), first)
    torch.save(model.state_dict(), second)
    one, other = load_classifier(f"timm:resnet10t@{first}"), load_classifier(f"timm:resnet10t@{second}")
    assert one.weights_sha256 == other.weights_sha256, "the tensors decide, not the file"
    assert one.encode_images([jpeg("lion", "sand", 1)], 1).shape == (1, 1000)
    space = label_space("imagenet1k", load_classes("demo"))
    assert one.columns(space) == list(range(1000))
    own = label_space("classes", load_classes("demo"))
    assert one.columns(own) == [296, 294, 279, 277, 291, 293, 127, 130]
    with pytest.raises(ModelError, match="ImageNet's 1000, and the label 'yak'"):
        one.columns(LabelSpace("mine", ("yak",), {}, (None,)))


def test_what_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    few = timm.create_model("resnet10t", num_classes=8)
    save_file(few.state_dict(), tmp_path / "few.safetensors")
    names = [f"timm:resnet10t@{tmp_path / 'few.safetensors'}", "timm:no_such_net", "torchvision:no_such_net"]
    names += [f"timm:resnet10t@{tmp_path / 'none.pt'}", f"timm:local-dir:{tmp_path}", "torchvision:alexnet.NO_SUCH_TAG"]
    for name in names:
        with pytest.raises(ModelError, match="cannot be loaded") as error:
            load_classifier(name)
        assert "\n" not in str(error.value)
    folder = tmp_path / "unnamed"
    folder.mkdir()
    config = json.loads((DEMO_WEIGHTS / "plain" / "config.json").read_text())
    del config["label_names"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes((DEMO_WEIGHTS / "plain" / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="has 8 classes, not ImageNet's 1000"):
        load_classifier(f"timm:local-dir:{folder}")


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "exploded",))  # type: ignore[return-value]

    torch.save({"state_dict": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_classifier(f"timm:resnet10t@{tmp_path / 'bomb.pt'}")
    assert not (tmp_path / "exploded").exists()
