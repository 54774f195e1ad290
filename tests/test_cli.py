"""Mistakes a user can make: exit code 2, one sentence, no traceback."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from counterset.cli import _parser, main

CONFIG = """
name = "mine"
workspace = "{workspace}"
[classes]
list = "demo"
only = {only}
[source]
api_url = "http://127.0.0.1:9/v1"
contact = "tests@localhost"
requests_per_minute = 6000
[models]
annotator = "{annotator}"
selectors = ["demo:selector"]
[annotate]
vocabulary = "demo"
[evaluate]
label_space = "classes"
"""


def config(tmp_path: Path, **values: str) -> str:
    path = tmp_path / "mine.toml"
    defaults = {"workspace": "ws", "only": "[]", "annotator": "demo:annotator"}
    path.write_text(CONFIG.format(**(defaults | values)))
    return str(path)


def one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err.strip()
    assert text.startswith("counterset: ") and "\n" not in text and "Traceback" not in text
    return text


def test_a_good_config_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", config(tmp_path)]) == 0
    assert "8 classes" in capsys.readouterr().out


def test_a_missing_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "nowhere.toml"]) == 2
    assert "cannot read the config nowhere.toml" in one_sentence(capsys)


def test_an_unknown_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", config(tmp_path, only='["unicorn"]')]) == 2
    assert "'unicorn'" in one_sentence(capsys)


def test_an_unknown_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", config(tmp_path, annotator="ViT-B-32/no_such_tag")]) == 2
    assert "open_clip knows no pretrained model" in one_sentence(capsys)


def test_a_folder_without_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", config(tmp_path, annotator="local-dir:nothing-here")]) == 2
    assert "open_clip_config.json" in one_sentence(capsys)


@pytest.mark.skipif(os.geteuid() != 0 and not Path("/proc").is_dir(), reason="needs a folder nobody can write")
def test_an_unwritable_workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", config(tmp_path, workspace="/proc/counterset")]) == 2
    assert "cannot be written" in one_sentence(capsys)


@pytest.mark.parametrize("photos", ["0", "-3"])
def test_a_demo_without_photos(photos: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--folder", str(tmp_path / "demo"), "--photos-per-class", photos]) == 2
    assert f"'source.photos_per_class': input should be greater than or equal to 1 (got {photos})" in one_sentence(
        capfd
    )


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "counterset demo" in capsys.readouterr().out


def commands(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inner in action.choices.items():
                yield from commands(inner, f"{name} {word}")


def test_every_argument_has_help() -> None:
    every = dict(commands(_parser(), "counterset"))
    assert len(every) > 25
    for name, parser in every.items():
        without = [
            action.dest
            for action in parser._actions
            if not action.help and not isinstance(action, argparse._SubParsersAction)
        ]
        assert not without, f"{name}: {without}"


def test_shells_are_told_what_may_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """By argcomplete, which is asked for when a shell asks and at no other time."""
    asked: list[argparse.ArgumentParser] = []
    stand_in = ModuleType("argcomplete")
    stand_in.autocomplete = asked.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "argcomplete", stand_in)
    assert main(["show", "nothing"]) == 2
    assert not asked
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    assert main(["show", "nothing"]) == 2
    assert [parser.prog for parser in asked] == ["counterset"]
