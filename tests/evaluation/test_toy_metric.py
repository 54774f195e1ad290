"""A package from outside adds a metric in one file: the table, the command line, the record and the plot know it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import counterset
from counterset.cli.evaluating import _row
from counterset.errors import ExtensionError
from counterset.evaluation import evaluate, measures, metrics, points, schemas
from counterset.evaluation.metrics import METRICS
from counterset.evaluation.points import read_figure
from counterset.evaluation.record import METRICS_FILE
from counterset.registry import Registry
from counterset.tables import read_table

from ..toy_packages import add_package

TOY = """
from counterset.evaluation.metric import Metric, estimate, estimate_columns, percent

def values(draws):
    return estimate("best_class", draws.accuracy[..., 1].max(axis=1))

metric = Metric(
    estimate_columns("best_class", "highest accuracy of a class on counter, in [0, 1]"),
    values,
    lambda row: {"best class %": percent(row["best_class"])},
)
"""
SETTINGS: dict[str, Any] = {"label_space": "classes"}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def add(code: str = TOY, version: str = "1.0") -> None:
        site = tmp_path / f"site-{version}"
        add_package(site, "toy_metric", code=code, entry_points={METRICS.group: {"best": "metric"}}, version=version)
        monkeypatch.setattr(sys, "path", [str(site), *(one for one in sys.path if Path(one).parent != tmp_path)])
        monkeypatch.delitem(sys.modules, "toy_metric", raising=False)
        anew = Registry(METRICS.group, METRICS.package, METRICS.attribute, METRICS.what)
        for module in (metrics, schemas, measures, evaluate, points):
            monkeypatch.setattr(module, "METRICS", anew)

    return add


def test_a_metric_from_outside_is_in_every_place(
    small: Any, install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = ["demo:weak", "demo:plain"]
    without = counterset.evaluate(small.load(), models, output=tmp_path / "out", **SETTINGS)
    assert "best_class" not in without.metrics.column_names and "metrics_from" not in without.record
    install()
    found = counterset.evaluate(small.load(), models, output=tmp_path / "out", **SETTINGS)
    assert set(found.num_computed.values()) == {0}, "a further metric computes no vector again"
    table = read_table(found.folder / METRICS_FILE, schemas.metrics())
    assert table.schema.field("best_class").metadata[b"doc"].startswith(b"highest accuracy")
    classes = found.class_metrics.to_pylist()
    for row in table.to_pylist():
        best = max(r["accuracy"] for r in classes if r["model"] == row["model"] and r["side"] == "counter")
        assert row["best_class"] == pytest.approx(best) and row["best_class_low"] <= best
        assert _row(row)["best class %"] == f"{100 * best:.1f}"
    assert found.record["metrics_from"] == {"best": ["toy_metric", "1.0"]}
    before = (found.folder / METRICS_FILE).read_bytes()
    again = counterset.evaluate(small.load(), models[:1], output=tmp_path / "out", **SETTINGS)
    assert (again.folder / METRICS_FILE).read_bytes() == before
    install(version="2.0")
    later = counterset.evaluate(small.load(), models[:1], output=tmp_path / "out", **SETTINGS)
    assert later.record["metrics_from"] == {"best": ["toy_metric", "2.0"]}
    monkeypatch.undo()
    assert len(read_figure(found.folder).points) == 2, "it is read where the package is not"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (TOY.replace('"best_class"', '"drop"'), "has the column 'drop', which is another's"),
        (
            TOY.replace('estimate("best_class"', 'estimate("best"'),
            "gives best, best_low, best_high and not its columns",
        ),
        ("1 / 0", r"toy_metric 1\.0 cannot be loaded \(ZeroDivisionError"),
    ],
)
def test_a_metric_that_does_not_fit_is_one_sentence(
    small: Any, install: Any, tmp_path: Path, code: str, said: str
) -> None:
    install(code)
    with pytest.raises(ExtensionError, match=said):
        counterset.evaluate(small.load(), ["demo:weak"], output=tmp_path / "out", **SETTINGS)
