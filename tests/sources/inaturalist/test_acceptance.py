"""From offers to candidates: which observation of a photo counts, what is taken, and each refusal's reason."""

from __future__ import annotations

import random
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from counterset.classes import ClassSpec
from counterset.schemas import REJECTS, RejectReason
from counterset.sources import Crawl
from counterset.sources.inaturalist.acceptance import Accepting, accept, by_day, by_id, crawl_from, standing
from counterset.sources.inaturalist.observations import photo_id_of
from counterset.sources.inaturalist.settings import INaturalistConfig
from counterset.sources.selection import crawl_of
from counterset.tables import table_of

TAXA = (42,)


def offer(photo_id: int, **changes: Any) -> dict[str, Any]:
    """An acceptable photo of an observation of its own."""
    return {
        "observation_id": 1_000 + photo_id,
        "uuid": f"uuid-{photo_id}",
        "position": 0,
        "photo_id": photo_id,
        "license": "cc-by",
        "url": f"https://inaturalist-open-data.s3.amazonaws.com/photos/{photo_id}/square.jpg",
        "attribution": f"(c) someone, photo {photo_id}",
        "is_hidden": False,
        "observer_id": f"user-{photo_id}",
        "observer_name": "Some One",
        "observed_on": date(2024, 5, photo_id % 28 + 1),
        "hour": 9,
        "taxon_id": 42,
        "taxon_name": "Vulpes vulpes",
        "ancestor_ids": [1, 42],
        "quality_grade": "research",
        "is_captive": False,
        "annotations": [],
        "title": "a fox",
        "description": "by the road",
        "tags": ["fox", "road"],
        "place": "a place",
    } | changes


def taken(offers: list[dict[str, Any]], recency: Any = by_id, **config: Any) -> dict[str, str]:
    """The observation of each photo that is taken."""
    found = accept(offers, TAXA, INaturalistConfig.model_validate(config), 0, recency)
    return {photo_id: row["uuid"] for photo_id, row in found.taken.items()}


def test_each_photo_is_taken_or_has_its_reason() -> None:
    offers = [offer(1), offer(2, license="cc-by-nd"), offer(3, is_captive=True), offer(4, taxon_id=None), offer(5)]
    found = accept(offers, TAXA, INaturalistConfig(), 0)
    assert set(found.taken) == {"inaturalist-1", "inaturalist-5"}
    assert found.taken["inaturalist-5"] is offers[4]
    assert {photo_id: reason for photo_id, (reason, _) in found.rejects.items()} == {
        "inaturalist-2": RejectReason.LICENSE,
        "inaturalist-3": RejectReason.CAPTIVE,
        "inaturalist-4": RejectReason.UNIDENTIFIED,
    }


@pytest.mark.parametrize("order", ["sample", "latest"])
def test_a_choice_without_some_photos_is_that_of_a_world_without_them(order: str) -> None:
    """Of photos that are gone nothing is told, and photos that were refused stay so; others take their places."""
    draw = random.Random(5)
    offers = [
        offer(
            draw.randrange(40),
            uuid=f"uuid-{number // 2}",
            observation_id=number // 2,
            position=number % 2,
            observer_id=f"user-{draw.randrange(5)}",
            license=draw.choice(["cc0", "cc-by", None]),
        )
        for number in range(80)
    ]
    config = INaturalistConfig.model_validate({"order": order, "photos_per_class": 8, "photos_per_observer_day": 3})
    accepting = Accepting(offers, TAXA, config, 0)
    gone: set[str] = set()
    for _ in range(4):
        found = accepting.without(gone)
        expected = accept([one for one in offers if photo_id_of(one) not in gone], TAXA, config, 0)
        assert found == expected
        assert 0 < len(found.taken) <= 8
        gone |= set(sorted(found.taken)[:2]) | set(sorted(found.rejects)[:1])


