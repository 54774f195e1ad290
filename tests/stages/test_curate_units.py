"""Units and halves of members: who is one unit, what a rebuild keeps, and which photos bridge halves."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from counterset.config import CurateConfig
from counterset.schemas import CANDIDATES, MEMBERS, PHOTOS, Half
from counterset.stages.curate.members import Curation, choose_members
from counterset.statistics.halves import half_of, unit_number
from counterset.tables import table_of

IDENTITIES = {"lion": "taxon:1", "zebra": "taxon:2"}


def curated(
    photos: list[tuple[str, str, str | None]], last: pa.Table | None = None, class_id: str = "lion", salt: str = "s"
) -> Curation:
    """Members of photos of a class: (id, observer, place) each."""
    empty = {column.name: None for column in CANDIDATES.columns}
    candidates = [
        empty
        | {"photo_id": f"web-{photo_id}", "class_id": class_id, "source": "web", "url": "https://x.example/y.jpg"}
        | {"observation_id": photo_id, "observer_id": observer, "place": place}
        for photo_id, observer, place in photos
    ]
    rows = [
        {"photo_id": row["photo_id"], "sha256": row["photo_id"], "width_px": 9, "height_px": 9, "size_bytes": 1}
        | {"phash": bytes(8), "shard": "0"}
        for row in candidates
    ]
    return choose_members(
        table_of(PHOTOS, rows),
        table_of(CANDIDATES, candidates),
        CurateConfig(near_duplicate_bits=-1),
        salt=salt,
        identities=IDENTITIES,
        published=None if last is None else [last],
    )


def columns(found: Curation, *names: str) -> dict[str, tuple[Any, ...]]:
    """Photo -> some columns of its member."""
    return {row["photo_id"][4:]: tuple(row[name] for name in names) for row in found.members.to_pylist()}


def observer_of(half: Half, class_id: str = "lion", start: int = 0) -> str:
    """An observer whom the coin puts into a half, as a unit of one."""
    return next(
        str(number) for number in range(start, start + 100) if half_of(IDENTITIES[class_id], f"web\x00{number}") is half
    )


def test_observers_of_one_place_are_one_unit_of_one_half() -> None:
    photos = [("a", "1", "here"), ("b", "2", "here"), ("c", "2", None), ("d", "3", "there"), ("e", "4", None)]
    photos += [(f"f{number}", f"f{number}", None) for number in range(30)]  # so that three of a place are no tenth
    unit = columns(curated(photos), "unit", "half")
    assert unit["a"] == unit["b"] == unit["c"]
    assert len({unit[name][0] for name in "ade"}) == 3
    assert unit["a"] == (unit_number("web\x001"), half_of("taxon:1", "web\x001"))


def test_a_unit_has_its_number_in_all_classes_and_a_half_in_each() -> None:
    """So that means over classes know one observer again, and no class's halves hang on another's."""
    photos = [(str(number), str(number), None) for number in range(50)]
    lion, zebra = (columns(curated(photos, class_id=name), "unit", "half") for name in ("lion", "zebra"))
    assert {name: unit for name, (unit, _) in lion.items()} == {name: unit for name, (unit, _) in zebra.items()}
    assert lion != zebra


def test_neither_salt_nor_other_classes_draw_halves_again() -> None:
    photos = [(str(number), str(number), None) for number in range(50)]
    first, second = (columns(curated(photos, salt=salt), "unit", "half") for salt in "st")
    assert first == second
    assert len(set(columns(curated(photos), "half").values())) == 2


def test_what_was_published_keeps_its_unit_and_half() -> None:
    """Also where an earlier coin was another, and where the release is older than units."""
    others = [(f"f{number}", f"f{number}", None) for number in range(30)]
    start = [("a", "1", "here"), ("b", "2", None), *others]
    last = curated(start).members
    flipped = pa.array([Half.CONFIRM if half == Half.DISCOVER else Half.DISCOVER for half in last["half"].to_pylist()])
    last = last.set_column(last.column_names.index("half"), "half", flipped)
    before = columns(Curation(last, last), "unit", "half")
    assert columns(curated(start, last), "unit", "half") == before
    later = columns(curated([*start, ("c", "3", "here"), ("d", "0", "here")], last), "unit", "half")
    assert {name: later[name] for name in before} == before
    assert later["c"] == later["d"] == before["a"]  # although the unit has an observer of a smaller name now
    old = last.set_column(last.column_names.index("unit"), "unit", pa.nulls(len(last), pa.string()))
    assert columns(curated(start, old), "half") == {name: (half,) for name, (_, half) in before.items()}


def test_a_rebuild_without_new_photos_gives_the_same_rows() -> None:
    photos = [(str(number), str(number % 17), f"place {number % 11}") for number in range(80)]
    first = curated(photos)
    again = curated(photos, first.members)
    assert again.members.equals(first.members)
    assert again.rejects.equals(first.rejects)


def test_a_photo_that_joins_both_halves_is_a_reject() -> None:
    one, other = observer_of(Half.DISCOVER), observer_of(Half.CONFIRM)
    others = [(f"f{number}", f"f{number}", None) for number in range(40)]
    start = [("a", one, "here"), ("b", other, "there"), *others]
    last = curated(start).members
    found = curated([*start, ("c", one, "there"), ("d", one, "elsewhere")], last)
    assert [(row["photo_id"], row["stage"], row["reason"]) for row in found.rejects.to_pylist()] == [
        ("web-c", "curate", "bridges_halves")
    ]
    unit = columns(found, "unit", "half")
    assert unit["d"] == unit["a"] != unit["b"]
    # Nothing was published: the two are one unit, and nobody is turned away.
    assert curated([*start, ("c", one, "there")]).rejects.num_rows == 0
    assert found.members.schema.names == MEMBERS.arrow().names


def test_imported_photos_are_of_no_half() -> None:
    start = [("a", "1", None)]
    last = curated(start).members
    last = last.set_column(last.column_names.index("half"), "half", pa.array(["all"]))
    assert columns(curated(start, last), "half") == columns(curated(start), "half")
