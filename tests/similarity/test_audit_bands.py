"""Outcomes meet photos by their ids: a model that lacks some predictions is measured on the others."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from counterset.load import Release, load
from counterset.release.publish.writer import publish
from counterset.similarity.audit import Audit, audit_release

from ..release.build_inputs import build_config, build_inputs, with_tables


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    config = build_config().model_copy(update={"releases": str(tmp_path_factory.mktemp("bands"))})
    path = publish(with_tables(build_inputs(3, 90), config=config)).path
    return load(str(path), verdicts=("confirmed", "unconfirmed"))


def audited(release: Release, lost: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch, **change: Any) -> Audit:
    """An audit where model A is always right, B never; predictions of the `lost` photos are not there."""
    photo_ids = release.all_photos["photo_id"].to_pylist()
    space = change.get("space") or release.metadata["config"]["evaluate"]["label_space"]
    rows = [
        {"photo_id": photo_id, "model": model, "label_space": space, "is_correct": model == "A"}
        for photo_id, model in itertools.product(photo_ids, "AB")
        if photo_id not in lost.get(model, ())
    ]
    schema = pa.schema([release.predictions.schema.field(name) for name in rows[0]])
    monkeypatch.setitem(release._tables, "predictions", pa.Table.from_pylist(rows, schema))
    similarity = np.linspace(0.2, 0.9, len(photo_ids), dtype=np.float32)
    vectors = np.eye(len(photo_ids), 512, dtype=np.float32)
    return audit_release(release, photo_ids, vectors, ["x"] * len(photo_ids), similarity, num_bands=3)


def in_pairs(release: Release) -> list[str]:
    return [*release.common["photo_id"].to_pylist(), *release.counter["photo_id"].to_pylist()]


@pytest.mark.parametrize("num_lost", [0, 1, 2, 7])
def test_a_model_without_some_photos(release: Release, num_lost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not the numbers happen to divide."""
    lost = in_pairs(release)[:num_lost]
    found = audited(release, {"B": lost}, monkeypatch)
    rows = found.bands.to_pylist()
    assert {row["model"] for row in rows} == {"A", "B"}
    for row in rows:
        if row["drop"] is not None:
            right = 1.0 if row["model"] == "A" else 0.0
            assert (row["accuracy_common"], row["accuracy_counter"]) == pytest.approx((right, right))
    whole = {row["model"]: row["num_common"] + row["num_counter"] for row in rows if row["band"] == "all"}
    assert whole == {"A": len(in_pairs(release)), "B": len(in_pairs(release)) - num_lost}
    assert found.num_unpredicted == ({"B": num_lost} if num_lost else {})
    for band in ("1", "2", "3"):  # the same bands for all models
        assert len({(row["similarity_low"], row["similarity_high"]) for row in rows if row["band"] == band}) == 1


def test_a_model_of_one_side_has_no_drop(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    found = audited(release, {"B": release.common["photo_id"].to_pylist()}, monkeypatch)
    rows = {(row["model"], row["band"]): row for row in found.bands.to_pylist()}
    assert rows["B", "all"]["drop"] is None and rows["A", "all"]["drop"] == 0.0


def test_no_predictions_no_bands(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = release.all_photos["photo_id"].to_pylist()
    kept = [photo_id for photo_id in everything if photo_id not in in_pairs(release)]
    assert kept
    found = audited(release, {"A": in_pairs(release), "B": in_pairs(release)}, monkeypatch)
    assert found.bands.num_rows == 0


def test_a_file_of_labels_is_known_by_its_name(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases of the first edition name it by its path in the table, and by its name in release.json."""
    space = release.metadata["config"]["evaluate"]["label_space"]
    assert audited(release, {}, monkeypatch, space=f"/home/alice/{space}").bands.num_rows
    assert not audited(release, {}, monkeypatch, space="other").bands.num_rows


def test_a_page_says_what_lacks(release: Release, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from counterset.similarity.report import render_audit

    found = audited(release, {"B": in_pairs(release)[:3]}, monkeypatch)
    metadata = {
        **{"release": "r", "base": "b", "model": "m", "search": "exact", "threshold": 0.95},
        **{"num_photos": 20, "num_base": 5, "num_missing": 0, "counterset_version": "0"},
    }
    page = render_audit(found, release, metadata, lambda photo_id: None)
    assert "3 photos of the pairs have no prediction by <bdi>B</bdi>" in page
