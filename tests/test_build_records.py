"""What a workspace tells of its builds, and what may be freed of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock
import pytest

from counterset import lease
from counterset.build_records import FAILED, FINISHED, KILLED, RUNNING, Recorder, latest, read_runs
from counterset.cli import main
from counterset.workspace import Workspace
from counterset.workspace_files import free, sizes, unneeded

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


def running(workspace: Workspace, **process: Any) -> None:
    """A record that says its build runs, in another process than this one."""
    run = Recorder(workspace, "mine")
    record = json.loads(run._path.read_text())
    run._path.write_text(json.dumps(record | {"process": record["process"] | process}))


def test_the_last_run_is_told_as_it_is(workspace: Workspace) -> None:
    assert [run.state for run in read_runs(workspace)] == [FINISHED, FINISHED]
    run = Recorder(workspace, "mine")
    found = latest(workspace)
    assert found is not None and found.state == RUNNING
    run.end(FAILED, reason="the disk is full")
    found = latest(workspace)
    assert found is not None and (found.state, found.reason) == (FAILED, "the disk is full")


@pytest.mark.parametrize("process", [{"pid": 2**22 + 1}, {"started": 1.0}, {"machine": ""}, {"pid": -1}])
def test_a_run_whose_process_is_gone_was_killed(workspace: Workspace, process: dict[str, Any]) -> None:
    """Or is another one by now; a record of the first edition names none."""
    running(workspace, **process)
    found = latest(workspace)
    assert found is not None and found.state == KILLED


def test_a_run_whose_process_ended_and_was_not_reaped_was_killed(workspace: Workspace) -> None:
    """As in a container whose first process reaps none."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        running(workspace, pid=process.pid, started=lease.started(process.pid))
        found = latest(workspace)
        assert found is not None and found.state == RUNNING
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        found = latest(workspace)
        assert found is not None and found.state == KILLED


def test_a_run_of_another_machine_is_told_as_recorded(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    running(workspace, machine="elsewhere/1")
    assert main(["status", str(workspace.root)]) == 0
    assert "its process is on elsewhere/1 and cannot be seen from here" in capsys.readouterr().out


def test_who_looks_takes_no_lock_and_writes_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    running(workspace)
    before = sorted(workspace.root.rglob("*"))
    monkeypatch.setattr(filelock.FileLock, "acquire", lambda *args, **more: pytest.fail("a lock was taken"))
    assert main(["status", str(workspace.root)]) == 0
    assert sorted(workspace.root.rglob("*")) == before


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"name": 1}', '{"name": "x", "started_at": "x", "stages": 3}'])
def test_a_damaged_record_is_passed_over(
    workspace: Workspace, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace.root / "runs" / "99990101T000000000000Z.json").write_text(content)
    (workspace.root / "failed" / OLD).mkdir(parents=True)
    (workspace.root / "failed" / OLD / "x.json").write_text(content)
    (workspace.root / "runs" / "99990101T000000000001Z.json").write_bytes(b"\xff")
    (workspace.root / "runs" / "99990101T000000000002Z.json").mkdir()
    assert len(read_runs(workspace)) == 2
    assert main(["status", str(workspace.root)]) == 0
    assert "mine: finished" in capsys.readouterr().out


def test_a_record_of_the_first_edition_and_a_later_one(workspace: Workspace) -> None:
    run = Recorder(workspace, "mine")
    record = json.loads(run._path.read_text())
    del record["process"]
    run._path.write_text(json.dumps(record | {"state": FINISHED, "later": 1}))
    found = latest(workspace)
    assert found is not None and found.state == FINISHED


def test_files_may_go_while_they_are_counted(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace.root / "embeddings" / STRAY / "gone.parquet").symlink_to("nowhere")  # listed, and not there
    assert sizes(workspace)["embeddings"] == (3, 3000)


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
