"""A flow called from Python has what the command line gives it: a server that nobody else drives, and an end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

import counterset
from counterset.config import Config

CONFIG: dict[str, Any] = {
    "name": "little",
    "classes": {"list": "demo"},
    "models": {"annotator": "demo:annotator", "selectors": ["demo:selector"]},
}


def test_a_build_from_python_reports_to_a_server_with_a_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from counterset_flows import build as module

    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    asked: list[tuple[Config, bool]] = []

    def flow(config: Config, refresh: bool = False) -> str:
        asked.append((config, refresh))
        url = os.environ["PREFECT_API_URL"]
        assert httpx.post(f"{url}/flows/filter", json={}).status_code == 401
        user, _, password = os.environ["PREFECT_API_AUTH_STRING"].partition(":")
        assert httpx.post(f"{url}/flows/filter", json={}, auth=(user, password)).status_code == 200
        return "made"

    monkeypatch.setattr(module, "build", flow)
    config = Config(**CONFIG)
    assert str(counterset.build(config, refresh=True)) == "made"
    assert asked == [(config, True)]
    assert "PREFECT_API_URL" not in os.environ and "COUNTERSET_RUN" not in os.environ


def test_an_audit_says_at_once_what_it_does_not_take(tmp_path: Path) -> None:
    for arguments, said in (
        ({"threshold": 2}, "threshold 2 is no limit of similarity"),
        ({"bands": 0}, "bands 0 cannot be cut"),
        ({"index": "flat"}, "index 'flat' is unknown; use exact, ivfpq"),
        ({"runner": "slurm"}, "unknown runner 'slurm'"),
        ({"name": "a/b"}, "name 'a/b' cannot name a folder"),
    ):
        with pytest.raises(counterset.errors.UserError, match=said):
            counterset.audit("counterset-demo", tmp_path, **arguments)  # type: ignore[arg-type]


BLOCK = """
import os, subprocess, sys
from counterset.machine.orphans import MARK, none_left
def sleeper():
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
before = sleeper()
try:
    with none_left():
        within = sleeper()
        if sys.argv[1] == "fails":
            raise ValueError
except ValueError:
    pass
after = sleeper()
print(within.wait(timeout=30), before.poll(), after.poll(), MARK in os.environ)
before.kill(), after.kill()
"""


@pytest.mark.parametrize("how", ["ends", "fails"])
def test_what_a_block_started_ends_with_it_and_nothing_else(how: str) -> None:
    done = subprocess.run([sys.executable, "-c", BLOCK, how], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["-9", "None", "None", "False"], done.stderr
