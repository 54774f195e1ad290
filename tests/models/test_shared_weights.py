"""Two models that hold the same weights are known for it, whatever their files are called."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from counterset.config import ModelsConfig
from counterset.errors import ConfigError
from counterset.models import door
from counterset.models.door import origin
from counterset.models.lineage import check_roles
from counterset.models.open_clip_encoder import DEMO_WEIGHTS
from counterset.models.shared_weights import share

WEIGHTS = "open_clip_model.safetensors"
SELECTOR = DEMO_WEIGHTS / "selector"
State = dict[str, torch.Tensor]


def folder_of(folder: Path, change: Callable[[State], State] = dict, suffix: str = ".safetensors") -> str:
    """A copy of the demo's selector that says nothing of its training, its tensors changed."""
    folder.mkdir(parents=True)
    shutil.copy(SELECTOR / "open_clip_config.json", folder)
    state = {name: tensor.contiguous() for name, tensor in change(load_file(SELECTOR / WEIGHTS)).items()}
    if suffix == ".safetensors":
        save_file(state, folder / WEIGHTS)
    else:
        torch.save({"state_dict": state}, folder / f"open_clip_pytorch_model{suffix}")
    return f"local-dir:{folder}"


def renamed(state: State) -> State:
    return {f"module.{name}": tensor for name, tensor in state.items()}


def halved(state: State) -> State:
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def rounded(state: State) -> State:
    return {name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def only_the_image_tower(state: State) -> State:
    """The text tower is another's: the image tower was locked in training."""
    return {
        name: tensor if name.startswith("visual.") else torch.randn_like(tensor.float())
        for name, tensor in state.items()
    }


def trained_on(state: State) -> State:
    torch.manual_seed(1)
    return {name: torch.randn_like(tensor.float()) for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("change", "suffix"),
    [(dict, ".safetensors"), (dict, ".bin"), (dict, ".pt"), (renamed, ".pth"), (halved, ".bin"), (rounded, ".bin")],
)
def test_a_copy_of_one_model_is_circular(change: Callable[[State], State], suffix: str, tmp_path: Path) -> None:
    one, other = folder_of(tmp_path / "a"), folder_of(tmp_path / "b", change, suffix)
    assert not door.trained_on(one) and not door.trained_on(other), "their data cannot tell"
    assert share(one, other) == 1
    with pytest.raises(ConfigError, match=r"share 100% of their weights, .*allow_circular"):
        check_roles(ModelsConfig(annotator=one, selectors=(other,)))
    check_roles(ModelsConfig(annotator=one, selectors=(other,), allow_circular=True))
    with pytest.raises(ConfigError, match=r"count one model twice; name it once"):
        check_roles(ModelsConfig(annotator="demo:annotator", selectors=(one, other), allow_circular=True))


def test_a_shared_tower_is_circular_and_another_model_is_not(tmp_path: Path) -> None:
    one = folder_of(tmp_path / "a")
    tower = folder_of(tmp_path / "b", only_the_image_tower)
    assert 0.05 < share(one, tower) < 1
    other = folder_of(tmp_path / "c", trained_on)
    assert share(one, other) == 0
    check_roles(ModelsConfig(annotator=one, selectors=(other,)))
    names = [f"demo:{name}" for name in ("annotator", "selector", "medium", "weak")]
    assert [share(names[0], name) for name in names[1:]] == [0, 0, 0]


@pytest.mark.parametrize(
    ("annotator", "selector"),
    [
        ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "ViT-B-32/laion2b_s34b_b79k"),
        ("ViT-B-32-quickgelu@/weights/own.pt", "ViT-B-32@/weights/../weights/own.pt"),
        ("ViT-B-16-quickgelu/openai", "ViT-B-16/openai"),
    ],
)
def test_two_names_of_one_file_are_circular(annotator: str, selector: str) -> None:
    assert origin(annotator) == origin(selector)
    with pytest.raises(ConfigError, match="allow_circular"):
        check_roles(ModelsConfig(annotator=annotator, selectors=(selector,)))


def test_a_repository_of_the_hub_has_the_data_of_its_tag() -> None:
    assert door.trained_on("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K") >= {"LAION-2B"}
    assert door.trained_on("hf-hub:somebody/something") == frozenset()
