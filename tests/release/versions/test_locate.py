"""Which folder a name stands for, which version is the newest, and what is fetched from where."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from counterset.errors import ReleaseError
from counterset.manifests import manifest_path
from counterset.release.versions import fetched, locate
from counterset.release.versions.locate import find_release


def release_at(folder: Path) -> Path:
    """A folder that looks like a release's."""
    folder.mkdir(parents=True)
    (folder / "release.json").write_text("{}")
    return folder


def test_the_newest_version_is_that_of_the_largest_numbers(tmp_path: Path) -> None:
    for version in ("2.11.0", "9.0.0", "10.0.0", "10.0.0.1", "01.0.0", "v11.0.0", "latest"):
        release_at(tmp_path / version)
    (tmp_path / "12.0.0").mkdir()  # unfinished
    (tmp_path / "13.0.0").write_text("")
    assert find_release(tmp_path, None, None) == tmp_path / "10.0.0"
    for newer in ("10.0.1", "10.1.0", "10.2.0", "10.10.0", "11.0.0"):
        release_at(tmp_path / newer)
        assert find_release(tmp_path, None, None) == tmp_path / newer


def test_a_version_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    for version in ("1.0.0", "10.0.0", "9.0.0"):
        release_at(tmp_path / version)
    assert find_release(tmp_path, "9.0.0", None) == tmp_path / "9.0.0"
    with pytest.raises(ReleaseError, match=r"has no version 2\.0\.0; it has 1\.0\.0, 9\.0\.0, 10\.0\.0$"):
        find_release(tmp_path, "2.0.0", None)
    with pytest.raises(ReleaseError, match=r"has no version 2\.0\.0; it has none$"):
        find_release(tmp_path / "empty", "2.0.0", None)
    assert find_release(tmp_path / "9.0.0", None, None) == tmp_path / "9.0.0", "a release's own folder"
    assert find_release(str(tmp_path / "9.0.0"), "1.0.0", None) == tmp_path / "9.0.0", "which `load` refuses"


