"""The command that gives verdicts on any grouped table."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from counterset.cli.printing import interval, percent, print_table, probability
from counterset.errors import UserError
from counterset.outputs import check_output
from counterset.verdicts.layouts import LAYOUTS, ROLES


def add(commands: Any) -> None:
    """The command `verdict`."""
    verdict = commands.add_parser("verdict", help="honest verdicts on any table of class, group, and right or wrong")
    verdict.add_argument("table", type=Path, help="Parquet or CSV, one row per answer")
    verdict.add_argument("--layout", choices=[*LAYOUTS], default="generic", help="whose table it is (default: generic)")
    verdict.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="ROLE=NAME",
        help=f"which column says what, where it is called otherwise: {', '.join(ROLES)}",
    )
    verdict.add_argument("--where", metavar="COLUMN=VALUE", help="take only these rows, e.g. split=2")
    verdict.add_argument(
        "--predictions", type=Path, help="columns id and prediction; or CSV without a header, in the table's order"
    )
    verdict.add_argument(
        "--slices", type=Path, help="columns slice and id: slices proposed on discover, to be tested on confirm"
    )
    verdict.add_argument("--output", type=Path, help="write all tables, as Parquet, into this folder")
    verdict.add_argument("--min-rows", type=int, default=10, help="that a group needs on each half (default: 10)")
    verdict.add_argument("--min-units", type=int, default=3, help="that a group needs on each half (default: 3)")
    verdict.set_defaults(run=_verdict)


def _verdict(args: argparse.Namespace) -> int:
    from counterset.schemas import GROUP_ACCURACY, PAIRS
    from counterset.tables import write_table
    from counterset.verdicts.schemas import GROUPED, LEFT_OUT, SLICES
    from counterset.verdicts.verdict import verdict

    if args.output:
        check_output(args.output)
    found = verdict(
        args.table,
        layout=args.layout,
        columns=dict(_two(asked, "--column", "ROLE=NAME") for asked in args.column),
        where=_two(args.where, "--where", "COLUMN=VALUE") if args.where else None,
        predictions=args.predictions,
        slices=args.slices,
        min_rows=args.min_rows,
        min_units=args.min_units,
    )
    print(f"{len(found.rows):,} rows count")
    for reason, number in sorted(Counter(found.left_out["reason"].to_pylist()).items()):
        print(f"{number:,} left out: {reason.replace('_', ' ')}")
    print_table("pairs", [_pair(row) for row in found.pairs.to_pylist()])
    if len(found.slices):
        print_table("slices, on the confirm half", [_slice(row) for row in found.slices.to_pylist()])
    if args.output:
        tables = {
            GROUPED: found.rows,
            LEFT_OUT: found.left_out,
            PAIRS: found.pairs,
            SLICES: found.slices,
            GROUP_ACCURACY: found.group_accuracy,
        }
        for schema, table in tables.items():
            write_table(table, schema, args.output / f"{schema.name}.parquet")
        print(f"tables in {args.output}")
    return 0


def _two(text: str, option: str, form: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise UserError(f"{option} {text!r} does not say {form}")
    return name, value


def _pair(row: dict[str, Any]) -> dict[str, str]:
    return {
        "class": row["class_id"],
        "verdict": row["verdict"],
        "common": row["common"] or "",
        "counter": row["counter"] or "",
        "drop %": percent(row["drop"]),
        "95 % interval": interval(row),
        "q": probability(row["q_value"]),
        "breaks at %": percent(row["breaking_share"]),
        "rows": f"{row['num_common']} / {row['num_counter']}" if row["common"] else "",
        "why not": row["reason"] or "",
    }


def _slice(row: dict[str, Any]) -> dict[str, str]:
    return {
        "slice": row["slice"],
        "verdict": row["verdict"],
        "drop %": percent(row["drop"]),
        "95 % interval": interval(row),
        "adjusted p": probability(row["p_value"]),
        "rows": str(row["num_rows"]),
        "why not": row["reason"] or "",
    }
