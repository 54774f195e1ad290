"""The page in a browser: ten thousand photos, keys, texts that try to break it, a command that is killed."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from counterset.review import log
from counterset.workspace import Workspace

from ..flows.browser import BROWSER, Tab, opened
from .looked_at import make_workspace

pytestmark = pytest.mark.skipif(BROWSER is None, reason="looked at with Debian's chromium, which is not installed")

NUM_PHOTOS = 10_000
FIRST_SHEET_S, KEY_MS = 20.0, 250.0
"""What a machine may take that does other things meanwhile; idle it takes a tenth."""

SHOWN = """(() => {
  const isSeen = image => { const r = image.getBoundingClientRect(); return r.bottom > 0 && r.top < innerHeight; };
  const seen = [...document.querySelectorAll('.tile img')].filter(isSeen);
  return seen.length > 0 && seen.every(image => image.complete && image.naturalWidth);
})()"""
KEYS = """(async () => {
  const taken = [], view = document.getElementById('scroller');
  for (let turn = 0; turn < 60; turn++) {
    const start = performance.now();
    view.dispatchEvent(new KeyboardEvent('keydown', {key: turn % 3 ? 'Enter' : 'n', bubbles: true}));
    await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    taken.push(performance.now() - start);
  }
  return taken;
})()"""
KEPT = "document.getElementById('status').textContent.includes('all kept')"


class Reviewing:
    """`counterset review` as a process of its own."""

    def __init__(self, workspace: Path, reviewer: str) -> None:
        command = [sys.executable, "-m", "counterset.cli", "review", str(workspace), "--reviewer", reviewer]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:"), self.url

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ten thousand")
    make_workspace(folder, NUM_PHOTOS)
    return folder


@pytest.fixture
def reviewing(workspace: Path) -> Iterator[Reviewing]:
    running = Reviewing(workspace, "ada")
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGINT)


def kept(workspace: Path, reviewer: str) -> list[str]:
    rows = log.last_words(log.read(Workspace(workspace))).to_pylist()
    return [row["photo_id"] for row in rows if row["reviewer"] == reviewer]


def pictures_of(tab: Tab, name: str, tmp_path: Path) -> None:
    """Where whoever wants to look at the page finds it."""
    tab.picture(Path(os.environ.get("COUNTERSET_PICTURES", tmp_path)) / f"review-{name}.png")


def test_ten_thousand_photos_without_waiting(workspace: Path, reviewing: Reviewing, tmp_path: Path) -> None:
    with opened(tmp_path / "browser") as tab:
        start = time.monotonic()
        tab.go(reviewing.url)
        assert tab.wait(SHOWN), "no sheet is shown"
        first_s = time.monotonic() - start
        taken = tab.value(KEYS)
        assert tab.wait(KEPT)
        pictures_of(tab, "desktop", tmp_path)
        num_tiles = tab.value("document.querySelectorAll('.tile').length")
    with opened(tmp_path / "tablet", 820, 1180) as tab:
        tab.go(reviewing.url)
        assert tab.wait(SHOWN)
        assert tab.value("document.documentElement.scrollWidth <= innerWidth")
        pictures_of(tab, "tablet", tmp_path)
    print(f"first sheet {first_s:.2f} s; key press median {statistics.median(taken):.0f}, worst {max(taken):.0f} ms")
    assert num_tiles < 200  # a window, not ten thousand
    assert first_s < FIRST_SHEET_S
    assert statistics.median(taken) < KEY_MS
    assert len(kept(workspace, "ada")) == 60
    assert reviewing.end(signal.SIGINT) == 0  # Ctrl-C is how the page ends


def test_texts_that_try_to_break_the_page_are_shown_as_text(reviewing: Reviewing, tmp_path: Path) -> None:
    with opened(tmp_path / "browser") as tab:
        tab.go(reviewing.url)
        assert tab.wait(SHOWN)
        tab.press("z")
        assert tab.wait("Boolean(document.querySelector('#large-about dd'))")
        tab.press("Escape")
        tab.press("o")
        assert tab.wait("document.getElementById('names').open")
        pictures_of(tab, "names", tmp_path)
        text = tab.value("document.body.innerText")
        assert "<script>document.title='broken'</script>" in text  # a class's name
        assert "<img src=x" in text  # a background's name
        assert "broken" not in tab.value("document.title")
        scripts = (
            "[...document.scripts].length + document.querySelectorAll('img:not([src^=thumb]):not(#large-image)').length"
        )
        assert tab.value(scripts) == 1
        assert tab.value("document.querySelectorAll('a[href^=javascript]').length") == 0


def test_keys_answer_undo_and_go_on_where_the_reviewer_was(workspace: Path, tmp_path: Path) -> None:
    running = Reviewing(workspace, "cleo")
    with opened(tmp_path / "browser") as tab:
        tab.go(running.url)
        assert tab.wait(SHOWN)
        for key in ("Enter", "x", "1", "n", "u"):
            tab.press(key)
            assert tab.wait(KEPT)
        assert len(kept(workspace, "cleo")) == 2
        before = tab.value("document.querySelector('.cursor img').src.split('/').pop()")
        tab.press("n")
        assert tab.wait(KEPT)
    running.process.kill()  # as a crash would
    running.end(signal.SIGKILL)
    assert len(kept(workspace, "cleo")) == 3
    running = Reviewing(workspace, "cleo")
    with opened(tmp_path / "again") as tab:
        tab.go(running.url)
        assert tab.wait(SHOWN)
        assert tab.value("document.querySelector('.tile.reject .mark').textContent") == "✗ label noise"
        tab.press("u")  # of the run before
        assert tab.wait("document.querySelector('.cursor img')?.src.split('/').pop() === " + repr(before))
        assert tab.wait(KEPT)
    assert len(kept(workspace, "cleo")) == 2
    running.end(signal.SIGINT)


def test_a_killed_command_loses_no_decision_that_the_page_calls_kept(workspace: Path, tmp_path: Path) -> None:
    running = Reviewing(workspace, "dora")
    with opened(tmp_path / "browser") as tab:
        tab.go(running.url)
        assert tab.wait(SHOWN)
        tab.value(KEYS.replace("turn < 60", "turn < 20"))
        running.end(signal.SIGKILL)
        tab.press("n")
        assert tab.wait("!document.getElementById('banner').hidden")
        pictures_of(tab, "killed", tmp_path)
        waiting = tab.value("Number(document.getElementById('status').textContent.match(/(\\d+) to be kept/)[1])")
    assert len(kept(workspace, "dora")) >= 21 - waiting  # more where the answer was killed, not the decision


def test_two_reviewers_at_once(workspace: Path, reviewing: Reviewing, tmp_path: Path) -> None:
    before = len(kept(workspace, "ada"))
    with opened(tmp_path / "ada") as ada, opened(tmp_path / "bea") as bea:
        ada.go(reviewing.url)
        bea.go(reviewing.url.replace("reviewer=ada", "reviewer=bea"))
        assert ada.wait(SHOWN) and bea.wait(SHOWN)
        for _ in range(5):
            ada.press("Enter")
            bea.press("n")
        assert ada.wait(KEPT) and bea.wait(KEPT)
    assert (len(kept(workspace, "ada")) - before, len(kept(workspace, "bea"))) == (5, 5)
