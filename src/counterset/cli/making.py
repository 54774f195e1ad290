"""Commands that make releases: build, demo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterset.api import prepare_build
from counterset.cli.flows import run_flow
from counterset.cli.printing import interval, pair_rows, percent, print_small, print_table
from counterset.demo.world import WORLDS

if TYPE_CHECKING:
    from counterset.config import Config


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
    size.add_argument(
        "--photos-per-class", type=int, default=None, help="fewer photos are faster, and confirm fewer classes"
    )
    size.add_argument("--quick", action="store_true", help="a first look: fewer photos, smaller groups, no evaluators")
    demo.add_argument("--seed", type=int, default=0, help="seed of the world (default: 0)")
    demo.add_argument(
        "--world",
        choices=WORLDS,
        default="showcase",
        help="showcase (the default); hard = backgrounds are hard to name; hostile = texts that try to break pages; "
        "causes = away from home animals are photographed from farther away",
    )
    demo.set_defaults(run=_demo)


def _build(args: argparse.Namespace) -> int:
    from counterset.config import load_config

    config = load_config(args.config)
    _summary(_run_build(config, args, refresh=args.refresh), config)
    return 0


def _demo(args: argparse.Namespace) -> int:
    from counterset.causes.schemas import CONTROLLED
    from counterset.demo.start import QUICK_GIVES_UP, Demo
    from counterset.demo.truth_report import remaining_rows, remaining_summary, truth_rows, truth_summary
    from counterset.steps.label_steps import import_truth
    from counterset.tables import read_table

    demo, folder = Demo(args.photos_per_class, args.seed, args.world, args.quick), args.folder.resolve()
    with demo.server(folder) as server:
        if args.world == "causes":
            demo.write_boxes(folder)
        config = demo.config(folder, server.url)
        import_truth(config.workspace, demo.write_labels(folder))
        result = _run_build(config, args)
    if args.world == "hard":  # the true accuracies are those of photos as people take them
        _summary(result, config)
        return 0
    _closing(result)
    rows = truth_rows(result.pairs.path)
    print_table("pairs found beside the true drops of this world, in points", [_truth_row(row) for row in rows])
    print(truth_summary(rows))
    if args.world == "causes":
        controlled = read_table(result.release / "controlled.parquet", CONTROLLED)
        left = remaining_rows(rows, controlled.to_pylist())
        print_table("what remains of them once covariates are out, in points", [_remaining_row(row) for row in left])
        print(remaining_summary(left))
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


def _remaining_row(row: dict[str, Any]) -> dict[str, str]:
    return {
        "class": row["class_id"],
        "drop %": percent(row["drop"]),
        "remains %": percent(row["drop_controlled"]),
        "95 % interval": interval(row, "drop_controlled"),
        "true drop %": percent(row["true_drop"]),
        "holds it": {None: "", True: "yes", False: "no"}[row["is_covered"]],
    }


def _run_build(config: Any, args: argparse.Namespace, refresh: bool = False) -> Any:
    return run_flow(prepare_build(config, refresh=refresh), args.log_json)


def _summary(result: Any, config: Config) -> None:
    from counterset.schemas import GROUP_ACCURACY, PAIRS
    from counterset.tables import read_table

    pairs = read_table(result.pairs.path, PAIRS)
    print_table("pairs", pair_rows(pairs))
    print_small(pairs, read_table(result.groups.path, GROUP_ACCURACY), config.select.model_dump())
    _closing(result)
    print(f"\nrelease  {result.release}\nreport   {result.release / 'report.html'}")


def _closing(result: Any) -> None:
    done = sum(stage["done"] for stage in result.stages.values())
    if not done and not result.is_new:
        print("nothing to do: every stage was finished, and this release was published before")
