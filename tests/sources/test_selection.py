"""The choice of photos against a slow and obvious one."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from counterset.classes import ClassSpec
from counterset.config import SourceConfig
from counterset.schemas import RejectReason
from counterset.sources.kinds.folder import FolderConfig
from counterset.sources.selection import Item, choose, crawl_of, draw


def items_of(seed: int, num: int = 400) -> list[Item]:
    generator = random.Random(seed)
    items = []
    for number in range(num):
        observation = generator.randrange(num // 2)
        owner = random.Random(observation)
        day = owner.choice([None, *(date(2024, 1, 1) + timedelta(days=n) for n in range(4))])
        items.append(
            Item(f"p{number}", str(observation), generator.randrange(3), f"u{owner.randrange(25)}", day, observation)
        )
    return items


def slow_choice(items: list[Item], config: SourceConfig, seed: int) -> set[str]:
    firsts = [
        item
        for item in items
        if sorted((other.position, other.photo_id) for other in items if other.observation == item.observation).index(
            (item.position, item.photo_id)
        )
        < config.photos_per_observation
    ]
    chosen: list[Item] = []
    key: dict[str, Callable[[Item], Any]] = {
        "sample": lambda item: (draw(item.observation, seed), item.position, item.photo_id),
        "latest": lambda item: (-item.recency, item.observation, item.position, item.photo_id),
    }
    for item in sorted(firsts, key=key[config.order]):
        same_day = [
            other for other in chosen if (other.observer_id, other.observed_on) == (item.observer_id, item.observed_on)
        ]
        if len(same_day) < config.photos_per_observer_day:
            chosen.append(item)
    return {item.photo_id for item in chosen[: config.photos_per_class]}


@pytest.mark.parametrize("order", ["sample", "latest"])
@pytest.mark.parametrize("seed", range(4))
def test_the_choice_equals_the_slow_one_and_nothing_is_lost(order: str, seed: int) -> None:
    items = items_of(seed)
    config = FolderConfig.model_validate(
        {"order": order, "photos_per_class": 60, "photos_per_observer_day": 2, "photos_per_observation": 1 + seed % 2}
    )
    chosen = choose(items, config, seed)
    assert chosen.photo_ids == slow_choice(items, config, seed)
    assert len(chosen.photo_ids) == 60
    assert chosen.photo_ids.isdisjoint(chosen.rejects)
    assert chosen.photo_ids | set(chosen.rejects) == {item.photo_id for item in items}
    assert {reason for reason, _ in chosen.rejects.values()} == {
        RejectReason.SAME_OBSERVATION,
        RejectReason.OBSERVER_DAY_CAP,
        RejectReason.NOT_SAMPLED,
    }
    shuffled = random.Random(9).sample(items, len(items))
    assert choose(shuffled, config, seed) == chosen


def test_a_larger_sample_holds_the_smaller_one() -> None:
    items = items_of(7)
    small, large = (choose(items, FolderConfig(photos_per_class=num), 0).photo_ids for num in (40, 80))
    assert small < large


def test_the_lot_follows_the_seed_and_not_the_id() -> None:
    """Ids grow with time: a sample in their order would be the oldest photos, or the newest."""
    items = [Item(f"p{number:04d}", f"{number:04d}", 0, f"u{number}", None, number) for number in range(1_000)]
    config = FolderConfig(photos_per_class=200)
    taken = [choose(items, config, seed).photo_ids for seed in range(3)]
    for photo_ids in taken:
        numbers = sorted(int(photo_id[1:]) for photo_id in photo_ids)
        assert 400 < sum(numbers) / len(numbers) < 600
        assert numbers[0] < 30 and numbers[-1] > 970
    assert 20 < len(taken[0] & taken[1]) < 60, "another seed is another sample"
    assert draw("12", 3) != draw("2", 31), "seed and id are told apart"


def item_of(photo_id: str, observation: str = "", position: int = 0, observer: str = "", **more: Any) -> Item:
    return Item(photo_id, observation or f"of {photo_id}", position, observer or f"by {photo_id}", **more)


def plain(photo_id: str, **more: Any) -> Item:
    return item_of(photo_id, **({"observed_on": date(2024, 5, 1), "recency": 0} | more))


def test_each_reason_says_what_stood_in_the_way() -> None:
    config = FolderConfig(photos_per_class=2, photos_per_observer_day=1, photos_per_observation=1, order="latest")
    items = [
        plain("a", recency=9, observer="u"),
        plain("b", recency=8, observer="u"),
        plain("c", recency=7, observer="v", observed_on=None),
        plain("d", recency=6, observer="v", observed_on=None),
        plain("e", recency=5, observer="u", observed_on=date(2024, 5, 2)),
        plain("f", recency=9, observer="w", observation="of a", position=2),
    ]
    chosen = choose(items, config, 0)
    assert chosen.photo_ids == {"a", "c"}
    assert chosen.rejects == {
        "b": (RejectReason.OBSERVER_DAY_CAP, "observer has 1 photos of 2024-05-01"),
        "d": (RejectReason.OBSERVER_DAY_CAP, "observer has 1 photos of an unknown day"),
        "e": (RejectReason.NOT_SAMPLED, "2 others were chosen"),
        "f": (RejectReason.SAME_OBSERVATION, "photo 3 of observation of a"),
    }


@pytest.mark.parametrize("order", ["sample", "latest"])
def test_photos_of_one_observation_come_by_position_and_then_by_id(order: Any) -> None:
    """Ids against positions: z is the first photo, and of two first ones the lower id."""
    config = FolderConfig(photos_per_class=1, photos_per_observer_day=9, photos_per_observation=3, order=order)
    items = [plain(name, observation="o", position=place) for name, place in (("y", 1), ("z", 0), ("x", 2))]
    assert choose(items, config, 0).photo_ids == {"z"}
    same = [plain(name, observation="o") for name in ("y", "x", "z")]
    for seed in range(3):
        assert choose(same, config, seed).photo_ids == {"x"}
    first = config.model_copy(update={"photos_per_observation": 1})
    assert choose(items, first, 0).rejects.keys() == {"x", "y"}
    assert choose(same, first, 0).rejects.keys() == {"y", "z"}


def test_equally_new_photos_come_by_observation() -> None:
    config = FolderConfig(photos_per_class=1, order="latest")
    items = [plain("a", observation="2"), plain("b", observation="1"), plain("c", observation="3")]
    assert choose(items, config, 0).photo_ids == {"b"}


def test_caps_are_an_observers_and_a_days() -> None:
    config = FolderConfig(photos_per_class=9, photos_per_observer_day=1)
    days = (date(2024, 5, 1), date(2024, 5, 2))
    items = [plain(f"{observer}{day.day}", observer=observer, observed_on=day) for observer in "uv" for day in days]
    assert choose(items, config, 0).photo_ids == {"u1", "u2", "v1", "v2"}


def test_one_classs_tables() -> None:
    spec = ClassSpec("fox", "fox")
    rejects = {"b": (RejectReason.LICENSE, "all rights reserved"), "a": (RejectReason.NOT_SAMPLED, "2 others")}
    candidate = {
        "photo_id": "c", "class_id": "fox", "source": "s", "url": "https://example.org/c", "license": "cc0",
        "attribution": "x", "observation_id": "1", "observer_id": "u", "tags": [],
    }  # fmt: skip
    crawl = crawl_of(spec, [candidate], rejects)
    assert crawl.candidates["photo_id"].to_pylist() == ["c"]
    assert sorted(crawl.rejects.to_pylist(), key=lambda row: str(row["photo_id"])) == [
        {"photo_id": "a", "class_id": "fox", "stage": "crawl", "reason": "not_sampled", "detail": "2 others"},
        {"photo_id": "b", "class_id": "fox", "stage": "crawl", "reason": "license", "detail": "all rights reserved"},
    ]
    assert crawl_of(spec, [], {}).rejects.num_rows == 0
