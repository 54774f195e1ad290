"""A package from outside adds an annotation method in one file: configs name it, and keys know its version."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from counterset import config_sections
from counterset.config_sections import ANNOTATORS, AnnotateConfig
from counterset.errors import ExtensionError
from counterset.registry import Registry
from counterset.stages import annotate
from counterset.stages.annotate import annotate_class, background_classifiers
from counterset.steps import table_steps

from ..toy_packages import add_package
from .test_annotate import BEAR, VOCABULARY, WordEncoder

TOY = """
from counterset.stages.annotate.prompts import Method
method = Method(lambda prompts, spec: -prompts.places, lambda scores: 2 * scores)
"""


@pytest.fixture
def annotators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    add_package(tmp_path, "toy_method", code=TOY, entry_points={ANNOTATORS.group: {"toy": "method"}}, version="3.1")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "toy_method", raising=False)
    anew = Registry(ANNOTATORS.group, ANNOTATORS.package, ANNOTATORS.attribute, ANNOTATORS.what)
    for module in (config_sections, annotate, table_steps):
        monkeypatch.setattr(module, "ANNOTATORS", anew)
    return anew


def test_a_method_from_outside(annotators: Registry) -> None:
    assert AnnotateConfig(method="toy").method == "toy"
    plain, toy = (
        background_classifiers(WordEncoder(), VOCABULARY, [BEAR], method)["bear"] for method in ("plain", "toy")
    )
    np.testing.assert_array_equal(toy, -plain)
    scores = np.array([[0.1, 0.3, 0.2]], np.float32)
    np.testing.assert_array_equal(annotate_class(scores, 3, "toy").profiles, 2 * scores)
    assert annotators.version("toy") == ["toy_method", "3.1"]


def test_a_method_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown annotate\.method 'plane'; did you mean 'plain'\?"):
        AnnotateConfig(method="plane")


def test_ours_are_in_no_key() -> None:
    """Their revisions are: a workspace of before stays good."""
    assert [ANNOTATORS.version(name) for name in ANNOTATORS] == [[]] * 5


def test_a_package_that_fails_is_told(annotators: Registry, tmp_path: Path) -> None:
    (tmp_path / "toy_method.py").write_text("1 / 0\n")
    with pytest.raises(ExtensionError, match=r"toy_method 3\.1 cannot be loaded \(ZeroDivisionError"):
        background_classifiers(WordEncoder(), VOCABULARY, [BEAR], "toy")
