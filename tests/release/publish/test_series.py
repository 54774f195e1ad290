"""A release's place in its series: units first seen, looks so far, and how confirmed pairs did since."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from counterset.errors import ReleaseError
from counterset.load import load
from counterset.photo_rows import Rows
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.provenance import statement
from counterset.release.publish.public import public_inputs
from counterset.release.publish.series import SEEN, SeriesInputs, seen_before
from counterset.release.publish.writer import publish
from counterset.release.versions.followed import newest_release
from counterset.schemas import PAIRS
from counterset.statistics.series import Series, with_looks
from counterset.tables import sha256_of, table_of

from ..build_inputs import build_inputs, drop_photos


@pytest.fixture(scope="module")
def whole() -> ReleaseInputs:
    return build_inputs(3, 120, with_photos=False)


def at_look(inputs: ReleaseInputs, look: int, folder: Path, confirmed: int = 1) -> ReleaseInputs:
    """The inputs as a build gives them at a look, all pairs confirmed at look `confirmed`."""
    rows = with_looks(inputs.pairs, Series(look, {}), 0.01).to_pylist()
    for row in rows:
        if row["common"]:
            row |= {"confirmed_look": confirmed, "unit_correlation": 0.1}
    config = inputs.config.model_copy(update={"releases": str(folder)})
    return replace(inputs, config=config, pairs=table_of(PAIRS, rows), series=SeriesInputs(look))


def followed_by(inputs: ReleaseInputs, look: int, folder: Path) -> ReleaseInputs:
    """The inputs of the release that follows the newest one in the folder."""
    last = newest_release(folder / inputs.config.name)
    assert last is not None
    photos, looks = last.table("all_photos"), last.table("looks")
    assert photos is not None and looks is not None
    series = SeriesInputs(look, looks, "", photos.select(SEEN.names), newest=last.sums_sha256)
    return replace(at_look(inputs, look, folder), series=series)


def test_units_are_first_seen_once(tmp_path: Path) -> None:
    members = pa.table(
        {
            "photo_id": ["a", "b", "c", "d", "e"],
            "class_id": ["x", "x", "x", "y", "x"],
            "unit": ["1", "1", "2", "1", "3"],
        }
    )
    seen = pa.table({"photo_id": ["a", "e", "gone"], "unit_since": [2, 1, 1]}, SEEN)
    found = seen_before(Rows.of(members, ["photo_id"]), SeriesInputs(4, seen=seen), tmp_path).table()
    assert found.to_pylist() == [
        {"photo_id": photo_id, "unit_since": look} for photo_id, look in (("a", 2), ("b", 2), ("e", 1))
    ]


def test_the_second_release_tells_of_both_looks_and_of_what_came_since(whole: ReleaseInputs, tmp_path: Path) -> None:
    units = sorted(set(whole.members["unit"].to_pylist()))
    late = set(units[::3])
    gone = {row["photo_id"] for row in whole.members.to_pylist() if row["unit"] in late}
    first = publish(at_look(drop_photos(whole, gone), 1, tmp_path))
    second = publish(followed_by(whole, 2, tmp_path))
    before, now = (load(release.path, verdicts=("confirmed", "unconfirmed")) for release in (first, second))
    assert before.table("looks")["look"].unique().to_pylist() == [1]
    assert before.table("replication").num_rows == 0
    assert set(before.all_photos["unit_since"].to_pylist()) == {1}
    since = dict(zip(now.all_photos["unit"].to_pylist(), now.all_photos["unit_since"].to_pylist(), strict=True))
    assert all((since[unit] == 2) == (unit in late) for unit in since)
    assert sorted(now.table("looks")["look"].unique().to_pylist()) == [1, 2]
    [row, *_] = now.table("replication").to_pylist()
    assert (row["confirmed_look"], row["look"]) == (1, 2)
    pages = [(Path(release.path) / "report.html").read_text() for release in (first, second)]
    assert ["Confirmed pairs on units that came later" in page for page in pages] == [False, True]
    assert pages[1].count('<g class="trace">') == now.table("replication").num_rows
    own = now.all_photos.filter(
        pc.and_(pc.equal(now.all_photos["class_id"], row["class_id"]), pc.equal(now.all_photos["unit_since"], 2))
    )
    selector = now.metadata["config"]["models"]["selectors"][0]
    right = {
        found["photo_id"]: found["is_correct"] for found in now.predictions.to_pylist() if found["model"] == selector
    }
    sides = {
        split: [right[found["photo_id"]] for found in own.to_pylist() if found["split"] == split]
        for split in ("common", "counter")
    }
    assert (row["num_common"], row["num_counter"]) == tuple(map(len, sides.values()))
    common, counter = (sum(found) / len(found) for found in sides.values())
    assert row["drop"] == row["drop_since"] == pytest.approx(common - counter)
    assert row["low"] < row["drop"] < row["high"]


def test_the_same_look_again_is_no_new_version(whole: ReleaseInputs, tmp_path: Path) -> None:
    first = publish(at_look(whole, 1, tmp_path))
    last = newest_release(tmp_path / whole.config.name)
    assert last is not None and last.sums_sha256 == sha256_of(first.path / "SHA256SUMS")
    photos = last.table("all_photos")
    assert photos is not None
    again = replace(at_look(whole, 1, tmp_path), source_snapshot="2031-01-01")
    series = SeriesInputs(1, day=whole.source_snapshot, seen=photos.select(SEEN.names), newest=last.sums_sha256)
    assert not publish(replace(again, series=series)).is_new


def test_a_release_that_another_build_published_meanwhile_is_not_followed(whole: ReleaseInputs, tmp_path: Path) -> None:
    publish(at_look(whole, 1, tmp_path))
    late = at_look(drop_photos(whole, set(whole.members["photo_id"].to_pylist()[:5])), 1, tmp_path)
    with pytest.raises(ReleaseError, match=r"another build published to .* while this one ran"):
        publish(replace(late, series=replace(late.series, newest="")))
    assert publish(replace(late, series=replace(late.series, newest=None))).is_new


def test_a_damaged_release_is_not_followed(whole: ReleaseInputs, tmp_path: Path) -> None:
    release = publish(at_look(whole, 1, tmp_path))
    path = Path(release.path) / "all_photos.parquet"
    path.write_bytes(path.read_bytes() + b"0")
    last = newest_release(tmp_path / whole.config.name)
    assert last is not None
    with pytest.raises(ReleaseError, match=r"is damaged \(all_photos.parquet does not match SHA256SUMS\)"):
        last.table("all_photos")
    (Path(release.path) / "release.json").write_text("{}")
    with pytest.raises(ReleaseError, match="is damaged"):
        newest_release(tmp_path / whole.config.name)
    assert newest_release(tmp_path / "nothing") is None


def test_where_places_are_is_in_no_digest_of_a_release(whole: ReleaseInputs) -> None:
    """Who knows all else of a photo could try all places."""
    inputs, names = public_inputs(whole)
    tables = {name: inputs.rows(name).table() for name in ("candidates", "members")}
    moved = {
        name: table.set_column(table.column_names.index("place"), "place", pa.array([f"{name}"] * len(table)))
        for name, table in tables.items()
    }
    said = [statement(each, names, "built", ("confirmed",)) for each in (inputs, replace(inputs, **moved))]
    assert said[0] == said[1]
