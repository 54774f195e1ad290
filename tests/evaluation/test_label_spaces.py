"""1 vs. 20 as published, beside a slow and obvious way to it; names of spaces; files of labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counterset.classes import ClassSpec
from counterset.errors import ConfigError
from counterset.evaluation.label_spaces import nearest_labels, open_space, space_name
from counterset.models.labels import label_space
from counterset.models.prompts import prompts
from counterset.release.harness_files.reading import label_of

SPECS = (ClassSpec("lion", "lion", 291), ClassSpec("yak", "yak"))


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_the_nearest_labels_are_those_of_the_highest_mean_cosine(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(["yak", "lion", *(f"thing {n}" for n in range(60))]))
    space, is_top = open_space(f"top20:{labels}", SPECS)
    assert is_top and len(space.labels) == 62
    images, texts = unit(rng.normal(size=(30, 8))), unit(rng.normal(size=(62, 8)))
    class_of = np.array(["lion", "yak"] * 15, dtype=object)
    found = nearest_labels(space, "top20", class_of, [(images, texts)])
    num_kept = 0
    for class_id in ("lion", "yak"):
        mean = [np.mean([float(photo @ text) for photo in images[class_of == class_id]]) for text in texts]
        nearest = set(sorted(range(62), key=lambda label: -mean[label])[:20])
        chosen = set(found.of_class[class_id])
        truth = space.index_of[class_id]
        assert len(chosen) == 20 and truth in chosen
        assert chosen == nearest if truth in nearest else len(chosen & nearest) == 19
        num_kept += truth in nearest
    assert num_kept < 2, "the case in which the class is not among its own nearest is tried"
    two = nearest_labels(space, "top20", class_of, [(images, texts), (images, texts)])
    assert two.of_class == found.of_class


def test_names_of_spaces_hold_no_path_and_tell_contents_apart(tmp_path: Path) -> None:
    labels = tmp_path / "mine.txt"
    labels.write_text("lion\nyak\n")
    first = space_name(str(labels))
    assert first.startswith("mine-") and "/" not in first
    assert space_name(f"top20:{labels}") == f"top20-{first}"
    assert (space_name("top20"), space_name("classes"), space_name("top20:imagenet1k")) == ("top20", "classes", "top20")
    labels.write_text("lion\nyak\nfox\n")
    assert space_name(str(labels)) != first


def test_a_label_space_without_the_class_or_twice_with_it(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("lion\nlion\ntiger\n")
    with pytest.raises(ConfigError, match="'yak' has no label"):
        label_space(str(labels), SPECS)
    space = label_space(str(labels), SPECS[:1])
    assert space.labels == ("lion", "tiger") and space.imagenet_index == (291, 292)
    with pytest.raises(ConfigError, match="cannot read the label space"):
        label_space(str(tmp_path / "none.txt"), SPECS)


def test_labels_are_matched_in_the_normal_form_of_names(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\nE\u0301LAND\neland\n\u00e9land\n", encoding="utf-8")
    space = label_space(str(labels), [ClassSpec("some_eland", "\u00e9land")])
    assert space.labels == ("cat", "\u00c9LAND", "eland") and space.index_of == {"some_eland": 1}
    twins = [ClassSpec("a", "Red fox"), ClassSpec("b", "hare"), ClassSpec("c", "red-fox")]
    assert label_space("classes", twins).index_of == {"a": 0, "b": 1, "c": 0}
    assert label_of("The e\u0301land.", space.labels) == "\u00c9LAND"


def test_templates_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "templates.txt"
    file.write_text("a photo of {label}\n{label}, {label}!\n")
    assert prompts(str(file), "lion") == ["a photo of lion", "lion, lion!"]
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("a photo of {label}\na photo\n")
    with pytest.raises(ConfigError, match=r"'a photo' in .* has no \{label\}"):
        prompts(str(wrong), "lion")
    assert prompts("paper", "lion") == ["A photo of lion."] and len(prompts("openai80", "lion")) == 80