def test_a_photo_of_several_observations_counts_once_with_the_first_acceptable() -> None:
    first, second = offer(1, observation_id=7, uuid="b"), offer(1, observation_id=9, uuid="a")
    refused = offer(1, observation_id=3, uuid="c", quality_grade="casual")
    for offers in ([first, second, refused], [refused, second, first], [second, refused, first]):
        found = accept(offers, TAXA, INaturalistConfig(), 0)
        assert {photo_id: row["uuid"] for photo_id, row in found.taken.items()} == {"inaturalist-1": "b"}
        assert found.rejects == {}, "being refused as part of another observation does not matter then"


def test_without_integer_ids_the_first_is_that_of_the_lowest_uuid() -> None:
    both = [offer(1, observation_id=None, uuid=uuid) for uuid in ("n", "m")]
    assert taken(both, by_day) == taken(both[::-1], by_day) == {"inaturalist-1": "m"}


def test_the_first_refusal_is_the_one_that_is_told() -> None:
    offers = [offer(1, uuid="a", license="cc-by-nd"), offer(1, uuid="b", is_captive=True)]
    found = accept(offers, TAXA, INaturalistConfig(), 0)
    assert found.taken == {}
    assert [reason for reason, _ in found.rejects.values()] == [RejectReason.LICENSE]


def test_what_the_choice_turns_away_is_told_beside_what_the_rules_do() -> None:
    offers = [
        offer(1),
        offer(2, uuid="uuid-1", observation_id=1_001, position=1),  # a second photo of one observation
        offer(3, license=None),
        offer(4, observer_id="user-1", observed_on=offer(1)["observed_on"]),  # the observer's second of the day
    ]
    found = accept(offers, TAXA, INaturalistConfig(photos_per_observer_day=1, order="latest"), 0)
    assert set(found.taken) == {"inaturalist-4"}
    assert {photo_id: reason for photo_id, (reason, _) in found.rejects.items()} == {
        "inaturalist-1": RejectReason.OBSERVER_DAY_CAP,
        "inaturalist-2": RejectReason.SAME_OBSERVATION,
        "inaturalist-3": RejectReason.LICENSE,
    }


def test_newer_is_the_larger_id_or_the_later_day() -> None:
    offers = [
        offer(1, observation_id=30, observed_on=date(2020, 1, 1)),
        offer(2, observation_id=20, observed_on=date(2024, 1, 1)),
        offer(3, observation_id=10, observed_on=None),
    ]
    latest = {"order": "latest", "photos_per_class": 1}
    assert taken(offers, **latest) == {"inaturalist-1": "uuid-1"}
    assert taken(offers, by_day, **latest) == {"inaturalist-2": "uuid-2"}
    assert taken(offers[2:], by_day, **latest) == {"inaturalist-3": "uuid-3"}
    assert by_day(offers[2]) < by_day(offers[0]) < by_day(offers[1])


@pytest.mark.parametrize(("observation_id", "named"), [(1_008, "1008"), (None, "uuid-8")])
def test_a_candidate_has_all_that_was_told(observation_id: int | None, named: str) -> None:
    spec = ClassSpec("fox", "fox", 277, (42,))
    row = offer(8, observation_id=observation_id)
    found = accept([row, offer(9, license="cc0"), offer(10, license=None)], TAXA, INaturalistConfig(), 0, by_day)
    crawl = crawl_from(spec, found, INaturalistConfig(photo_size="large"), "the source")
    rows = {candidate["photo_id"]: candidate for candidate in crawl.candidates.to_pylist()}
    assert rows["inaturalist-8"] == {
        "photo_id": "inaturalist-8",
        "class_id": "fox",
        "source": "the source",
        "url": "https://inaturalist-open-data.s3.amazonaws.com/photos/8/large.jpg",
        "license": "cc-by",
        "attribution": "(c) someone, photo 8",
        "observation_id": named,
        "observer_id": "user-8",
        "observed_on": date(2024, 5, 9),
        "hour": 9,
        "taxon_id": 42,
        "taxon_name": "Vulpes vulpes",
        "life_stage": None,
        "sex": None,
        "quality_grade": "research",
        "title": "a fox",
        "description": "by the road",
        "tags": ["fox", "road"],
        "place": "a place",
    }
    assert rows["inaturalist-9"]["attribution"] == "Some One, no rights reserved (CC0)"
    [reject] = crawl.rejects.to_pylist()
    assert (reject["photo_id"], reject["class_id"], reject["stage"], reject["reason"], reject["detail"]) == (
        "inaturalist-10",
        "fox",
        "crawl",
        "license",
        "all rights reserved",
    )


