"""The proofs: every regime runs, tallies are kept and go on, and broken promises are noticed."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from . import run
from .regimes import REGIMES, Regime, Row
from .run import ALL, Records, broken, prove, shown, summary, tally


def small(regime: Regime) -> Regime:
    """Worlds that are quick to draw and to test."""
    return replace(
        regime, num_classes=6, num_planted=2, config=regime.config | {"num_permutations": 100}, photo_range=None
    )


@pytest.mark.parametrize("regime", ALL, ids=lambda regime: regime.name)
def test_every_regime_runs(regime: Regime) -> None:
    [(_, of_world)] = run.run_worlds(small(regime), [0])
    looks = 6 if regime.procedure and regime.procedure.__name__ == "rebuilt" else 1
    assert of_world["tested"] >= 3 * looks
    assert regime.waived or of_world["inside"] >= 0.5 * of_world["tested"]
    assert 0 <= of_world["correlation"] / of_world["tested"] < 0.9
    assert (of_world["planted"] > 0) == (regime.drop > 0)


def test_regimes_have_names_of_their_own() -> None:
    assert len({regime.name for regime in ALL}) == len({regime.key for regime in ALL}) == len(ALL)


def row(truth: float, *, verdict: str = "confirmed", low: float = 0.05, is_planted: bool = False) -> Row:
    return {
        "verdict": verdict,
        "truth": truth,
        "drop": 0.2,
        "drop_low": low,
        "drop_high": 0.3,
        "drop_confirm": 0.25,
        "observer_correlation": 0.1,
        "is_planted": is_planted,
        "is_right": is_planted,
    }


def test_a_tally_counts_and_sums() -> None:
    found = tally([row(0.1, is_planted=True), row(0.0), row(0.0, verdict="unconfirmed", low=-0.1)])
    assert found["tested"] == 3 and found["confirmed"] == 2 and found["false"] == 1
    assert (found["planted"], found["planted_confirmed"], found["planted_right"]) == (1, 1, 1)
    assert (found["inside"], found["inside_confirmed"]) == (2, 1)
    assert found["bias"] == pytest.approx(0.5) and found["bias_confirmed"] == pytest.approx(0.3)
    assert found["bias_confirm"] == pytest.approx(0.65) and found["correlation"] == pytest.approx(0.3)


def test_figures_are_shares_over_worlds() -> None:
    right, wrong = tally([row(0.2)] * 3), tally([row(0.0)])
    figures = summary([right, right, right, wrong])
    assert figures["false_worlds"] == 0.25 and figures["coverage"] == 0.9
    assert figures["bias"] == pytest.approx(0.02)
    # by hand: scatters of 0.3, 0.3, 0.3 and -0.9 around a share of 0.9; 10 pairs in 4 worlds
    assert figures["coverage_error"] == pytest.approx((0.27**0.5) * 2 / 10)


def test_broken_promises_are_noticed() -> None:
    kept = {"false_worlds": 0.05, "false_worlds_error": 0.01, "false_discoveries": 0.0}
    kept |= {"coverage": 0.95, "coverage_error": 0.01, "bias": 0.002, "bias_error": 0.0001}
    null, with_drop = Regime("a"), Regime("b", drop=0.1)
    assert broken(null, kept) == []
    assert broken(null, kept | {"false_worlds": 0.071}) == ["false"]
    assert broken(with_drop, kept | {"false_worlds": 0.071}) == []
    assert broken(with_drop, kept | {"false_discoveries": 0.071}) == ["false"]
    assert broken(null, kept | {"coverage": 0.909}) == ["coverage"] and not broken(null, kept | {"coverage": 0.911})
    assert broken(null, kept | {"coverage": 0.991}) == ["coverage"]
    assert broken(null, kept | {"bias": -0.0031}) == ["bias"]
    assert broken(null, kept | {"bias": -0.0031, "bias_error": 0.002}) == []


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    regime = small(REGIMES[0])
    path = tmp_path / "statistics.jsonl"
    [(_, first)] = prove([regime], Records(path, "now"), num_worlds=2, jobs=1)
    path.write_text(path.read_text() + '{"edition": "no', encoding="utf-8")
    lines = path.read_text().splitlines()
    assert [json.loads(line)["world"] for line in lines[:2]] == [0, 1]
    assert Records(path, "now").known(regime) == dict(enumerate(first))
    assert Records(path, "first").known(regime) == {}, "another edition"
    assert Records(path, "now").known(replace(regime, photos=101)) == {}, "another regime"
    monkeypatch.setattr(run, "revision", lambda: "other")
    assert Records(path, "now").known(regime) == {}, "other code"
    monkeypatch.undo()
    monkeypatch.setattr(run, "run_worlds", None)
    [(_, again)] = prove([regime], Records(path, "now"), num_worlds=2, jobs=1)
    assert again == first, "nothing was run"
    assert shown(regime, summary(again)).startswith("| base | 2 |")


def test_every_regime_can_be_given_to_another_process() -> None:
    for regime in ALL:
        assert pickle.loads(pickle.dumps(regime)).key == regime.key
