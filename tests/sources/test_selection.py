"""The choice of photos against a slow and obvious one."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from counterset.config import SourceConfig
from counterset.schemas import RejectReason
from counterset.sources.selection import Item, choose, draw


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
    config = SourceConfig.model_validate(
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
    small, large = (choose(items, SourceConfig(photos_per_class=num), 0).photo_ids for num in (40, 80))
    assert small < large


def test_the_lot_follows_the_seed_and_not_the_id() -> None:
    """Ids grow with time: a sample in their order would be the oldest photos, or the newest."""
    items = [Item(f"p{number:04d}", f"{number:04d}", 0, f"u{number}", None, number) for number in range(1_000)]
    config = SourceConfig(photos_per_class=200)
    taken = [choose(items, config, seed).photo_ids for seed in range(3)]
    for photo_ids in taken:
        numbers = sorted(int(photo_id[1:]) for photo_id in photo_ids)
        assert 400 < sum(numbers) / len(numbers) < 600
        assert numbers[0] < 30 and numbers[-1] > 970
    assert 20 < len(taken[0] & taken[1]) < 60, "another seed is another sample"
    assert draw("12", 3) != draw("2", 31), "seed and id are told apart"
