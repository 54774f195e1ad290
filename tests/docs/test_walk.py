"""The README, the three tutorial pages and mistakes that newcomers make, walked in one folder as a newcomer would.

The demo is the session's own build, under the path that the pages give it; every other `counterset` command of the
tutorial runs as it stands there. Of the README's, those run that need no weights from the network. Other paths are
walked elsewhere: a second build by `tests/test_demo_build.py`, `--refresh` by `tests/flows/test_refresh.py`, schedules
by `tests/flows/test_schedule.py`, the examples by `tests/test_examples.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import counterset
from counterset.cli import main

from .test_code import ROOT, blocks, commands

KEPT = ("arctic_fox", "ice_bear")
"""Classes whose exported photos stand for photos of one's own: fewer are built in less time."""

Walk = Callable[[str], str]


@pytest.fixture(scope="module")
def home(demo_build: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the demo was built."""
    home = tmp_path_factory.mktemp("walk")
    (home / "demo").mkdir()
    (home / "demo/releases").symlink_to(demo_build.release.parents[1])
    return home


@pytest.fixture
def walk(
    home: Path,
    demo_build: Any,
    prefect_server: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Walk:
    """What runs the `counterset` commands of a page's text that are to be run, and gives what they print."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("COLUMNS", "200")
    build = type(demo_build.sandbox)(home, prefect_server).here

    def walk(text: str) -> str:
        printed = ""
        for _, *words in commands(text):
            if words[0] == "demo":
                continue
            if words[0] == "build":
                run = build(*words)
                code, out, err = run.returncode, run.stdout, run.stderr
            else:
                code = main(words)
                out, err = capsys.readouterr()
            assert code == 0, f"{words}\n{out}{err}"
            printed += out
        return printed

    return walk


def shell(page: str, heading: str = "") -> str:
    """The shell blocks of a page, or of one section of it."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if heading:
        text = text.split(f"\n## {heading}")[1].split("\n## ")[0]
    return "\n".join(block.text for block in blocks(text) if block.language == "bash")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_first_look(walk: Walk, home: Path) -> None:
    printed = walk(shell("docs/tutorial.md"))
    assert "photos of confirmed classes" in printed and "ice_bear" in printed
    release = counterset.load(home / "demo/releases/counterset-demo")
    assert len(files(home / "photos")) == release.common.num_rows + release.counter.num_rows > 300
    assert f"{len(files(home / 'photos'))} photos in photos; 0 could not be exported" in printed
    assert any((home / "photos/ice_bear").glob("common-*/*.jpg"))


def test_your_own_model(walk: Walk, home: Path) -> None:
    printed = walk(shell("docs/tutorial_model.md"))
    assert "demo:weak" in printed and "evaluations/counterset-demo-1.0.0/classes-paper" in printed
    assert {path.suffix for path in files(home / "evaluations/counterset-demo-1.0.0")} >= {".svg", ".png", ".html"}
    page = (ROOT / "docs/tutorial_model.md").read_text(encoding="utf-8")
    [block] = [block for block in blocks(page) if block.language == "python"]
    names: dict[str, Any] = {}
    exec(compile(block.text, "page", "exec"), names)
    # One word is right for all photos of one class and for none of the others, on either side.
    assert names["result"].metrics["drop"].to_pylist() == [pytest.approx(0)]


def test_your_own_split(walk: Walk, home: Path) -> None:
    if not (home / "photos").is_dir():
        walk(shell("docs/tutorial.md"))
    for folder in (home / "photos").iterdir():
        if folder.name not in KEPT:
            shutil.rmtree(folder)
    needs_weights = ("validate", "build", "show")
    block = shell("README.md", "Build your own")
    readme = walk("\n".join(line for line in block.splitlines() if not line.split()[1].startswith(needs_weights)))
    assert "wrote photos/build.toml" in readme and "what a drop of 20 points needs" in readme
    for name in ("build.toml", "classes.csv", "backgrounds.csv"):  # they lie among the photos
        (home / "photos" / name).unlink()
    offered = len(files(home / "photos"))
    printed = walk(shell("docs/tutorial_split.md"))
    assert "wrote my-animals/build.toml" in printed and "photographer of its own" in printed
    assert "what a drop of 30 points needs" in printed and "my-animals: finished" in printed
    release = counterset.load(home / "my-animals/releases/my-animals")
    assert release.all_photos.num_rows + release.rejects.num_rows == offered, "nothing offered vanishes"
    assert set(release.pairs["class_id"].to_pylist()) == set(KEPT)


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["export", "counterset-demo", "imagefolder", "away", "--verdict", "too_small"], "ask for other verdicts"),
        (["validate", "inaturalist-small.toml"], "set source.contact"),
        (["init", "nowhere/photos"], "give a folder of photos"),
        (["show", "nothing"], "give a release's folder"),
        (["status", "nowhere"], "give the folder that `workspace` names"),
        (["evaluate", "counterset-demo", "--model", "demo:none"], "demo:annotator"),
    ],
)
def test_a_mistake_ends_with_2_and_a_remedy(
    words: list[str], remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = Path(shutil.copy(ROOT / "configs/inaturalist-small.toml", tmp_path))
    assert main(words) == 2
    out, err = capsys.readouterr()
    err = err.strip()
    assert not out and err.startswith("counterset: ") and "\n" not in err and remedy in err
    assert list(tmp_path.rglob("*")) == [config], "nothing is left behind"
