"""The command that shows what a release knows of causes: where wrong answers go, and what remains of drops."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from counterset.cli.printing import percent, print_table

if TYPE_CHECKING:
    import pyarrow as pa

    from counterset.load import Release


def add(commands: Any) -> None:
    """The command `causes`."""
    causes = commands.add_parser("causes", help="what of a release's drops other things than backgrounds would explain")
    causes.add_argument("release", help="folder, name, or URL of a release")
    causes.set_defaults(run=_causes)


def _causes(args: argparse.Namespace) -> int:
    from counterset.load import load

    release = load(args.release)
    rows = _wrong_answers(release).to_pylist()
    if not rows:
        print(f"{release.name} {release.version} has no answers of a model to a class with a pair")
        return 0
    print_table("where wrong answers on counter backgrounds go", [_line(row) for row in rows])
    print(
        "background: the named class is most often found on this background; relative: it is of the same family or "
        "genus; excess: how many more name a class at home here than if each class's wrong answers were dealt at random"
    )
    left = release.table("controlled").to_pylist()
    if not left:
        print(f"{release.name} {release.version} is of before covariates were measured")
        return 0
    drops = {row["class_id"]: row["drop"] for row in release.pairs.to_pylist()}
    print_table("drops, and what remains once covariates are out", [_left(row, drops[row["class_id"]]) for row in left])
    print(
        "hidden cause: the share of what is left of both group and answers that it would have to explain; a drop that "
        "remains is still an association"
    )
    _print_parts(release.table("decomposition").to_pylist(), drops)
    return 0


def print_mean(rows: list[dict[str, Any]]) -> None:
    """Of which parts the mean drop is made, with their intervals: decomposition rows."""
    from counterset.causes.balance import over_classes

    means = over_classes(rows)
    print_table(
        "what the mean drop is made of",
        [
            {
                "part": row["component"],
                "points": percent(row["explained"]),
                "95 % interval": _interval(row["explained_low"], row["explained_high"]),
                "classes": str(row["num_classes"]),
            }
            for row in means
        ],
    )


def _print_parts(rows: list[dict[str, Any]], drops: dict[str, float | None]) -> None:
    """The parts of the mean drop, then of each class's."""
    if not rows:
        return
    print_mean(rows)
    by_class: dict[str, dict[str, str]] = {}
    for row in rows:
        line = by_class.setdefault(
            row["class_id"], {"class": row["class_id"], "drop %": percent(drops[row["class_id"]])}
        )
        line[row["component"]] = percent(row["explained"])
    print_table("and of each class", list(by_class.values()))
    print(
        "parts add up to the drop in whatever order they are taken, if each acts linearly and alike before all "
        "backgrounds of the class; unexplained: what goes with nothing that was measured, the background among it"
    )


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{percent(low)} to {percent(high)}"


def _left(row: dict[str, Any], drop: float | None) -> dict[str, str]:
    from counterset.causes.covariates import in_words

    return {
        "class": row["class_id"],
        "drop %": percent(drop),
        "remains %": percent(row["drop_controlled"]),
        "95 % interval": _interval(row["drop_controlled_low"], row["drop_controlled_high"]),
        "q": "" if row["q_controlled"] is None else f"{row['q_controlled']:.4f}",
        "hidden cause %": percent(row["robustness_value"]),
        "taken out": "uninformative: all answers are alike in both groups"
        if row["is_uninformative"]
        else in_words(row["covariates"]) or row["reason"] or "",
    }


def _wrong_answers(release: Release) -> pa.Table:
    """As the release has it; of an older one, from its photos and predictions."""
    from counterset.causes.wrong_answers import where_errors_go
    from counterset.classes import ClassSpec
    from counterset.models.labels import label_space

    table = release.table("wrong_answers_by_model")
    if table.num_rows:
        return table
    classes = [
        ClassSpec(row["class_id"], row["name"], row["imagenet_index"], (), row.get("scientific_name", ""))
        for row in release.metadata["classes"]
    ]
    asked = release.metadata["config"]["evaluate"]["label_space"]
    labels: dict[str, int] = {}
    if asked in ("imagenet1k", "classes"):  # a list of names in a file is not in the release
        space = label_space(asked, classes)
        indices = zip(space.labels, space.imagenet_index, strict=True)
        labels = {label: index for label, index in indices if index is not None}
    return where_errors_go(release.all_photos, release.pairs, release.predictions, classes, labels).by_model


def _line(row: dict[str, Any]) -> dict[str, str]:
    num = row["num_wrong"] or 1
    return {
        "model": row["model"],
        "wrong": str(row["num_wrong"]),
        "background %": percent(row["num_background"] / num),
        "both %": percent(row["num_both"] / num),
        "relative %": percent(row["num_near"] / num),
        "other %": percent(row["num_other"] / num),
        "unknown %": percent(row["num_unknown"] / num),
        "by chance %": percent(row["share_chance"]),
        "excess %": percent(row["excess"]),
        "95 % interval": _interval(row["excess_low"], row["excess_high"]),
    }
