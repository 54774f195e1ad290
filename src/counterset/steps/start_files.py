"""What `counterset init` writes: a config, a class list and a vocabulary."""

from __future__ import annotations

import json
import os
import shutil
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from counterset.backgrounds import load_vocabulary, prompts_path
from counterset.classes import ClassSpec, class_list_csv, id_of_name, normal_name, tidy_name
from counterset.errors import ConfigError, SourceError
from counterset.manifests import manifest_path
from counterset.outputs import check_output
from counterset.sources.kinds.folder import photos_in
from counterset.sources.kinds.url_list import MAX_HOSTS, UrlListConfig, UrlListSource
from counterset.sources.lists import ListFile, Row
from counterset.tables import write_bytes

CONFIG, CLASSES, BACKGROUNDS = "build.toml", "classes.csv", "backgrounds.csv"
LEAST, USUAL, PER_GROUP = 3, 10, 20
"""Photos that a group needs on each half: a twentieth of a class, from 3 to the default of 10."""
PHOTOS_PER_CLASS = 500
"""Asked of a source that knows more; a few hundred confirm a drop of 20 points."""


@dataclass(frozen=True)
class Start:
    """What a build starts from.

    Attributes:
        source: the section `[source]`: its kind, and what the config has to say of it.
        specs: the classes.
        photos: class_id -> photos; empty where only the source knows.
        notes: what the user should look at, a line each.
    """

    source: Mapping[str, Any]
    specs: tuple[ClassSpec, ...]
    photos: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Models:
    """The models that a config begins with, and the vocabulary that is copied for it."""

    annotator: str = "ViT-B-32/openai"
    selector: str = "ViT-B-32/laion400m_e31"
    vocabulary: str = "counteranimal"


def from_folder(folder: Path) -> Start:
    """From photos in one folder per class.

    Raises:
        SourceError: there is no folder with photos in it.
    """
    names = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    counts = {name: len(photos_in(path, folder.resolve())) for name, path in names.items()}
    if not any(counts.values()):
        raise SourceError(
            f"{folder} holds no folder with photos; put the photos of each class into a folder of its own, named as "
            f"the class: {folder / 'red_fox' / '1.jpg'}"
        )
    kept = {name: count for name, count in counts.items() if count}
    specs = _specs(kept)
    empty = [name for name in counts if name not in kept]
    notes = (f"left out, for they hold no photo: {', '.join(empty)}",) if empty else ()
    photos = {spec.class_id: count for spec, count in zip(specs, kept.values(), strict=True)}
    return Start({"kind": "folder", "path": folder}, specs, photos, notes)


def from_list(path: Path) -> Start:
    """From a list of addresses with the columns url and class.

    Raises:
        SourceError: the list cannot be read, lacks a column, or names no class.
    """
    listed = ListFile(path)
    counts = Counter(label for row in listed.rows() if isinstance(row, Row) for label in listed.labels(row) if label)
    if not counts:
        raise SourceError(f"no row of {path} names a class; fill in its column 'class'")
    hosts = UrlListSource(UrlListConfig(path=str(path))).hosts_listed()
    specs = _specs(counts)
    notes = [] if hosts else ["none of its addresses has a public host; name the hosts in source.allowed_hosts"]
    if len(hosts) > MAX_HOSTS:
        notes.append(f"{len(hosts)} hosts: source.allowed_hosts names the {MAX_HOSTS} of most photos; ['*'] allows all")
    photos = {spec.class_id: count for spec, count in zip(specs, counts.values(), strict=True)}
    return Start({"kind": "url_list", "path": path, "hosts": hosts[:MAX_HOSTS]}, specs, photos, tuple(notes))


