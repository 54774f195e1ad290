"""One real demo build, looked at from every side: server, flow, img2dataset, models, release."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

import counterset
from counterset.cli import main
from counterset.demo.world.observations import demo_catalog
from counterset.manifests import config_path
from counterset.schemas import BACKGROUNDS, MEMBERS, REJECTS, TableSchema
from counterset.tables import read_table


def sums(release: Path) -> str:
    return (release / "SHA256SUMS").read_text()


def stage(demo_build: Any, name: str, schema: TableSchema) -> pa.Table:
    files = sorted((demo_build.sandbox.folder / "demo" / "workspace" / name).glob("*/*.parquet"))
    return pa.concat_tables([read_table(path, schema) for path in files])


def recorded(demo_build: Any, query: str, *values: str) -> list[tuple[Any, ...]]:
    """What Prefect's database says: to start its server for a look takes long."""
    with contextlib.closing(sqlite3.connect(demo_build.sandbox.folder / "prefect" / "prefect.db")) as record:
        return record.execute(query, values).fetchall()


def num_task_runs(demo_build: Any, name: str) -> int:
    [(number,)] = recorded(demo_build, "SELECT count(*) FROM task_run WHERE name LIKE ? || '%'", name)
    return int(number)


def test_it_prints_the_pairs_beside_the_truth(demo_build: Any) -> None:
    assert "pairs found beside the true drops" in demo_build.output
    assert "ice_bear" in demo_build.output
    assert str(demo_build.release) in demo_build.output
    assert (demo_build.release / "report.html").stat().st_size > 10_000


def test_nothing_phones_home(demo_build: Any) -> None:
    assert demo_build.sandbox.connections() == ""


def test_the_guard_does_notice(sandbox: Any) -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    run = subprocess.run([sys.executable, "-c", code], env=sandbox.environment, capture_output=True, check=False)
    assert run.returncode != 0
    assert "192.0.2.1" in sandbox.connections()


@pytest.mark.usefixtures("demo_workspace")
def test_a_second_build_does_no_work(demo_build: Any) -> None:
    before, published = sums(demo_build.release), num_task_runs(demo_build, "publish")
    run = demo_build.sandbox.counterset(*demo_build.arguments)
    assert run.returncode == 0, run.stderr
    assert num_task_runs(demo_build, "publish") == published >= 1, "a table step ran with nothing to do"
    assert "nothing to do" in run.stdout
    assert "leaked" not in run.stderr  # DuckDB says so at the exit, if its objects are kept from the search for garbage
    assert sums(demo_build.release) == before
    assert len(list(demo_build.release.parent.glob("[0-9]*"))) == 1


def test_prefect_keeps_a_record(demo_build: Any) -> None:
    flows = recorded(demo_build, "SELECT name, state_type FROM flow_run")
    tasks = recorded(demo_build, "SELECT name, state_type FROM task_run")
    assert set(flows) == {("counterset-demo", "COMPLETED")}, "the config's name, by which runs are told apart"
    names = {name.split(" ")[0].split("-")[0] for name, _ in tasks}
    assert {"crawl", "plan", "download", "inspect", "embed", "annotate", "evaluate", "select", "publish"} <= names
    assert {state for _, state in tasks} == {"COMPLETED"}


def test_a_user_can_list_the_runs(demo_build: Any) -> None:
    run = subprocess.run(
        [str(Path(sys.executable).with_name("prefect")), "flow-run", "ls"],
        env=demo_build.sandbox.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "counterset-build" in run.stdout and "COMPLETED" in run.stdout


def test_every_bad_photo_of_the_world_is_turned_away(demo_build: Any) -> None:
    _, truth = demo_catalog(int(demo_build.arguments[-1]), 0)
    fault_of = {
        f"inaturalist-{photo_id}": fault
        for photo_id, fault in zip(truth["photo_id"].to_pylist(), truth["fault"].to_pylist(), strict=True)
        if fault
    }
    kept = set(stage(demo_build, "members", MEMBERS)["photo_id"].to_pylist())
    # Frames of a burst, extra photos and duplicates are good photos of which one may stay.
    allowed = {"burst", "extra_photo", "exact_duplicate", "near_duplicate"}
    wrong = {photo_id: fault_of[photo_id] for photo_id in kept & fault_of.keys() if fault_of[photo_id] not in allowed}
    assert not wrong
    rejects = pa.concat_tables([stage(demo_build, name, REJECTS) for name in ("photos_rejects", "members_rejects")])
    assert {"undecodable", "exact_duplicate", "near_duplicate"} <= set(rejects["reason"].to_pylist())


def test_backgrounds_are_named_right(demo_build: Any) -> None:
    _, truth = demo_catalog(int(demo_build.arguments[-1]), 0)
    background_of = dict(zip(truth["photo_id"].to_pylist(), truth["background"].to_pylist(), strict=True))
    rows = stage(demo_build, "backgrounds", BACKGROUNDS).to_pylist()
    grouped = [row for row in rows if row["group"]]
    right = sum(row["group"] == background_of[int(row["photo_id"].removeprefix("inaturalist-"))] for row in grouped)
    assert len(grouped) > 0.7 * len(rows)
    assert right > 0.97 * len(grouped)
    names = counterset.load(demo_build.release).group_names
    assert names["share_elsewhere"].null_count == 0 and max(names["share_elsewhere"].to_pylist()) < 0.5, "none doubted"


def test_the_release_loads(demo_build: Any) -> None:
    release = counterset.load(demo_build.release, verdicts=("confirmed", "unconfirmed"))
    assert release.common.num_rows and release.counter.num_rows
    assert not set(release.common["photo_id"].to_pylist()) & set(release.counter["photo_id"].to_pylist())


def test_the_release_opens_unaided(demo_build: Any, tmp_path: Path) -> None:
    offered = {}
    for split in ("common", "counter"):
        folder = demo_build.release / "data"
        parts = {path: pd.read_parquet(path) for path in folder.glob(f"{split}-*.parquet")}
        [[count]] = duckdb.sql(f"select count(*) from '{folder / split}-*.parquet'").fetchall()
        assert count == sum(map(len, parts.values()))
        offered[split] = sum(len(rows) for path, rows in parts.items() if "others" not in path.name)
        assert 0 < offered[split] < count
    code = (
        "import sys, json, datasets; "
        f"d = datasets.load_dataset({str(demo_build.release)!r}, cache_dir={str(tmp_path)!r}); "
        "print(json.dumps({k: v.num_rows for k, v in d.items()}))"
    )
    environment = demo_build.sandbox.environment | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    counts = json.loads(run.stdout.strip().splitlines()[-1])
    assert counts == offered


def test_sums_are_right(demo_build: Any) -> None:
    lines = sums(demo_build.release).splitlines()
    assert len(lines) >= 14
    for line in lines:
        digest, name = line.split(maxsplit=1)
        content = (demo_build.release / name.strip().lstrip("*")).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, name


def test_other_commands_read_the_release(demo_build: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """`show` and `export` are walked by `tests/docs/test_walk.py`."""
    release = str(demo_build.release)
    assert main(["diff", release, release]) == 0
    assert "no row differs" in capsys.readouterr().out
    assert main(["plan", str(config_path("demo.toml")), "--learn-from", release]) == 0
    assert "observer correlation" in capsys.readouterr().out
    labelled = str(demo_build.sandbox.folder / "demo" / "workspace")
    assert main(["calibrate", release, labelled, "--precision", "0.9"]) == 0
    printed = capsys.readouterr().out
    assert "annotate.min_margin = " in printed and "needed %" in printed
