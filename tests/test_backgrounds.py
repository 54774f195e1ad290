"""Vocabularies and prompts, as data."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterset.backgrounds import (
    Background,
    excluded_phrases,
    load_cue,
    load_elsewhere,
    load_templates,
    load_vocabulary,
)
from counterset.errors import ConfigError

PAPER_LABELS = "ground water earth sand snow grass human sky road rock shrub indoor tree outdoor"


def test_the_papers_labels_are_packaged_with_synonyms_and_exclusions() -> None:
    vocabulary = load_vocabulary("counteranimal")
    assert [background.name for background in vocabulary] == PAPER_LABELS.split()
    assert all(len(background.phrases) >= 2 for background in vocabulary)
    excluded = excluded_phrases(vocabulary)
    assert "on a plain white background" in excluded and len(excluded) == len(set(excluded))


def test_prompts_have_their_fields() -> None:
    templates = load_templates()
    assert templates.place and templates.scene and templates.animal
    assert all("{phrase}" in template and "{animal}" not in template for template in templates.place)
    assert all("{phrase}" in template and "{animal}" in template for template in templates.scene)
    assert all("{animal}" in template and "{phrase}" not in template for template in templates.animal)


def test_a_vocabulary_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("background,phrases,excludes\nice, on ice | in ice ,on glass\nmud,in mud,\n")
    assert load_vocabulary(str(path)) == (
        Background("ice", ("on ice", "in ice"), ("on glass",)),
        Background("mud", ("in mud",)),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("background,phrases\nice,on ice\n", "at least two"),
        ("background,phrases\nice,on ice\nice,in ice\n", "named once"),
        ("background,phrases\nsea-ice,on ice\nSea\u00a0ice,in ice\n", "named once"),
        ("background,phrases\nice,on ice\nmud,\n", "fill them in"),
    ],
)
def test_a_wrong_vocabulary_is_explained(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_vocabulary(str(path))


def test_a_missing_vocabulary_is_named() -> None:
    with pytest.raises(ConfigError, match=r"annotate\.vocabulary"):
        load_vocabulary("none-such")


def test_a_vocabulary_in_another_encoding_is_one_sentence(tmp_path: Path) -> None:
    text = "background,phrases\nice,on ice\nmud,im Dreck drau\xdfen\n"
    path = tmp_path / "mine.csv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"cannot read the vocabulary .*; save it as CSV in UTF-8"):
        load_vocabulary(str(path))
    path.write_text(text, encoding="utf-8-sig")
    assert [background.name for background in load_vocabulary(str(path))] == ["ice", "mud"]


PROMPTS = (
    "use,template\ncue,weather\nplace,Taken {phrase}.\nscene,A {animal} {phrase}.\nanimal,A {animal}.\n"
    "elsewhere,in a studio\n"
)


def test_prompts_beside_a_vocabulary_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "weather.csv"
    path.write_text("background,phrases,excludes\nrain,in rain,\nfog,in fog,\n")
    assert load_templates(str(path)) == load_templates("demo") == load_templates()
    assert (load_cue(str(path)), load_elsewhere(str(path))) == ("background", load_elsewhere())
    (tmp_path / "weather.prompts.csv").write_text(PROMPTS)
    templates = load_templates(str(path))
    assert (templates.place, templates.scene, templates.animal) == (
        ("Taken {phrase}.",),
        ("A {animal} {phrase}.",),
        ("A {animal}.",),
    )
    assert (load_cue(str(path)), load_elsewhere(str(path))) == ("weather", ("in a studio",))
    assert (load_cue("demo_light"), load_elsewhere("demo_light")) == ("light", ())


@pytest.mark.parametrize(
    ("was", "is_now", "message"),
    [
        ("Taken {phrase}.", "Taken somewhere.", r"must have \{phrase\} and nothing else in braces"),
        ("Taken {phrase}.", "{animal} {phrase}", r"must have \{phrase\} and nothing else"),
        ("A {animal} {phrase}.", "A {phrase}", r"must have \{animal\} and \{phrase\}"),
        ("animal,A {animal}.\n", "", "one of the use animal for each scene"),
        ("cue,weather\n", "", "needs one row of the use cue"),
        ("elsewhere,", "other,", "a row of the use 'other'; use one of place, scene, animal, cue, elsewhere"),
    ],
)
def test_wrong_prompts_are_explained(tmp_path: Path, was: str, is_now: str, message: str) -> None:
    path = tmp_path / "weather.csv"
    (tmp_path / "weather.prompts.csv").write_text(PROMPTS.replace(was, is_now))
    with pytest.raises(ConfigError, match=message):
        load_templates(str(path))
