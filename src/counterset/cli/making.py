"""Commands that make releases: build, demo, validate, plan, classes init."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from counterset.api import prepare_build
from counterset.cli.flows import import_models, run_flow
from counterset.cli.printing import interval, pair_rows, percent, print_table
from counterset.demo.world import WORLDS
from counterset.errors import UserError
from counterset.outputs import check_output

UNKNOWN_FREQUENCIES = (0.4, 0.25, 0.15, 0.1, 0.1)
"""Shares of a class's groups that a plan assumes when no earlier build tells them."""


def add(commands: Any) -> None:
    """The commands that make releases."""
    build = commands.add_parser("build", help="build a release from a config; run again to resume")
    build.add_argument("config", type=Path, help="a TOML file; see configs/ for examples")
    build.add_argument(
        "--refresh", action="store_true", help="look at the source again: add what is new, remove what is gone"
    )
    build.set_defaults(run=_build)

    demo = commands.add_parser("demo", help="build a release of a generated world; needs no network")
    demo.add_argument("--folder", type=Path, default=Path("demo"), help="where to work (default: ./demo)")
    size = demo.add_mutually_exclusive_group()
    size.add_argument("--photos-per-class", type=int, default=None, help="fewer is faster, and finds less")
    size.add_argument("--quick", action="store_true", help="a first look: fewer photos, smaller groups, no evaluators")
    demo.add_argument("--seed", type=int, default=0, help="of the world; another seed is another world")
    demo.add_argument(
        "--world",
        choices=WORLDS,
        default="showcase",
        help="showcase (the default); hard = backgrounds are hard to name; hostile = texts that try to break pages",
    )
    demo.set_defaults(run=_demo)

    validate = commands.add_parser("validate", help="check a config, its classes, models and folders")
    validate.add_argument("config", type=Path, help="a TOML file")
    validate.set_defaults(run=_validate)

    plan = commands.add_parser("plan", help="how many photos a config needs to confirm a drop, before any download")
    plan.add_argument("config", type=Path, help="a TOML file")
    plan.add_argument("--drop", type=float, default=0.2, help="the true drop to confirm, as a fraction (default: 0.2)")
    plan.add_argument("--learn-from", help="an earlier release: its group frequencies and observer correlation")
    plan.set_defaults(run=_plan)

    classes = commands.add_parser("classes", help="draft a class list").add_subparsers(metavar="init", required=True)
    init = classes.add_parser("init", help="draft a class list from common names, by taxon search")
    init.add_argument("names", nargs="+", metavar="NAME", help='common names, e.g. "red fox"')
    init.add_argument("--contact", default="", help="your web page or e-mail, sent in the User-Agent")
    init.add_argument(
        "--api-url", default="https://api.inaturalist.org/v1", help="the API that is asked (default: iNaturalist's)"
    )
    init.add_argument("--output", type=Path, default=Path("classes.csv"), help="default: ./classes.csv")
    init.set_defaults(run=_classes_init)


def _build(args: argparse.Namespace) -> int:
    result = _run_build(args.config, args, refresh=args.refresh)
    _summary(result)
    return 0


def _demo(args: argparse.Namespace) -> int:
    from counterset.demo.start import QUICK_GIVES_UP, Demo
    from counterset.demo.truth_report import truth_rows, truth_summary

    demo, folder = Demo(args.photos_per_class, args.seed, args.world, args.quick), args.folder.resolve()
    with demo.server(folder) as server:
        result = _run_build(demo.config(folder, server.url), args)
    if args.world == "hard":  # the true accuracies are those of photos as people take them
        _summary(result)
        return 0
    _closing(result)
    rows = truth_rows(result.pairs.path)
    print_table("pairs found beside the true drops of this world, in points", [_truth_row(row) for row in rows])
    print(truth_summary(rows))
    if args.quick:
        print(QUICK_GIVES_UP)
    print(f"\nrelease  {result.release}\nreport   {result.release / 'report.html'}")
    return 0


