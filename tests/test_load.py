"""Loading: by name, folder or address; altered releases are refused; photos come checked."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from counterset.errors import ReleaseError, WorkspaceError
from counterset.load import load
from counterset.release.photo_store import PhotoStore
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.writer import publish
from counterset.release.versions import fetched, locate
from counterset.schemas import SCHEMA_VERSION

from .release.build_inputs import build_config, build_inputs, drop_photos, with_tables
from .release.forging import reseal, restate


@pytest.fixture(scope="module")
def inputs() -> ReleaseInputs:
    return build_inputs(3, 60)


@pytest.fixture(scope="module")
def home(inputs: ReleaseInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a release; the newer lacks one photo."""
    folder = tmp_path_factory.mktemp("releases")
    config = build_config().model_copy(update={"releases": str(folder)})
    publish(with_tables(inputs, config=config))
    fewer = drop_photos(inputs, {sorted(inputs.members["photo_id"].to_pylist())[0]})
    publish(with_tables(fewer, config=config))
    return folder / "little-animals"


@pytest.fixture
def copied(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home / "1.0.0", tmp_path / "copied"))


@pytest.fixture
def server(home: Path) -> Iterator[str]:
    """The releases over HTTP on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            if self.path.startswith("/redirect-to-file"):
                self.send_response(302)
                self.send_header("Location", "file:///etc/hostname")
                self.end_headers()
            else:
                super().do_GET()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(home))) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()


def test_import_is_light() -> None:
    code = (
        "import sys, time; t = time.perf_counter(); import counterset; took = time.perf_counter() - t;"
        "heavy = {'pyarrow', 'numpy', 'torch', 'pandas', 'duckdb', 'pydantic', 'requests', 'PIL', 'prefect', 'jinja2'};"
        "print(sorted(heavy & set(sys.modules)), took)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    modules, took = out.rsplit(" ", 1)
    assert modules == "[]"
    assert float(took) < 0.5


def test_the_first_row_needs_nothing_heavy_but_arrow(home: Path) -> None:
    """pyarrow imports pandas for the least thing; with pydantic's classes it was most of the time to the first row."""
    heavy = {"pandas", "pydantic", "duckdb", "requests", "torch", "PIL", "jinja2", "pyarrow.compute"}
    code = (
        f"import sys, counterset; counterset.load({str(home)!r}).common[:1].to_pylist();"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_a_folder_a_version_and_the_newest(home: Path) -> None:
    assert load(home).version == "2.0.0"
    assert load(home, version="1.0.0").version == "1.0.0"
    assert load(home / "1.0.0").version == "1.0.0"
    with pytest.raises(ReleaseError, match=r"has no version 3\.0\.0; it has 1\.0\.0, 2\.0\.0"):
        load(home, version="3.0.0")
    with pytest.raises(ReleaseError, match=r"is version 1\.0\.0, not 2\.0\.0"):
        load(home / "1.0.0", version="2.0.0")
    with pytest.raises(ReleaseError, match="no release at /nowhere"):
        load("/nowhere")


def test_a_packaged_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "manifest_path", lambda name: home.parent)
    assert load("little-animals").version == "2.0.0"
    with pytest.raises(ReleaseError, match=r"a packaged name \(little-animals\)"):
        load("big-animals")


def test_tables_and_verdicts(home: Path) -> None:
    release = load(home)
    verdicts = {row["class_id"]: row["verdict"] for row in release.pairs.to_pylist()}
    assert set(release.common["verdict"].to_pylist()) <= {"confirmed"}
    everything = load(home, verdicts=("confirmed", "unconfirmed"))
    assert everything.common.num_rows == everything.table("common").num_rows
    for row in everything.common.to_pylist() + everything.counter.to_pylist():
        assert verdicts[row["class_id"]] == row["verdict"]
    pairs = {row["class_id"]: row for row in release.pairs.to_pylist()}
    for split in ("common", "counter"):
        for row in everything.table(split).to_pylist():
            assert row["background"] == pairs[row["class_id"]][split]
        assert everything.table(split).num_rows == sum(row[f"num_{split}"] for row in pairs.values()) - (
            0 if everything.version == "1.0.0" else _lost(home, split)
        )
    with pytest.raises(ReleaseError, match="unknown verdict 'sure'"):
        load(home, verdicts=("sure",))
    with pytest.raises(ReleaseError, match="has no table 'secrets'"):
        release.table("secrets")


