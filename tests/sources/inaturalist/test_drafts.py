"""Drafts of class lists."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from counterset.classes import class_list_csv, load_classes
from counterset.demo.server.catalog import Catalog
from counterset.demo.server.look_alike import serve
from counterset.errors import ConfigError
from counterset.sources.inaturalist.api import INaturalistSource
from counterset.sources.inaturalist.drafts import draft_classes

from ..conftest import TAXA, MakeConfig, foxes


def test_a_draft_holds_what_is_certain_and_notes_what_is_not(tmp_path: Path, config_of: MakeConfig) -> None:
    impostor = dataclasses.replace(TAXA[1], taxon_id=77, name="Vulpes falsa", ancestor_ids=(1, 77))
    with serve(Catalog((*TAXA, impostor), foxes(3), lambda photo_id: b"")) as server:
        config = config_of(server)
        drafts = draft_classes(
            ["red fox", "European hare", "mink", "gryphon"], config, tmp_path, ["tench", "red fox", "mink", "Mink"]
        )
        fox, hare, mink, gryphon = drafts
        assert (fox.spec.class_id, fox.spec.taxon_ids, fox.spec.rank) == ("red_fox", (42069,), "species")
        assert fox.spec.imagenet_index == 1
        assert fox.note == (
            "Red Fox (species Vulpes vulpes, taxon 42069); others of this name: "
            "Red Fox (species Vulpes falsa, taxon 77)"
        )
        assert hare.spec.scientific_name == "Lepus europaeus" and "ImageNet has no class" in hare.note
        assert mink.spec.taxon_ids == () and mink.note.startswith("no taxon has this name; perhaps American Mink")
        assert "several classes of this name (2, 3)" in mink.note
        assert gryphon.note.startswith("no taxon found")
        path = tmp_path / "mine.csv"
        path.write_text(class_list_csv(draft.spec for draft in drafts), encoding="utf-8")
        specs = load_classes(str(path))
        assert specs == tuple(draft.spec for draft in drafts)
        INaturalistSource(config, tmp_path).check(specs[:2])
        with pytest.raises(ConfigError, match="gives no class_id of its own"):
            draft_classes(["Red fox", "red-fox"], config, tmp_path)
        with pytest.raises(ConfigError, match="gives no class_id of its own"):
            draft_classes(["---"], config, tmp_path)
