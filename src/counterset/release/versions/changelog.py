"""A difference between releases as Markdown and as a table for the terminal."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from typing import Any

from counterset.release.versions.diff import PATCH, ReleaseDiff

MAX_ROWS = 50
"""Rows of one list that are written out; the Parquet files hold all."""

_WORDS = {
    "added": "photos added",
    "removed": "photos removed",
    "edited": "photos edited",
    "moved": "photos moved between groups",
    "classes_added": "classes added",
    "classes_removed": "classes removed",
    "pairs_changed": "pairs changed",
    "drops_changed": "drops changed",
    "verdicts_flipped": "verdicts flipped",
    "predictions_added": "predictions added",
    "predictions_removed": "predictions removed",
    "predictions_changed": "predictions changed",
    "results_added": "rows of results added",
    "results_changed": "rows of results changed",
    "scores_changed": "scores changed",
    "rejects_changed": "rejects changed",
    "columns_added": "columns added",
    "columns_removed": "columns removed",
    "settings_changed": "settings changed",
}


NO_ROW = "- No row differs; the same rows were packaged anew."


def render_text(diff: ReleaseDiff) -> str:
    """The difference as aligned columns of plain text, for a terminal."""
    lines = [f"{diff.old} -> {diff.new}: {diff.level}"]
    lines += [f"  {count:>9,}  {_WORDS[name]}" for name, count in diff.counts.items() if count]
    if not _differ(diff):
        lines.append("  no row differs")
    for title, header, rows in _lists(diff):
        cells = [header, *rows[:MAX_ROWS]]
        widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
        lines += ["", title]
        lines += ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                  for row in cells]  # fmt: skip
        lines += [f"  ... and {len(rows) - MAX_ROWS} more"] * (len(rows) > MAX_ROWS)
    return "\n".join(_printable(line) for line in lines) + "\n"


def render_markdown(diff: ReleaseDiff) -> str:
    """The difference as Markdown, for CHANGELOG.md."""
    counts = [f"- {count:,} {_WORDS[name]}" for name, count in diff.counts.items() if count]
    lines = counts if _differ(diff) else [NO_ROW, *counts]
    for title, header, rows in _lists(diff):
        lines += ["", f"### {title}", "", _row(header), _row(["---"] * len(header))]
        lines += [_row(row) for row in rows[:MAX_ROWS]]
        lines += ["", f"... and {len(rows) - MAX_ROWS} more."] * (len(rows) > MAX_ROWS)
    return "\n".join(lines) + "\n"


def markdown_text(text: object) -> str:
    """Outside text made harmless in Markdown: no markup, no table cell, no line break."""
    escaped = html.escape(_printable(str(text))[:200], quote=False)
    return "".join("\\" + char if char in "\\`*_[]|#~" else char for char in escaped)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(markdown_text(cell) if cell != "---" else cell for cell in cells) + " |"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _differ(diff: ReleaseDiff) -> bool:
    """Whether any row does, not only what is said of how they were made."""
    return any(count for name, count in diff.counts.items() if name not in PATCH)


def _lists(diff: ReleaseDiff) -> list[tuple[str, list[str], list[list[str]]]]:
    lists: list[tuple[str, list[str], list[list[str]]]] = []
    reasons = Counter(
        reason for part in diff.photos["removed"].read(["reason"]) for reason in part["reason"].to_pylist()
    )
    lists.append(("Removed, by reason", ["reason", "photos"], _counted(reasons)))
    figures = {"drop", "figures"}
    pairs = [row for row in diff.pairs.to_pylist() if not figures.issuperset(row["change"].split(", "))]
    lists.append(
        (
            "Classes",
            ["class", "change", "before", "after"],
            [[row["class_id"], row["change"], _side(row, "old"), _side(row, "new")] for row in pairs],
        )
    )
    columns = [[f"{row['table']}.{row['column']}", _rows(row)] for row in diff.columns.to_pylist()]
    lists.append(("Changed, by column", ["column", "rows"], columns))
    settings = [[row["setting"], row["old"] or "-", row["new"] or "-"] for row in diff.settings.to_pylist()]
    lists.append(("Settings", ["setting", "before", "after"], settings))
    return [entry for entry in lists if entry[2]]


def _rows(row: dict[str, Any]) -> str:
    if row["num_rows"] is None:
        return "the column is new" if row["is_new"] else "the column is gone"
    return f"{row['num_rows']:,}"


def _counted(counts: Counter[str]) -> list[list[str]]:
    return [[name, f"{count:,}"] for name, count in sorted(counts.items())]


def _side(row: dict[str, Any], side: str) -> str:
    if row[f"{side}_verdict"] is None:
        return "-"
    if row[f"{side}_common"] is None:
        return str(row[f"{side}_verdict"])
    drop = row[f"{side}_drop"]
    figure = "" if drop is None else f", {drop * 100:+.1f} points"
    return f"{row[f'{side}_common']} / {row[f'{side}_counter']}, {row[f'{side}_verdict']}{figure}"
