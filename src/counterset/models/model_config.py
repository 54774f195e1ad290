"""What a model is besides its weights: architecture, preprocessing, tokenizer; checked before anything is loaded.

The config of a folder or a hub's repository is a stranger's. Only settings that this module knows reach
open_clip, timm and transformers; whatever could name code, another model or a place is refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import timm
from open_clip.coca_model import CoCa, MultimodalCfg
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP
from open_clip.pretrained import download_pretrained_from_hf
from open_clip.transform import PreprocessCfg

CONFIG_FILE = "open_clip_config.json"
TOKENIZER_OPTIONS = frozenset({"clean", "strip_sep_token", "language", "reduction_mask"})
"""Of open_clip's own tokenizers. All others would be handed to transformers, some of which run code."""
NOT_FOR_FILES = frozenset({"cast_dtype", "output_dict"})


class UnknownSetting(ValueError):
    """A model's config says something that is not known to be harmless."""


def described(model_name: str, pretrained: str | None) -> dict[str, Any]:
    """The whole config of an open_clip model name: its own file, or what open_clip's package says of it.

    Raises:
        UnknownSetting: a file's config names what could run code, or is unknown.
        OSError, ValueError: the file is not there, or not JSON.
    """
    kind, _, rest = model_name.partition(":")
    if kind == "local-dir":
        return checked(_read(Path(rest) / CONFIG_FILE), own_name=None, folder=Path(rest))
    if kind == "hf-hub":
        return checked(_read(_downloaded(rest)), own_name=rest)
    tag = open_clip.get_pretrained_cfg(model_name, pretrained) if pretrained else {}
    return {"model_cfg": open_clip.get_model_config(model_name) or {}, "preprocess_cfg": tag or {}}


def checked(config: Any, own_name: str | None, folder: Path | None = None) -> dict[str, Any]:
    """A folder's config, if it has known settings only.

    Args:
        config: the parsed file.
        own_name: of the hub's repository that it is from; None = it is from a folder.
        folder: that folder; a text model may lie inside it, for it is then as much the folder's as its weights.

    Raises:
        UnknownSetting: it has others.
    """
    model = _section(config, "model_cfg", "")
    _known(model, _parameters(CLIP, CustomTextCLIP, CoCa) | {"custom_text"}, "model_cfg")
    vision, text = _section(model, "vision_cfg", "model_cfg."), _section(model, "text_cfg", "model_cfg.")
    _known(vision, _fields(CLIPVisionCfg), "model_cfg.vision_cfg")
    _known(text, _fields(CLIPTextCfg), "model_cfg.text_cfg")
    if "multimodal_cfg" in model:
        _known(_section(model, "multimodal_cfg", "model_cfg."), _fields(MultimodalCfg), "model_cfg.multimodal_cfg")
    _known(config.get("preprocess_cfg") or {}, _fields(PreprocessCfg), "preprocess_cfg")
    _known(text.get("tokenizer_kwargs") or {}, TOKENIZER_OPTIONS, "model_cfg.text_cfg.tokenizer_kwargs")
    _plain(config.get("preprocess_cfg"), "preprocess_cfg")
    _plain(model, "model_cfg")
    architecture = vision.get("timm_model_name")
    if architecture and not (":" not in str(architecture) and timm.is_model(str(architecture))):
        raise UnknownSetting(f"its timm_model_name {architecture!r} is none of timm's architectures")
    texts, tokenizers = _shipped_names()
    tower, tokenizer = text.get("hf_model_name"), text.get("hf_tokenizer_name")
    if tower and tower not in texts and not _inside(tower, folder):
        raise UnknownSetting(
            f"its hf_model_name {tower!r} is neither in its own folder nor one that open_clip itself uses"
        )
    if tokenizer and own_name is not None and tokenizer not in tokenizers | {own_name}:
        raise UnknownSetting(
            f"its hf_tokenizer_name {tokenizer!r} is neither its own nor one that open_clip itself uses"
        )
    return dict(config)


def tokenizer_options(config: dict[str, Any]) -> dict[str, Any]:
    """What `open_clip.get_tokenizer` is given beside the name; where transformers is used, it may run no code.

    It may not ask for leave on the terminal either, as it does for text models that bring their own code.
    """
    text = config["model_cfg"].get("text_cfg", {})
    if not (text.get("hf_tokenizer_name") or text.get("hf_model_name")):
        return {}
    with contextlib.suppress(ImportError):
        from transformers import dynamic_module_utils

        dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0  # it waits so long for an answer; 0 = it refuses at once
    return {"trust_remote_code": False} if text.get("hf_tokenizer_name") else {}


@cache
def _downloaded(repository: str) -> Path:
    """The hub is asked once a process."""
    return Path(download_pretrained_from_hf(repository, filename=CONFIG_FILE))


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _section(config: Any, name: str, where: str) -> dict[str, Any]:
    section = config.get(name) if isinstance(config, dict) else None
    if not isinstance(section, dict):
        raise UnknownSetting(f"its config has no section {where}{name}")
    return section


def _known(section: Any, names: Iterable[str], where: str) -> None:
    if not isinstance(section, dict):
        raise UnknownSetting(f"its {where} is no section of settings")
    if unknown := sorted(section.keys() - set(names)):
        raise UnknownSetting(f"its config has the setting {where}.{unknown[0]}, which is unknown and not passed on")


def _plain(value: Any, where: str) -> None:
    """See that an option is a number, a short text, or a section or list of such."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        _plain(part, where)
    if isinstance(value, str) and len(value) > 200:
        raise UnknownSetting(f"its config has a text of {len(value)} characters in {where}")


def _inside(tower: Any, folder: Path | None) -> bool:
    """Whether a text model is named by the path of a folder below the model's own."""
    if folder is None or not isinstance(tower, str) or not Path(tower).is_absolute():
        return False
    return folder.resolve() in Path(tower).resolve().parents and Path(tower).is_dir()


def _fields(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def _parameters(*kinds: Any) -> set[str]:
    return {name for kind in kinds for name in inspect.signature(kind.__init__).parameters} - {"self"} - NOT_FOR_FILES


@cache
def _shipped_names() -> tuple[frozenset[str], frozenset[str]]:
    """The text models and tokenizers of transformers that open_clip's own architectures use."""
    texts = [(open_clip.get_model_config(name) or {}).get("text_cfg", {}) for name in open_clip.list_models()]
    return (
        frozenset(text["hf_model_name"] for text in texts if text.get("hf_model_name")),
        frozenset(text["hf_tokenizer_name"] for text in texts if text.get("hf_tokenizer_name")),
    )