def test_a_packaged_name_gives_way_to_a_release_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = tmp_path / "packaged"
    release_at(packaged / "releases" / "known" / "1.0.0")
    release_at(packaged / "releases" / "alike" / "2.0.0")
    (packaged / "releases" / "README.md").write_text("")
    monkeypatch.setattr(locate, "manifest_path", lambda name: packaged / name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    assert find_release("known", None, None) == packaged / "releases" / "known" / "1.0.0"
    (home / "known").mkdir()
    assert find_release("known", None, None) == packaged / "releases" / "known" / "1.0.0", "no release in it"
    release_at(home / "alike")
    assert find_release("alike", None, None) == Path("alike")
    for text in ("releases/known", "..", ".", "", "releases\\known"):
        with pytest.raises(ReleaseError, match=r"or a packaged name \(alike, known\)$"):
            find_release(text, None, None)
    monkeypatch.setattr(locate, "manifest_path", lambda name: tmp_path / "nothing" / name)
    with pytest.raises(ReleaseError, match=r"^no release at unknown; .*\(none is packaged\)$"):
        find_release("unknown", None, None)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web host of the folder of a name's versions."""
    [packaged] = manifest_path("releases").glob("*/1.0.0")
    home = tmp_path / "host" / "name"
    shutil.copytree(packaged, home / "1.0.0")
    handler = functools.partial(Quiet, directory=str(tmp_path / "host"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/name", home
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("version", [None, "latest"])
def test_the_newest_version_at_an_address(host: tuple[str, Path], version: str | None, tmp_path: Path) -> None:
    """A web host lists no folders, so the publisher leaves a word there; without it the status is told."""
    address, home = host
    with pytest.raises(ReleaseError, match=r"SHA256SUMS \(.*404"):
        find_release(address, version, tmp_path / "cache")
    (home / "latest.txt").write_text("../2.0.0\n")
    with pytest.raises(ReleaseError, match="404"):
        find_release(address, version, tmp_path / "cache")
    (home / "latest.txt").write_text("1.0.0\n")
    found = find_release(address, version, tmp_path / "cache")
    assert digest_of(found) == digest_of(home / "1.0.0")
    assert find_release(f"{address}/1.0.0", version, tmp_path / "cache") == found, "a release's own address"
    assert find_release(home, version, None) == home / "1.0.0"


class Remote:
    """A release's folder as a host gives it, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []

    def __call__(self, url: str) -> Iterator[bytes]:
        self.asked.append(url)
        content = (self.folder / url.partition("/1.0.0/")[2]).read_bytes()
        for start in range(0, len(content), 1_000):
            yield content[start : start + 1_000]


@pytest.fixture
def remote(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """The packaged release, on a host."""
    [packaged] = manifest_path("releases").glob("*/1.0.0")
    found = Remote(Path(shutil.copytree(packaged, tmp_path_factory.mktemp("host") / "1.0.0")))
    monkeypatch.setattr(fetched, "_http", found)
    monkeypatch.setattr(fetched, "_s3", found)
    return found


def digest_of(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("home", ["https://a.example/r", "s3://bucket/r", "http://127.0.0.1:1/r", "http://localhost/r"])
def test_a_fetched_copy_is_the_release_and_is_fetched_once(remote: Remote, home: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    found = find_release(f"{home}/", "1.0.0", cache)
    assert digest_of(found) == digest_of(remote.folder)
    sums = hashlib.sha256((remote.folder / "SHA256SUMS").read_bytes()).hexdigest()
    assert found == cache / "releases" / sums[:32], "named by what it holds"
    assert [path.name for path in found.parent.iterdir()] == [found.name]
    assert all(url.startswith(f"{home}/1.0.0/") for url in remote.asked)
    remote.asked.clear()
    assert find_release(f"{home}/1.0.0", None, cache) == found
    assert sorted(url.rpartition("/")[2] for url in remote.asked) == ["SHA256SUMS", "release.json"]


@pytest.mark.parametrize("address", ["http://a.example/1.0.0", "ftp://127.0.0.1/1.0.0", "file:///1.0.0"])
def test_other_schemes_are_refused_before_anything_is_asked(remote: Remote, address: str, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"releases are not read from (http|ftp|file)://"):
        find_release(address, None, tmp_path)
    assert remote.asked == []


def test_a_release_json_of_another_release_is_refused(remote: Remote, tmp_path: Path) -> None:
    sums = (remote.folder / "SHA256SUMS").read_bytes()
    text = (remote.folder / "release.json").read_text()
    (remote.folder / "release.json").write_text(text.replace("counterset-demo", "counterset-dem0"))
    (remote.folder / "SHA256SUMS").write_bytes(sums)
    with pytest.raises(ReleaseError, match=r"release\.json"):
        find_release("https://a.example/1.0.0", None, tmp_path)
    assert not (tmp_path / "releases").exists()


def test_listings_are_bounded(remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    largest = max((remote.folder / name).stat().st_size for name in ("SHA256SUMS", "release.json"))
    monkeypatch.setattr(fetched, "MAX_LISTING_BYTES", largest - 1)
    with pytest.raises(ReleaseError, match=f"is larger than {largest - 1} bytes; it is no release"):
        find_release("https://a.example/1.0.0", None, tmp_path)
    monkeypatch.setattr(fetched, "MAX_LISTING_BYTES", largest)
    find_release("https://a.example/1.0.0", None, tmp_path)


def test_a_release_as_large_as_what_may_be_fetched_is(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = ("SHA256SUMS", "release.json")
    total = sum(path.stat().st_size for path in remote.folder.rglob("*") if path.is_file() and path.name not in listed)
    with pytest.raises(ReleaseError, match=f"says that it has {total:,} bytes, more than the {total - 1:,}"):
        find_release("https://a.example/1.0.0", None, tmp_path, total - 1)
    for free, message in ((total - 1, f"there is room for {total - 1:,};"), (-5, "there is room for 0;")):
        usage = shutil._ntuple_diskusage(10**12, 0, 10**9 + free)  # type: ignore[attr-defined]
        monkeypatch.setattr(shutil, "disk_usage", lambda path, usage=usage: usage)
        with pytest.raises(ReleaseError, match=message):
            find_release("https://a.example/1.0.0", None, tmp_path)
    usage = shutil._ntuple_diskusage(10**12, 0, 10**9 + total)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert find_release("https://a.example/1.0.0", None, tmp_path, total).is_dir()


def test_a_copy_that_another_process_finished_first_serves(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.rename

    def late(self: Path, target: Path) -> Path:
        shutil.copytree(self, target)
        return real(self, target)

    monkeypatch.setattr(Path, "rename", late)
    assert digest_of(find_release("https://a.example/1.0.0", None, tmp_path)) == digest_of(remote.folder)
    assert len(list((tmp_path / "releases").iterdir())) == 1

    def never(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", never)
    with pytest.raises(ReleaseError, match="No space left on device; free space or give another cache"):
        find_release("https://a.example/1.0.0", None, tmp_path / "other")
    assert list((tmp_path / "other" / "releases").iterdir()) == [], "nothing half is left"


def test_what_is_left_of_a_killed_copy_is_cleared(remote: Remote, tmp_path: Path) -> None:
    found = find_release("https://a.example/1.0.0", None, tmp_path)
    shutil.rmtree(found)
    aside = found.with_name(f".{found.name}.{os.getpid()}.part")
    aside.mkdir()
    (aside / "stale.txt").write_text("")
    find_release("https://a.example/1.0.0", None, tmp_path)
    assert not (found / "stale.txt").exists()


def test_a_file_is_copied_up_to_its_stated_size() -> None:
    chunks = [b"ab", b"cd"]
    for limit in (4, 5):
        file = io.BytesIO()
        assert fetched._copy(iter(chunks), file, limit, "x") == hashlib.sha256(b"abcd").hexdigest()
        assert file.getvalue() == b"abcd"
    file = io.BytesIO()
    with pytest.raises(ReleaseError, match="x is larger than"):
        fetched._copy(iter(chunks), file, 3, "x")
    assert len(file.getvalue()) <= 3, "no more is written than was stated"


def test_a_file_of_another_digest_is_refused_and_nothing_is_kept(remote: Remote, tmp_path: Path) -> None:
    path = remote.folder / "pairs.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ReleaseError, match=r"pairs\.parquet does not match SHA256SUMS; the release is altered"):
        find_release("https://a.example/1.0.0", None, tmp_path)
    assert list((tmp_path / "releases").iterdir()) == []


def test_the_current_folder_is_no_packaged_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("9.0.0", "10.0.0"):
        release_at(tmp_path / version)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_release("", None, None).resolve() == find_release(".", None, None).resolve() == tmp_path / "10.0.0"
    monkeypatch.chdir(tmp_path / "below")
    assert find_release("..", None, None).resolve() == tmp_path / "10.0.0"


@pytest.mark.parametrize("error", [pa.ArrowInvalid("no such bucket"), OSError("no such bucket")])
def test_s3_that_cannot_be_read_is_one_sentence(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(url: str) -> None:
        raise error

    monkeypatch.setattr(fetched, "_s3_file", fails)
    with pytest.raises(
        ReleaseError, match=r"cannot read s3://bucket/1\.0\.0/SHA256SUMS \(no such bucket\); check the address"
    ):
        find_release("s3://bucket/1.0.0", None, tmp_path)
