"""A build says which pairs it does not give by default because their names do not fit the photos."""

from __future__ import annotations

import logging

import pyarrow as pa
import pytest

from counterset.steps.naming_steps import _tell_of_doubts

PAIRS = [("duck", "fog", "night", "failed"), ("fox", "snow", "rock", "failed"), ("hare", "snow", "rock", "unaudited")]
SHARES = {("duck", "fog"): 0.9, ("duck", "night"): 0.2, ("fox", "snow"): 0.1, ("fox", "sand"): 0.9}


def test_pairs_whose_names_other_places_outdo_are_told(caplog: pytest.LogCaptureFixture) -> None:
    pairs = pa.Table.from_pylist(
        [dict(zip(("class_id", "common", "counter", "naming"), row, strict=True)) for row in PAIRS]
    )
    names = pa.Table.from_pylist(
        [
            {"class_id": class_id, "group": group, "share_elsewhere": share}
            for (class_id, group), share in {**SHARES, ("hare", "snow"): None}.items()
        ]
    )
    with caplog.at_level(logging.WARNING):
        _tell_of_doubts(pairs, names)
        _tell_of_doubts(pairs.slice(1), names)
    [told] = [record.getMessage() for record in caplog.records]
    assert "gives 1 pair only when asked to (duck: fog > night)" in told and "annotate.vocabulary" in told
