"""Packages from outside, as they lie in site-packages: modules, and the metadata that names their entry points."""

from __future__ import annotations

from pathlib import Path


def add_package(
    site: Path, name: str, *, code: str, entry_points: dict[str, dict[str, str]], version: str = "1.0"
) -> None:
    """Install a package of one module into the folder `site`.

    Args:
        site: put it on the path of the Python that is to find the package.
        name: of the distribution and of its module.
        code: the module's content.
        entry_points: group -> name -> attribute of the module.
        version: of the distribution.
    """
    site.mkdir(parents=True, exist_ok=True)
    (site / f"{name}.py").write_text(code, encoding="utf-8")
    metadata = site / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = []
    for group, things in entry_points.items():
        lines += [f"[{group}]", *(f"{thing} = {name}:{attribute}" for thing, attribute in things.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
