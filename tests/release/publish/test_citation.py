"""CITATION.cff of a release and of the repository: persons, groups, day, address and identifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from counterset.release.publish.card import render_citation

ROOT = Path(__file__).resolve().parents[3]


def citation(**publish: str) -> dict[str, Any]:
    metadata = {
        "name": "mine",
        "title": "Mine: a title",
        "version": "1.0.0",
        "source_snapshot": "2026-11-29",
        "author": publish.get("author", ""),
        "homepage": publish.get("homepage", ""),
        "config": {"publish": publish},
    }
    found: dict[str, Any] = yaml.safe_load(render_citation(metadata))
    return found


def test_persons_and_groups() -> None:
    said = citation(author="van der Berg, Ann; The Lab: of birds; Li, Wei")
    assert said["authors"] == [
        {"family-names": "van der Berg", "given-names": "Ann"},
        {"name": "The Lab: of birds"},
        {"family-names": "Li", "given-names": "Wei"},
    ]
    assert citation()["authors"] == [{"name": "the authors of mine"}]


def test_day_address_and_identifier() -> None:
    said = citation(homepage="https://a.example", doi="10.5281/zenodo.123")
    assert (said["date-released"], said["url"], said["doi"]) == (
        "2026-11-29",
        "https://a.example",
        "10.5281/zenodo.123",
    )
    assert not {"url", "doi"} & citation().keys()


@pytest.mark.parametrize("said", [citation(), yaml.safe_load((ROOT / "CITATION.cff").read_text())])
def test_the_paper_is_cited_with_its_authors(said: dict[str, Any]) -> None:
    assert said["cff-version"] == "1.2.0" and said["type"] in ("dataset", "software")
    assert {"message", "title", "authors"} <= said.keys()
    [paper] = said["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Wang", "Lin", "Chen", "Schmidt", "Han", "Zhang"]
    assert paper["identifiers"] == [{"type": "other", "value": "arXiv:2403.11497"}]
