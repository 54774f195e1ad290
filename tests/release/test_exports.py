"""Every export holds the same photos, and other programs read each one."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.classes import ClassSpec
from counterset.errors import ReleaseError
from counterset.load import Release, load
from counterset.release.exporting import Exported
from counterset.release.exports import EXPORTS
from counterset.release.exports.captions import CAPTION_KINDS
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.writer import publish

from .build_inputs import build_config

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

Rows = set[tuple[str, str, str]]
"""Split, class, sha256 of the photo."""


def rows_of(release: Release) -> Rows:
    return {
        (split, row["class_id"], row["sha256"])
        for split, table in (("common", release.common), ("counter", release.counter))
        for row in table.to_pylist()
    }


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_imagefolder_as_torchvision_reads_it(release: Release, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    exported = EXPORTS["imagefolder"](release, tmp_path / "out")
    found: Rows = set()
    read = ImageFolder(str(exported.path))
    for path, target in read.samples:
        split, _, background = Path(path).parent.name.partition("-")
        class_id = read.classes[target]
        pair = next(row for row in release.pairs.to_pylist() if row["class_id"] == class_id)
        assert background == pair[split]
        found.add((split, class_id, digest(Path(path).read_bytes())))
    assert found == rows_of(release)
    assert exported.num_photos == len(found)
    assert exported.missing == {}
    assert read[0][0].mode == "RGB"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_as_clip_benchmark_reads_it(release: Release, tmp_path: Path) -> None:
    """The documented code path of CLIP_benchmark's `build_wds_dataset`, step by step."""
    import webdataset

    exported = EXPORTS["webdataset"](release, tmp_path / "out")
    found: Rows = set()
    labels = {label: class_id for class_id, label in release.labels.items()}
    for split in ("common", "counter"):
        folder = exported.path / f"little-animals-{split}"
        names = (folder / "classnames.txt").read_text().splitlines()
        assert len(names) == 1000
        templates = (folder / "zeroshot_classification_templates.txt").read_text().splitlines()
        assert [template.format(c="ostrich") for template in templates] == ["A photo of ostrich."]
        num_shards = int((folder / "test" / "nshards.txt").read_text())
        urls = [str(folder / "test" / f"{number}.tar") for number in range(num_shards)]
        raw = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False)
        for sample in raw:
            label = int(sample["cls"])
            row = json.loads(sample["json"])
            assert (labels[label], row["photo_id"]) == (row["class_id"], sample["__key__"])
            found.add((split, labels[label], digest(sample["jpg"])))
        decoded = (
            webdataset.WebDataset(urls, shardshuffle=False, empty_check=False)
            .decode(webdataset.autodecode.ImageHandler("pil", extensions=["webp", "png", "jpg", "jpeg"]))
            .to_tuple(["webp", "png", "jpg", "jpeg"], ["npy", "cls"])
        )
        image, target = next(iter(decoded))
        assert image.mode == "RGB"
        assert target in labels
    assert found == rows_of(release)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_clip_benchmark_itself_reads_it(release: Release, tmp_path: Path) -> None:
    builder = pytest.importorskip("clip_benchmark.datasets.builder", reason="CLIP_benchmark is not installed")
    exported = EXPORTS["webdataset"](release, tmp_path / "out")
    for split in ("common", "counter"):
        read = builder.build_dataset(
            dataset_name=f"wds/little-animals-{split}",
            root=str(exported.path / f"little-animals-{split}"),
            transform=None,
            split="test",
            task="zeroshot_classification",
        )
        rows = getattr(release, split).to_pylist()
        assert sorted(target for _, target in read) == sorted(release.labels[row["class_id"]] for row in rows)
        assert len(read.classes) == 1000


