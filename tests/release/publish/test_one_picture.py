"""One photo, one picture: as the build evaluated it, in bundles, exports and torch, whatever the file says."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from counterset.errors import ReleaseError
from counterset.load import Release, load
from counterset.models.open_clip_encoder import load_encoder
from counterset.pictures import Picture, rgb
from counterset.release.exports import EXPORTS
from counterset.release.photo_store import BundledPhotos
from counterset.release.publish.writer import publish

from ...odd_photos import GREY_16, PHOTOS, assert_same, encoded
from ..build_inputs import build_config, build_inputs

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:Palette images with Transparency"),  # Pillow's doubts, of other readers
]

CONTENTS = [*PHOTOS.values(), GREY_16]


@dataclass(frozen=True)
class Odd:
    """A release of odd photos: with them, without them but with a mirror, and what each file was."""

    bundled: Release
    mirrored: Release
    contents: Mapping[str, bytes]

    @property
    def rows(self) -> list[dict[str, object]]:
        return [*self.bundled.common.to_pylist(), *self.bundled.counter.to_pylist()]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Odd:
    root = tmp_path_factory.mktemp("odd")
    inputs = build_inputs(6, 400, with_photos=False)
    photo_ids = inputs.photos["photo_id"].to_pylist()
    contents = {photo_id: CONTENTS[number % len(CONTENTS)] for number, photo_id in enumerate(photo_ids)}
    (root / "mirror").mkdir()
    photos, candidates = inputs.photos.to_pylist(), inputs.candidates.to_pylist()
    for row in photos:
        content = contents[row["photo_id"]]
        row |= {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        (root / "mirror" / row["sha256"]).write_bytes(content)
    for number, row in enumerate(candidates):
        row["license"] = "cc-by-nd" if number % 5 == 0 else "cc-by"
    inputs = replace(
        inputs,
        photos=pa.Table.from_pylist(photos, inputs.photos.schema),
        candidates=pa.Table.from_pylist(candidates, inputs.candidates.schema),
        photo_bytes=contents.get,
    )

    def published(name: str, *, with_images: bool) -> Path:
        config = build_config(with_images=with_images).model_copy(update={"releases": str(root / name)})
        return Path(publish(replace(inputs, config=config)).path)

    every = ("confirmed", "unconfirmed")
    return Odd(
        load(published("bundled", with_images=True), verdicts=every, cache=root / "none"),
        load(published("plain", with_images=False), verdicts=every, mirrors=[str(root / "mirror")], cache=root / "c"),
        contents,
    )


def test_every_kind_of_photo_is_in_the_release(odd: Odd) -> None:
    assert {odd.contents[str(row["photo_id"])] for row in odd.rows} == set(CONTENTS)
    assert all(row["image"] is not None for row in odd.rows)


def test_features_are_the_same_over_the_whole_path(odd: Odd) -> None:
    encoder = load_encoder("demo:selector")
    photo_ids = [str(row["photo_id"]) for row in odd.rows][:60]
    evaluated = encoder.encode_images([odd.contents[photo_id] for photo_id in photo_ids], 16)
    for release in (odd.bundled, odd.mirrored):
        again = encoder.encode_images([release.photo(photo_id) for photo_id in photo_ids], 16)
        np.testing.assert_array_equal(again, evaluated)
        shown = {
            dataset.photo_ids[position]: encoded(dataset[position][0], "PNG")
            for dataset in release.to_torch().values()
            for position in range(len(dataset))
        }
        given = encoder.encode_images([shown[photo_id] for photo_id in photo_ids], 16)
        np.testing.assert_array_equal(given, evaluated)


def is_shown_plainly(row: Mapping[str, object], content: bytes) -> bool:
    """Whether the licence or the file lets a reader that knows nothing see the picture."""
    return row["license"] != "cc-by-nd" or Picture.read(content).is_plain


@pytest.mark.parametrize("way", ["bundled", "mirrored"])
def test_image_folders_show_it_to_torchvision(
    odd: Odd, way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from torchvision.datasets import ImageFolder

    release: Release = getattr(odd, way)
    exported = EXPORTS["imagefolder"](release, tmp_path / "out")
    rows = {str(row["photo_id"]): row for row in odd.rows}
    assert exported.num_photos == len(rows) and not exported.missing
    read = ImageFolder(str(exported.path))
    num_turned = num_kept = 0
    for position, (path, _) in enumerate(read.samples):
        photo_id = Path(path).stem
        content = odd.contents[photo_id]
        if is_shown_plainly(rows[photo_id], content):
            assert_same(read[position][0], rgb(content))
            num_turned += not Picture.read(content).is_plain
        else:
            assert Path(path).read_bytes() == release.photo(photo_id)
            num_kept += 1
            assert photo_id in exported.as_stored
    assert num_turned > 5 and num_kept == len(exported.as_stored) > 0
    assert f"{num_kept} photos keep their orientation tag" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdatasets_show_it_to_plain_readers(odd: Odd, tmp_path: Path) -> None:
    import webdataset

    exported = EXPORTS["webdataset"](odd.mirrored, tmp_path / "out")
    found = 0
    for split in ("common", "counter"):
        urls = [str(path) for path in sorted(exported.path.glob(f"*-{split}/test/*.tar"))]
        for sample in webdataset.WebDataset(urls, shardshuffle=False, empty_check=False):
            row = json.loads(sample["json"])
            assert "image" not in row and "bundled_sha256" not in row
            [content] = [sample[suffix] for suffix in ("jpg", "png", "webp", "gif") if suffix in sample]
            original = odd.contents[row["photo_id"]]
            found += 1
            if is_shown_plainly(row, original):
                assert_same(Image.open(io.BytesIO(content)).convert("RGB"), rgb(original))
    assert found == len(odd.rows)


def test_datasets_of_the_hub_show_it(odd: Odd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    exported = EXPORTS["hub"](odd.bundled, tmp_path / "out")
    read = datasets.load_dataset(str(exported.path), cache_dir=str(tmp_path / "hf"))
    for split in ("common", "counter"):
        for row in read[split]:
            content = odd.contents[row["photo_id"]]
            # `datasets` turns pictures by itself, so a licence that forbids changes is no hindrance; 16 bits are.
            if row["license"] != "cc-by-nd" or content != GREY_16:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    assert_same(row["image"].convert("RGB"), rgb(content))


def test_bundled_bytes_have_a_digest_of_their_own(odd: Odd) -> None:
    for table in (odd.bundled.common, odd.bundled.counter):
        for row in table.select(["photo_id", "image", "bundled_sha256", "sha256"]).to_pylist():
            assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["bundled_sha256"]
            assert hashlib.sha256(odd.contents[row["photo_id"]]).hexdigest() == row["sha256"]
    table = odd.bundled.common
    digests = pa.array(["0" * 64] * table.num_rows)
    other = table.set_column(table.column_names.index("bundled_sha256"), "bundled_sha256", digests)
    with pytest.raises(ReleaseError, match="fetch the release again"):
        BundledPhotos([other]).get(table["photo_id"][0].as_py())
    # Releases of the first edition have none.
    first = table.drop_columns(["bundled_sha256"])
    assert BundledPhotos([first]).get(table["photo_id"][0].as_py()) == table["image"][0].as_py()["bytes"]


def test_nothing_personal_is_bundled(odd: Odd) -> None:
    for path in (odd.bundled.path / "data").glob("*.parquet"):
        assert b"secret" not in path.read_bytes()
    for row in odd.rows:
        assert b"secret" not in row["image"]["bytes"]  # type: ignore[index]
