"""Tables on the terminal."""

from __future__ import annotations

from typing import Any


def pair_rows(pairs: Any) -> list[dict[str, str]]:
    """What is shown of a pairs table, one row per class."""
    return [
        {
            "class": row["class_id"],
            "verdict": row["verdict"],
            "common": row["common"] or "",
            "counter": row["counter"] or "",
            "drop %": percent(row["drop"]),
            "95 % interval": interval(row),
            "q": "" if row["q_value"] is None else f"{row['q_value']:.4f}",
            "photos": f"{row['num_common']} / {row['num_counter']}",
        }
        for row in pairs.to_pylist()
    ]


def percent(value: float | None) -> str:
    """A fraction in points."""
    return "" if value is None else f"{100 * value:.1f}"


def interval(row: dict[str, Any]) -> str:
    """A pair's 95 % interval in points."""
    return "" if row["drop"] is None else f"{percent(row['drop_low'])} to {percent(row['drop_high'])}"


def print_table(title: str, rows: list[dict[str, str]]) -> None:
    """Print rows under their keys; columns named "... %" or "q" are numbers."""
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
