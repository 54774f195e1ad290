"""The command that draws balanced captions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """The command `balance`."""
    balance = commands.add_parser(
        "balance",
        help="draw captions evenly over the entries that they name, as MetaCLIP does",
        description="An entry that count captions name has the probability t / max(count, t); a caption is kept if the "
        "draw of one of its entries succeeds. Draws are hashes, so the order of files and rows changes nothing.",
    )
    balance.add_argument(
        "captions", type=Path, nargs="+", help="Parquet, CSV, TSV or JSON lines with a column caption, title or text"
    )
    balance.add_argument("--entries", type=Path, required=True, help="one per line, or a JSON list of texts")
    balance.add_argument("--output", type=Path, required=True, help="a new folder for the rows kept")
    balance.add_argument(
        "--t", type=int, default=20_000, help="captions that an entry may have before it is thinned (default: 20000)"
    )
    balance.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    balance.add_argument("--id", metavar="COLUMN", help="what names a caption (default: its url, or itself)")
    balance.set_defaults(run=_balance)


def _balance(args: argparse.Namespace) -> int:
    from counterset.sources.balanced_lists import balance_lists

    found = balance_lists(args.captions, args.entries, args.output, t=args.t, seed=args.seed, id_column=args.id)
    print(f"{found.num_kept:,} rows kept; {found.expected:,.1f} on average over all seeds")
    for reason, number in found.num_not_kept.items():
        if number:
            print(f"{number:,} not kept: {reason.value.replace('_', ' ')}")
    print(f"{found.num_entries:,} entries, of which more than {args.t:,} rows name {found.num_thinned:,}")
    print(f"rows kept in {args.output}")
    return 0
