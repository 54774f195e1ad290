"""Photos from several places, and photos whose bytes have changed while their pictures have not."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from counterset.errors import ReleaseError
from counterset.pictures import Picture
from counterset.release.photo_store import Changed, PhotoStore

from .build_inputs import draw_photo

CONTENT, OTHER = draw_photo("a", "grass"), draw_photo("b", "snow")


def encoded_anew(content: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(content)).save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


ANEW = encoded_anew(CONTENT)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The folder `web` over HTTP."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    (tmp_path / "web").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def store(tmp_path: Path, url: str = "gone.jpg", **options: Any) -> PhotoStore:
    row = (url, digest(CONTENT), len(CONTENT), Picture.read(CONTENT).phash())
    return PhotoStore({"x": row}, tmp_path / "cache", **options)


def place(tmp_path: Path, **contents: bytes) -> tuple[str, ...]:
    """Mirrors, in order, that hold these files for the photo."""
    for name, content in contents.items():
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "x.jpg").write_bytes(content)
    return tuple(f"{tmp_path}/{name}/{{photo_id}}.jpg" for name in contents)


def test_the_next_place_is_asked_where_one_fails(served: str, tmp_path: Path) -> None:
    mirrors = ("/nowhere", f"{served}/nothing", *place(tmp_path, first=OTHER, second=CONTENT, third=ANEW))
    own = store(tmp_path, mirrors=mirrors)
    assert own.get("x") == CONTENT and not own.changed


def test_the_mirror_that_a_release_names_is_asked_last(served: str, tmp_path: Path) -> None:
    """It is outside text: no file of this machine, and no private host unless it is allowed."""
    (tmp_path / "web" / "x.jpg").write_bytes(CONTENT)
    named = f"{served}/{{photo_id}}.jpg"
    with pytest.raises(ReleaseError, match=r"gone\.jpg: not an http or https address; .*: .*private address"):
        store(tmp_path, own_mirrors=(named,)).get("x")
    with pytest.raises(ReleaseError, match="not an http or https address"):
        store(tmp_path, own_mirrors=(f"{tmp_path}/web/{{photo_id}}.jpg",)).get("x")
    allowed = (served.removeprefix("http://"),)
    assert store(tmp_path, own_mirrors=(named,), allowed_hosts=allowed).get("x") == CONTENT


def test_other_bytes_of_the_same_picture_are_taken_on_request_and_told(tmp_path: Path) -> None:
    mirrors = place(tmp_path, first=OTHER, second=ANEW)
    with pytest.raises(ReleaseError, match="other bytes than the release names"):
        store(tmp_path, mirrors=mirrors).get("x")
    own = store(tmp_path, mirrors=mirrors, max_bits=4)
    assert own.get("x") == ANEW
    num_bits = own.changed["x"].num_bits
    assert own.changed == {"x": Changed(digest(ANEW), num_bits)} and num_bits <= 4


def test_the_photo_itself_comes_before_its_like(tmp_path: Path) -> None:
    own = store(tmp_path, mirrors=place(tmp_path, first=ANEW, second=CONTENT), max_bits=4)
    assert own.get("x") == CONTENT
    assert store(tmp_path, max_bits=4).get("x") == CONTENT, "and is what later runs read"


def test_another_picture_is_never_taken(tmp_path: Path) -> None:
    for content in (OTHER, b"no picture"):
        own = store(tmp_path, mirrors=place(tmp_path, first=content), max_bits=4)
        with pytest.raises(ReleaseError, match="another picture than the release's"):
            own.get("x")
        assert not own.changed


def test_what_was_taken_is_read_again_on_request_alone(tmp_path: Path) -> None:
    assert store(tmp_path, mirrors=place(tmp_path, first=ANEW), max_bits=4).get("x") == ANEW
    again = store(tmp_path, max_bits=4)
    assert again.get("x") == ANEW and list(again.changed) == ["x"]
    with pytest.raises(ReleaseError, match="could not be fetched"):
        store(tmp_path).get("x")
    for kept in (tmp_path / "cache").rglob("*.changed"):
        kept.write_bytes(OTHER)
    with pytest.raises(ReleaseError, match="could not be fetched"):
        store(tmp_path, max_bits=4).get("x")
