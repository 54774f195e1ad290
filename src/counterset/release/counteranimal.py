"""CounterAnimal as published, read from its folders `<class>/common-<background>/*.jpg`.

The result goes to `publish(inputs, kind="imported", ...)`, so that the original data set is
loaded, evaluated, audited and compared with the same tools as a built one.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import Any

from counterset.classes import ClassSpec, id_of_name, load_classes, tidy_name
from counterset.config import Config, DownloadConfig
from counterset.errors import PictureError, ReleaseError
from counterset.pictures import Picture
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.schemas import SPLITS
from counterset.schemas import (
    BACKGROUNDS,
    CANDIDATES,
    GROUP_ACCURACY,
    MEMBERS,
    PAIRS,
    PHOTOS,
    PREDICTIONS,
    REJECTS,
    Half,
    RejectReason,
    Verdict,
)
from counterset.tables import table_of

logger = logging.getLogger(__name__)

IMPORTED_VERDICTS = (Verdict.UNCONFIRMED.value,)
"""What `load` gives of an imported release: its pairs are the publication's and were not tested here."""

_SIDE = re.compile(r"(common|counter)-(.+)")
MAX_FILE_BYTES = DownloadConfig().max_size_bytes
"""Files are as large as a build's downloads may be."""


def read_counteranimal(
    folder: str | Path,
    *,
    name: str = "counteranimal",
    releases: str = "releases",
    class_list: str = "counteranimal",
    source_snapshot: str = "2024-03-18",
) -> ReleaseInputs:
    """The inputs of a release that holds the folder's photos and pairs.

    Class folders are matched to `class_list` by class id or name, with or without a leading
    number; others become classes without an ImageNet index. `url` is the path below
    `folder`; load with `mirrors=("<folder>/{path}",)` to read the photos. Observers are
    not known, so every photo counts as its own.

    Raises:
        ReleaseError: no such folder, no class in it, a class or a side of it twice, a folder that
            leads elsewhere, cannot be read, or has no plain name.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ReleaseError(f"no folder {root}; give the folder that holds the class folders")
    known = {spec.class_id: spec for spec in load_classes(class_list)} | {
        _key(spec.name): spec for spec in load_classes(class_list)
    }
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("candidates", "photos", "members", "backgrounds")}
    rejects: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    specs: list[ClassSpec] = []
    taken: set[str] = set()
    for place in _folders(root, root):
        sides = _sides(place, root)
        if not sides:
            logger.warning("%s has no common-... or counter-... folder and is left out", place)
            continue
        spec = known.get(_key(place.name)) or ClassSpec(_key(place.name), _name(place.name))
        if spec.class_id in {other.class_id for other in specs}:
            raise ReleaseError(f"{root} has two folders of the class {spec.class_id!r}; leave one")
        specs.append(spec)
        counts = {}
        for split, (background, side) in sides.items():
            counts[split] = 0
            for path in _listed(side):
                photo_id = _photo_id(spec, split, path, taken)
                try:
                    _add(rows, spec, photo_id, background, path, root)
                    counts[split] += 1
                except PictureError as error:
                    rejects.append(_reject(photo_id, spec, error, path))
        pairs.append(_pair(spec, {split: sides[split][0] for split in sides}, counts))
    if not specs:
        raise ReleaseError(f"{root} holds no class folder with common-... and counter-... folders; check the path")
    return ReleaseInputs(
        config=_config(name, releases, class_list),
        classes=tuple(specs),
        candidates=table_of(CANDIDATES, rows["candidates"]),
        photos=table_of(PHOTOS, rows["photos"]),
        members=table_of(MEMBERS, rows["members"]),
        backgrounds=table_of(BACKGROUNDS, rows["backgrounds"]),
        predictions=table_of(PREDICTIONS, []),
        group_accuracy=table_of(GROUP_ACCURACY, []),
        pairs=table_of(PAIRS, pairs),
        rejects=table_of(REJECTS, rejects),
        models=(),
        source_snapshot=source_snapshot,
        funnel={"in the folder": len(rows["photos"]) + len(rejects), "readable": len(rows["photos"])},
    )


def _sides(place: Path, root: Path) -> dict[str, tuple[str, Path]]:
    """Split -> background and folder."""
    sides: dict[str, tuple[str, Path]] = {}
    for side in _folders(place, root):
        match = _SIDE.fullmatch(side.name)
        if match:
            if match[1] in sides:
                raise ReleaseError(f"{place} has two {match[1]}-... folders; leave one")
            sides[match[1]] = (match[2], side)
    return sides


def _folders(place: Path, root: Path) -> list[Path]:
    """The folders in a folder, by name.

    Raises:
        ReleaseError: one is a link that leads out of `root`, or has a name that no table can hold.
    """
    inside = [path for path in _listed(place) if path.is_dir()]
    for path in inside:
        name = os.fsencode(path.name).decode("utf-8", "replace")
        if name != path.name or not name.isprintable():
            raise ReleaseError(f"{place} has a folder named {name!r}; rename it in plain UTF-8")
        if not path.resolve().is_relative_to(root.resolve()):
            raise ReleaseError(f"{path} is a link out of {root}; copy the folder itself there")
    return inside


def _listed(place: Path) -> list[Path]:
    """What a folder holds, by name, without what is hidden.

    Raises:
        ReleaseError: it cannot be read.
    """
    try:
        return sorted(path for path in place.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ReleaseError(f"{place} cannot be read ({error.strerror}); give a folder that you may read") from error


def _photo_id(spec: ClassSpec, split: str, path: Path, taken: set[str]) -> str:
    """An id made from the file's name, different from all in `taken`; it is added to them."""
    base = f"counteranimal-{spec.class_id}-{split}-{re.sub(r'[^A-Za-z0-9_]+', '_', path.stem)}"
    photo_id, number = base, 2
    while photo_id in taken:
        photo_id, number = f"{base}-{number}", number + 1
    taken.add(photo_id)
    return photo_id


