"""Commands on blind labels: which photos are to be labelled, and labels that were made elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from counterset.cli.printing import percent, print_table
from counterset.outputs import check_output

SAMPLE_HELP = """\
photos to be labelled without seeing their name, to be labelled elsewhere (`counterset review WORKSPACE --audit` does
the same on a page):
  counterset labels sample work/mine to-label.csv
"""
IMPORT_HELP = """\
labels that were made elsewhere, into the workspace's log of decisions; the next build uses them:
  counterset labels import work/mine labels.csv --mode audit --reviewer anna
A CSV file has the columns photo_id and background (several names with |, none = no background can be named, ? =
unsure), and may have class_id, reviewer and probability. JSON is Label Studio's (photo_id in
each task's data) or FiftyOne's.
"""


def add(commands: Any) -> None:
    """The commands on labels."""
    labels = commands.add_parser("labels", help="label backgrounds blindly, elsewhere").add_subparsers(
        metavar="COMMAND", required=True
    )
    shape = argparse.RawDescriptionHelpFormatter
    sample = labels.add_parser(
        "sample", help="write the photos to be labelled as CSV", description=SAMPLE_HELP, formatter_class=shape
    )
    sample.add_argument("workspace", help="folder or s3:// address, as in the config's `workspace`")
    sample.add_argument("output", type=Path, help="the CSV file to write")
    sample.add_argument(
        "--half-width",
        type=float,
        default=0.1,
        help="half-width of the interval of each name's precision (default: 0.1)",
    )
    sample.add_argument("--seed", type=int, default=0, help="seed of the random sample (default: 0)")
    sample.set_defaults(run=_sample)
    read = labels.add_parser(
        "import", help="read labels that were made elsewhere", description=IMPORT_HELP, formatter_class=shape
    )
    read.add_argument("workspace", help="folder or s3:// address, as in the config's `workspace`")
    read.add_argument("file", type=Path, help="CSV, or the JSON of Label Studio or FiftyOne")
    read.add_argument(
        "--mode",
        choices=("audit", "review"),
        required=True,
        help="audit = made without the group's name in view, so that they measure it; review = with it",
    )
    read.add_argument("--reviewer", default="", help="pseudonym of who made labels of which the file does not say it")
    read.set_defaults(run=_import)
    agreement = labels.add_parser("agreement", help="how far reviewers of the same photos agree")
    agreement.add_argument("workspace", help="folder or s3:// address, as in the config's `workspace`")
    agreement.set_defaults(run=_agreement)


def photos_per_group(half_width: float) -> int:
    """How many photos of each group an audit's sample holds for this half width of names' intervals.

    Raises:
        UserError: it is out of range.
    """
    from counterset.errors import UserError
    from counterset.statistics.naming import photos_to_label

    if not 0.01 <= half_width <= 0.5:
        raise UserError(f"--half-width {half_width} is out of range; give 0.01 to 0.5, e.g. 0.1 for ten points")
    return photos_to_label(half_width)


def _sample(args: argparse.Namespace) -> int:
    import csv
    import io

    from counterset.steps.label_steps import audit_sample
    from counterset.tables import write_bytes
    from counterset.workspace import Workspace

    check_output(args.output.parent)
    sample = audit_sample(Workspace(args.workspace), photos_per_group=photos_per_group(args.half_width), seed=args.seed)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["photo_id", "class_id", "background"])
    writer.writerows([row["photo_id"], row["class_id"], ""] for row in sample.to_pylist())
    write_bytes(text.getvalue().encode(), args.output)
    print(f"{sample.num_rows} photos to label in {args.output}; then: counterset labels import, --mode audit")
    return 0


def _import(args: argparse.Namespace) -> int:
    from counterset.review.labels import read_label_file
    from counterset.steps.label_steps import import_labels
    from counterset.workspace import Workspace

    workspace = Workspace(args.workspace)
    workspace.prepare()
    done = import_labels(workspace, read_label_file(args.file), mode=args.mode, reviewer=args.reviewer)
    said = f"{done.num_labels} labels imported"
    said += f", {done.num_known} had been before" if done.num_known else ""
    said += f", {done.num_unsure} photos left out, of which the file says nothing" if done.num_unsure else ""
    print(said)
    if done.num_unsampled:
        print(
            f"{done.num_unsampled} of them are of photos that no audit sample asked for, so they do not count for the "
            "pairs' naming; `counterset labels sample` draws one"
        )
    if done.unknown_names:
        names = ", ".join(f"{name} ({count})" for name, count in list(done.unknown_names.items())[:10])
        print(f"no group has the name {names}: look for slips of the pen")
    return 0


def _agreement(args: argparse.Namespace) -> int:
    from counterset.review import log
    from counterset.statistics.reviewers import agreements
    from counterset.workspace import Workspace

    words = log.last_words(log.read(Workspace(args.workspace)))
    rows = [
        {
            "labels": row.mode,
            "photos": str(row.num_photos),
            "reviewers": str(row.num_reviewers),
            "the same %": percent(row.same),
            "Cohen's kappa": _number(row.cohen),
            "Fleiss' kappa": _number(row.fleiss),
            "Krippendorff's alpha": _number(row.alpha),
        }
        for row in agreements(words)
    ]
    print_table("agreement of reviewers on photos that two or more of them saw", rows)
    return 0


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
