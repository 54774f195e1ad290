"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WIDEST = 10_000
"""Characters of a line where no terminal's width decides."""


def pair_rows(pairs: Any) -> list[dict[str, str]]:
    """What is shown of a pairs table, one row per class."""
    return [
        {
            "class": row["class_id"],
            "verdict": row["verdict"],
            "names": (row.get("naming") or "unaudited") if row["common"] else "",
            "common": row["common"] or "",
            "counter": row["counter"] or "",
            "drop %": percent(row["drop"]),
            "95 % interval": interval(row),
            "q": probability(row["q_value"]),
            "photos": f"{row['num_common']} / {row['num_counter']}" if row["common"] else "",
        }
        for row in pairs.to_pylist()
    ]


def print_small(pairs: Any, groups: Any, settings: Mapping[str, Any]) -> None:
    """Why classes have no pair, what their groups hold, and the nearest remedy; nothing where all have one."""
    from counterset.release.small_classes import small_classes

    small = small_classes(pairs, groups, settings)
    if small:
        print(f"too small for a pair ({len(small)}):")
    for one in small:
        print(f"  {one.class_id}: {one.reason}\n    photos: {one.counts}\n    remedy: {one.remedy}")


def percent(value: float | None) -> str:
    """A fraction in points."""
    return "" if value is None else f"{100 * value:z.1f}"


def probability(value: float | None) -> str:
    """A p-value or q-value; it is never shown as zero, for none is."""
    return "" if value is None else "<0.0001" if value < 0.0001 else f"{value:.4f}"


def interval(row: dict[str, Any], name: str = "drop") -> str:
    """The 95 % interval of a row's column in points; "" where it has none."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if low is None else f"{percent(low)} to {percent(high)}"


def print_table(title: str, rows: list[dict[str, str]]) -> None:
    """Print rows under their keys; columns named "... %", "... points" or "q" are numbers.

    On a terminal that is too narrow for the table, each row is a block of lines instead, so that no word is cut.
    """
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for name in rows[0] if rows else ():
        is_number = name.endswith(("%", "points")) or name == "q"
        table.add_column(name, justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row.values()))
    console = Console()
    width = Measurement.get(console, console.options.update(max_width=WIDEST), table).maximum
    if not console.is_terminal:
        console = Console(width=max(width, len(title), 80))
    if width <= console.width:
        console.print(table)
        return
    print(title)
    for row in rows:
        print()
        for name, value in row.items():
            if value:
                print(f"  {name}: {value}")
