"""WebDataset archives as CLIP_benchmark reads them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from counterset.release.exporting import Exported, Notes, Photos, check_any, new_folder, rows_with_photos, safe_name
from counterset.release.schemas import SPLITS

PHOTOS_PER_TAR = 1_000


def export(release: Photos, folder: str | Path) -> Exported:
    """Two sets, `<name>-common` and `<name>-counter`, as CLIP_benchmark reads them.

    Each has `classnames.txt`, `zeroshot_classification_templates.txt`, `test/nshards.txt` and
    `test/<n>.tar` of `<photo_id>.jpg`, `.cls` (the label) and `.json` (the row). Where every class has an
    ImageNet index, labels are these and all 1000 class names are kept.
    """
    notes, count = Notes(), 0
    names = _label_names(release)
    with new_folder(folder) as target:
        for split in SPLITS:
            place = target / f"{release.name}-{split}"
            (place / "test").mkdir(parents=True)
            shards = 0
            for shard in _chunks(rows_with_photos(release, split, notes), PHOTOS_PER_TAR):
                with tarfile.open(place / "test" / f"{shards}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
                    for row, content, suffix in shard:
                        # WebDataset takes everything after the first dot for the field's name.
                        key = safe_name(row["photo_id"])
                        label = str(release.labels[row["class_id"]]).encode()
                        _add(tar, f"{key}.{suffix}", content)
                        _add(tar, f"{key}.cls", label)
                        _add(tar, f"{key}.json", json.dumps(row, sort_keys=True, default=str).encode())
                        count += 1
                shards += 1
            (place / "test" / "nshards.txt").write_text(f"{shards}\n", encoding="utf-8")
            (place / "classnames.txt").write_text("".join(f"{_line(name)}\n" for name in names), encoding="utf-8")
            (place / "zeroshot_classification_templates.txt").write_text(
                "".join(f"{template}\n" for template in _templates(release)), encoding="utf-8"
            )
        check_any(count, release, notes.missing)
    return notes.exported(folder, count)


def _label_names(release: Photos) -> list[str]:
    classes = release.metadata["classes"]
    if not all(row["imagenet_index"] is not None for row in classes):
        return list(release.class_names.values())
    from open_clip import IMAGENET_CLASSNAMES

    return list(IMAGENET_CLASSNAMES)


def _templates(release: Photos) -> list[str]:
    if release.metadata["config"]["evaluate"]["templates"] == "openai80":
        from open_clip import OPENAI_IMAGENET_TEMPLATES

        return [template("{c}") for template in OPENAI_IMAGENET_TEMPLATES]
    return ["A photo of {c}."]


def _chunks(
    rows: Iterator[tuple[dict[str, Any], bytes, str]], size: int
) -> Iterator[Iterator[tuple[dict[str, Any], bytes, str]]]:
    """The rows in runs of `size`, each read while it is written."""
    for first in rows:

        def run(first: tuple[dict[str, Any], bytes, str] = first) -> Iterator[tuple[dict[str, Any], bytes, str]]:
            yield first
            for _, row in zip(range(size - 1), rows, strict=False):
                yield row

        yield run()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file with no time and no owner, so that the same photos give the same archive."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _line(name: str) -> str:
    return " ".join(name.split())
