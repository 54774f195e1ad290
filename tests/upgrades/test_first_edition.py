"""What the first edition left, in today's hands: its releases, its workspace, its evaluations and audits.

`make_fixtures.py` made them with the first edition's code.
"""

from __future__ import annotations

import hashlib
import logging.handlers
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import pytest

import counterset
from counterset.demo.server.look_alike import serve
from counterset.errors import ReleaseError
from counterset.evaluation.evaluate import evaluate
from counterset.evaluation.plot import write_plots
from counterset.evaluation.points import read_figure
from counterset.evaluation.record import read_record
from counterset.load import Release
from counterset.release.exports import EXPORTS
from counterset.release.schemas import SPLITS, TABLES
from counterset.release.versions.diff import diff_releases

from ..conftest import Sandbox
from .kept_world import kept_catalog
from .make_fixtures import BUILT_AT, KEPT, PORT, RELEASES

BOTH = ("confirmed", "unconfirmed")


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """All of it, as if it had been made here."""
    folder = Path(shutil.copytree(KEPT, tmp_path / "first"))
    for path in (*folder.rglob("*.txt"), *folder.glob("workspace/runs/*.json")):
        path.write_text(path.read_text().replace(str(BUILT_AT), str(folder)))
    return folder


def opened(folder: Path, name: str = "old-photos", version: str | None = None) -> Release:
    return counterset.load(folder / "releases" / name, version, verdicts=BOTH, cache=folder / "cache")


@pytest.mark.parametrize("name", RELEASES)
def test_releases_load(first: Path, name: str) -> None:
    release = opened(first, name)
    assert (release.name, release.version) == (name, "1.0.0")
    assert (release.common.num_rows, release.counter.num_rows) == (6, 4)
    assert release.all_photos.num_rows == 48
    for table in (*SPLITS, *TABLES):
        assert release.table(table).num_rows == sum(
            entry["num_rows"] for entry in release.metadata["files"].values() if entry.get("table") == table
        )


def test_bundled_photos_are_read(first: Path) -> None:
    release = opened(first)
    bundled = [row["photo_id"] for row in release.table("common").to_pylist() if row["image"]]
    assert bundled
    assert all(release.photo(photo_id).startswith(b"\xff\xd8") for photo_id in bundled)


@pytest.mark.parametrize("layout", ["imagefolder", "webdataset", "hub", "csv"])
def test_releases_export(first: Path, layout: str) -> None:
    exported = EXPORTS[layout](opened(first), first / "exported")
    assert exported.num_photos == 10
    assert not exported.missing
    assert any(path.is_file() for path in (first / "exported").rglob("*"))


def test_a_release_without_captions_says_so(first: Path) -> None:
    with pytest.raises(ReleaseError, match="none of the 10 photos could be exported, so nothing was written"):
        EXPORTS["captions"](opened(first), first / "exported")
    assert not (first / "exported").exists()


def test_evaluations_go_on(first: Path) -> None:
    folder = first / "evaluations/old-photos-1.0.0/classes-paper"
    before = read_record(folder)
    figures = {point.model: (point.common, point.counter) for point in read_figure(folder).points}
    assert set(figures) == {"demo:weak", "demo:medium"}
    assert all(path.is_file() for path in write_plots(read_figure(folder), first / "plots"))
    evaluated = evaluate(opened(first), ["demo:plain"], output=first / "evaluations")
    assert evaluated.folder == folder
    assert evaluated.record["photos"] == before["photos"]
    after = {point.model: (point.common, point.counter) for point in read_figure(folder).points}
    assert set(after) == {"demo:weak", "demo:medium", "demo:plain"}
    assert {model: after[model] for model in figures} == figures


@dataclass(frozen=True)
class Rebuilt:
    """The first edition's workspace after a build by today's code."""

    folder: Path
    output: str
    num_downloads: int


@pytest.fixture(scope="module", params=RELEASES)
def rebuilt(request: Any, prefect_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Rebuilt:
    folder = first.__wrapped__(tmp_path_factory.mktemp("rebuilt"))  # type: ignore[attr-defined]
    one_at_a_time = filelock.FileLock(Path(tempfile.gettempdir()) / f"counterset-port-{PORT}.lock")
    warned = logging.handlers.BufferingHandler(capacity=1_000)
    with one_at_a_time, serve(kept_catalog(), port=PORT) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("counterset_flows"), "handlers", [warned])
        run = Sandbox(folder, prefect_server).here("build", f"{request.param}.toml")
        assert run.returncode == 0, run.stderr
        downloads = sum("/photos/" in record.path for record in server.requests)
    warnings = "\n".join(record.getMessage() for record in warned.buffer)
    return Rebuilt(folder / "releases" / request.param, warnings, downloads)


def test_a_workspace_keeps_its_photos(rebuilt: Rebuilt) -> None:
    """Or says in a sentence what it makes anew."""
    assert not rebuilt.num_downloads or re.search(r"made anew", rebuilt.output), rebuilt.output


def test_a_build_continues_the_releases(rebuilt: Rebuilt) -> None:
    kept = KEPT / "releases" / rebuilt.folder.name / "1.0.0"
    for path in kept.rglob("*"):  # a release is never rewritten
        if path.is_file():
            now = (rebuilt.folder / "1.0.0" / path.relative_to(kept)).read_bytes()
            assert hashlib.sha256(now).digest() == hashlib.sha256(path.read_bytes()).digest(), path
    newest = counterset.load(rebuilt.folder, verdicts=BOTH)
    old = counterset.load(rebuilt.folder, "1.0.0", verdicts=BOTH)
    diff = diff_releases(old, newest)
    assert newest.all_photos["photo_id"].to_pylist() == old.all_photos["photo_id"].to_pylist()
    assert newest.all_photos["sha256"].to_pylist() == old.all_photos["sha256"].to_pylist()
    assert newest.tombstones.num_rows == 0
    assert diff.write(rebuilt.folder / "diff") is None


def test_an_audit_continues_the_audits(first: Path, tmp_path: Path, prefect_server: dict[str, str]) -> None:
    vectors = str(next((first / "workspace/embeddings").iterdir()))
    release = str(first / "releases/old-photos")
    options = ("--queries", vectors, "--name", "old-audit", "--output", str(first / "audits"))
    run = Sandbox(tmp_path, prefect_server).here("audit", release, "--against", vectors, *options)
    assert run.returncode == 0, run.stderr
    versions = sorted(path.name for path in (first / "audits/old-audit").iterdir() if path.is_dir())
    assert versions in (["1.0.0"], ["1.0.0", "1.0.1"])  # the same rows
