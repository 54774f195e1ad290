"""Tables on wide, narrow and no terminals, and warnings of a kind told once."""

from __future__ import annotations

import logging

import pytest

from counterset.cli import Repeats
from counterset.cli.printing import print_table

ROWS = [
    {"class": "ice_bear", "pair": "snow > grass", "reason": "photos of one observer are more alike"},
    {"class": "[red]fox", "pair": "", "reason": "x" * 60},
]


@pytest.mark.parametrize("columns", ["40", "200"])
def test_no_word_is_cut(columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    print_table("pairs", ROWS)
    printed = capsys.readouterr().out
    for word in ("ice_bear", "snow > grass", "photos of one observer are more alike", "[red]fox", "x" * 60):
        assert word in printed
    assert ("  reason: x" in printed) == (columns == "40"), "blocks where the table has no room"


def test_a_pipe_gets_the_whole_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_table("pairs", [row | {"more": "y" * 300} for row in ROWS])
    lines = capsys.readouterr().out.splitlines()
    assert sum("y" * 300 in line for line in lines) == 2
    assert any("ice_bear" in line and "y" * 300 in line for line in lines), "one row is one line"


def test_a_warning_of_a_kind_is_told_once_with_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    repeats = Repeats()

    def passes(text: str, *values: object, level: int = logging.WARNING) -> bool:
        return repeats.filter(logging.LogRecord("counterset.x", level, "", 0, text, values, None))

    assert [passes("photo %s is left out", number) for number in range(100)] == [True] + 99 * [False]
    assert passes("another of %s", 1) and passes("photo %s is left out", 0, level=logging.ERROR)
    repeats.tell()
    repeats.tell()
    assert capsys.readouterr().err == "counterset: 99 more warnings of this kind: photo 0 is left out\n"
