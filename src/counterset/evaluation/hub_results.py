"""An evaluation's figures as the files by which models say their scores on the Hugging Face hub."""

from __future__ import annotations

import json
import re
from pathlib import Path

from counterset.errors import ReleaseError
from counterset.evaluation.metrics import METRICS
from counterset.evaluation.record import METRICS_FILE, read_part, read_record
from counterset.evaluation.schemas import metrics
from counterset.outputs import check_output
from counterset.release.questions import LETTERS
from counterset.release.schemas import SPLITS

NOTES = (
    "mean over photos, as the task gives it; class-balanced accuracies {common:.4f} common and {counter:.4f} counter, "
    "drop {drop:.4f} ({drop_low:.4f} to {drop_high:.4f}); candidates {label_space}, half {half}, {num_unknown} answers "
    "that name no candidate"
)


def write_results(evaluation: Path, dataset: str, output: Path) -> list[Path]:
    """Write `<output>/<model>/.eval_results/<release>.yaml` for every model, to be copied into its repository.

    Each has the two tasks of the data set that `export hub_eval` made: shares of right answers over their photos,
    in [0, 1]. The drop stands in the notes.

    Args:
        evaluation: the folder of an evaluation.
        dataset: the benchmark's name on the hub, USER/NAME.
        output: a folder.

    Raises:
        ReleaseError: the folder holds no evaluation, or one whose models were asked another question than the tasks do.
    """
    record = read_record(evaluation)
    asked = [len(labels) for labels in (record["candidates"] or {}).values()] or [record["num_labels"]]
    if max(asked) > len(LETTERS):
        raise ReleaseError(
            f"{evaluation} asked about {max(asked)} labels and the tasks of {dataset} about {len(LETTERS)} at most, "
            "so its figures do not answer them; evaluate with --label-space top20 or classes"
        )
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", dataset):
        raise ReleaseError(f"{dataset!r} is no data set of the hub; give USER/NAME")
    check_output(output)
    written = []
    for row in read_part(evaluation, METRICS_FILE, metrics(METRICS.own)).to_pylist():
        notes = NOTES.format(**row | {"half": record["half"]})
        results = [
            {
                "dataset": {"id": dataset, "task_id": split},
                "value": round(row[f"photo_average_{split}"], 4),
                "notes": notes,
            }
            for split in SPLITS
        ]
        model = re.sub(r"[^\w.-]+", "-", row["model"]).strip("-.") or "model"
        path = output / model / ".eval_results" / f"{record['release']['name']}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        # JSON is YAML.
        path.write_text("".join(f"- {json.dumps(result)}\n" for result in results), encoding="utf-8")
        written.append(path)
    return written
