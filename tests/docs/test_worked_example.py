"""The worked example of docs/method.md has the numbers of the packaged release."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_has_the_numbers_of_the_packaged_release() -> None:
    script = runpy.run_path(str(ROOT / "docs/worked_example.py"))
    text = script["PAGE"].read_text(encoding="utf-8")
    assert text.count(script["BEGIN"]) == text.count(script["END"]) == 1
    assert script["page"](text) == text, "run `python docs/worked_example.py`"
    assert text.index(script["BEGIN"]) < text.index("\n## ") + 1 < text.index(script["END"]), "it opens the page"
