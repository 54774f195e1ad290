"""Which look a build takes: from the newest release of its name, whatever that was called or knew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest

from counterset.classes import ClassSpec
from counterset.config import parse_config
from counterset.photo_rows import Rows
from counterset.release.versions.followed import Followed
from counterset.schemas import MEMBERS
from counterset.statistics.schemas import LOOKS
from counterset.statistics.series import Held, begin
from counterset.steps import series
from counterset.steps.keys import Build
from counterset.steps.series import Basis, Place, basis_of, class_identity, place_in_series
from counterset.tables import table_of, write_table

FOX = ClassSpec("fox", "red fox", 277, (42069,))
LION = ClassSpec("lion", "lion", 291, (), "Panthera leo")


@dataclass
class Last:
    """The newest release, as far as a look depends on it."""

    photos: dict[str, int | None]
    looks: pa.Table | None = None
    pairs: pa.Table | None = None
    classes: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"class_id": "fox", "name": "red fox", "taxon_ids": [42069], "scientific_name": ""},
            {"class_id": "lion", "name": "lion", "taxon_ids": [], "scientific_name": "Panthera leo"},
        ]
    )
    sums_sha256: str = "digest"
    folder: Path = Path("releases/fox/2.0.0")
    said: dict[str, Any] | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        return {
            "classes": self.classes,
            "source_snapshot": "2025-01-01",
            "config": {"select": {"max_q_value": 0.04}},
            "series": self.said,
        }

    def table(self, name: str) -> pa.Table | None:
        return self.looks if name == "looks" else self.pairs

    def parts(self, _: str, columns: list[str]) -> Iterator[pa.Table]:
        for photo_id, since in self.photos.items():
            yield pa.table({"photo_id": [photo_id], "unit_since": pa.array([since], pa.int32())}).select(columns)


def placed(folder: Path, photo_ids: list[str], last: Last | None, specs: tuple[ClassSpec, ...] = (FOX, LION)) -> Place:
    rows = [
        dict.fromkeys(MEMBERS.arrow().names, "x") | {"photo_id": photo_id, "class_id": "fox"} for photo_id in photo_ids
    ]
    members = write_table(table_of(MEMBERS, rows), MEMBERS, folder / "members.parquet")
    basis = Basis("photos", cast(Followed | None, last), last.sums_sha256 if last else "")
    return place_in_series(cast(Build, SimpleNamespace(specs=specs)), members, basis)


def look(number: int, class_id: str, verdict: str = "confirmed") -> dict[str, Any]:
    row = {"day": f"2025-0{number}-01", "level": 0.03, "q_value": 0.01, "drop": 0.2, "common": "a", "counter": "b"}
    return row | {"look": number, "class_id": class_id, "verdict": verdict}


LOOKED = table_of(LOOKS, [look(1, "fox", "unconfirmed"), look(2, "fox"), look(2, "lion")])


def test_a_first_build_begins_a_series(tmp_path: Path) -> None:
    place = placed(tmp_path, ["web-1"], None)
    assert place.series == begin()
    assert place.inputs.stated == {"look": 1, "made_from": "photos", "base": None}
    assert place.inputs.newest == ""


def test_new_photos_are_a_new_look(tmp_path: Path) -> None:
    place = placed(tmp_path, ["web-1", "web-2"], Last({"web-1": 1}, LOOKED))
    assert place.series.look == place.inputs.look == 3
    assert place.series.held == {"fox": Held("a", "b", 2), "lion": Held("a", "b", 2)}
    assert place.inputs.looks.num_rows == 3
    assert (place.inputs.day, place.inputs.newest) == ("", "digest")
    assert place.inputs.stated["base"] == {"version": "2.0.0", "sha256sums": "digest"}
    assert cast(Rows, place.inputs.seen).table().to_pylist() == [{"photo_id": "web-1", "unit_since": 1}]


def test_the_same_photos_are_the_last_look_again(tmp_path: Path) -> None:
    place = placed(tmp_path, ["web-2", "web-1"], Last({"web-1": 1, "web-2": 2}, LOOKED))
    assert place.series.look == 2 and place.series.held == {}
    assert place.inputs.looks["look"].to_pylist() == [1]
    assert place.inputs.day == "2025-02-01"


@pytest.mark.parametrize(
    "last",
    [
        Last({"other-1": 1}, LOOKED),
        Last({"web-1": 1}, LOOKED, classes=[{"class_id": "fox", "name": "fox", "taxon_ids": [1]}]),
        Last({"web-1": 1}, LOOKED, classes=[]),
    ],
)
def test_another_source_or_other_classes_are_another_series(last: Last, tmp_path: Path) -> None:
    place = placed(tmp_path, ["web-1", "web-2"], last)
    assert place.series == begin()
    assert place.inputs.base and place.inputs.newest == "digest", "it comes before nevertheless"


def test_a_class_is_known_by_its_taxon_whatever_it_is_called(tmp_path: Path) -> None:
    named = (ClassSpec("vulpes", "fox", None, (42069,)), ClassSpec("fox", "another fox", None, (7,)))
    place = placed(tmp_path, ["web-1", "web-2"], Last({"web-1": 1}, LOOKED), named)
    assert place.series.held == {"vulpes": Held("a", "b", 2)}
    assert class_identity(LION) == class_identity(ClassSpec("x", "king of beasts", None, (), "Panthera leo"))


def test_a_release_of_before_series_was_its_first_look(tmp_path: Path) -> None:
    pairs = pa.Table.from_pylist(
        [
            {"class_id": "fox", "verdict": "confirmed", "q_value": 0.01, "common": "a", "counter": "b", "drop": 0.3},
            {
                "class_id": "lion",
                "verdict": "too_small",
                "q_value": None,
                "common": None,
                "counter": None,
                "drop": None,
            },
        ]
    )
    place = placed(tmp_path, ["web-1", "web-2"], Last({"web-1": None}, None, pairs))
    assert place.series.look == 2 and place.series.held == {"fox": Held("a", "b", 1)}
    [row] = place.inputs.looks.to_pylist()
    assert (row["look"], row["level"], row["day"]) == (1, 0.04, "2025-01-01")
    assert cast(Rows, place.inputs.seen).table()["unit_since"].to_pylist() == [1]


OFFERED = [
    {"photo_id": "web-1", "observer_id": "a", "place": "x"},
    {"photo_id": "web-2", "observer_id": "b", "place": "x"},
    {"photo_id": "web-3", "observer_id": "c", "place": None},
]


def made_from(
    monkeypatch: pytest.MonkeyPatch,
    offered: list[dict[str, Any]] = OFFERED,
    sha256: dict[str, str] | None = None,
    specs: tuple[ClassSpec, ...] = (FOX, LION),
    unread: tuple[str, ...] = (),
    **settings: Any,
) -> str:
    """The digest of a look at photos of foxes."""
    rows = [{"class_id": "fox", "source": "web", "observation_id": row["photo_id"]} | row for row in offered]
    known = {row["photo_id"]: "bytes" for row in offered if row["photo_id"] not in unread} | (sha256 or {})
    photos = pa.table({"photo_id": list(known), "sha256": list(known.values())})
    table = pa.Table.from_pylist(rows)
    monkeypatch.setattr(series, "candidate_parts", lambda *_: [table.slice(row, 1) for row in range(len(rows))])
    monkeypatch.setattr(series, "parts_of", lambda *_: [photos])
    base: dict[str, Any] = {"name": "x", "classes": {"list": "demo"}, "annotate": {"vocabulary": "demo"}}
    base["models"] = {"annotator": "demo:annotator", "selectors": ["demo:selector"]}
    base["source"] = {"contact": "a@example.org"}
    config = parse_config(base | settings, base=Path("/nowhere"), origin="a test")
    build = cast(Build, SimpleNamespace(config=config, specs=specs, newest_release=None))
    return basis_of(build, [], []).made_from


def test_a_look_is_known_by_what_decides_its_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by where places are, nor by the order of rows, nor by what only later stages read."""
    known = made_from(monkeypatch)
    renamed = (ClassSpec("fox", "fox", None, (42069,)), LION)
    same = (
        made_from(monkeypatch, OFFERED[::-1]),
        made_from(monkeypatch, [row | {"place": row["place"] and "y"} for row in OFFERED]),
        made_from(monkeypatch, select={"min_photos": 3}),
        made_from(monkeypatch, specs=renamed),
    )
    assert set(same) == {known}
    others = (
        made_from(monkeypatch, OFFERED[:2]),
        made_from(monkeypatch, [row | {"place": row["photo_id"]} for row in OFFERED]),
        made_from(monkeypatch, [row | {"observer_id": "a"} for row in OFFERED]),
        made_from(monkeypatch, sha256={"web-1": "other bytes"}),
        made_from(monkeypatch, curate={"near_duplicate_bits": 0}),
        made_from(monkeypatch, select={"salt": "other"}),
        made_from(monkeypatch, specs=(FOX, ClassSpec("lion", "lion", 291, (), "Panthera"))),
    )
    assert len({known, *others}) == 1 + len(others)


def test_a_photo_that_could_not_be_read_is_no_part_of_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    assert made_from(monkeypatch, unread=("web-3",)) == made_from(monkeypatch, OFFERED[:2])
