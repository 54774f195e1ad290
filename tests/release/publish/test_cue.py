"""Card and report of a vocabulary of another cue than the background speak of that cue by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import counterset
from counterset.backgrounds import load_cue
from counterset.release.publish.captions import caption_object_background
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.writer import publish

from ..build_inputs import build_config


def test_card_and_report_speak_of_the_cue(inputs: ReleaseInputs, tmp_path: Path) -> None:
    config = build_config().model_copy(update={"releases": str(tmp_path)})
    plain, light = (Path(publish(replace(inputs, config=config, cue=cue)).path) for cue in ("background", "light"))
    assert "cue" not in counterset.load(plain).metadata
    assert counterset.load(light).metadata["cue"] == "light"
    card, report = ((light / name).read_text(encoding="utf-8") for name in ("README.md", "report.html"))
    assert "the same kinds of animal with two kinds of light: a **common** one" in card
    assert "| one photo of a class's counter light |" in card
    shown = re.sub(r"<style>.*?</style>", "", report, flags=re.DOTALL)
    assert "fewer right answers with the counter light" in shown and "with common kinds of light" in shown
    assert "background" not in re.sub(r'content="[^"]*"', "", shown).lower()
    captions = {row["caption_object_background"] for row in counterset.load(light).captions.to_pylist()} - {None}
    assert captions and all("; light: " in caption for caption in captions)
    assert "two kinds of background: a **common**" in (plain / "README.md").read_text(encoding="utf-8")


def test_croissant_and_card_say_background_of_backgrounds_alone(inputs: ReleaseInputs, tmp_path: Path) -> None:
    """Names of columns stay, for they are the same in every release."""
    config = build_config(thumbnails_per_group=0).model_copy(update={"releases": str(tmp_path)})
    cue = load_cue("demo_light")
    light = Path(publish(replace(inputs, config=config, cue=cue)).path)
    described = json.loads((light / "croissant.json").read_text(encoding="utf-8"))
    said = list(_texts(described))
    assert any(f"with a common and a counter {cue};" in text for text in said)
    assert f"One row is one photo of a class's counter {cue}." in said
    assert not [text for text in said if re.search(r"\bbackgrounds?\b", text, re.IGNORECASE)]
    assert not re.search(r"\bbackgrounds?\b", (light / "README.md").read_text(encoding="utf-8"), re.IGNORECASE)


def _texts(value: Any) -> Iterator[str]:
    """All texts of a description but names of columns."""
    if isinstance(value, str):
        yield value
    for part in value if isinstance(value, list) else ():
        yield from _texts(part)
    for key, part in value.items() if isinstance(value, dict) else ():
        if key not in ("name", "@id", "column", "@context"):
            yield from _texts(part)


def test_a_name_of_a_cue_is_text(inputs: ReleaseInputs, tmp_path: Path) -> None:
    config = build_config().model_copy(update={"releases": str(tmp_path)})
    path = Path(publish(replace(inputs, config=config, cue="<script>light</script>")).path)
    assert "<script>light" not in (path / "report.html").read_text(encoding="utf-8")
    assert "<script>light" not in (path / "README.md").read_text(encoding="utf-8")


def test_a_caption_says_the_cue() -> None:
    assert caption_object_background("ostrich", "dusk", "light") == "a photo of an ostrich; light: dusk."
    assert caption_object_background("ostrich", "water") == "a photo of an ostrich, with water in the background."
    assert caption_object_background("ostrich", None, "light") is None
