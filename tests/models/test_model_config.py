"""A model folder of a stranger runs no code, asks no question, and reaches no other model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from counterset.errors import ModelError
from counterset.evaluation.models import opened
from counterset.models.model_config import checked
from counterset.models.open_clip_encoder import DEMO_WEIGHTS, features_id, load_encoder

Config = dict[str, Any]


def text(config: Config) -> Config:
    found: Config = config["model_cfg"]["text_cfg"]
    return found


def vision(config: Config) -> Config:
    found: Config = config["model_cfg"]["vision_cfg"]
    return found


HOSTILE: dict[str, Callable[[Config], object]] = {
    "tokenizer_kwargs.trust_remote_code": lambda config: text(config).update(
        hf_tokenizer_name="own", tokenizer_kwargs={"trust_remote_code": True}
    ),
    "tokenizer_kwargs.tokenizer_file": lambda config: text(config).update(tokenizer_kwargs={"tokenizer_file": "/x"}),
    "hf_model_name './own'": lambda config: text(config).update(hf_model_name="./own"),
    "hf_model_name 'somebody/model'": lambda config: text(config).update(hf_model_name="somebody/model"),
    "timm_model_name 'hf-hub:somebody/model'": lambda config: vision(config).update(
        timm_model_name="hf-hub:somebody/model"
    ),
    "timm_model_name 'local-dir:/x'": lambda config: vision(config).update(timm_model_name="local-dir:/x"),
    "model_cfg.trust_remote_code": lambda config: config["model_cfg"].update(trust_remote_code=True),
    "text_cfg.trust_remote_code": lambda config: text(config).update(trust_remote_code=True),
    "vision_cfg.auto_map": lambda config: vision(config).update(auto_map={"AutoModel": "evil.Evil"}),
    "preprocess_cfg.code": lambda config: config["preprocess_cfg"].update(code="1"),
    "multimodal_cfg.code": lambda config: config["model_cfg"].update(multimodal_cfg={"code": 1}),
    "no section model_cfg.text_cfg": lambda config: config["model_cfg"].update(text_cfg="roberta-base"),
    "no section model_cfg": lambda config: config.update(model_cfg=[1]),
    "no section of settings": lambda config: text(config).update(tokenizer_kwargs=["trust_remote_code"]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder that brings Python code, which leaves a mark when it runs."""
    found = Path(shutil.copytree(DEMO_WEIGHTS / "selector", tmp_path / "model"))
    code = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    (found / "evil.py").write_text(code + "class Evil:\n    pass\n")
    named = {"auto_map": {"AutoTokenizer": ["evil.Evil", None], "AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}}
    (found / "tokenizer_config.json").write_text(json.dumps(named | {"tokenizer_class": "Evil"}))
    (found / "config.json").write_text(json.dumps(named | {"model_type": "evil"}))
    return found


def rewrite(folder: Path, change: Callable[[Config], object]) -> str:
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    return f"local-dir:{folder}"


@pytest.mark.parametrize("named", HOSTILE)
def test_unknown_settings_are_refused(named: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question on the terminal"))
    name = rewrite(folder, HOSTILE[named])
    for use in (features_id, load_encoder, opened):
        with pytest.raises(ModelError, match="cannot be loaded") as error:
            use(name)
        assert named in str(error.value).replace("model_cfg.text_cfg.tokenizer_kwargs", "tokenizer_kwargs")
        assert "\n" not in str(error.value)
    assert not (folder.parent / "ran").exists()


def test_a_tokenizer_that_is_code_is_refused_without_a_question(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question on the terminal"))
    name = rewrite(folder, lambda config: text(config).update(hf_tokenizer_name="own"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_encoder(name)
    assert not (folder.parent / "ran").exists()


def test_a_text_model_in_the_folder_itself_brings_no_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question on the terminal"))
    own = folder / "own"
    own.mkdir()
    for name in ("config.json", "tokenizer_config.json", "evil.py"):
        shutil.copyfile(folder / name, own / name)
    with pytest.raises(ModelError, match="cannot be loaded") as error:
        load_encoder(rewrite(folder, lambda config: text(config).update(hf_model_name=str(own))))
    assert "neither in its own folder" not in str(error.value)
    for outside in (folder.parent, folder, folder / ".." / "model", folder / "nowhere"):
        with pytest.raises(ModelError, match="neither in its own folder"):
            load_encoder(rewrite(folder, lambda config, at=outside: text(config).update(hf_model_name=str(at))))  # type: ignore[misc]
    assert not (folder.parent / "ran").exists()


def test_a_folder_whose_weights_are_not_found_is_no_random_model(folder: Path) -> None:
    """open_clip does not look for .pt in a folder, and would go on with numbers drawn anew."""
    weights = folder / "open_clip_model.safetensors"
    torch.save({}, folder / "weights.pt")
    weights.unlink()
    with pytest.raises(ModelError, match="pretrained weights"):
        load_encoder(f"local-dir:{folder}")


def test_what_open_clip_ships_would_pass() -> None:
    for name in open_clip.list_models():
        checked({"model_cfg": open_clip.get_model_config(name), "preprocess_cfg": {"mean": [0.5]}}, own_name="a/b")
    own = {"vision_cfg": {}, "text_cfg": {"hf_tokenizer_name": "a/b", "tokenizer_kwargs": {"clean": "canonicalize"}}}
    checked({"model_cfg": own}, own_name="a/b")
    own["text_cfg"]["hf_tokenizer_name"] = "somebody/else"
    with pytest.raises(ValueError, match="neither its own nor one"):
        checked({"model_cfg": own}, own_name="a/b")
