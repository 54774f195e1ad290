"""Where the data that ships with counterset lies: class lists, vocabularies, published figures, releases, configs."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def manifest_path(name: str) -> Path:
    """The path of `data_manifests/<name>`, in a checkout or in an installed package."""
    return _shipped("data_manifests") / name


def config_path(name: str) -> Path:
    """The path of `configs/<name>`, in a checkout or in an installed package."""
    return _shipped("configs") / name


def _shipped(folder: str) -> Path:
    checkout = _PACKAGE.parents[1] / folder
    return checkout if checkout.is_dir() else _PACKAGE / folder
