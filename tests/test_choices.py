"""Whatever a registry has is on its page of the docs and in the help of its command."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterset.cli import main
from counterset.config_sections import ANNOTATORS, AnnotateConfig, Config
from counterset.evaluation.metrics import METRICS
from counterset.models.door import prefixes
from counterset.release.exports import EXPORTS
from counterset.runners import RUNNERS

DOCS = Path(__file__).resolve().parents[1] / "docs"


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    return " ".join(capsys.readouterr().out.split())


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_kind_of_model(capsys: pytest.CaptureFixture[str]) -> None:
    said = help_of("evaluate", capsys)
    assert all(prefix in said for prefix in prefixes()) and "MODEL/TAG" in said
    assert all(prefix in page("evaluation.md") for prefix in prefixes())


def test_every_runner(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("audit", "prune"):
        assert ", ".join(RUNNERS.own) in help_of(command, capsys)
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    for runner in RUNNERS.own:
        assert runner in str(Config.model_fields["runner"].description) and f'"{runner}"' in readme


def test_every_annotation_method() -> None:
    for method in ANNOTATORS.own:
        assert method in str(AnnotateConfig.model_fields["method"].description) and method in page("method.md")


def test_every_export_layout(capsys: pytest.CaptureFixture[str]) -> None:
    assert ", ".join(EXPORTS.own) in help_of("export", capsys)
    assert all(f"`{layout}`" in page("releases.md") for layout in EXPORTS.own)


def test_every_metric() -> None:
    """By its columns, of which those of one beginning may be one row."""
    shown = page("evaluation.md")
    for name in METRICS.own:
        columns = [column.name for column in METRICS[name].columns]
        assert any(f"`{column}`" in shown or f"`{name}_*`" in shown for column in columns), name
