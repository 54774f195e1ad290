"""The release that ships with the package: it loads by name, and a fresh build of the same world agrees with it."""

from __future__ import annotations

import html
from collections import Counter
from pathlib import Path
from typing import Any

import counterset
from counterset.causes.covariates import in_words
from counterset.demo.truth_report import true_accuracies
from counterset.manifests import manifest_path


def test_it_loads_by_name_and_its_sums_are_right() -> None:
    release = counterset.load("counterset-demo")
    assert release.common.num_rows > 200 and release.counter.num_rows > 200
    assert set(release.pairs["verdict"].to_pylist()) <= {"confirmed", "unconfirmed", "too_small"}


def test_no_confirmed_class_is_wrong() -> None:
    truth = true_accuracies()
    confirmed = [row for row in counterset.load("counterset-demo").pairs.to_pylist() if row["verdict"] == "confirmed"]
    assert len(confirmed) >= 4
    for row in confirmed:
        accuracies = truth[row["class_id"]]
        assert accuracies[row["common"]] > accuracies[row["counter"]], row["class_id"]


def test_a_fresh_build_of_its_world_agrees(demo_build: Any) -> None:
    packaged, fresh = counterset.load("counterset-demo"), counterset.load(demo_build.release)
    assert packaged.all_photos["sha256"].to_pylist() == fresh.all_photos["sha256"].to_pylist()
    for old, new in zip(packaged.pairs.to_pylist(), fresh.pairs.to_pylist(), strict=True):
        # Another processor may round a few predictions differently, hence no comparison of bytes here.
        assert (old["class_id"], old["common"], old["counter"]) == (new["class_id"], new["common"], new["counter"])
        assert abs(old["drop"] - new["drop"]) < 0.03


def test_what_nobody_said_of_its_photos_is_null_and_named_in_one_line() -> None:
    """Its source tells no places and no life stages, and nothing says where its animals are."""
    covariates = counterset.load("counterset-demo").table("covariates")
    unknown = {"animal_share", "animal_offset", "num_animals", "life_stage", "sex", "place_photos"}
    assert {name for name in covariates.column_names if covariates[name].null_count == len(covariates)} == unknown
    [folder] = manifest_path("releases").glob("counterset-demo/1.0.0")
    report = html.unescape((folder / "report.html").read_text(encoding="utf-8"))
    [line] = [line for line in report.splitlines() if "Not known here: animal" in line]
    said = line.partition("Not known here: ")[2].partition(".")[0]
    assert said == ", ".join(sorted(in_words([name]) for name in unknown))


def test_it_holds_photos_of_every_class(tmp_path: Path) -> None:
    """So that what the README says of `to_torch` works without a network, and the package stays small."""
    release = counterset.load("counterset-demo", verdicts=None, cache=tmp_path)
    for split in ("common", "counter"):
        image, label = release.to_torch()[split][0]
        assert image.size[0] >= 100 and label in release.labels.values()
        held = [row["class_id"] for row in release.table(split).to_pylist() if row["image"]]
        assert Counter(held) == dict.fromkeys(release.labels, 2)
    assert sum(path.stat().st_size for path in (release.path / "data").iterdir()) < 1_000_000
    assert "only 2 photos of each class and split are inside" in (release.path / "README.md").read_text()
