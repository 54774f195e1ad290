"""The real img2dataset, over HTTP, from the look-alike photo host."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest

from counterset.config import DownloadConfig
from counterset.demo.server_process import ServerProcess
from counterset.demo.world import demo_catalog
from counterset.errors import SourceUnavailable
from counterset.schemas import CANDIDATES
from counterset.stages.download import download_photos
from counterset.tables import table_of

HOST = "https://inaturalist-open-data.s3.amazonaws.com"


def candidates(urls: dict[str, str]) -> pa.Table:
    blank = {column.name: None for column in CANDIDATES.columns}
    rows = [
        blank
        | {"photo_id": photo_id, "class_id": "lion", "source": "inaturalist", "url": url}
        | {"observation_id": photo_id, "observer_id": photo_id}
        for photo_id, url in urls.items()
    ]
    return table_of(CANDIDATES, rows)


def test_bytes_come_back_under_their_own_ids(tmp_path: Path) -> None:
    catalog, truth = demo_catalog(4, 0)
    faults = dict(zip(truth["photo_id"].to_pylist(), truth["fault"].to_pylist(), strict=True))
    photos = {photo.photo_id: photo for observation in catalog.observations for photo in observation.photos}
    urls = {
        f"inaturalist-{photo_id}": f"{HOST}/photos/{photo_id}/original.{photo.extension}"
        for photo_id, photo in photos.items()
    }
    urls |= {"bad-scheme": "gopher://127.0.0.1/x", "no-such": f"{HOST}/photos/999999999999/medium.jpg"}
    local = tmp_path / "own photo.jpg"
    local.write_bytes(b"bytes of a folder source")
    urls["own"] = local.as_uri()
    with ServerProcess("--photos-per-class", "4", "--seed", "0") as server:
        result = download_photos(
            candidates(urls),
            tmp_path / "scratch",
            DownloadConfig(shard_size=1000),
            user_agent="counterset/test (tests@localhost)",
            photo_host=server.photo_url,
        )
        agents = {record.user_agent for record in server.requests() if "/photos/" in record.path}
    images = dict(zip(result.images["photo_id"].to_pylist(), result.images["image"].to_pylist(), strict=True))
    rejects = {row["photo_id"]: row for row in result.rejects.to_pylist()}
    assert images.keys() | rejects.keys() == urls.keys() and not images.keys() & rejects.keys()
    served = [photo_id for photo_id, fault in faults.items() if fault is None]
    assert len(served) >= 32
    for photo_id in served:
        expected = hashlib.sha256(catalog.original_bytes(photo_id)).hexdigest()
        assert hashlib.sha256(images[f"inaturalist-{photo_id}"]).hexdigest() == expected
    assert images["own"] == b"bytes of a folder source"
    assert rejects["bad-scheme"]["reason"] == "url_refused"
    assert rejects["no-such"]["reason"] == "gone"
    assert all("counterset/test" in agent for agent in agents)
    assert not (tmp_path / "scratch").exists()


def test_a_host_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    table = candidates({"a": f"{HOST}/photos/1/medium.jpg"})
    with pytest.raises(SourceUnavailable, match="none of 1 photos"):
        download_photos(
            table,
            tmp_path / "scratch",
            DownloadConfig(retries=0, timeout_s=2),
            user_agent="counterset/test",
            photo_host="http://127.0.0.1:9",
        )


def test_a_photo_over_the_cap_is_a_reject(tmp_path: Path) -> None:
    large, small = tmp_path / "large.jpg", tmp_path / "small.jpg"
    large.write_bytes(b"x" * 101)
    small.write_bytes(b"x" * 100)
    result = download_photos(
        candidates({"large": large.as_uri(), "small": small.as_uri()}),
        tmp_path / "scratch",
        DownloadConfig(max_size_bytes=100),
        user_agent="counterset/test",
    )
    assert result.images["photo_id"].to_pylist() == ["small"]
    assert [(row["photo_id"], row["reason"]) for row in result.rejects.to_pylist()] == [("large", "too_large")]