def _lost(home: Path, split: str) -> int:
    return load(home, "1.0.0").table(split).num_rows - load(home, "2.0.0").table(split).num_rows


@pytest.mark.parametrize("name", ["pairs.parquet", "report.html", "data/common-00000-of-00001.parquet", "release.json"])
def test_an_altered_file_is_refused(copied: Path, name: str) -> None:
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(ReleaseError, match=r"is altered|cannot be read"):
        load(copied)


def test_a_missing_file_is_refused(copied: Path) -> None:
    (copied / "pairs.parquet").unlink()
    with pytest.raises(ReleaseError, match=r"lacks pairs\.parquet, which SHA256SUMS lists; fetch"):
        load(copied)
    (copied / "SHA256SUMS").unlink()
    with pytest.raises(ReleaseError, match="cannot be read"):
        load(copied)


def test_a_newer_schema_is_refused(copied: Path) -> None:
    restate(copied, schema_version=SCHEMA_VERSION + 1)
    with pytest.raises(ReleaseError, match="newer than 1; upgrade counterset"):
        load(copied)
    restate(copied, format="something")
    with pytest.raises(ReleaseError, match="holds no release of counterset"):
        load(copied)


def test_a_table_under_another_name_is_refused(copied: Path) -> None:
    (copied / "captions.parquet").write_bytes((copied / "rejects.parquet").read_bytes())
    reseal(copied)
    release = load(copied)
    with pytest.raises(ReleaseError, match=r"captions\.parquet cannot be used .*holds the table 'rejects'"):
        _ = release.captions
    (copied / "pairs.parquet").write_bytes(b"PAR1 no parquet PAR1")
    reseal(copied, rows=False)
    with pytest.raises(ReleaseError, match=r"pairs\.parquet cannot be used"):
        _ = load(copied).pairs


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "data/../../x", "a\\..\\b", "C:evil"])
def test_a_path_that_leaves_the_folder_is_refused(copied: Path, path: str) -> None:
    with (copied / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  {path}\n")
    with pytest.raises(ReleaseError, match="which no release may hold"):
        load(copied)


def test_over_http(server: str, home: Path, tmp_path: Path) -> None:
    release = load(f"{server}/", "1.0.0", cache=tmp_path)
    assert release.pairs.equals(load(home / "1.0.0").pairs)
    again = load(f"{server}/1.0.0", cache=tmp_path)
    assert again.path == release.path
    assert not list((tmp_path / "releases").glob(".*"))
    with pytest.raises(ReleaseError, match="check the address and the network"):
        load(f"{server}/9.9.9", cache=tmp_path)
    with pytest.raises(ReleaseError, match="not read from http://"):
        load("http://releases.example.org/x", cache=tmp_path)
    with pytest.raises(ReleaseError, match="not read from ftp://"):
        load("ftp://releases.example.org/x", cache=tmp_path)


def test_a_remote_release_is_no_larger_than_it_says_nor_than_there_is_room(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written of one that says too much, and of a file no more than is said of it."""
    asked: list[str] = []

    def endless(url: str) -> Iterator[bytes]:
        asked.append(url)
        if url.endswith(("SHA256SUMS", "release.json")):
            yield (copied / url.rpartition("/")[2]).read_bytes()
            return
        while True:
            yield bytes(1 << 20)

    monkeypatch.setattr(fetched, "_http", endless)
    cache = tmp_path / "cache"
    with pytest.raises(ReleaseError, match=r"CHANGELOG\.md is larger than release\.json says"):
        load("https://releases.example.org/1.0.0", cache=cache)
    assert not [path for path in cache.rglob("*") if path.is_file()]
    metadata = json.loads((copied / "release.json").read_text())
    stated = sum(entry["size_bytes"] for entry in metadata["files"].values())
    with pytest.raises(ReleaseError, match=f"says that it has {stated:,} bytes, more than the 1,000"):
        load("https://releases.example.org/1.0.0", cache=cache, max_bytes=1_000)
    for size, message in ((10**15, "more than the 100,000,000,000"), (99_000_000_000, "there is room for")):
        metadata["files"]["data/common-00000-of-00001.parquet"]["size_bytes"] = size
        restate(copied, **metadata)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**11, 0, 10**10))  # type: ignore[attr-defined]
        asked.clear()
        with pytest.raises(ReleaseError, match=message):
            load("https://releases.example.org/1.0.0", cache=cache)
        assert len(asked) == 2
        assert not [path for path in cache.rglob("*") if path.is_file()]


def test_an_altered_copy_is_fetched_again(home: Path, server: str, tmp_path: Path) -> None:
    kept = load(f"{server}/1.0.0", cache=tmp_path).path
    (kept / "pairs.parquet").write_bytes(b"altered")
    assert load(f"{server}/1.0.0", cache=tmp_path).pairs.equals(load(home, "1.0.0").pairs)


def test_names_that_no_folder_has(tmp_path: Path) -> None:
    for text in ("a" * 300, "a\0b", "", ".", f"{tmp_path}/{'b/' * 3000}"):
        with pytest.raises(ReleaseError, match="no release at"):
            load(text)


def test_an_altered_remote_is_refused_and_not_kept(home: Path, server: str, tmp_path: Path) -> None:
    altered = home / "altered"
    shutil.copytree(home / "1.0.0", altered)
    try:
        for content in (b"short", (altered / "pairs.parquet").read_bytes() + b"longer"):
            (altered / "pairs.parquet").write_bytes(content)
            with pytest.raises(ReleaseError, match=r"does not match|larger than release\.json says"):
                load(f"{server}/altered", cache=tmp_path)
        assert list((tmp_path / "releases").iterdir()) == []
    finally:
        shutil.rmtree(altered)


def test_photos_from_a_mirror_are_checked_and_cached(home: Path, inputs: ReleaseInputs, tmp_path: Path) -> None:
    release = load(home, mirrors=(f"{tmp_path}/photos/{{photo_id}}.jpg",), cache=tmp_path / "cache")
    (tmp_path / "photos").mkdir()
    photo_id = release.common["photo_id"][0].as_py()
    content = inputs.photo_bytes(photo_id)
    assert content is not None
    (tmp_path / "photos" / f"{photo_id}.jpg").write_bytes(content + b"!")
    with pytest.raises(ReleaseError, match=r"other bytes than the release names.*give a mirror"):
        release.photo(photo_id)
    (tmp_path / "photos" / f"{photo_id}.jpg").write_bytes(content)
    assert release.photo(photo_id) == content
    (tmp_path / "photos" / f"{photo_id}.jpg").unlink()
    assert release.photo(photo_id) == content
    for kept in (tmp_path / "cache" / "photos").rglob("*"):
        if kept.is_file():
            kept.write_bytes(b"damaged")
    with pytest.raises(ReleaseError, match="could not be fetched"):
        release.photo(photo_id)
    with pytest.raises(ReleaseError, match="no photo 'x'"):
        release.photo("x")


def test_photo_urls_are_not_trusted(server: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    digest, host = hashlib.sha256(b"secret").hexdigest(), server.removeprefix("http://")

    def store(url: str, **options: Any) -> PhotoStore:
        return PhotoStore({"x": (url, digest, 6, b"")}, tmp_path / "cache", **options)

    for url in (f"{tmp_path}/secret", f"file://{tmp_path}/secret", "ftp://x.org/a", f"{server}/1.0.0/README.md"):
        with pytest.raises(ReleaseError, match="could not be fetched"):
            store(url, mirrors=("/nowhere",)).get("x")
    with pytest.raises(ReleaseError, match="private address"):
        store(f"{server}/1.0.0/README.md").get("x")
    with pytest.raises(ReleaseError, match="more bytes than the release names"):
        store(f"{server}/1.0.0/README.md", allowed_hosts=(host,)).get("x")
    with pytest.raises(ReleaseError, match="scheme 'file'"):
        store(f"{server}/redirect-to-file", allowed_hosts=(host,)).get("x")
    (tmp_path / "a #1?.jpg").write_bytes(b"secret")
    assert store("a #1?.jpg", mirrors=(f"{tmp_path}/{{path}}",)).get("x") == b"secret"
    shutil.rmtree(tmp_path / "cache")
    assert store("../../secret", mirrors=(f"{tmp_path}/{{path}}",)).get("x") == b"secret"


def test_a_photo_over_http(server: str, home: Path, tmp_path: Path) -> None:
    content = (home / "1.0.0" / "README.md").read_bytes()
    rows = {"x": (f"{server}/1.0.0/README.md", hashlib.sha256(content).hexdigest(), len(content), b"")}
    store = PhotoStore(rows, tmp_path, allowed_hosts=(server.removeprefix("http://"),))
    assert store.get("x") == content
    assert len(list((tmp_path / "photos").rglob("*"))) == 2


def test_fetch_brings_photos_into_the_cache(home: Path, inputs: ReleaseInputs, tmp_path: Path) -> None:
    release = load(home, mirrors=(str(tmp_path / "mirror"),), cache=tmp_path / "cache")
    wanted = {**dict(_photos(release.common)), **dict(_photos(release.counter))}
    lost = sorted(wanted)[0]
    (tmp_path / "mirror").mkdir()
    for photo_id, digest in wanted.items():
        content = inputs.photo_bytes(photo_id)
        assert content is not None
        if photo_id != lost:
            (tmp_path / "mirror" / digest).write_bytes(content)
    assert list(release.fetch(threads=3)) == [lost]
    shutil.rmtree(tmp_path / "mirror")
    again = load(home, cache=tmp_path / "cache")
    assert all(again.photo(photo_id) for photo_id in wanted if photo_id != lost)


def _photos(table: Any) -> list[tuple[str, str]]:
    return list(zip(table["photo_id"].to_pylist(), table["sha256"].to_pylist(), strict=True))


def test_to_torch(home: Path, inputs: ReleaseInputs, tmp_path: Path) -> None:
    for row in inputs.photos.to_pylist():
        content = inputs.photo_bytes(row["photo_id"])
        assert content is not None
        (tmp_path / row["sha256"]).write_bytes(content)
    release = load(home, verdicts=("confirmed", "unconfirmed"), mirrors=(str(tmp_path),), cache=tmp_path / "cache")
    sets = release.to_torch(transform=lambda image: image.size)
    for split in ("common", "counter"):
        rows = release.table(split)
        assert len(sets[split]) == rows.num_rows
        assert [sets[split][i][1] for i in range(5)] == rows["imagenet_index"].to_pylist()[:5]
        assert sets[split][0][0] in ((240, 180), (180, 240), (220, 220))
    assert release.to_torch()["common"][0][0].mode == "RGB"


def test_to_polars_and_hf(home: Path) -> None:
    release = load(home)
    for split in ("common", "counter"):
        table = getattr(release, split)
        assert release.to_polars()[split].to_arrow()["photo_id"].to_pylist() == table["photo_id"].to_pylist()
        assert release.to_hf()[split]["photo_id"] == table["photo_id"].to_pylist()


def test_without_imagenet_indices_labels_count_the_classes(inputs: ReleaseInputs, tmp_path: Path) -> None:
    from dataclasses import replace

    classes = tuple(replace(spec, imagenet_index=None) for spec in inputs.classes)
    config = build_config().model_copy(update={"releases": str(tmp_path)})
    release = load(publish(replace(inputs, classes=classes, config=config)).path)
    assert list(release.labels.values()) == [0, 1, 2]
    assert list(release.class_names) == [spec.class_id for spec in classes]


def test_over_s3(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The s3 way, through pyarrow's own file system interface with a local folder behind it."""
    from pyarrow import fs

    def from_uri(uri: str) -> tuple[fs.FileSystem, str]:
        assert uri.startswith("s3://bucket/")
        return fs.SubTreeFileSystem(str(home), fs.LocalFileSystem()), uri.removeprefix("s3://bucket/")

    def unlisted(pattern: str) -> None:
        raise WorkspaceError("s3://bucket cannot be reached")

    monkeypatch.setattr(fetched, "_s3_file", from_uri)
    monkeypatch.setattr(fetched, "place", lambda _: SimpleNamespace(glob=unlisted))  # there is no network
    release = load("s3://bucket", "2.0.0", cache=tmp_path)
    assert release.pairs.equals(load(home, "2.0.0").pairs)
    with pytest.raises(ReleaseError, match="check the address and your credentials"):
        load("s3://bucket/nothing", cache=tmp_path)