def _add(
    rows: dict[str, list[dict[str, Any]]], spec: ClassSpec, photo_id: str, background: str, path: Path, root: Path
) -> None:
    """Add one photo to all tables.

    Raises:
        PictureError: the file is no picture, or none of the folder's own.
    """
    content = _content(path, root)
    picture = Picture.read(content)
    phash = picture.phash()
    shared = {"photo_id": photo_id, "class_id": spec.class_id}
    rows["candidates"].append(
        dict.fromkeys(CANDIDATES.arrow().names)
        | shared
        | {
            "source": "folder",
            "url": path.relative_to(root).as_posix(),
            "observation_id": photo_id,
            "observer_id": photo_id,
        }
    )
    rows["photos"].append(
        {
            "photo_id": photo_id,
            "sha256": hashlib.sha256(content).hexdigest(),
            "width_px": picture.width_px,
            "height_px": picture.height_px,
            "size_bytes": len(content),
            "phash": phash,
            "shard": "imported",
        }
    )
    observer = hashlib.sha256(photo_id.encode()).hexdigest()[:16]
    rows["members"].append(
        shared
        | {
            "observation_id": photo_id,
            "observer": observer,
            "unit": observer,
            "half": Half.ALL.value,
            "shard": "imported",
        }
    )
    rows["backgrounds"].append(
        shared | {"profile": [], "background": background, "margin": 0.0, "group": background, "is_confident": True}
    )


def _content(path: Path, root: Path) -> bytes:
    """The bytes of a file of the folder's own.

    Raises:
        PictureError: it leads elsewhere, is no file, is too large, or cannot be read.
    """
    try:
        real = path.resolve()
        if not real.is_relative_to(root.resolve()):
            raise PictureError(RejectReason.URL_REFUSED, "leads out of the folder")
        if not real.is_file():  # a folder, a pipe, a device
            raise PictureError(RejectReason.UNDECODABLE, "is not a file")
        if real.stat().st_size > MAX_FILE_BYTES:
            raise PictureError(RejectReason.TOO_LARGE, f"{real.stat().st_size} bytes")
        path.name.encode()
        return real.read_bytes()
    except (OSError, RuntimeError) as error:
        raise PictureError(RejectReason.UNDECODABLE, f"cannot be read ({error})") from error
    except UnicodeEncodeError as error:
        raise PictureError(RejectReason.URL_REFUSED, "has a name that is not UTF-8") from error


def _pair(spec: ClassSpec, backgrounds: dict[str, str], counts: dict[str, int]) -> dict[str, Any]:
    whole = all(counts.get(split) for split in SPLITS)
    return dict.fromkeys(PAIRS.arrow().names) | {
        "class_id": spec.class_id,
        "verdict": (Verdict.UNCONFIRMED if whole else Verdict.TOO_SMALL).value,
        "common": backgrounds.get("common") if whole else None,
        "counter": backgrounds.get("counter") if whole else None,
        "num_common": counts.get("common", 0),
        "num_counter": counts.get("counter", 0),
        "num_observers_common": 0,
        "num_observers_counter": 0,
        "is_common_rarer": counts.get("common", 0) < counts.get("counter", 0),
        "is_fragile": False,
        "reason": "as published; not tested here" if whole else "one side has no photos",
    }


def _reject(photo_id: str, spec: ClassSpec, error: PictureError, path: Path) -> dict[str, Any]:
    detail = f"{os.fsencode(path.name).decode('utf-8', 'replace')}: {error}"
    shared = {"photo_id": photo_id, "class_id": spec.class_id, "stage": "curate"}
    return shared | {"reason": str(error.reason), "detail": detail}


def _config(name: str, releases: str, class_list: str) -> Config:
    return Config.model_validate(
        {
            "name": name,
            "releases": releases,
            "classes": {"list": class_list},
            "source": {"kind": "folder"},
            "models": {"annotator": "people", "selectors": ["ViT-B-32/laion400m_e31"]},
            "select": {"mode": "paper"},
            "publish": {"title": "CounterAnimal, as published", "author": "the authors of arXiv 2403.11497"},
        }
    )


def _name(folder: str) -> str:
    return tidy_name(re.sub(r"_+", " ", re.sub(r"^\d+[\s_.-]+", "", folder))).lower()


def _key(text: str) -> str:
    """Lower-case id of a folder or file name: letters, digits and underscores, no leading number of a class."""
    return id_of_name(_name(text) or text) or "unnamed"
