"""Schedules for real: the README's own commands, a run that fires by itself, and what the UI then shows."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import requests
import yaml

from ..conftest import prefect_home
from .browser import BROWSER, text_of
from .killing import MARK, alive
from .web_page import attack

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def commands() -> str:
    """The first block of the README's section "Run it every month"."""
    section = (ROOT / "README.md").read_text().partition("## Run it every month\n")[2]
    return section.partition("```bash\n")[2].partition("```")[0]


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what} did not happen within {seconds} s")


@dataclass(frozen=True)
class Service:
    """A Prefect server with its worker, as the README starts them."""

    url: str
    folder: Path
    environment: dict[str, str]
    log: Path

    @property
    def password(self) -> str:
        """What `counterset prefect-profile` made; "" before it did."""
        path = Path(self.environment["PREFECT_HOME"]) / "profiles.toml"
        profile = tomllib.loads(path.read_text())["profiles"]["counterset"] if path.exists() else {}
        return str(profile.get("PREFECT_API_AUTH_STRING", ""))

    def call(self, method: str, path: str, body: dict[str, Any]) -> requests.Response:
        """As Prefect's own client does, ask again when SQLite is held by another: the answer is then a 503."""

        def answered() -> list[requests.Response]:
            user, _, secret = self.password.partition(":")
            url = f"{self.url}/api/{path}"
            answer = requests.request(method, url, json=body, auth=(user, secret), timeout=30)
            return [] if answer.status_code == 503 else [answer]

        [answer] = wait_for(answered, 60, f"an answer to {path}")
        answer.raise_for_status()
        return answer

    def ask(self, path: str, **body: Any) -> Any:
        return self.call("POST", f"{path}/filter", body).json()

    def ended(self, deployment: str) -> list[dict[str, Any]]:
        """The finished runs of a deployment, the first one first."""
        runs = self.ask("flow_runs", deployments={"name": {"any_": [deployment]}}, sort="START_TIME_ASC")
        return [run for run in runs if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED")]

    def start(self, deployment: str, name: str = "", **parameters: Any) -> None:
        """As `prefect deployment run` does, which takes 5 s of processor to start."""
        [found] = self.ask("deployments", deployments={"name": {"any_": [deployment]}})
        body = {"parameters": parameters, **({"name": name} if name else {})}
        self.call("POST", f"deployments/{found['id']}/create_flow_run", body)

    def prefect(self, *arguments: str) -> str:
        run = subprocess.run(
            [str(BIN / "prefect"), *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, module_receiver: Any) -> Iterator[Service]:
    """The README's commands in a folder of their own: another port, and the demo switched on and small."""
    folder = tmp_path_factory.mktemp("schedule")
    settings = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    for deployment in settings["deployments"]:
        if deployment["name"] == "demo":
            deployment["parameters"]["photos_per_class"] = 30
            deployment["schedules"] = [{"interval": 20, "slug": "often", "active": True}]
    (folder / "prefect.yaml").write_text(yaml.safe_dump(settings))
    prefect_home(folder / "home")
    shutil.copy(ROOT / "automations.yaml", folder)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    mark = str(folder)
    environment = os.environ | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_WORKER_QUERY_SECONDS": "2",  # of 10, for which each run here would wait
        "COUNTERSET_WEBHOOK": module_receiver.url,
        MARK: mark,
    }
    script = commands().replace(":4200", f":{port}")
    log = folder / "log.txt"
    with log.open("w") as output:
        shell = subprocess.Popen(
            ["bash", "-ec", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            yield Service(url, folder, environment | {"PREFECT_PROFILE": "counterset"}, log)
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
            try:
                wait_for(lambda: not alive(mark), 90, "the end of all that was started")
            finally:
                for process in psutil.process_iter():
                    with contextlib.suppress(psutil.Error):
                        if process.environ().get(MARK) == mark:
                            process.kill()
                shell.wait()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the port is still held"


@pytest.fixture(scope="module")
def finished(service: Service) -> dict[str, Any]:
    """The first run that the schedule started; then the schedule stands still, for each further run costs a build."""

    def first() -> dict[str, Any] | None:
        try:
            return next(iter(service.ended("demo")), None)
        except requests.RequestException:
            return None  # the server is not up yet

    try:
        run = dict(wait_for(first, 240, "a scheduled run"))
    except AssertionError as error:
        raise AssertionError(f"{error}\n{service.log.read_text()[-4000:]}") from error
    [demo] = service.ask("deployments", deployments={"name": {"any_": ["demo"]}})
    for schedule in demo["schedules"]:
        service.call("PATCH", f"deployments/{demo['id']}/schedules/{schedule['id']}", {"active": False})
    return run


def test_a_schedule_starts_a_run_that_completes(service: Service, finished: dict[str, Any]) -> None:
    assert finished["state_type"] == "COMPLETED", service.log.read_text()[-4000:]
    assert finished["auto_scheduled"] is True
    assert {"counterset", "demo"} <= set(finished["tags"])
    assert list((service.folder / "demo" / "releases" / "counterset-demo").glob("1.0.0"))


def test_a_release_is_told(service: Service, finished: dict[str, Any], module_receiver: Any) -> None:
    """By the webhook, and by an event that automations can wait for."""
    told = [one for one in module_receiver.told if one["status"] == "published"]
    assert [(one["version"], one["build"]) for one in told] == [("1.0.0", "counterset-demo")], "once, not at each run"
    assert "First release" in told[0]["reason"] and told[0]["release"].endswith("counterset-demo/1.0.0")

    def events() -> Any:
        return service.ask("events", filter={"event": {"name": ["counterset.release.published"]}})["events"]

    [event] = wait_for(events, 60, "the event")
    assert event["payload"]["version"] == "1.0.0"
    module_receiver.told.clear()


def test_one_scheduled_run_is_one_run(service: Service, finished: dict[str, Any]) -> None:
    assert "counterset-build" not in [flow["name"] for flow in service.ask("flows")], "no run of its own"


def test_the_run_left_its_pages(service: Service, finished: dict[str, Any]) -> None:
    found = {artifact["key"]: artifact for artifact in service.ask("artifacts")}
    assert {f"counterset-demo-{page}" for page in ("progress", "pairs", "report", "changes")} <= set(found)
    inner = service.ask("flow_runs", flow_runs={"id": {"any_": [found["counterset-demo-pairs"]["flow_run_id"]]}})
    assert inner[0]["state_type"] in ("COMPLETED", "RUNNING")


def test_the_server_knows_all_that_was_deployed(service: Service, finished: dict[str, Any]) -> None:
    deployments = {deployment["name"]: deployment for deployment in service.ask("deployments")}
    assert set(deployments) == {"rebuild", "build", "audit", "demo"}
    [monthly] = deployments["rebuild"]["schedules"]
    assert (monthly["schedule"]["cron"], monthly["active"]) == ("0 3 1 * *", False)
    assert not deployments["build"]["schedules"][0]["active"]
    for deployment in deployments.values():
        assert deployment["global_concurrency_limit"]["limit"] == 1
        assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert not service.ask("flow_runs", deployments={"name": {"any_": ["rebuild"]}}), "before its config can run"
    queues = {queue["name"]: queue for queue in service.ask("work_queues")}
    assert queues["inaturalist"]["concurrency_limit"] == 1
    [automation] = service.ask("automations")
    assert automation["enabled"]


def test_no_web_page_can_make_the_worker_run_commands(service: Service, finished: dict[str, Any]) -> None:
    """Any page that was open in the user's browser could: it made a deployment whose first step is a shell command."""
    assert attack(f"{service.url}/api") == []
    assert [pool["name"] for pool in service.ask("work_pools")] == ["counterset"]
    assert "x" not in [flow["name"] for flow in service.ask("flows")]


def test_the_password_is_for_its_owner_alone(service: Service, finished: dict[str, Any]) -> None:
    home = Path(service.environment["PREFECT_HOME"])
    assert stat.S_IMODE((home / "profiles.toml").stat().st_mode) == 0o600
    secret = service.password.partition(":")[2]
    assert len(secret) >= 32
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            assert secret not in " ".join(process.cmdline())
    before = service.password
    run = subprocess.run(
        [str(BIN / "counterset"), "prefect-profile"],
        env=service.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert service.password == before and secret not in run.stdout  # called again, it stays; and it is in no log
    assert secret not in service.log.read_text()


@pytest.mark.skipif(BROWSER is None, reason="the UI is looked at with Debian's chromium, which is not installed")
def test_the_pages_are_in_the_ui(service: Service, finished: dict[str, Any]) -> None:
    artifacts = service.ask("artifacts", artifacts={"key": {"any_": ["counterset-demo-pairs"]}})
    words = ("counterset-demo-pairs", "ice_bear", "verdict", "white_stork")
    kept = base64.b64encode(service.password.encode()).decode()  # as the page keeps it when it was typed in
    text = text_of(
        f"{service.url}/v2/artifacts/artifact/{artifacts[0]['id']}",
        f"localStorage.setItem('prefect-password', '{kept}')",
        service.folder / "browser",
        lambda text: all(word in text for word in words),
    )
    for word in words:
        assert word in text, f"the page does not show {word}"


@pytest.fixture(scope="module")
def paused(service: Service, finished: dict[str, Any]) -> None:
    """No run of the schedule goes on."""
    unfinished = {"state": {"type": {"any_": ["RUNNING", "PENDING"]}}}
    wait_for(lambda: not service.ask("flow_runs", flow_runs=unfinished), 120, "the end of the last run")


def in_state(service: Service, kind: str) -> Any:
    return service.ask("flow_runs", flow_runs={"state": {"type": {"any_": [kind]}}, "name": {"like_": "asked"}})


def test_a_second_run_is_cancelled_and_a_killed_one_is_told(
    service: Service, paused: None, module_receiver: Any
) -> None:
    """Killed as the kernel would when memory runs out: the worker lives on and says so."""
    for name in ("asked-first", "asked-second"):
        service.start("demo", name, photos_per_class=200)
        if name == "asked-first":
            wait_for(lambda: in_state(service, "RUNNING"), 120, "a running flow")
    wait_for(lambda: in_state(service, "CANCELLED"), 60, "the state Cancelled")
    assert [run["name"] for run in in_state(service, "RUNNING")] == ["asked-first"]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_engine = "prefect.engine" in " ".join(process.cmdline())
            if is_engine and process.environ().get(MARK) == str(service.folder):
                process.kill()
    assert wait_for(lambda: in_state(service, "CRASHED"), 60, "the state Crashed")[0]["name"] == "asked-first"
    told = wait_for(lambda: module_receiver.told, 60, "the message")
    assert [one["status"] for one in told] == ["crashed"]
    assert told[0]["url"].startswith(service.url)


def test_a_config_that_cannot_be_read_is_told(service: Service, paused: None, module_receiver: Any) -> None:
    module_receiver.told.clear()
    service.prefect("deployment", "run", "counterset-rebuild/build", "--param", "config_path=missing.toml")
    [told] = wait_for(lambda: module_receiver.told, 90, "the message")
    assert told["status"] == "failed"
    assert told["build"] == "missing.toml"
    assert "give the path of a TOML file" in told["reason"]


def test_the_audit_runs(service: Service, paused: None) -> None:
    """Against the release's own features: every photo's most similar image is itself."""
    folder = service.folder / "demo"
    [release] = (folder / "releases" / "counterset-demo").glob("1.0.0")
    [features, *_] = sorted((folder / "workspace" / "embeddings").iterdir())
    service.start("audit", release=str(release.parent), against=str(features), queries=str(features), output="audits")
    [run] = wait_for(lambda: service.ended("audit"), 120, "the audit")
    assert run["state_type"] == "COMPLETED", service.log.read_text()[-4000:]
    [nearest] = (service.folder / "audits").glob("*/1.0.0/nearest.parquet")
    assert min(pq.read_table(nearest)["similarity"].to_pylist()) > 0.999


def test_a_run_out_of_time_is_told(service: Service, paused: None, module_receiver: Any) -> None:
    module_receiver.told.clear()
    code = "import counterset_flows.build; from counterset_flows.rebuild import demo; "
    code += "demo.with_options(timeout_seconds=5)('late', 200)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=service.folder,
        env=service.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "FlowRunTimeoutError" in run.stderr, run.stderr
    assert [told["status"] for told in module_receiver.told] == ["timed out"]
