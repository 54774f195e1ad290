"""The command line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from counterset.errors import UserError

EPILOG = """\
a first look, without network or account:
  counterset demo                        build a release of generated photos and show what was found

a build of your own:
  counterset validate my.toml            check the config before anything is downloaded
  counterset build my.toml               crawl, download, annotate, select, publish; run again to resume
  counterset show releases/mine/1.0.0    what a release holds

in Python:
  import counterset
  release = counterset.load("releases/mine/1.0.0")
  release.common, release.counter        Arrow tables of the two splits
"""


UNKNOWN_FREQUENCIES = (0.4, 0.25, 0.15, 0.1, 0.1)
"""Shares of a class's groups that a plan assumes when no earlier build tells them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 2 for a mistake the user can mend."""
    parser = _parser()
    args = parser.parse_args(argv)
    _log(args.verbose)
    try:
        return int(args.run(args))
    except UserError as error:
        print(f"counterset: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("counterset: stopped; run the same command again to resume", file=sys.stderr)
        return 130


def _log(is_verbose: bool) -> None:
    """Log to stderr: everything when asked, else what counterset warns of and the errors of others."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    if not is_verbose:
        # What Prefect logs of a failed run comes again as our own one sentence.
        handler.addFilter(
            lambda record: (
                not record.name.startswith("prefect")
                and record.levelno >= (logging.WARNING if record.name.startswith("counterset") else logging.ERROR)
            )
        )
    logging.basicConfig(level=logging.INFO if is_verbose else logging.WARNING, handlers=[handler])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="counterset",
        description="Build, test and load spurious-background benchmarks for image-text models.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is done")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    build = commands.add_parser("build", help="build a release from a config; run again to resume")
    build.add_argument("config", type=Path, help="a TOML file; see configs/ for examples")
    build.add_argument(
        "--refresh", action="store_true", help="look at the source again: add what is new, remove what is gone"
    )
    build.set_defaults(run=_build)

    demo = commands.add_parser("demo", help="build a release of a generated world; needs no network")
    demo.add_argument("--folder", type=Path, default=Path("demo"), help="where to work (default: ./demo)")
    demo.add_argument("--photos-per-class", type=int, default=None, help="fewer is faster, and finds less")
    demo.add_argument("--seed", type=int, default=0, help="of the world; another seed is another world")
    demo.set_defaults(run=_demo)

    validate = commands.add_parser("validate", help="check a config, its classes, models and folders")
    validate.add_argument("config", type=Path)
    validate.set_defaults(run=_validate)

    plan = commands.add_parser("plan", help="how many photos a config needs to confirm a drop, before any download")
    plan.add_argument("config", type=Path)
    plan.add_argument("--drop", type=float, default=0.2, help="the true drop to confirm, as a fraction (default: 0.2)")
    plan.add_argument("--learn-from", help="an earlier release: its group frequencies and observer correlation")
    plan.set_defaults(run=_plan)

    _add_release_commands(commands)

    classes = commands.add_parser("classes", help="draft a class list").add_subparsers(metavar="init", required=True)
    init = classes.add_parser("init", help="draft a class list from common names, by taxon search")
    init.add_argument("names", nargs="+", metavar="NAME", help='common names, e.g. "red fox"')
    init.add_argument("--contact", default="", help="your web page or e-mail, sent in the User-Agent")
    init.add_argument("--api-url", default="https://api.inaturalist.org/v1")
    init.add_argument("--output", type=Path, default=Path("classes.csv"))
    init.set_defaults(run=_classes_init)
    return parser


def _add_release_commands(commands: Any) -> None:
    show = commands.add_parser("show", help="what a release holds")
    show.add_argument("release", help="folder, name, or URL of a release")
    show.set_defaults(run=_show)

    diff = commands.add_parser("diff", help="what changed between two releases")
    diff.add_argument("old")
    diff.add_argument("new")
    diff.add_argument("--output", type=Path, help="also write the rows that differ, as Parquet, into this folder")
    diff.set_defaults(run=_diff)

    export = commands.add_parser("export", help="write a release in another layout")
    export.add_argument("release")
    export.add_argument("layout", choices=["imagefolder", "webdataset", "hub", "csv", "captions"])
    export.add_argument("folder", type=Path)
    export.add_argument("--mirror", action="append", default=[], help="where photos are asked for first")
    export.set_defaults(run=_export)

    calibrate = commands.add_parser("calibrate", help="the annotate.min_margin for a stated precision, from labels")
    calibrate.add_argument("release", help="built with annotate.min_margin = 0")
    calibrate.add_argument("labels", type=Path, help="CSV of a random sample: photo_id, background (several with |)")
    calibrate.add_argument("--precision", type=float, default=0.95)
    calibrate.set_defaults(run=_calibrate)

    imported = commands.add_parser("import", help="make a release of the published CounterAnimal folders")
    imported.add_argument("folder", type=Path, help="holds <class>/common-<background>/*.jpg")
    imported.add_argument("--releases", default="releases")
    imported.set_defaults(run=_import)


def _diff(args: argparse.Namespace) -> int:
    from counterset.load import load
    from counterset.release.changelog import render_text
    from counterset.release.diff import diff_releases

    diff = diff_releases(load(args.old), load(args.new))
    print(render_text(diff), end="")
    if args.output:
        diff.write(args.output)
    return 0


def _export(args: argparse.Namespace) -> int:
    from counterset.load import load
    from counterset.release import exports

    write = getattr(exports, f"export_{args.layout}")
    exported = write(load(args.release, mirrors=args.mirror), args.folder)
    print(f"{exported.num_photos} photos in {exported.path}; {len(exported.missing)} could not be had")
    return 0


def _import(args: argparse.Namespace) -> int:
    from counterset.release.counteranimal import IMPORTED_VERDICTS, read_counteranimal
    from counterset.stages.publish import publish

    inputs = read_counteranimal(args.folder, releases=str(Path(args.releases).resolve()))
    print(publish(inputs, kind="imported", default_verdicts=IMPORTED_VERDICTS))
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    from counterset.load import load
    from counterset.stages.calibrate import calibrate, read_labels

    photos = load(args.release).all_photos
    backgrounds = photos.select(["photo_id", "group", "background_margin"]).rename_columns(
        ["photo_id", "group", "margin"]
    )
    found = calibrate(read_labels(args.labels), backgrounds, precision=args.precision)
    print(
        f"annotate.min_margin = {found.chosen.min_margin:.6g} keeps {found.chosen.coverage:.1%} of "
        f"{found.num_labelled} labelled photos at a precision of {found.chosen.precision:.1%} "
        f"(at least {found.chosen.precision_low:.1%}); least covered: {found.least_covered}, {found.least_coverage:.1%}"
    )
    return 0


def _plan(args: argparse.Namespace) -> int:
    from counterset.classes import load_classes
    from counterset.config import load_config
    from counterset.load import load
    from counterset.statistics.plan import Assumptions, learn, plan_classes

    config = load_config(args.config)
    if not 0 < args.drop <= 1:
        raise UserError(f"--drop {args.drop} is no drop; give a fraction above 0 and up to 1, e.g. 0.2 for 20 points")
    class_ids = [spec.class_id for spec in load_classes(config.classes.list, config.classes.only)]
    if args.learn_from:
        release = load(args.learn_from)
        frequencies, assumptions = learn(release.groups, release.pairs, max_q_value=config.select.max_q_value)
        frequencies = {class_id: frequencies[class_id] for class_id in class_ids if class_id in frequencies}
    else:
        frequencies = {class_id: list(UNKNOWN_FREQUENCIES) for class_id in class_ids}
        assumptions = Assumptions(num_classes=len(class_ids), max_q_value=config.select.max_q_value)
    rows = [
        {
            "class": plan.class_id,
            "groups": str(plan.num_groups),
            "photos a group": str(plan.photos_per_group),
            "observers a group": str(plan.observers_per_group),
            "photos of the class": str(plan.class_photos),
            "this config confirms %": _percent(plan.detectable_drop),
        }
        for plan in plan_classes(
            frequencies, config.source.photos_per_class, args.drop, config.select.min_photos, assumptions
        )
    ]
    _print_table(f"needed for a drop of {100 * args.drop:g} points, and what the config reaches", rows)
    basis = args.learn_from or f"groups of {', '.join(f'{share:.0%}' for share in UNKNOWN_FREQUENCIES)} of each class"
    print(
        f"from {basis}; observer correlation {assumptions.observer_correlation:.2f}, "
        f"{assumptions.photos_per_observer:.1f} photos an observer and group, power {assumptions.power:.0%}"
    )
    return 0


def _classes_init(args: argparse.Namespace) -> int:
    from open_clip import IMAGENET_CLASSNAMES

    from counterset.classes import class_list_csv
    from counterset.config import SourceConfig
    from counterset.sources.drafts import draft_classes
    from counterset.tables import write_bytes

    config = SourceConfig(api_url=args.api_url, contact=args.contact)
    drafts = draft_classes(args.names, config, args.output.parent / ".counterset", IMAGENET_CLASSNAMES)
    for draft in drafts:
        print(f"{draft.spec.class_id}: {draft.note}")
    write_bytes(class_list_csv(draft.spec for draft in drafts).encode(), args.output)
    print(f"wrote {args.output}; look it over, then set classes.list to it")
    return 0


def _build(args: argparse.Namespace) -> int:
    from counterset.config import load_config

    config = load_config(args.config)
    result = _run_build(config, refresh=args.refresh)
    _summary(result)
    return 0


def _demo(args: argparse.Namespace) -> int:
    from counterset.demo.run import demo_config, demo_server, truth_rows, truth_summary

    with demo_server(args.photos_per_class, args.seed) as server:
        result = _run_build(demo_config(args.folder.resolve(), server.url, args.photos_per_class, args.seed))
    _closing(result)
    rows = truth_rows(result.pairs.path)
    _print_table("pairs found beside the true drops of this world, in points", [_truth_row(row) for row in rows])
    print(truth_summary(rows))
    print(f"\nrelease  {result.release}\nreport   {result.release / 'report.html'}")
    return 0


def _truth_row(row: dict[str, Any]) -> dict[str, str]:
    return {
        "class": row["class_id"],
        "verdict": row["verdict"],
        "pair found": f"{row['common']} > {row['counter']}" if row["common"] else "",
        "drop %": _percent(row["drop"]),
        "95 % interval": _interval(row),
        "true drop %": _percent(row["true_drop"]),
        "holds it": {None: "", True: "yes", False: "no"}[row["is_covered"]],
        "largest %": _percent(row["largest_drop"]),
        "largest pair": row["largest_pair"],
    }


def _validate(args: argparse.Namespace) -> int:
    from counterset.config import load_config

    config = load_config(args.config)
    from counterset_flows.context import Build

    build = Build(config)
    build.workspace.prepare()
    build.check_models()
    print(
        f"{args.config} is valid: {len(build.specs)} classes, {len(build.vocabulary)} backgrounds, "
        f"{len(build.space.labels)} labels, models {', '.join(build.model_names)}"
    )
    return 0


def _show(args: argparse.Namespace) -> int:
    from counterset.load import load

    release = load(args.release)
    counts = f"{release.common.num_rows} common and {release.counter.num_rows} counter photos"
    print(f"{release.name} {release.version}: {counts} of confirmed classes")
    _print_table("pairs", _pair_rows(release.pairs))
    return 0


def _run_build(config: Any, refresh: bool = False) -> Any:
    import os

    # Prefect's own console lines would tear the bars; its record of the run is kept all the same.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    from counterset_flows import progress
    from counterset_flows.build import build
    from counterset_flows.orphans import leave_none
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    leave_none()
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        progress.use(progress.BarProgress(bars))
        return build(config, refresh=refresh)


def _summary(result: Any) -> None:
    from counterset.schemas import PAIRS
    from counterset.tables import read_table

    _print_table("pairs", _pair_rows(read_table(result.pairs.path, PAIRS)))
    _closing(result)
    print(f"\nrelease  {result.release}\nreport   {result.release / 'report.html'}")


def _closing(result: Any) -> None:
    done = sum(stage["done"] for stage in result.stages.values())
    if not done and not result.is_new:
        print("nothing to do: every stage was finished, and this release was published before")


def _pair_rows(pairs: Any) -> list[dict[str, str]]:
    return [
        {
            "class": row["class_id"],
            "verdict": row["verdict"],
            "common": row["common"] or "",
            "counter": row["counter"] or "",
            "drop %": _percent(row["drop"]),
            "95 % interval": _interval(row),
            "q": "" if row["q_value"] is None else f"{row['q_value']:.4f}",
            "photos": f"{row['num_common']} / {row['num_counter']}",
        }
        for row in pairs.to_pylist()
    ]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _interval(row: dict[str, Any]) -> str:
    return "" if row["drop"] is None else f"{_percent(row['drop_low'])} to {_percent(row['drop_high'])}"


def _print_table(title: str, rows: list[dict[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in rows[0] if rows else ():
        table.add_column(name, justify="right" if name.endswith("%") or name == "q" else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row.values())
    console = Console()
    # Piped into a file there is no width to fit; a terminal's is the user's.
    (console if console.is_terminal else Console(width=160)).print(table)


if __name__ == "__main__":
    sys.exit(main())
