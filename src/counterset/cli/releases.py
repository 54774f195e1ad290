"""Commands on releases that are there: show, diff, export, push, calibrate, import."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from counterset.cli.evaluating import add_places
from counterset.cli.printing import pair_rows, percent, print_small, print_table
from counterset.outputs import check_output
from counterset.release.exports import EXPORTS


def add(commands: Any) -> None:
    """The commands that read releases."""
    show = commands.add_parser("show", help="what a release holds")
    show.add_argument("release", help="folder, name, or URL of a release")
    show.set_defaults(run=_show)

    diff = commands.add_parser("diff", help="what changed between two releases")
    diff.add_argument("old", help="folder, name, or URL of the earlier release")
    diff.add_argument("new", help="folder, name, or URL of the later release")
    diff.add_argument("--output", type=Path, help="also write the rows that differ, as Parquet, into this folder")
    diff.set_defaults(run=_diff)

    export = commands.add_parser("export", help="write a release in another layout")
    export.add_argument("release", help="folder, name, or URL of a release")
    export.add_argument("layout", help=f"{', '.join(EXPORTS.own)}, or one that an installed package adds")
    export.add_argument("folder", type=Path, help="where to write; must be empty or new")
    add_places(export)
    export.add_argument(
        "--verdict",
        action="append",
        help="take classes with this verdict (default: the confirmed; for a harness all tested, as in evaluate)",
    )
    export.add_argument(
        "--candidates",
        type=Path,
        metavar="EVALUATION",
        help="for a harness: ask what this evaluation asked, e.g. one with --label-space top20 (default: all classes)",
    )
    export.set_defaults(run=_export)

    push = commands.add_parser("push", help="put a release onto the Hugging Face hub")
    push.add_argument("release", help="folder, name, or URL of a release")
    push.add_argument("where", help="hf://user/name; the release's version becomes its tag")
    push.add_argument("--private", action="store_true", help="make the data set private, where it is made")
    push.set_defaults(run=_push)

    calibrate = commands.add_parser("calibrate", help="choose annotate.min_margin for a wanted precision, from labels")
    calibrate.add_argument("release", help="built with annotate.min_margin = 0")
    calibrate.add_argument(
        "labels", help="workspace with blind labels, or CSV of a random sample: photo_id, background"
    )
    calibrate.add_argument("--precision", type=float, default=0.95, help="share of names to be right (default: 0.95)")
    calibrate.set_defaults(run=_calibrate)

    imported = commands.add_parser("import", help="make a release of the published CounterAnimal folders")
    imported.add_argument("folder", type=Path, help="holds <class>/common-<background>/*.jpg")
    imported.add_argument(
        "--releases", default="releases", help="folder or s3:// address of releases (default: ./releases)"
    )
    imported.set_defaults(run=_import)


def _show(args: argparse.Namespace) -> int:
    from counterset.load import load

    release = load(args.release)
    print(f"{repr(release).removeprefix('<Release ').removesuffix('>')}; the table counts those of every pair")
    print_table("pairs", pair_rows(release.pairs))
    print_small(release.pairs, release.groups, release.metadata["config"]["select"])
    return 0


def _diff(args: argparse.Namespace) -> int:
    from counterset.api import diff
    from counterset.release.versions.changelog import render_text

    if args.output:
        check_output(args.output)
    changes = diff(args.old, args.new)
    print(render_text(changes), end="")
    if args.output:
        changes.write(args.output)
    return 0


def _export(args: argparse.Namespace) -> int:
    from counterset.evaluation.photos import TESTED
    from counterset.load import load
    from counterset.release.exports import asks

    verdicts = args.verdict or (TESTED if asks(args.layout) else None)
    release = load(args.release, verdicts=verdicts, mirrors=args.mirror, accept_changed=args.accept_changed)
    candidates = None
    if args.candidates:
        from counterset.evaluation.record import read_candidates

        candidates = read_candidates(args.candidates, release)
    exported = release.export(args.layout, args.folder, candidates)
    print(f"{exported.num_photos} photos in {exported.path}; {len(exported.missing)} could not be exported")
    if exported.changed:
        print(f"{len(exported.changed)} have other bytes than the release names, and were taken for their pictures")
    for reason in list(exported.missing.values())[:1]:
        print(f"the first of these: {reason}")
    return 0


def _push(args: argparse.Namespace) -> int:
    from counterset.release.hub import push
    from counterset.release.versions.locate import find_release

    pushed = push(find_release(args.release, None, None), args.where, is_private=args.private)
    print(pushed.address if pushed.is_new else f"{pushed.address} was there already")
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    from counterset.load import load
    from counterset.review import log
    from counterset.stages.calibrate import audit_pairs, calibrate, labels_of_log, read_labels
    from counterset.workspace import Workspace

    release = load(args.release)
    photos = release.all_photos
    backgrounds = photos.select(["photo_id", "group", "background_margin"]).rename_columns(
        ["photo_id", "group", "margin"]
    )
    weights = None
    if args.labels.startswith("s3://") or Path(args.labels).is_dir():
        labels, weights = labels_of_log(log.last_words(log.read(Workspace(args.labels))))
    else:
        labels = read_labels(Path(args.labels))
    calibrated = calibrate(labels, backgrounds, precision=args.precision, weights=weights)
    print(
        f"annotate.min_margin = {calibrated.chosen.min_margin:.6g} keeps {calibrated.chosen.coverage:.1%} of "
        f"{calibrated.num_labelled} labelled photos at a precision of {calibrated.chosen.precision:.1%} "
        f"(at least {calibrated.chosen.precision_low:.1%}); least covered: {calibrated.least_covered}, "
        f"{calibrated.least_coverage:.1%}"
    )
    selector = next((row["name"] for row in release.metadata["models"] if row["role"] == "selector"), "")
    rows = audit_pairs(labels, photos, release.predictions, release.pairs, selector=selector)
    print_table(
        "mislabels that follow the selector's outcome: observed on the labelled photos, and needed to explain the drop",
        [
            {
                "class": row["class_id"] or "all",
                "labelled": str(row["num_labelled"]),
                "observed %": percent(row["found"]),
                "95 % interval": ""
                if row["found"] is None
                else f"{percent(row['found_low'])} to {percent(row['found_high'])}",
                "needed %": percent(row["breaking_share"]),
            }
            for row in rows
        ],
    )
    return 0


def _import(args: argparse.Namespace) -> int:
    from counterset.release.counteranimal import IMPORTED_VERDICTS, read_counteranimal
    from counterset.release.publish.writer import publish

    check_output(Path(args.releases))
    inputs = read_counteranimal(args.folder, releases=str(Path(args.releases).resolve()))
    print(publish(inputs, kind="imported", default_verdicts=IMPORTED_VERDICTS))
    return 0
