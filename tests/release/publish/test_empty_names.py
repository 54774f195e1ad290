"""A release whose names of backgrounds say nothing says so, and gives no pair unless asked to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import counterset
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.writer import publish

from ..build_inputs import build_config


def test_it_is_told_on_card_and_report_and_no_pair_is_given(inputs: ReleaseInputs, tmp_path: Path) -> None:
    empty = {"value": 0.0042, "error": 0.005, "num_photos": 900}
    config = build_config().model_copy(update={"releases": str(tmp_path)})
    path = Path(publish(replace(inputs, config=config, empty_names=empty), default_verdicts=()).path)
    release = counterset.load(path)
    assert release.metadata["empty_names"] == empty
    assert release.common.num_rows == release.counter.num_rows == 0
    assert counterset.load(path, verdicts=("confirmed",)).common.num_rows > 0
    for name in ("README.md", "report.html"):
        text = (path / name).read_text(encoding="utf-8")
        assert "names of backgrounds say nothing" in text and "0.004" in text and "900" in text


def test_otherwise_nothing_is_said(inputs: ReleaseInputs, tmp_path: Path) -> None:
    config = build_config().model_copy(update={"releases": str(tmp_path)})
    path = Path(publish(replace(inputs, config=config)).path)
    assert "empty_names" not in counterset.load(path).metadata
    assert "say nothing" not in (path / "README.md").read_text(encoding="utf-8")
