"""What a build shows in Prefect's UI, and whom a failed one tells; with real servers."""

from __future__ import annotations

import json
import logging
import socket
import sqlite3
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from counterset_flows.artifacts import Pages
from counterset_flows.notify import VARIABLE, message, webhook_of
from counterset_flows.rebuild import rebuild

from counterset.config import Config, load_config
from counterset.errors import ConfigError, GateRefused
from counterset.fetching import webhook
from counterset.fetching.webhook import send
from counterset.machine import orphans
from counterset.release.publish.public import PublicNames
from counterset.steps.build_pages import changes_page, failure_page, percent_done, progress_text, report_page
from counterset.steps.progress import Progress, StageCount


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def config(**notify: str) -> Config:
    return Config.model_validate(
        {
            "name": "five-animals",
            "classes": {"list": "demo"},
            "models": {"annotator": "demo:annotator", "selectors": ["demo:selector"]},
            "notify": notify,
        }
    )


def artifacts_of(home: Path) -> dict[str, list[tuple[str, Any, str]]]:
    """key -> (type, data, description) of every version, from a Prefect database."""
    with sqlite3.connect(home / "prefect.db") as database:
        rows = database.execute("SELECT key, type, data, description FROM artifact ORDER BY created").fetchall()
    database.close()
    found: dict[str, list[tuple[str, Any, str]]] = {}
    for key, kind, content, description in rows:
        # SQLite gives a lone number as such.
        found.setdefault(key, []).append((kind, json.loads(str(content)), description))
    return found


def test_a_build_shows_its_pages(demo_build: Any) -> None:
    found = artifacts_of(demo_build.sandbox.folder / "prefect")
    assert set(found) == {f"counterset-demo-{page}" for page in ("progress", "pairs", "report", "changes")}
    kind, percent, where = found["counterset-demo-progress"][0]
    assert (kind, percent) == ("progress", 100)
    assert "crawl 8 of 8" in where
    kind, table, _ = found["counterset-demo-pairs"][0]
    rows = json.loads(table)
    assert kind == "table" and len(rows) == 8
    assert {"ice_bear", "lion"} <= {row["class"] for row in rows}
    assert any(float(row["drop"]) > 10 for row in rows if row["drop"])
    [(_, report, _), *_] = found["counterset-demo-report"]
    assert str(demo_build.release / "report.html") in report
    assert "First release" in found["counterset-demo-changes"][0][1]


