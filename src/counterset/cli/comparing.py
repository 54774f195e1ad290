"""The command that sets models or releases beside each other: compare."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from counterset.cli.evaluating import add_candidates, add_options
from counterset.cli.flows import import_models, model_bars
from counterset.cli.printing import interval, percent, print_table, probability
from counterset.errors import UserError
from counterset.outputs import check_output

COMPARE_HELP = """\
  compare RELEASE MODEL MODEL...             each two models: difference of drops and of accuracies
  compare RELEASE MODEL... --against OTHER   each model: this release less the other, over the classes of both
  compare RELEASE MODEL... --newer           each model: photos newer than its training data less older ones
  compare RELEASE --published                the release's classes beside the published CounterAnimal

Models are evaluated first, unless they were before. Intervals are over photographers, whom all models share;
p-values are Holm's over all comparisons of a measure.
"""


def add(commands: Any) -> None:
    """The command `compare`."""
    compare = commands.add_parser(
        "compare",
        help="models against each other, two releases, or a release beside the published CounterAnimal",
        epilog=COMPARE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    compare.add_argument("release", help="folder, name, or URL of a release")
    compare.add_argument("model", nargs="*", help="a model, as `evaluate --model` takes it")
    compare.add_argument("--against", metavar="RELEASE", help="another release, for the same models")
    compare.add_argument("--newer", action="store_true", help="photos newer than each model's training data, and older")
    compare.add_argument(
        "--trained-until",
        action="append",
        default=[],
        metavar="MODEL=DATE",
        help="with --newer: the day after which no photo was taken that the model was trained on (2023-04-30)",
    )
    compare.add_argument("--published", action="store_true", help="beside the paper's classes and figures")
    compare.add_argument(
        "--evaluation", type=Path, help="with --published: an evaluation of the release, for accuracies of more models"
    )
    add_candidates(compare)
    add_options(compare)
    compare.set_defaults(run=_compare, output=None)


def _compare(args: argparse.Namespace) -> int:
    if args.published and (args.model or args.against or args.newer):
        raise UserError("--published compares classes, not models; give models without it")
    if args.published:
        return _published(args)
    if args.evaluation:
        raise UserError("--evaluation goes with --published; name the models to compare")
    if args.against and args.newer:
        raise UserError("--against and --newer are two comparisons; give one of them at a time")
    if len(args.model) < (1 if args.against or args.newer else 2):
        raise UserError("nothing to compare: name two models, one with --against or --newer, or give --published")
    until = dict(map(_day, args.trained_until))
    import_models()
    from counterset.evaluation.comparing import compare_clocks, compare_models, compare_releases
    from counterset.evaluation.photos import TESTED
    from counterset.load import load

    verdicts = args.verdict or TESTED
    opened = functools.partial(load, verdicts=verdicts, mirrors=args.mirror, accept_changed=args.accept_changed)
    release = opened(args.release)
    other = opened(args.against) if args.against else None
    with model_bars() as say:
        settings = {
            "label_space": args.label_space,
            "templates": args.templates,
            "half": args.half or "",
            "output": args.output or Path("evaluations"),
            "selector": args.selector,
            "batch_size": args.batch_size,
            "shard_size": args.shard_size,
            "parallel": args.parallel,
            "progress": say,
        }
        if other is not None:
            between = compare_releases(release, other, args.model, **settings)
        elif args.newer:
            clocks = compare_clocks(release, args.model, until=until, **settings)
        else:
            compared = compare_models(release, args.model, **settings)
    if other is not None:
        _show_releases(between, f"{other.name} {other.version}")
    elif args.newer:
        _show_clocks(clocks)
    else:
        _show_models(compared)
    return 0


def _day(text: str) -> tuple[str, date]:
    model, _, day = text.rpartition("=")
    try:
        return model, date.fromisoformat(day)
    except ValueError:
        raise UserError(f"--trained-until {text} names no day; write MODEL=2023-04-30") from None


def _show_models(compared: Any) -> None:
    record, facts = compared.evaluation.record, compared.evaluation.record["models"]
    rows = sorted(compared.ranks.to_pylist(), key=lambda row: (row["drop"], row["model"]))
    print_table(
        f"{record['release']['name']} {record['release']['version']}: {record['label_space']}, smallest drop first, "
        f"{compared.num_classes} classes, {compared.num_photos} photos by {compared.num_units} units",
        [
            {
                "model": row["model"] + ("*" if facts[row["model"]]["in_sample_reason"] else ""),
                **{f"{name} %": percent(row[name]) for name in ("common", "counter", "drop")},
                "rank": f"{row['rank_low']} to {row['rank_high']}",
            }
            for row in rows
        ],
    )
    print_table(
        "the first model less the other",
        [
            {"model": row["model"], "other": row["other"], **_difference(row), "ties": _ties(row)}
            for row in compared.pairs.to_pylist()
        ],
    )
    for row in rows:
        if reason := facts[row["model"]]["in_sample_reason"]:
            print(f"* {row['model']} {reason}, so its figures are in-sample")
    print(_explained(compared.pairs))
    print(f"\ncomparison  {compared.evaluation.folder}")


def _show_releases(compared: Any, other: str) -> None:
    here = compared.here.record["release"]
    print_table(
        f"{here['name']} {here['version']} less {other}: {len(compared.class_ids)} classes of both",
        [
            {
                "model": row["model"],
                **{f"{name} %": percent(row[name]) for name in ("first", "second")},
                **_difference(row),
            }
            for row in compared.pairs.to_pylist()
        ],
    )
    print(f"{compared.num_shared_units} units have photos in both and count as one")
    print(_explained(compared.pairs))
    print(f"\ncomparison  {compared.here.folder}")


def _show_clocks(compared: Any) -> None:
    rows = compared.clocks.to_pylist()
    if rows:
        print_table(
            "photos newer than the training data less older ones",
            [
                {
                    "model": row["model"],
                    "trained until": row["trained_until"].isoformat(),
                    "photos": f"{row['num_newer']} / {row['num_older']}",
                    "newer %": percent(row["first"]),
                    "older %": percent(row["second"]),
                    **_difference(row),
                }
                for row in rows
            ],
        )
        print(_explained(compared.clocks))
    for model, why in compared.without.items():
        print(f"{model}: {why}")
    if compared.num_undated:
        print(f"{compared.num_undated} photos have no day and are in neither part")
    print(f"\ncomparison  {compared.evaluation.folder}")


def _difference(row: Mapping[str, Any]) -> dict[str, str]:
    low, high = percent(row["low"]), percent(row["high"])
    return {
        "of": row["measure"],
        "difference points": percent(row["difference"]),
        "95 % interval": f"{low} to {high}",
        "p, Holm": probability(row["p_adjusted"]),
        "verdict": row["verdict"],
        "detectable points": percent(row["detectable"]),
    }


def _ties(row: Mapping[str, Any]) -> str:
    return f"{row['num_photos'] - row['num_model_only'] - row['num_other_only']} of {row['num_photos']}"


def _explained(pairs: Any) -> str:
    number = sum(measure == "drop" for measure in pairs["measure"].to_pylist())
    return (
        f"p is corrected for {number} comparison{'s' * (number > 1)} of each measure (Holm); detectable: the true "
        "difference that so many show in 80 % of releases like this one; undecided is not equal"
    )


def _published(args: argparse.Namespace) -> int:
    from counterset.evaluation.paper import compare
    from counterset.load import load

    release = load(args.release)
    output = args.output or Path("evaluations") / f"{release.name}-{release.version}"
    check_output(output)
    compared = compare(release, args.evaluation)
    rows = compared.classes.to_pylist()
    print_table("classes here and in the paper", [_compared(row) for row in rows])
    by_model: dict[str, list[dict[str, Any]]] = {}
    for row in compared.models.to_pylist():
        by_model.setdefault(row["model"], []).append(row)
    print_table(
        "accuracies, means over the classes that have them",
        [_compared_model(model, of) for model, of in sorted(by_model.items())],
    )
    same = sum(row["pair"] == "same" for row in rows)
    print(f"{len(rows)} of the {compared.num_published} published classes are here; {same} have the published pair")
    if compared.drop_correlation is not None:
        print(f"correlation of the drops here and there: {compared.drop_correlation:.2f}")
    for path in compared.write(output):
        print(path)
    return 0


def _compared(row: dict[str, Any]) -> dict[str, str]:
    return {
        "class": row["class_id"],
        "pair here": f"{row['common']} > {row['counter']}" if row["common"] else "",
        "pair there": f"{row['published_common']} > {row['published_counter']}",
        "pair": row["pair"],
        "verdict": row["verdict"],
        "drop here %": percent(row["drop"]),
        "95 % interval": interval(row),
        "drop there %": percent(row["published_drop"]),
    }


def _compared_model(model: str, rows: list[dict[str, Any]]) -> dict[str, str]:
    """Means over the same classes here and there, for a model that has both."""
    titles = {"common": "common here %", "counter": "counter here %"}
    titles |= {"published_common": "common there %", "published_counter": "counter there %"}
    known = [name for name in titles if any(row[name] is not None for row in rows)]
    rows = [row for row in rows if all(row[name] is not None for name in known)]
    means = {name: percent(sum(row[name] for row in rows) / len(rows)) if rows else "" for name in known}
    return {"model": model, "classes": str(len(rows)), **{title: means.get(name, "") for name, title in titles.items()}}
