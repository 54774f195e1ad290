"""An evaluation's folder that was cut or altered: one sentence, and nothing is computed before it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import counterset
from counterset.cli import main
from counterset.errors import ReleaseError, WorkspaceError
from counterset.evaluation import evaluate as evaluate_module
from counterset.evaluation.paper import compare
from counterset.evaluation.points import read_figure
from counterset.evaluation.record import read_record

SETTINGS: dict[str, Any] = {"label_space": "classes", "batch_size": 64, "shard_size": 64}
CUT: list[Any] = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"x"',
    b"NaN",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"format": "other"}',
    0.5,
    0.9,
]


@pytest.fixture(scope="module")
def evaluated(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("evaluations")
    counterset.evaluate(small.load(), ["demo:weak"], output=output, **SETTINGS)
    return output


@pytest.fixture
def copied(evaluated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(evaluated, tmp_path / "evaluations"))


def folder_of(output: Path) -> Path:
    return output / "small-1.0.0" / "classes-paper"


@pytest.mark.parametrize("content", CUT)
def test_a_record_that_was_cut(copied: Path, small: Any, content: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    record = folder_of(copied) / "evaluation.json"
    whole = record.read_bytes()
    record.write_bytes(whole[: int(len(whole) * content)] if isinstance(content, float) else content)
    monkeypatch.setattr(evaluate_module, "fetch", lambda *args, **more: pytest.fail("photos were fetched first"))
    for call in (
        lambda: read_figure(folder_of(copied)),
        lambda: compare(small.load(), folder_of(copied)),
        lambda: counterset.evaluate(small.load(), ["demo:plain"], output=copied, **SETTINGS),
    ):
        with pytest.raises(ReleaseError, match=r"evaluation\.json is (damaged|no evaluation)"):
            call()


@pytest.mark.parametrize("key", ["release", "label_space", "num_labels", "photos", "scale", "half", "models"])
@pytest.mark.parametrize("value", [None, [], "x", {"a": 1}, -1.5])
def test_a_statement_of_another_form(copied: Path, key: str, value: Any) -> None:
    record = folder_of(copied) / "evaluation.json"
    content = json.loads(record.read_text())
    if isinstance(content[key], type(value)) and key != "scale":
        return
    record.write_text(json.dumps(content | {key: value}))
    with pytest.raises(ReleaseError, match=rf"evaluation\.json is damaged \({key}"):
        read_record(folder_of(copied))


@pytest.mark.parametrize("name", ["metrics", "class_metrics", "predictions"])
def test_a_table_that_was_cut(copied: Path, small: Any, name: str) -> None:
    path = folder_of(copied) / f"{name}.parquet"
    whole = path.read_bytes()
    generator = np.random.default_rng(1)
    other = folder_of(copied) / ("metrics.parquet" if name != "metrics" else "predictions.parquet")
    damaged = [b"", whole[:-9], whole[: len(whole) // 2], other.read_bytes()]
    for _ in range(20):
        content = bytearray(whole)
        for position in generator.integers(len(content) - 400, len(content), 10):
            content[position] ^= 0xFF
        damaged.append(bytes(content))
    calls = {
        "metrics": lambda: read_figure(folder_of(copied)),
        "class_metrics": lambda: compare(small.load(), folder_of(copied)),
        "predictions": lambda: counterset.evaluate(small.load(), ["demo:plain"], output=copied, **SETTINGS),
    }
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ReleaseError, match=rf"/{name}\.parquet is damaged .*evaluate again"):
            calls[name]()


def test_no_model(copied: Path) -> None:
    path = folder_of(copied) / "metrics.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(ReleaseError, match="holds no model"):
        read_figure(folder_of(copied))


def test_vectors_that_were_cut(copied: Path, small: Any) -> None:
    for path in (copied / "vectors").rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(WorkspaceError, match=r"is damaged .*delete it and run again"):
        counterset.evaluate(small.load(), ["demo:weak"], output=copied, **SETTINGS)


def test_the_commands_say_it_in_one_line(copied: Path, small: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (folder_of(copied) / "evaluation.json").write_text("{")
    for command in (
        ["plot", str(folder_of(copied))],
        ["plot", str(copied / "nowhere")],
        ["compare", str(small.path), "--published", "--evaluation", str(folder_of(copied))],
        ["evaluate", str(small.path), "--model", "demo:weak", "--label-space", "classes", "--output", str(copied)],
    ):
        assert main(command) == 2
        said = capsys.readouterr()
        assert said.err.lstrip().startswith("counterset: ") and said.err.strip().count("\n") == 0 and not said.out


def test_an_output_that_cannot_be_written_is_said_before_the_work(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_module, "opened", lambda name: pytest.fail("a model was loaded first"))
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="cannot be written"):
        counterset.evaluate(small.load(), ["demo:weak"], output=tmp_path / "file" / "below", **SETTINGS)
