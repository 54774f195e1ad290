"""What a plan says that a build costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterset.config import parse_config
from counterset.models.operations import operations_of
from counterset.sources import Foresight
from counterset.sources.budget import Limit
from counterset.steps.costs import _hours, costs_of
from counterset.steps.keys import Build


def build(tmp_path: Path, **source: object) -> Build:
    settings = {
        "name": "mine",
        "workspace": "ws",
        "classes": {"list": "demo"},
        "source": {"contact": "me@example.org", "photos_per_class": 5_000} | source,
        "models": {"annotator": "ViT-B-32/openai", "selectors": ["demo:selector"]},
        "evaluate": {"label_space": "classes"},
        "annotate": {"vocabulary": "demo"},
    }
    return Build(parse_config(settings, base=tmp_path))


def test_operations_are_those_of_the_architecture() -> None:
    """8.7 billion of ViT-B/32's image tower, as counted when it was measured (docs/speed.md)."""
    small, large = operations_of("ViT-B-32/openai"), operations_of("ViT-L-14/dfn2b")
    assert small is not None and small.giga_operations == pytest.approx(8.7, abs=0.3) and small.embedding_dim == 512
    assert large is not None and 150 < large.giga_operations < 170
    assert operations_of("RN50/openai") is None and operations_of("demo:weak") is None


def test_an_api_build_of_40_000_photos(tmp_path: Path) -> None:
    made = build(tmp_path)
    costs = costs_of(made, made.source.foresee(made.specs), processors=2)
    assert costs.photos == 40_000
    assert costs.requests == 1 + 8 * 25 + 200, "taxa, pages of 200, and each photo once more in two hundreds"
    assert costs.media_bytes == pytest.approx(40_000 * 0.3 * 500 * 375)
    assert costs.download_hours == pytest.approx(costs.media_bytes / 4.5e9)
    assert costs.embed_hours[0] == pytest.approx(40_000 * 0.024 / 3600 / 2, rel=0.05)
    assert costs.embed_hours[1] > 4 * costs.embed_hours[0]
    assert costs.unknown_models == ("demo:selector",)


def test_a_gpu_is_as_fast_as_its_slower_part_and_hours_cost_money(tmp_path: Path) -> None:
    made = build(tmp_path)
    offered = made.source.foresee(made.specs)
    slow = costs_of(made, offered, processors=2, gpu_tflops=0.1)
    assert slow.gpu_hours == pytest.approx(40_000 * 8.7e9 / (0.3 * 0.1e12) / 3600, rel=0.05), "by its operations"
    fast = costs_of(made, offered, processors=2, gpu_tflops=1000)
    assert fast.gpu_hours == pytest.approx(40_000 * 2 * 0.001 / 2 / 3600), "two models' photos are decoded by two cores"
    none = costs_of(made, offered, processors=2)
    assert none.gpu_hours is None
    waits = none.ask_hours + none.download_hours
    assert none.money(3.0) == pytest.approx(3 * (waits + none.embed_hours[0]))
    assert fast.money(3.0) == pytest.approx(3 * (waits + fast.gpu_hours))


def test_what_is_counted_is_not_guessed(tmp_path: Path) -> None:
    made = build(tmp_path)
    offered = Foresight(dict.fromkeys((spec.class_id for spec in made.specs), 70), photo_bytes=1e6, is_local=True)
    costs = costs_of(made, offered)
    assert (costs.photos, costs.media_bytes, costs.download_hours) == (560, 560e6, 0.0)


def test_limits_pace_and_make_windows_wait() -> None:
    minute_and_day = (Limit(60, 60.0), Limit(10_000, 86_400.0))
    assert _hours(6_000, minute_and_day) == pytest.approx(100 / 60)
    assert _hours(25_000, minute_and_day) == pytest.approx(48)
    assert _hours(0, minute_and_day) == _hours(5, ()) == 0
