"""What a workspace tells of its builds, and what may be freed of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterset.cli import main
from counterset.runs import FAILED, FINISHED, KILLED, RUNNING, Recorder, free, latest, read_runs, sizes, unneeded
from counterset.workspace import Workspace

OLD, NEW, STRAY = "0" * 16, "1" * 16, "f" * 16


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two finished builds, the first one's release gone, and one file of neither."""
    found = Workspace(tmp_path / "work")
    found.prepare()
    for key in (OLD, NEW, STRAY):
        path = found.root / "embeddings" / key / "000000.parquet"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * 1000)
    for key in (OLD, NEW):
        release = tmp_path / "releases" / key
        release.mkdir(parents=True)
        (release / "SHA256SUMS").write_text("")
        run = Recorder(found, "mine")
        run.update({"embed": {"total": 10, "done": 4, "reused": 6, "seconds": 2.0}}, [key])
        run.end(FINISHED, release=str(release))
    return found


def test_the_last_run_is_told_as_it_is(workspace: Workspace) -> None:
    assert [run.state for run in read_runs(workspace)] == [FINISHED, FINISHED]
    run = Recorder(workspace, "mine")
    found = latest(workspace)
    assert found is not None and found.state == KILLED  # nobody holds the workspace
    with workspace.locked():
        found = latest(workspace)
        assert found is not None and found.state == RUNNING
    run.end(FAILED, reason="the disk is full")
    found = latest(workspace)
    assert found is not None and (found.state, found.reason) == (FAILED, "the disk is full")


def test_a_damaged_record_is_passed_over(workspace: Workspace) -> None:
    (workspace.root / "runs" / "20000101T000000000000Z.json").write_text("{")
    assert len(read_runs(workspace)) == 2


def test_files_of_a_release_or_of_the_last_build_are_needed(workspace: Workspace, tmp_path: Path) -> None:
    def keys() -> set[str]:
        return {path.parent.name for stage in unneeded(workspace) for path in stage.files}

    assert keys() == {STRAY}
    (tmp_path / "releases" / OLD / "SHA256SUMS").unlink()
    assert keys() == {STRAY, OLD}
    (tmp_path / "releases" / NEW / "SHA256SUMS").unlink()
    assert keys() == {STRAY, OLD}
    free(unneeded(workspace))
    assert keys() == set()
    assert sizes(workspace) == {"embeddings": (1, 1000)}


def test_a_workspace_that_never_finished_is_left_alone(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (workspace.root / "runs").glob("*.json"):
        path.unlink()
    assert main(["gc", str(workspace.root), "--yes"]) == 2
    assert "finish one first" in capsys.readouterr().err
    assert sizes(workspace)["embeddings"] == (3, 3000)


def test_the_commands_say_and_then_do(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(workspace.root)]) == 0
    told = capsys.readouterr().out
    assert "mine: finished" in told and "embed" in told
    assert main(["gc", str(workspace.root)]) == 0
    assert "would be freed" in capsys.readouterr().out
    assert sizes(workspace)["embeddings"] == (3, 3000)
    assert main(["gc", str(workspace.root), "--yes"]) == 0
    assert sizes(workspace)["embeddings"] == (2, 2000)
    with workspace.locked():
        assert main(["gc", str(workspace.root), "--yes"]) == 2
    assert "another build is running" in capsys.readouterr().err
    assert main(["status", str(workspace.root / "nowhere")]) == 2
