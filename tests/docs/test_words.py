"""The pages that users read are free of phrases that a native reader stumbles over, and use the glossary's words."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TICS = {
    r"\b(?:one|a|two|three|\d+) (?:row|point|line|photo|observer|file|vector|label|text|thread|shard|object|number)s?"
    r" an? (?:row|photo|class|line|model|observer|group|shard|image|query|second|minute|day|thread|file|stage)\b"
    r"(?! of| that| from| to)": "say 'per'",
    r"\bbe had\b": "say what could not be done: fetched, read, found",
    r"\basked for again\b": "say 'retried' or 'requested again'",
    r"\bmend(?:s|ed)?\b": "say 'fix'",
    r"\bfor want of\b": "say 'because there is no'",
    r"\bsome (?:hundred|thousand)\b": "say 'a few hundred'",
    r"\blooked? over\b": "say 'check'",
}


def prose(text: str) -> str:
    """A page without its code blocks, in one line per paragraph."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def tics(text: str) -> list[str]:
    return [
        f"{match[0]!r}: {advice}"
        for pattern, advice in TICS.items()
        for match in re.finditer(pattern, prose(text), re.IGNORECASE)
    ]


def pages() -> dict[str, str]:
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "examples/README.md"]
    generated = runpy.run_path(str(ROOT / "docs/reference.py"), run_name="docs_reference")["pages"]()
    return {path.name: path.read_text(encoding="utf-8") for path in paths} | generated


def test_pages_are_free_of_tics() -> None:
    by_page = {name: told for name, text in pages().items() if (told := tics(text))}
    assert not by_page


@pytest.mark.parametrize(
    "text",
    [
        "one row a photo",
        "100 photos a group",
        "photos that cannot\nbe had",
        "it is asked for again",
        "mend the config",
        "left out for want of photos",
        "some hundred photos",
    ],
)
def test_tics_are_noticed(text: str) -> None:
    assert len(tics(text)) == 1


def test_plain_sentences_pass() -> None:
    assert not tics("One row per photo. A photo from a folder that could not be fetched is retried; recommended.")


def test_the_glossary_is_in_order_and_its_references_are_there() -> None:
    rows = re.findall(r"^\| ([a-z -]+) \| (.+) \|$", (ROOT / "docs/glossary.md").read_text(encoding="utf-8"), re.M)
    words = [word for word, _ in rows if word != "word"]
    assert len(words) >= 40 and words == sorted(words)
    named = {word for _, meaning in rows for word in re.findall(r"\*([a-z -]+)\*", meaning)}
    plurals = {"taxa": "taxon"}
    assert {plurals.get(word, word.removesuffix("s")) for word in named} <= {word.removesuffix("s") for word in words}
