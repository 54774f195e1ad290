"""The files for schedules: what they name exists, is understood by what reads them, and is what the docs say."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.cli.deploy._models import DeploymentConfig, PrefectYamlModel, RawScheduleConfig
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.flows import Flow
from prefect.settings import Settings
from prefect.settings.legacy import _get_settings_fields

from counterset.config import load_config

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/operations.md")
PREFECT: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
DEPLOYMENTS = {deployment["name"]: deployment for deployment in PREFECT["deployments"]}
OTHERS = {"DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "PREFECT_PROFILE", "PREFECT_PASSWORD"}
"""Variables of other programs, and what is no setting of Prefect: the name of its profile, compose.yaml's password."""


def flow_of(deployment: dict[str, Any]) -> Flow[Any, Any]:
    module, _, name = deployment["entrypoint"].rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, Flow)
    return found


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_is_what_prefect_and_the_flow_expect(name: str) -> None:
    deployment = DEPLOYMENTS[name]
    assert deployment.keys() <= DeploymentConfig.model_fields.keys()  # Prefect itself ignores what it does not know
    PrefectYamlModel.model_validate({"deployments": [deployment]})
    flow = flow_of(deployment)
    assert deployment["entrypoint"].startswith("counterset_flows.")  # a module: from a checkout and a wheel alike
    flow.validate_parameters(deployment["parameters"])
    assert flow.timeout_seconds
    assert [hook.__name__ for hook in flow.on_failure_hooks] == ["tell"]
    assert [hook.__name__ for hook in flow.on_crashed_hooks] == ["tell"]
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    assert "counterset" in deployment["tags"]
    for schedule in deployment["schedules"]:
        assert schedule["slug"]
        cron = CronSchedule(**RawScheduleConfig(**schedule).model_dump(include={"cron", "timezone"}))
        assert cron.cron == schedule["cron"]
    path = deployment["parameters"].get("config_path")
    if path:
        assert load_config(ROOT / path).source.kind == deployment["work_pool"]["work_queue_name"]


def test_no_schedule_is_switched_on_before_its_config_can_run() -> None:
    assert not any(schedule["active"] for deployment in DEPLOYMENTS.values() for schedule in deployment["schedules"])
    shipped = {name: deployment["parameters"].get("config_path") for name, deployment in DEPLOYMENTS.items()}
    assert not load_config(ROOT / shipped["rebuild"]).source.contact, "or else it may be switched on"


def test_the_version_of_prefect_is_the_tested_one() -> None:
    assert f"prefect=={PREFECT['prefect-version']}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_automations_are_understood() -> None:
    automations = yaml.safe_load((ROOT / "automations.yaml").read_text())["automations"]
    assert [AutomationCore.model_validate(automation).name for automation in automations] == [
        "counterset-no-sign-of-life"
    ]
    frequency = int(DEPLOYMENTS["rebuild"]["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    assert automations[0]["trigger"]["within"] >= 5 * frequency  # a loaded machine is late with its signs of life


def test_containers_are_reached_from_this_machine_alone_and_tell_nobody() -> None:
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        if "prefect" in str(service.get("entrypoint", "")) + str(service.get("command", "")):
            assert service["environment"]["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
            assert service["environment"]["DO_NOT_TRACK"] == "1"
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in COMPOSE["services"][other]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source == "./runs" or source in COMPOSE["volumes"]
    assert "/runs/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_server_in_containers_asks_for_a_password_that_is_made_and_not_committed() -> None:
    server, worker = (COMPOSE["services"][name]["environment"] for name in ("server", "worker"))
    assert server["PREFECT_SERVER_API_AUTH_STRING"].startswith("counterset:${PREFECT_PASSWORD:?")
    assert worker["PREFECT_API_AUTH_STRING"] == "counterset:${PREFECT_PASSWORD}"
    origins = server["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    assert origins == ["http://127.0.0.1:4200", "http://localhost:4200"]
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()
    for page in ("compose.yaml", "docs/operations.md"):
        [made] = re.findall(r"\(umask 077; for name in ([A-Z_ ]+); do", (ROOT / page).read_text())
        text = (ROOT / "compose.yaml").read_text()
        assert set(made.split()) == set(re.findall(r"\$\{([A-Z_]+):\?", text))


def test_what_the_image_needs_is_in_it() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert all((ROOT / name).exists() for name in kept)
    project = (ROOT / "pyproject.toml").read_text()
    built = re.findall(r'^"?(data_manifests|configs|counterset-dataclasses\.pth)"? =', project, re.M)
    assert set(built) | {"src", "flows", "README.md", "LICENSE", "pyproject.toml", "constraints.txt"} <= kept
    command = COMPOSE["services"]["worker"]["command"][0]
    copied = set(re.findall(r"/opt/counterset/([\w.]+)", command))
    assert copied and copied <= kept
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "WORKDIR /opt/counterset\nCOPY . ." in dockerfile
    assert COMPOSE["services"]["worker"]["working_dir"] == "/runs" and "/runs" in dockerfile


@pytest.mark.parametrize("page", [*PAGES, "compose.yaml", "prefect.yaml", "Dockerfile"])
def test_every_variable_that_is_named_is_used(page: str) -> None:
    known = set(_get_settings_fields(Settings))
    text = (ROOT / page).read_text()
    named = set(re.findall(r"\b(?:PREFECT|COUNTERSET|POSTGRES|DO_NOT|HF|XDG|NO)_[A-Z_]+[A-Z]\b", text))
    sources = "\n".join(path.read_text() for path in (ROOT / "flows").rglob("*.py"))
    ours = {name for name in named if name.startswith("COUNTERSET_") and f'"{name}"' in sources}
    postgres = {name for name in named if name.startswith("POSTGRES_") and name in (ROOT / "compose.yaml").read_text()}
    assert named - known - ours - postgres - OTHERS == set()


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_files_and_deployments_that_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    deployed = {f"{flow_of(deployment).name}/{name}" for name, deployment in DEPLOYMENTS.items()}
    assert set(re.findall(r"\bcounterset-[a-z-]+/[a-z]+\b", text)) <= deployed
    for name in re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:yaml|toml|py|md)|Dockerfile)`", text):
        assert (ROOT / name).exists(), f"{page} names {name}"