def write_start(start: Start, folder: Path, name: str, models: Models, imagenet_names: Sequence[str]) -> list[Path]:
    """Write the three files; their paths. None that is there is written over.

    Args:
        start: what the build starts from.
        folder: where they go.
        name: of the build.
        models: what the config names.
        imagenet_names: ImageNet's class names, by index.

    Raises:
        ConfigError: one is there already, or the vocabulary is none.
        WorkspaceError: the folder cannot be written.
    """
    paths = [folder / file for file in (CONFIG, CLASSES, BACKGROUNDS)]
    there = next((path for path in paths if path.exists()), None)
    if there is not None:
        raise ConfigError(f"{there} is there already and is not written over; give another --output, or move it away")
    check_output(folder)
    load_vocabulary(models.vocabulary)
    is_packaged = not models.vocabulary.endswith(".csv")
    vocabulary = manifest_path(f"backgrounds/{models.vocabulary}.csv") if is_packaged else Path(models.vocabulary)
    specs = _with_indices(start.specs, imagenet_names)
    config = _config(start, specs, folder, name, models)
    write_bytes(config.encode(), paths[0])
    write_bytes(class_list_csv(specs).encode(), paths[1])
    shutil.copyfile(vocabulary, paths[2])
    if (prompts := prompts_path(models.vocabulary)).is_file():
        shutil.copyfile(prompts, prompts_path(str(paths[2])))
    return paths


def name_of(text: str) -> str:
    """A name for a build, as configs take it."""
    return id_of_name(text).replace("_", "-").strip("-")[:60] or "my-build"


def _config(start: Start, specs: Sequence[ClassSpec], folder: Path, name: str, models: Models) -> str:
    counts = list(start.photos.values())
    typical = round(statistics.median(counts)) if counts else PHOTOS_PER_CLASS
    source = dict(start.source)
    if "path" in source:
        source["path"] = _relative(source["path"], folder)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("counterset.steps"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["toml"] = _toml
    return environment.get_template("build.toml.j2").render(
        name=name,
        title=f"{name.replace('-', ' ')}: common and counter backgrounds",
        source=source,
        photos_per_class=max([PHOTOS_PER_CLASS, *counts]),
        largest=max(counts, default=0),
        typical=typical,
        min_photos=max(LEAST, min(USUAL, typical // PER_GROUP)),
        label_space="imagenet1k" if all(spec.imagenet_index is not None for spec in specs) else "classes",
        annotator=models.annotator,
        selector=models.selector,
    )


def _specs(names: Mapping[str, int]) -> tuple[ClassSpec, ...]:
    """One class per name, each with an id of its own."""
    specs: list[ClassSpec] = []
    taken: set[str] = set()
    for number, name in enumerate(names, 1):
        wanted = id_of_name(name) or f"class_{number}"
        class_id = wanted if wanted not in taken else f"{wanted}_{number}"
        taken.add(class_id)
        specs.append(ClassSpec(class_id, tidy_name(name.replace("_", " "))))
    return tuple(specs)


def _with_indices(specs: Sequence[ClassSpec], imagenet_names: Sequence[str]) -> tuple[ClassSpec, ...]:
    """The classes with their index in ImageNet where one class of it has their very name."""
    by_name: dict[str, list[int]] = {}
    for index, name in enumerate(imagenet_names):
        by_name.setdefault(normal_name(name), []).append(index)
    indices = (by_name.get(normal_name(spec.name), []) for spec in specs)
    return tuple(
        spec if spec.imagenet_index is not None or len(of) != 1 else _indexed(spec, of[0])
        for spec, of in zip(specs, indices, strict=True)
    )


def _indexed(spec: ClassSpec, index: int) -> ClassSpec:
    return ClassSpec(spec.class_id, spec.name, index, spec.taxon_ids, spec.scientific_name, spec.rank)


def _relative(path: Path, folder: Path) -> str:
    try:
        text = os.path.relpath(path.resolve(), folder.resolve())
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"the path {str(path)!r} is no text that a config can hold; rename it") from None
    return text


def _toml(value: Any) -> str:
    """A value as TOML writes it; its strings are those of JSON."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
