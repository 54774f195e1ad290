"""Lists without classes: captions say them, and each row that cannot be told is a reject."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from counterset.classes import ClassSpec
from counterset.errors import SourceError
from counterset.sources.class_phrases import ClassPhrases, Said
from counterset.sources.kinds.url_list import UrlListConfig, UrlListSource

LION, SEA_LION, FOX = ClassSpec("lion", "lion"), ClassSpec("sea_lion", "sea lion"), ClassSpec("fox", "red fox")
PHRASES = "class_id,phrases,excludes\nlion,lion|lions,lion dance|statue\nfox,red fox|vulpes vulpes,\nhare,hare,\n"
URL = "https://photos.example/"

Say = Callable[[str], Said]


@pytest.fixture
def say(tmp_path: Path) -> Say:
    (tmp_path / "match.csv").write_text(PHRASES)
    phrases = ClassPhrases(str(tmp_path / "match.csv"), (LION, SEA_LION, FOX))
    return lambda text: phrases.said([[text]])[0]


@pytest.mark.parametrize(
    ("text", "class_id", "doubt"),
    [
        ("Two LIONS, resting", "lion", ""),
        ("a stallion", "", ""),
        ("a sea lion on a rock", "sea_lion", ""),  # not lion
        ("a sea lion and a lion", "lion", "says 'lion' and 'sea lion'"),
        ("statue of a lion", "lion", "says 'lion', and 'statue', which lion excludes"),
        ("a red fox beside the statue of a lion", "fox", ""),
        ("Vulpes vulpes: a red fox", "fox", ""),
        ("a red fox hunts a hare", "fox", "says 'red fox' and 'hare'"),  # a class that is not built
        ("a hare", "", ""),
        ("red, fox-like", "fox", ""),
        ("", "", ""),
    ],
)
def test_what_a_text_says(text: str, class_id: str, doubt: str, say: Say) -> None:
    assert say(text) == Said(class_id, doubt)


def test_no_phrase_crosses_from_title_to_tags(say: Say, tmp_path: Path) -> None:
    phrases = ClassPhrases(str(tmp_path / "match.csv"), (FOX,))
    assert phrases.said([["the red", "fox"], ["x", "red fox"]]) == [Said(""), Said("fox")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("lion,cat,\nfox,red fox|Cat,\n", "'Cat' stands for the classes 'lion' and 'fox'"),
        ("lion,?,\n", "'\\?' in .* has no letter or digit"),
        ("lion,,\nlion,,\n", "has 'lion' as a class_id twice"),
    ],
)
def test_a_file_that_cannot_be_meant_is_one_sentence(rows: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "match.csv").write_text("class_id,phrases,excludes\n" + rows)
    with pytest.raises(SourceError, match=message):
        ClassPhrases(str(tmp_path / "match.csv"), (LION, FOX))


def source_of(folder: Path, text: str, **fields: object) -> UrlListSource:
    (folder / "list.csv").write_text(text)
    (folder / "match.csv").write_text(PHRASES)
    paths = {"path": str(folder / "list.csv"), "match": str(folder / "match.csv")}
    return UrlListSource(UrlListConfig.model_validate({**paths, "allowed_hosts": ("photos.example",), **fields}))


def test_a_list_of_captions_gets_classes_and_loses_no_row_that_names_one(tmp_path: Path) -> None:
    rows = ["a lion,", "a red fox,", "a sea lion,", "nothing,", "a cat,lion", "a lion and a red fox,", "x,Lion dance"]
    listed = "".join(f"{URL}{number}.jpg,{row}\n" for number, row in enumerate(rows))
    source = source_of(tmp_path, "url,caption,tags\n" + listed + f"{URL}8.jpg,a,lion,much\n")
    specs = (LION, SEA_LION, FOX)
    assert source.foresee(specs).photos == {"lion": 2, "sea_lion": 1, "fox": 1}
    crawls = {spec.class_id: source.crawl(spec) for spec in specs}
    kept = {class_id: sorted(crawl.candidates["title"].to_pylist()) for class_id, crawl in crawls.items()}
    assert kept == {"lion": ["a cat", "a lion"], "sea_lion": ["a sea lion"], "fox": ["a red fox"]}
    rejects = [row for crawl in crawls.values() for row in crawl.rejects.to_pylist()]
    assert [(row["photo_id"], row["class_id"], row["reason"], row["detail"]) for row in rejects] == [
        ("url_list-line-7", "lion", "unclear_class", "line 7 says 'lion' and 'red fox'"),
        ("url_list-line-8", "lion", "unclear_class", "line 8 says 'lion', and 'lion dance', which lion excludes"),
        ("url_list-line-9", "lion", "malformed", f"line 9 has 4 cells, not 3: {URL}8.jpg,a,lion,much"),
    ]


def test_a_column_of_classes_is_one_like_any_other(tmp_path: Path) -> None:
    source = source_of(tmp_path, f"url,title,class\n{URL}1.jpg,a lion,red fox\n")
    source.check((LION,))
    (row,) = source.crawl(LION).candidates.to_pylist()
    assert row["description"] == "class: red fox"


def test_a_class_that_no_text_says_is_one_sentence(tmp_path: Path) -> None:
    source = source_of(tmp_path, f"url,title\n{URL}1.jpg,a lion\n")
    with pytest.raises(SourceError, match=r"'fox' has no row in .*; no text says one of its phrases; add some in"):
        source.check((LION, FOX))
    with pytest.raises(SourceError, match="has no column 'title'"):
        source_of(tmp_path, f"url,class\n{URL}1.jpg,a lion\n").check((LION,))