def test_hub_layout_as_datasets_reads_it(release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    exported = EXPORTS["hub"](release, tmp_path / "out")
    read = datasets.load_dataset(str(exported.path), cache_dir=str(tmp_path / "hf"))
    found = {
        (split, row["class_id"], row["sha256"])
        for split in ("common", "counter")
        for row in read[split].remove_columns("image")
    }
    assert found == rows_of(release)
    assert read["common"].features["class_label"].names == list(release.class_names.values())
    assert read["common"][0]["image"].size in ((240, 180), (180, 240), (220, 220))
    assert datasets.get_dataset_config_names(str(exported.path)) == ["default"]


def test_csv(release: Release, tmp_path: Path) -> None:
    exported = EXPORTS["csv"](release, tmp_path / "out")
    found: Rows = set()
    for split in ("common", "counter"):
        with (exported.path / f"{split}.csv").open(newline="", encoding="utf-8") as file:
            read = list(csv.DictReader(file))
        assert list(read[0]) == getattr(release, split).column_names
        found |= {(split, row["class_id"], row["sha256"]) for row in read}
    assert found == rows_of(release)


def test_formulas_from_strangers_are_text_in_csv(inputs: ReleaseInputs, photo_folder: Path, tmp_path: Path) -> None:
    """A spreadsheet would run a credit line that begins with =, wherever it came from."""
    credits = ("=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "(c) A. Author")
    rows = inputs.candidates.to_pylist()
    for number, row in enumerate(rows):
        row["attribution"] = credits[number % len(credits)]
    candidates = pa.Table.from_pylist(rows, schema=inputs.candidates.schema)
    config = build_config().model_copy(update={"releases": str(tmp_path / "releases")})
    release = load(publish(replace(inputs, candidates=candidates, config=config)).path)
    exported = EXPORTS["csv"](release, tmp_path / "out")
    found = set()
    for split in ("common", "counter"):
        with (exported.path / f"{split}.csv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                assert not [cell for cell in row.values() if cell.startswith(tuple("=+-@\t\r"))]
                found.add(row["attribution"])
    assert found == {*(f"'{text}" for text in credits[:-1]), credits[-1]}


def test_the_hub_export_counts_what_it_holds(inputs: ReleaseInputs, photo_folder: Path, tmp_path: Path) -> None:
    """Photos that could not be fetched, or may not be passed on, are missing, and every row is one or the other."""
    rows = inputs.candidates.to_pylist()
    for number, row in enumerate(rows):
        row["license"] = None if number % 5 == 0 else row["license"]
    candidates = pa.Table.from_pylist(rows, schema=inputs.candidates.schema)
    config = build_config().model_copy(update={"releases": str(tmp_path / "releases")})
    folder = publish(replace(inputs, candidates=candidates, config=config)).path
    some = tmp_path / "some"
    some.mkdir()
    for number, path in enumerate(sorted(photo_folder.iterdir())):
        if number % 2:
            (some / path.name).symlink_to(path)
    release = load(folder, mirrors=(str(some),), cache=tmp_path / "cache")
    exported = EXPORTS["hub"](release, tmp_path / "out")
    tables = [pq.read_table(path) for path in exported.path.rglob("*.parquet")]
    held = {row["photo_id"]: row["image"] for table in tables for row in table.to_pylist()}
    assert set(exported.missing) == {photo_id for photo_id, image in held.items() if image is None}
    assert exported.num_photos == sum(image is not None for image in held.values()) > 0
    reasons = set(exported.missing.values())
    assert "its licence does not allow passing it on" in reasons and len(reasons) > 1


def test_the_same_photos_give_the_same_archives(release: Release, tmp_path: Path) -> None:
    first, second = (EXPORTS["webdataset"](release, tmp_path / name).path for name in ("a", "b"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes()


def test_missing_photos_are_named(release_folder: Path, photo_folder: Path, tmp_path: Path) -> None:
    partial = tmp_path / "partial"
    partial.mkdir()
    release = load(release_folder, mirrors=(str(partial),), cache=tmp_path / "cache")
    lost = release.common["sha256"].to_pylist()[:3]
    for row in release.common.to_pylist() + release.counter.to_pylist():
        if row["sha256"] not in lost:
            (partial / row["sha256"]).symlink_to(photo_folder / row["sha256"])
    exported = EXPORTS["imagefolder"](release, tmp_path / "out")
    assert sorted(exported.missing) == sorted(release.common["photo_id"].to_pylist()[:3])
    assert exported.num_photos == release.common.num_rows + release.counter.num_rows - 3


def test_a_folder_in_use_is_left_alone(release: Release, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    for export in EXPORTS.values():
        with pytest.raises(ReleaseError, match="is not empty; export into a new folder"):
            export(release, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_hostile_names_stay_in_the_folder(inputs: ReleaseInputs, photo_folder: Path, tmp_path: Path) -> None:
    """A foreign manifest may name its photos, classes and backgrounds as it likes."""
    config = build_config().model_copy(update={"releases": str(tmp_path / "releases")})
    folder = publish(replace(inputs, config=config)).path
    release = load(folder, mirrors=(str(photo_folder),), cache=tmp_path / "cache")
    first = release.common["class_id"][0].as_py()

    class Foreign:
        name = release.name
        path, metadata = release.path, release.metadata
        class_names = release.class_names
        labels: ClassVar[dict[str, int]] = {**release.labels, "../../evil": 3, "/abs": 4}
        counter = release.counter
        changed_photos = release.changed_photos

        def __init__(self) -> None:
            rows: list[dict[str, Any]] = release.common.to_pylist()
            self._real = {row["photo_id"]: row["photo_id"] for row in rows}
            for row, (class_id, background, photo_id) in zip(
                rows,
                (("../../evil", "../b", "../../p.q"), ("/abs", "..", "/etc/x"), (first, "a/b\x00", "c.d.e")),
                strict=False,
            ):
                self._real[photo_id] = row["photo_id"]
                row |= {"class_id": class_id, "background": background, "photo_id": photo_id}
            self.common = type(release.common).from_pylist(rows, schema=release.common.schema)

        def parts(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
            yield getattr(self, name).select(columns)

        def photo(self, photo_id: str) -> bytes:
            return release.photo(self._real.get(photo_id, photo_id))

    before = set(tmp_path.rglob("*"))
    results: list[Exported] = [
        EXPORTS["imagefolder"](Foreign(), tmp_path / "a"),
        EXPORTS["webdataset"](Foreign(), tmp_path / "b"),
    ]
    for path in set(tmp_path.rglob("*")) - before:
        assert path.is_relative_to(tmp_path / "a") or path.is_relative_to(tmp_path / "b") or "cache" in str(path)
    total = release.common.num_rows + release.counter.num_rows
    assert [result.num_photos for result in results] == [total, total]
    assert len([path for path in (tmp_path / "a").rglob("*") if path.is_file()]) == total


def test_classes_without_an_index_are_their_own_labels(
    inputs: ReleaseInputs, photo_folder: Path, tmp_path: Path
) -> None:
    classes = tuple(ClassSpec(spec.class_id, f"kind {i}\nof") for i, spec in enumerate(inputs.classes))
    config = build_config().model_copy(update={"releases": str(tmp_path / "releases")})
    folder = publish(replace(inputs, classes=classes, config=config)).path
    exported = EXPORTS["webdataset"](load(folder, mirrors=(str(photo_folder),), cache=tmp_path / "c"), tmp_path / "out")
    names = (exported.path / "little-animals-common" / "classnames.txt").read_text().splitlines()
    assert names == [f"kind {i} of" for i in range(len(classes))]


def test_captions_pair_the_same_photos_with_each_kind(release: Release, tmp_path: Path) -> None:
    exported = EXPORTS["captions"](release, tmp_path / "out")
    tables = {kind: pq.read_table(exported.path / f"{kind}.parquet") for kind in CAPTION_KINDS}
    photos = tables["object"]["photo_id"].to_pylist()
    assert len(photos) == exported.num_photos > 3
    for table in tables.values():
        assert table["photo_id"].to_pylist() == photos
        assert all(table["caption"].to_pylist())
    backgrounds = {
        row["photo_id"]: row["background"] for row in [*release.common.to_pylist(), *release.counter.to_pylist()]
    }
    for photo_id, caption in zip(photos, tables["object_background"]["caption"].to_pylist(), strict=True):
        assert backgrounds[photo_id] in caption


@pytest.mark.parametrize("layout", EXPORTS.own)
def test_nothing_to_export_is_refused_and_leaves_nothing(layout: str, release: Release, tmp_path: Path) -> None:
    release.verdicts = ()
    with pytest.raises(ReleaseError, match="no photo of a class with the wanted verdicts"):
        EXPORTS[layout](release, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", ["imagefolder", "webdataset"])
def test_photos_that_cannot_be_fetched_are_no_export(
    layout: str, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: Release, photo_id: str) -> bytes:
        raise ReleaseError(f"photo {photo_id} could not be fetched")

    monkeypatch.setattr(Release, "photo", away)
    with pytest.raises(ReleaseError, match=r"none of the \d+ photos could be exported.*could not be fetched"):
        EXPORTS[layout](release, tmp_path / "out")
    assert not (tmp_path / "out").exists()
