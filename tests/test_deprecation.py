"""Names and config keys that were renamed work for a while, and say what to use instead."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from counterset import config
from counterset.deprecation import RenamedKey, warn_renamed, with_new_keys
from counterset.errors import ConfigError

KEYS = (
    RenamedKey("source.number", "source.photos_per_class", "0.3"),
    RenamedKey("draw", "select.salt", "0.4"),
)


def test_a_renamed_function_names_its_successor_at_the_callers_line() -> None:
    def old() -> int:
        warn_renamed("counterset.old", "counterset.new", removed_in="0.3")
        return 1

    with pytest.warns(DeprecationWarning) as told:
        assert old() == 1
    (warning,) = told
    assert str(warning.message) == (
        "counterset.old is deprecated and will be removed in counterset 0.3; use counterset.new"
    )
    assert warning.filename == __file__


def test_renamed_keys_move_and_are_told(caplog: pytest.LogCaptureFixture) -> None:
    raw: dict[str, Any] = {"draw": "x", "source": {"number": 5, "kind": "folder"}, "select": {"mode": "split"}}
    with caplog.at_level(logging.WARNING):
        found = with_new_keys(raw, KEYS, "my.toml")
    assert found == {"source": {"photos_per_class": 5, "kind": "folder"}, "select": {"mode": "split", "salt": "x"}}
    assert raw["source"] == {"number": 5, "kind": "folder"}, "what was given is left as it is"
    assert caplog.messages == [
        "my.toml: source.number is deprecated and will be removed in counterset 0.3; use source.photos_per_class",
        "my.toml: draw is deprecated and will be removed in counterset 0.4; use select.salt",
    ]


def test_a_section_is_made_where_the_new_key_needs_one() -> None:
    assert with_new_keys({"draw": "x"}, KEYS, "my.toml") == {"select": {"salt": "x"}}


def test_nothing_is_said_of_other_keys(caplog: pytest.LogCaptureFixture) -> None:
    for raw in ({"source": {"kind": "folder"}}, {"source": "folder"}, {"draw": "x", "select": 3}):
        assert with_new_keys(raw, KEYS, "my.toml") == raw
    assert not caplog.messages


def test_both_names_of_one_setting_are_refused() -> None:
    raw = {"source": {"number": 5, "photos_per_class": 6}}
    with pytest.raises(
        ConfigError, match=r"my\.toml: source\.number and source\.photos_per_class are the same setting"
    ):
        with_new_keys(raw, KEYS, "my.toml")


def test_a_config_file_takes_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "RENAMED_KEYS", KEYS)
    raw = {
        "name": "little",
        "classes": {"list": "imagenet1k"},
        "models": {"annotator": "demo:annotator", "selectors": ["demo:selector"]},
        "source": {"number": 5},
    }
    assert config.parse_config(raw, tmp_path).source.photos_per_class == 5