def _truth_row(row: dict[str, Any]) -> dict[str, str]:
    return {
        "class": row["class_id"],
        "verdict": row["verdict"],
        "pair found": f"{row['common']} > {row['counter']}" if row["common"] else "",
        "drop %": percent(row["drop"]),
        "95 % interval": interval(row),
        "true drop %": percent(row["true_drop"]),
        "holds it": {None: "", True: "yes", False: "no"}[row["is_covered"]],
        "largest %": percent(row["largest_drop"]),
        "largest pair": row["largest_pair"],
    }


def _validate(args: argparse.Namespace) -> int:
    from counterset.config import load_config

    config = load_config(args.config)
    import_models()
    from counterset.steps.keys import Build

    build = Build(config)
    build.workspace.prepare()
    build.check_models()
    print(
        f"{args.config} is valid: {len(build.specs)} classes, {len(build.vocabulary)} backgrounds, "
        f"{len(build.space.labels)} labels, models {', '.join(build.model_names)}"
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
    num_selectors = len(config.models.selectors)
    if args.learn_from:
        release = load(args.learn_from)
        known = learn(release.groups, release.pairs, max_q_value=config.select.max_q_value, num_selectors=num_selectors)
        frequencies, assumptions = known
        frequencies = {class_id: frequencies[class_id] for class_id in class_ids if class_id in frequencies}
    else:
        frequencies = {class_id: list(UNKNOWN_FREQUENCIES) for class_id in class_ids}
        assumptions = Assumptions(
            num_classes=len(class_ids), max_q_value=config.select.max_q_value, num_selectors=num_selectors
        )
    rows = [
        {
            "class": plan.class_id,
            "groups": str(plan.num_groups),
            "photos per group": str(plan.photos_per_group),
            "observers per group": str(plan.observers_per_group),
            "photos of the class": str(plan.class_photos),
            "this config confirms %": percent(plan.detectable_drop),
        }
        for plan in plan_classes(
            frequencies, config.source.photos_per_class, args.drop, config.select.min_photos, assumptions
        )
    ]
    print_table(f"needed for a drop of {100 * args.drop:g} points, and what the config reaches", rows)
    basis = args.learn_from or f"groups of {', '.join(f'{share:.0%}' for share in UNKNOWN_FREQUENCIES)} of each class"
    print(
        f"from {basis}; observer correlation {assumptions.observer_correlation:.2f}, "
        f"{assumptions.photos_per_observer:.1f} photos per observer and group, "
        f"number of selectors {num_selectors}, power {assumptions.power:.0%}"
    )
    return 0


def _classes_init(args: argparse.Namespace) -> int:
    from open_clip import IMAGENET_CLASSNAMES
    from pydantic import ValidationError

    from counterset.classes import class_list_csv
    from counterset.sources.inaturalist.drafts import draft_classes
    from counterset.sources.inaturalist.settings import INaturalistConfig
    from counterset.tables import write_bytes

    check_output(args.output.parent)
    try:
        config = INaturalistConfig(api_url=args.api_url, contact=args.contact)
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--{str(first['loc'][0]).replace('_', '-')}"
        raise UserError(f"{option} {first['input']!r}: {first['msg'].removeprefix('Value error, ')}") from None
    drafts = draft_classes(args.names, config, args.output.parent / ".counterset", IMAGENET_CLASSNAMES)
    for draft in drafts:
        print(f"{draft.spec.class_id}: {draft.note}")
    write_bytes(class_list_csv(draft.spec for draft in drafts).encode(), args.output)
    print(f"wrote {args.output}; check it, then set classes.list to it")
    return 0


def _run_build(config: Any, args: argparse.Namespace, refresh: bool = False) -> Any:
    return run_flow(prepare_build(config, refresh=refresh), args.log_json)


def _summary(result: Any) -> None:
    from counterset.schemas import PAIRS
    from counterset.tables import read_table

    print_table("pairs", pair_rows(read_table(result.pairs.path, PAIRS)))
    _closing(result)
    print(f"\nrelease  {result.release}\nreport   {result.release / 'report.html'}")


def _closing(result: Any) -> None:
    done = sum(stage["done"] for stage in result.stages.values())
    if not done and not result.is_new:
        print("nothing to do: every stage was finished, and this release was published before")
