"""What `make bench` holds is held."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from .benchmark_files import BENCHMARKS, load_benchmark


@pytest.fixture(scope="module")
def floors() -> Any:
    return load_benchmark("floors")


@pytest.fixture(scope="module")
def scale() -> Any:
    return load_benchmark("scale")


HELD = {
    "growth": 1.3,
    "from": 100_000,
    "peak_mb": 1000,
    "rows": {"20000": {"members": {"members": 19_059, "members_rejects": 941}}},
}


def steps(scale: Any, usual_s: float, **changed: Any) -> dict[str, Any]:
    rows = {step: {"seconds": usual_s, "peak_mb": 500.0, "rows": {}} for step in scale.STEPS}
    rows["members"] = rows["members"] | {"rows": HELD["rows"]["20000"]["members"]} | changed  # type: ignore[index]
    return rows


def test_what_keeps_to_the_floors_says_nothing(scale: Any) -> None:
    measured = {20_000: steps(scale, 1.0), 100_000: steps(scale, 6.0), 1_000_000: steps(scale, 70.0)}
    assert scale.broken(measured, HELD) == []


@pytest.mark.parametrize(
    ("small", "large", "said"),
    [
        ({}, {"seconds": 70.0}, "members takes 1.40 times as long per photo for 1000000 photos as for 100000"),
        ({}, {"peak_mb": 1001.0}, "members takes 1001 MB for 1000000 photos"),
        (
            {"rows": {"members": 19_058, "members_rejects": 941}},
            {},
            "members writes 19058 members of 20000 photos, not 19059",
        ),
    ],
)
def test_each_floor_of_the_steps_is_held(scale: Any, small: dict[str, Any], large: dict[str, Any], said: str) -> None:
    measured = {20_000: steps(scale, 1.0, **small), 100_000: steps(scale, 5.0)}
    assert scale.broken(measured | {1_000_000: steps(scale, 50.0, **large)}, HELD) == [said]


def test_the_rows_that_are_held_are_of_steps_and_uses_of_a_release(floors: Any, scale: Any) -> None:
    for held in floors.section("scale")["rows"].values():
        assert set(held) <= {*scale.STEPS, *scale.USES}


@pytest.mark.parametrize(
    ("floor", "said"),
    [
        ({"least": {"ratio": 2.0}, "most": {"peak_mb": 90}, "exact": {"kept": 7}}, []),
        ({"least": {"ratio": 2.6}}, ["ratio is 2.5, and the floor says at least 2.6"]),
        ({"most": {"peak_mb": 79}}, ["peak_mb is 80, and the floor says at most 79"]),
        ({"exact": {"kept": 8}}, ["kept is 7, and the floor says 8"]),
        ({"least": {"other": 0.0}}, ["other was not measured"]),
    ],
)
def test_each_kind_of_floor_is_held(floors: Any, floor: dict[str, Any], said: list[str]) -> None:
    assert floors.below({"ratio": 2.5, "peak_mb": 80.0, "kept": 7}, floor) == said


def test_the_peak_is_of_the_process_alone() -> None:
    child = "from floors import peak_mb; print(peak_mb())"
    parent = f"import subprocess, sys; held = b'x' * 300_000_000; subprocess.run([sys.executable, '-c', {child!r}])"
    run = subprocess.run([sys.executable, "-c", parent], cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 150


def test_a_floor_that_is_too_high_ends_a_benchmark_with_an_error(
    floors: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sections = tmp_path / "floors.toml"
    sections.write_text("[low.least]\nof_plain_loop = 1.0\n[high.least]\nof_plain_loop = 1e9\n")
    monkeypatch.setitem(sys.modules, "floors", floors)
    monkeypatch.setattr(floors, "FLOORS", sections)
    captions = load_benchmark("captions")
    arguments = ["captions.py", "--captions", "2000", "--entries", "1000", "--floors"]
    monkeypatch.setattr(sys, "argv", [*arguments, "low"])
    captions.main()
    assert "BELOW" not in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*arguments, "high"])
    with pytest.raises(SystemExit, match="1"):
        captions.main()
    assert "BELOW THE FLOOR: of_plain_loop is " in capsys.readouterr().out


def test_every_section_runs_a_benchmark_that_takes_floors(floors: Any) -> None:
    sections = tomllib.loads(floors.FLOORS.read_text())
    for name, of in sections.items():
        file = BENCHMARKS / shlex.split(of["run"])[0]
        assert "add_floors(parser)" in file.read_text(), name