def test_a_gate_tells_and_shows_why(
    demo_build: Any,
    demo_workspace: Path,
    receiver: Any,
    prefect_server: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The same workspace under a gate that no release passes: the deployed flow, its hook, its pages."""
    text = (Path(__file__).parents[2] / "configs" / "demo.toml").read_text()
    text = text.replace('"workspace"', f'"{demo_workspace}"').replace("= 600\n", f"= {demo_build.arguments[-1]}\n")
    text = text.replace("with_images = true", "with_images = false")  # less to write before the gate
    [port] = demo_workspace.parent.glob(".port-*")  # the source is known by its address, though nobody asks it now
    text = text.replace("[source]", f'[source]\napi_url = "http://127.0.0.1:{port.read_text().strip()}/v1"')
    text += f'min_confirmed = 9\n[notify]\nwebhook = "{receiver.url}"\n'
    text = text.replace('name = "counterset-demo"', 'name = "gated"')  # other builds report to the server too
    (tmp_path / "gated.toml").write_text(text)
    monkeypatch.setenv(orphans.MARK, "tests")  # the flow starts no watcher, which would stay
    with type(demo_build.sandbox)(tmp_path, prefect_server).reporting(), pytest.raises(GateRefused):
        rebuild("gated.toml", refresh=False)
    [told] = receiver.told
    assert told["status"] == "gated"
    assert told["build"] == "gated.toml"
    assert told["reason"].startswith("the gate refuses this release: ")
    assert "secret-part" not in "".join(capfd.readouterr())
    home = Path(prefect_server["PREFECT_HOME"])
    found = artifacts_of(home)
    assert "the gate refuses this release" in found["gated-report"][0][1]
    assert len(json.loads(found["gated-pairs"][0][1])) == 8  # to see why
    assert "gated-changes" not in found
    with sqlite3.connect(home / "prefect.db") as database:
        assert "secret-part" not in "\n".join(database.iterdump())
    database.close()


def test_a_server_that_is_away_costs_only_the_pages(caplog: pytest.LogCaptureFixture) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    away = {PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(away), caplog.at_level(logging.WARNING, "counterset_flows.artifacts"):
        pages = Pages(config(), Progress(), every_s=0.01)
        pages._run_id = uuid4()  # as in a flow run
        with pages:
            pass
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "Prefect's UI shows no pages of this build"
    ]


def test_the_progress_page_is_told_to_the_server_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's settings are of one thread; without them a server of its own, open to all, is started."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    url = f"http://127.0.0.1:{free_port()}/api"
    progress, asked, is_asked = Progress(), [], threading.Event()

    def told(*_: object) -> None:
        asked.append((threading.current_thread().name, PREFECT_API_URL.value()))
        is_asked.set()

    monkeypatch.setattr(Pages, "_create", lambda *_: uuid4())
    monkeypatch.setattr(Pages, "_update", told)
    with temporary_settings({PREFECT_API_URL: url}), Pages(config(), progress, every_s=0.01):
        progress.begin("crawl", 1)
        assert is_asked.wait(10)
    assert asked[0] == ("progress page", url)


def test_pages_outside_a_flow_run_ask_nobody() -> None:
    with Pages(config(), Progress()) as pages:
        assert pages._create("report", "markdown", "") is None


def test_progress_counts_each_stage_as_one_share() -> None:
    stages = {
        "crawl": StageCount(total=4, done=1, reused=3),
        "download": StageCount(total=10, done=5),
        "inspect": StageCount(total=0),
        "withdrawn": StageCount(total=10, done=10),  # not one of the shares
    }
    assert percent_done(stages) == round(100 * 2.5 / 7, 1)
    assert progress_text(stages).startswith("crawl 4 of 4, download 5 of 10")
    assert percent_done({}) == 0


def test_the_report_is_a_link_where_releases_are_served(tmp_path: Path) -> None:
    verdicts = ["confirmed", "too_small", "confirmed"]
    release = tmp_path / "five-animals" / "1.2.0"
    page = report_page(config(releases_url="http://127.0.0.1:4280/"), release, True, verdicts)
    assert "(http://127.0.0.1:4280/five-animals/1.2.0/report.html)" in page
    assert "3 classes, 2 confirmed, 1 too_small" in page
    assert str(release / "report.html") in report_page(config(), release, False, verdicts)


def test_changes_are_those_of_the_newest_version(tmp_path: Path) -> None:
    (tmp_path / "CHANGELOG.md").write_text("# Changes of x\n\n## 1.1.0\n\nnew\n\n### Photos\n\n## 1.0.0\n\nold\n")
    assert changes_page(tmp_path, True) == "# Changes of x\n\n## 1.1.0\n\nnew\n\n### Photos\n"
    assert "old" not in changes_page(tmp_path, False)


def test_a_failure_is_shown_as_it_was_said() -> None:
    page = failure_page("five-animals", RuntimeError("a <b>\n| c"))
    assert page.endswith("    RuntimeError: a <b>\n    | c\n")
    assert "gate refuses" in failure_page("five-animals", GateRefused("no"))


@pytest.mark.parametrize("address", ["ftp://x.org", "hooks.example.org", "https://"])
def test_a_webhook_is_a_web_address(address: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        'name = "x"\n[classes]\nlist = "demo"\n[models]\nannotator = "a"\nselectors = ["b"]\n'
        f'[notify]\nwebhook = "{address}"\n'
    )
    with pytest.raises(ConfigError, match=r"notify\.webhook.*not a web address"):
        load_config(path)


def test_the_webhook_stays_out_of_releases_and_texts() -> None:
    told = config(webhook="https://hooks.example.org/secret-part")
    assert "notify" not in PublicNames({}, {}, told).config(told)
    assert "secret-part" not in repr(told) + told.model_dump_json()


def test_a_message_is_sent_again_when_it_was_not_taken(receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "WAITS_S", (0.01, 0.01))
    receiver.answers = [503, 500]
    assert send(receiver.url, {"text": "x"})
    assert receiver.told == [{"text": "x"}]


def test_nobody_there_is_a_warning_without_the_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhook, "WAITS_S", (0.0,))
    assert not send(f"http://127.0.0.1:{free_port()}/secret-part", {"text": "x"})
    ours = [record.getMessage() for record in caplog.records if record.name == "counterset.fetching.webhook"]
    assert ours == ["the webhook on 127.0.0.1 was not reached: ConnectionError"]


def test_the_environment_goes_before_the_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert webhook_of(str(tmp_path / "missing.toml")) == ""
    monkeypatch.setenv(VARIABLE, "https://hooks.example.org/x")
    assert webhook_of(str(tmp_path / "missing.toml")) == "https://hooks.example.org/x"


@pytest.mark.parametrize(
    ("name", "text", "status", "reason"),
    [
        ("Failed", "Flow run encountered an exception: GateRefused: the gate refuses", "gated", "the gate refuses"),
        ("Failed", "Flow run encountered an exception: ConfigError: x", "failed", "ConfigError: x"),
        ("TimedOut", "Flow run exceeded timeout of 9 second(s)", "timed out", "Flow run exceeded timeout"),
        ("Crashed", "Process for flow run exited with status -9", "crashed", "Process"),
    ],
)
def test_a_message_says_what_happened(name: str, text: str, status: str, reason: str) -> None:
    from prefect.client.schemas.objects import FlowRun, State, StateType

    kind = StateType.CRASHED if name == "Crashed" else StateType.FAILED
    run = FlowRun.model_construct(id=uuid4(), name="brave-otter", parameters={})
    said = message("x.toml", run, State(type=kind, name=name, message=text))
    assert said["status"] == status
    assert said["reason"].startswith(reason)
    assert said["text"].startswith(f"counterset: x.toml: {status}: ")