def test_an_observation_without_an_integer_id_comes_before_those_with_one() -> None:
    both = [offer(1, observation_id=5, uuid="a"), offer(1, observation_id=None, uuid="z")]
    assert taken(both, by_day) == taken(both[::-1], by_day) == {"inaturalist-1": "z"}


def test_a_withdrawn_photo_gives_its_place_to_the_next_that_stands() -> None:
    """Two of five are wanted; the first, and the first in its place, are withdrawn. Each is asked about once."""
    spec = ClassSpec("fox", "fox", 277, (42,))
    offers = [offer(number) for number in range(1, 6)]
    asked: list[list[str]] = []

    def choose(without: Any) -> Crawl:
        kept = [row for row in offers if f"inaturalist-{row['photo_id']}" not in without][:2]
        found = accept(kept, TAXA, INaturalistConfig(), 0)
        return crawl_of(
            spec,
            crawl_from(spec, found, INaturalistConfig(), "s").candidates.to_pylist(),
            {"inaturalist-9": (RejectReason.LICENSE, "none")},
        )

    def recheck(candidates: pa.Table) -> pa.Table:
        ids = sorted(candidates["photo_id"].to_pylist())
        asked.append(ids)
        gone = [photo_id for photo_id in ids if photo_id in ("inaturalist-1", "inaturalist-3")]
        row = {"class_id": "fox", "stage": "publish", "reason": "withdrawn", "detail": "gone"}
        return table_of(REJECTS, [{"photo_id": photo_id} | row for photo_id in gone])

    found = standing(choose, recheck)
    assert sorted(found.candidates["photo_id"].to_pylist()) == ["inaturalist-2", "inaturalist-4"]
    assert {row["photo_id"]: row["reason"] for row in found.rejects.to_pylist()} == {
        "inaturalist-1": "withdrawn",
        "inaturalist-3": "withdrawn",
        "inaturalist-9": "license",
    }
    assert asked == [["inaturalist-1", "inaturalist-2"], ["inaturalist-3"], ["inaturalist-4"]]


def test_where_all_stand_they_are_asked_about_once_and_an_empty_choice_never() -> None:
    spec, asked = ClassSpec("fox", "fox", 277, (42,)), []

    def recheck(candidates: pa.Table) -> pa.Table:
        asked.append(candidates.num_rows)
        return table_of(REJECTS, [])

    found = accept([offer(1), offer(2)], TAXA, INaturalistConfig(), 0)
    crawl = crawl_from(spec, found, INaturalistConfig(), "s")
    assert standing(lambda without: crawl, recheck).candidates == crawl.candidates
    assert standing(lambda without: crawl_of(spec, [], {}), recheck).candidates.num_rows == 0
    assert asked == [2]


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        (["1|2", "9|10"], ("adult", "female")),
        (["1|8", "17|18", "22|24", "9|11"], ("juvenile", "male")),
        (["1|2", "1|8", "9|10", "9|11"], (None, None)),  # a mother and her cub: not the same of both
        (["9|20", "1|99"], (None, None)),  # cannot be determined; a term that came later
        ([], (None, None)),
    ],
)
def test_life_stage_and_sex_are_what_people_annotated(annotations: list[str], expected: tuple[object, ...]) -> None:
    found = accept([offer(1, annotations=annotations, hour=23)], TAXA, INaturalistConfig(), 0)
    (row,) = crawl_from(ClassSpec("red_fox", "red fox", 277), found, INaturalistConfig(), "x").candidates.to_pylist()
    assert (row["life_stage"], row["sex"]) == expected
    assert row["hour"] == 23
