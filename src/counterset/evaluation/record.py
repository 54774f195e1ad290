"""Reading an evaluation's folder: what a user hands in, and what a kill or a full disk may have cut.

<folder>/vectors/<model>/<shard>.parquet       what a model makes of a photo or a label, kept for good
<folder>/<release>-<version>/<label space>-<templates>/
    predictions.parquet  metrics.parquet  class_metrics.parquet  evaluation.json
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from counterset.errors import ReleaseError, SchemaError, WorkspaceError
from counterset.evaluation.measures import ModelFacts
from counterset.load import Release
from counterset.release.questions import Candidates
from counterset.schemas import TableSchema
from counterset.statistics.robustness import Scale
from counterset.tables import read_table

FORMAT = "counterset-evaluation"

PREDICTIONS_FILE = "predictions.parquet"
METRICS_FILE = "metrics.parquet"
CLASS_METRICS_FILE = "class_metrics.parquet"
RECORD_FILE = "evaluation.json"


class _Evaluated(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    version: str


class _Record(BaseModel):
    """What is read of evaluation.json; more may stand in it."""

    model_config = ConfigDict(extra="allow")
    release: _Evaluated
    label_space: str
    num_labels: int
    photos: str
    candidates: dict[str, list[str]] | None
    truths: dict[str, str] | None = None
    scale: Scale
    half: str
    models: dict[str, ModelFacts]


def read_record(folder: Path) -> dict[str, Any]:
    """evaluation.json of an evaluation's folder.

    Raises:
        ReleaseError: it holds none, or a damaged one.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        inside = sorted(str(path.parent) for path in folder.glob(f"*/{RECORD_FILE}")) if folder.is_dir() else []
        hint = f"there is {', '.join(inside)}" if inside else "counterset evaluate prints the folder it writes"
        raise ReleaseError(f"{folder} holds no evaluation; {hint}")
    try:
        record = TypeAdapter(dict[str, Any]).validate_json(path.read_bytes())
        if record.get("format") != FORMAT:
            raise ReleaseError(f"{path} is no evaluation of counterset; give the folder of one")
        _Record.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise ReleaseError(_damaged(path, reason)) from error
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read ({error.strerror}); give the folder of an evaluation") from error
    return record


def read_candidates(folder: Path, release: Release) -> dict[str, Candidates] | None:
    """class_id -> what an evaluation asked its photos about; None = the names of the release's classes.

    Raises:
        ReleaseError: the folder holds no evaluation of the release, or one whose candidates it does not say.
    """
    record = read_record(folder)
    of = f"{record['release']['name']} {record['release']['version']}"
    if of != f"{release.name} {release.version}":
        raise ReleaseError(
            f"{folder} evaluates {of}, not {release.name} {release.version}; give an evaluation of the same release"
        )
    if record["candidates"] is None and record["label_space"] == "classes":
        return None
    truths = record.get("truths")
    if record["candidates"] is None or truths is None:
        raise ReleaseError(
            f"{folder} holds no short list of candidates for each class; evaluate with --label-space top20 "
            "(or top20:classes), and give the folder that it prints"
        )
    return {class_id: Candidates(tuple(labels), truths[class_id]) for class_id, labels in record["candidates"].items()}


def facts_of(record: Mapping[str, Any]) -> dict[str, ModelFacts]:
    """model -> what a record says of it."""
    return TypeAdapter(dict[str, ModelFacts]).validate_python(record["models"])


def read_part(folder: Path, name: str, schema: TableSchema) -> pa.Table:
    """A table of an evaluation's folder.

    Raises:
        ReleaseError: it is missing or damaged.
    """
    try:
        return read_table(folder / name, schema)
    except (WorkspaceError, SchemaError, pa.ArrowException) as error:
        raise ReleaseError(_damaged(folder / name, str(error).partition("; ")[0])) from error


def _damaged(path: Path, reason: str) -> str:
    return f"{path} is damaged ({' '.join(reason.split())[:200]}); delete {path.parent} and evaluate again"
