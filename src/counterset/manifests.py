"""Where the data that ships with counterset lies: class lists, vocabularies, published figures, releases."""

from __future__ import annotations

from pathlib import Path


def manifest_path(name: str) -> Path:
    """The path of `data_manifests/<name>`, in a checkout or in an installed package."""
    package = Path(__file__).resolve().parent
    checkout = package.parents[1] / "data_manifests"
    return (checkout if checkout.is_dir() else package / "data_manifests") / name
