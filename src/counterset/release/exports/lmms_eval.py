"""A task of lmms-eval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from counterset.release.exporting import Exported, Notes, Photos, new_folder
from counterset.release.questions import Candidates, Questions, copy_file, task_name, write_questions

METRICS = {
    "common": "common",
    "counter": "counter",
    "drop": "drop",
    "drop_stderr": "drop_stderr",
    "photo_average_common": "photo_average",
    "photo_average_counter": "photo_average",
}
"""Metric -> the function of `harness_files.figures` that makes it of the answers."""

TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: questions.jsonl
test_split: test
output_type: generate_until
doc_to_visual: !function lmms_utils.photo
doc_to_text: !function lmms_utils.prompt
doc_to_target: answer
process_results: !function lmms_utils.results
auto_strip_thinking: true
generation_kwargs:
  max_new_tokens: 1024
  temperature: 0
  do_sample: false
  until: []
cluster_key: unit
metric_list:
{metrics}metadata:
  version: {version}
"""

METRIC = """\
  - metric: {metric}
    aggregation: !function figures.{function}
    higher_is_better: {is_higher_better}
"""


def export(release: Photos, folder: str | Path, candidates: Mapping[str, Candidates] | None = None) -> Exported:
    """`<name>.yaml`, its functions, `questions.jsonl` and `photos`: `lmms-eval --include_path FOLDER --tasks <name>`.

    Units are the clusters of its standard errors.
    """
    notes = Notes()
    name = task_name(release)
    with new_folder(folder) as target:
        count = write_questions(release, Questions(release, candidates), target, notes)
        metrics = "".join(
            METRIC.format(
                metric=metric, function=function, is_higher_better="false" if metric.startswith("drop") else "true"
            )
            for metric, function in METRICS.items()
        )
        text = TASK.format(name=name, metrics=metrics, version=release.metadata["version"])
        (target / f"{name}.yaml").write_text(text, encoding="utf-8")
        copy_file("lmms_utils.py", target / "lmms_utils.py")
        copy_file("reading.py", target / "reading.py")
        copy_file("figures.py", target / "figures.py")
    return notes.exported(folder, count)
