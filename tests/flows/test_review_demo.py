"""The five commands of docs/review.md, from an empty folder to a reviewed release of the demo."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

import counterset
from counterset.manifests import config_path

PAGE = Path(__file__).resolve().parents[2] / "docs/review.md"
CLASS = "lion"


@contextlib.contextmanager
def page(sandbox: Any, home: Path, arguments: list[str]) -> Iterator[str]:
    """The address that the command prints, until it is stopped by Ctrl-C."""
    command = [sys.executable, "-m", "counterset.cli", *arguments]
    with subprocess.Popen(command, cwd=home, env=sandbox.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip().partition("#")[0]
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def review(url: str) -> tuple[int, int]:
    """Decide on every photo of one class; how many, and how many are turned away."""
    decisions: list[dict[str, object]] = []
    found = requests.get(url + "api/sheet", params={"class_id": CLASS, "kind": "left"}, timeout=60).json()
    for position, (number, name) in enumerate(zip(found["numbers"], found["names"], strict=True)):
        answer: dict[str, object] = {"answer": "right" if name else "none"}
        if position < 3:
            answer = {"answer": "reject", "reason": "feature_noise"}
        decisions.append({"number": number, "decision_id": uuid.uuid4().hex, **answer})
    answered = requests.post(url + "api/decisions", json={"reviewer": "ada", "decisions": decisions}, timeout=60)
    assert answered.json()["kept"] == len(decisions) > 50
    return len(decisions), 3


def test_five_commands_from_an_empty_folder_to_a_reviewed_release(
    sandbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they stand there; the world alone is smaller."""
    block = re.search(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert block is not None
    build, look, again, show, browse = (shlex.split(line)[1:] for line in block[1].strip().splitlines())
    home: Path = sandbox.folder / "five commands"
    home.mkdir()
    config = config_path("demo_quick.toml").read_text()
    assert "\nphotos_per_class = 150\n" in config
    smaller = sandbox.folder / "smaller.toml"
    smaller.write_text(config.replace("= 150\n", "= 80\n"))
    monkeypatch.setattr("counterset.demo.start.config_path", lambda _: smaller)

    def run(arguments: list[str]) -> str:
        done = replace(sandbox, folder=home).here(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(build)
    with page(sandbox, home, look) as url:
        assert requests.get(url + "thumb/0", timeout=60).headers["Content-Type"] == "image/jpeg"
        num_decided, num_rejected = review(url)
    run(again)
    assert "2.0.0" in run(show)
    release = counterset.load(home / show[1])
    assert release.metadata["review"]["reviewers"] == {"ada": num_decided}
    assert release.rejects["stage"].to_pylist().count("review") == num_rejected
    with page(sandbox, home, browse) as url:
        start = requests.get(url + "api/start", timeout=60).json()
        [own] = [one for one in start["classes"] if one["id"] == CLASS]
        assert start["use"] == "browse" and own["note"] in ("confirmed", "unconfirmed", "too small")
        assert ("review: feature noise", num_rejected) in {(sheet["name"], sheet["count"]) for sheet in own["sheets"]}
    with page(sandbox, home, ["browse", look[1]]) as url:  # of the workspace, which holds those photos too
        query = {"class_id": CLASS, "kind": "rejects", "name": "review: feature noise"}
        for number in requests.get(url + "api/sheet", params=query, timeout=60).json()["numbers"]:
            assert requests.get(url + f"thumb/{number}", timeout=60).ok
