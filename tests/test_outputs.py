"""Where nothing can be written is said before any work is done, and looking leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from counterset.errors import WorkspaceError
from counterset.outputs import check_output


def test_folders_that_are_there_or_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path)
    for folder in (tmp_path, tmp_path / "a" / "b", Path("c/d"), Path(), Path("linked/e"), Path("o[1]*?")):
        check_output(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["linked"]


def test_others_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for folder in (
        tmp_path / "file",
        tmp_path / "file" / "below",
        tmp_path / "nowhere",
        tmp_path / "nowhere" / "below",
        tmp_path / ("x" * 300),
        Path("/proc/counterset"),
        Path("a\0b"),
        Path("a\udcff"),
    ):
        with pytest.raises(WorkspaceError, match=r"cannot be written \(.*\); choose another folder"):
            check_output(folder)


def test_a_folder_of_another_user(tmp_path: Path) -> None:
    """As nobody, for root may write everywhere."""
    code = (
        "import os, sys, pathlib\nfrom counterset.errors import WorkspaceError\n"
        "from counterset.outputs import check_output\nos.getuid() == 0 and os.setuid(65534)\n"
        "try: check_output(pathlib.Path(sys.argv[1]))\nexcept WorkspaceError as error: print(error)"
    )
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o500)
    for name in (folder, folder / "below"):
        run = subprocess.run([sys.executable, "-c", code, str(name)], capture_output=True, text=True, check=False)
        assert "cannot be written (" in run.stdout, run.stderr
