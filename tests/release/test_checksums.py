"""SHA256SUMS: written, read and checked, with each way in which it can be wrong."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from counterset.errors import ReleaseError
from counterset.release.checksums import is_inside, parse_sums, render_sums, verify_files

A, B = "a" * 64, "0123456789" * 6 + "beef"


def sums_of(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for name in ("release.json", "data/common-0.parquet", "data/counter-0.parquet"):
        (tmp_path / name).write_text(f"content of {name}")
    return tmp_path


def test_lines_are_sorted_by_path_and_read_again(folder: Path) -> None:
    digests = {"b.json": A, "a/c.parquet": B}
    assert render_sums(digests) == f"{B}  a/c.parquet\n{A}  b.json\n"
    assert parse_sums(render_sums(digests), "here") == digests
    sums = render_sums(sums_of(folder))
    (folder / "SHA256SUMS").write_text(sums)
    checked = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert checked.returncode == 0, "sha256sum reads what is written"


@pytest.mark.parametrize("line", ["", "a.json", f"{A} a.json", f"{A[1:]}  a.json", f"{A.upper()}  a.json", f"{A}  "])
def test_a_line_that_is_no_checksum(line: str) -> None:
    with pytest.raises(ReleaseError, match=r"^https://there: SHA256SUMS has a line that is no checksum"):
        parse_sums(f"{B}  b.json\n{line}\n{B}  c.json\n", "https://there")


@pytest.mark.parametrize("path", ["../a.json", "/a.json", "b.json", "a//b.json", "a\\b.json", ".hidden"])
def test_a_path_that_no_release_may_hold(path: str) -> None:
    with pytest.raises(ReleaseError, match=r"^there: SHA256SUMS names '.*', which no release may hold"):
        parse_sums(f"{B}  b.json\n{A}  {path}\n", "there")


def test_paths_have_up_to_five_parts_of_up_to_151_plain_characters() -> None:
    assert is_inside("a/b/c/d/e.json") and not is_inside("a/b/c/d/e/f.json")
    assert is_inside("x" * 151) and not is_inside("x" * 152)
    assert is_inside("data/" + "x" * 151) and not is_inside("data/" + "x" * 152)
    assert is_inside("_a.b-c_D9.parquet")
    assert not any(
        map(is_inside, ("", ".", "a/", "/a", "a/.b", "-a", "a/-b", "a b", "a\n", "é", "C:a", "a/../b", "a\0"))
    )


def test_whole_files_pass(folder: Path) -> None:
    verify_files(folder, sums_of(folder))
    verify_files(folder, {})


def test_missing_files_are_counted_and_the_first_is_named(folder: Path) -> None:
    digests = dict(sorted(sums_of(folder).items(), reverse=True))
    (folder / "data" / "counter-0.parquet").unlink()
    with pytest.raises(ReleaseError, match=r"lacks data/counter-0.parquet, which SHA256SUMS lists"):
        verify_files(folder, digests)
    (folder / "data" / "common-0.parquet").unlink()
    (folder / "data" / "common-0.parquet").mkdir()
    with pytest.raises(ReleaseError, match=r"lacks data/common-0.parquet \(and 1 more\), which"):
        verify_files(folder, digests)
    (folder / "release.json").unlink()
    with pytest.raises(ReleaseError, match=r"lacks data/common-0.parquet \(and 2 more\), which"):
        verify_files(folder, digests)


def test_altered_files_are_counted_and_the_first_is_named(folder: Path) -> None:
    digests = dict(sorted(sums_of(folder).items(), reverse=True))
    (folder / "release.json").write_text("content of release.jsom")
    with pytest.raises(ReleaseError, match=r"is altered: release.json does not match SHA256SUMS"):
        verify_files(folder, digests)
    (folder / "data" / "counter-0.parquet").write_text("")
    with pytest.raises(ReleaseError, match=r"is altered: data/counter-0.parquet \(and 1 more\) does not match"):
        verify_files(folder, digests)
