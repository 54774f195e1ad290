"""The appearance of photos is measured once per shard, of those that decode, and filed under a key of its own."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from counterset.photo_rows import Beside
from counterset.schemas import IMAGES, PHOTOS
from counterset.steps import causes_steps
from counterset.steps.causes_steps import appearance_key, measured
from counterset.tables import table_of, write_table
from counterset.workspace import Workspace


def photo(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (grey, grey, grey)).save(buffer, "PNG")
    return buffer.getvalue()


def build_with(folder: Path, **shards: dict[str, bytes]) -> Any:
    """A build as far as this step needs one; photos named `bad...` were not readable."""
    build: Any = SimpleNamespace(workspace=Workspace(str(folder)), pool_key="pool", photos_key="photos")
    for name, photos in shards.items():
        rows = [{"photo_id": photo_id, "image": content} for photo_id, content in photos.items()]
        write_table(table_of(IMAGES, rows), IMAGES, build.workspace.file("images", "pool", name))
        rest = {"sha256": "", "width_px": 8, "height_px": 8, "size_bytes": 1, "phash": b"12345678", "shard": name}
        readable = [{"photo_id": photo_id} | rest for photo_id in photos if not photo_id.startswith("bad")]
        write_table(table_of(PHOTOS, readable), PHOTOS, build.workspace.file("photos", "photos", name))
    return build


def test_each_readable_photo_has_a_row(tmp_path: Path) -> None:
    build = build_with(tmp_path, one={"a": photo(0), "bad": b"no picture"}, two={"b": photo(255), "a": photo(51)})
    found = Beside(measured(build, ["one", "two"], tmp_path), ["luminance"])
    rows = found.of(pa.chunked_array([["a", "b", "bad"]]))
    assert rows["luminance"].to_pylist()[:2] == pytest.approx([0.2, 1.0]), (
        "of a photo in two shards the last one counts"
    )
    assert rows["photo_id"].to_pylist() == ["a", "b", None]


def test_a_measured_shard_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = build_with(tmp_path, one={"a": photo(0)})
    first = measured(build, ["one"], tmp_path).table()

    def refuse(content: bytes) -> dict[str, float]:
        raise AssertionError("decoded again")

    monkeypatch.setattr(causes_steps, "appearance", refuse)
    assert measured(build, ["one"], tmp_path).table() == first
    with pytest.raises(AssertionError, match="decoded again"):
        build.photos_key = "other"
        (tmp_path / "photos/photos").rename(tmp_path / "photos/other")
        measured(build, ["one"], tmp_path)


def test_the_key_has_all_that_decides_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = build_with(tmp_path)
    keys = {appearance_key(build)}
    for name, value in (("REVISION", 2), ("DECODER_VERSION", 99), ("versions", lambda *_: {"pillow": "0"})):
        with monkeypatch.context() as patch:
            patch.setattr(causes_steps, name, value)
            keys.add(appearance_key(build))
    build.photos_key = "other"
    assert len(keys | {appearance_key(build)}) == 5
