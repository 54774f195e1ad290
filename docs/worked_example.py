"""Write the worked example that opens docs/method.md from the packaged demo release, so that its numbers stay true.

python docs/worked_example.py
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import counterset

PAGE = Path(__file__).resolve().parent / "method.md"
CLASS_ID = "ice_bear"
BEGIN = "<!-- written by docs/worked_example.py: change it there -->\n"
END = "<!-- end of what docs/worked_example.py writes -->\n"

TEMPLATE = """\
## One class, from photos to verdict

The {name} of the packaged demo release, step by step. All numbers are in the tables of
`counterset.load("counterset-demo")`, version {version}.

1. **Photos.** {num_photos} photos of the class were kept. All photos of a photographer (observer) are in one of two
halves, drawn before any photo was looked at: `discover`, on which the pair is chosen, and `confirm`, which has no part
in the choice.

2. **Groups.** The annotator names the background of each photo; {num_unclear} are unclear and abstain. The selector,
another model, is asked for the class of each photo. The table has the share of each group for which it is right. A
group takes part that has {min_photos} photos and {least} {units} on each half.

TABLE

3. **Choice.** On `discover` the selector does best on {common} and worst on {counter}: these become the common and the
counter group. Their drop there, {drop_discover} points, is no estimate: a gap that was picked for its size is too large
by luck.

4. **Test.** Suppose that backgrounds did not matter. Then each observer's results could have come from any group. They
are dealt out anew {num_permutations:,} times, the pair is chosen again each time, and a gap as large as the real one is
rare: p = {p_value:.5f}. Looking at {num_classes} classes makes luck more likely; the q-value, which pays for that, is
{q_value:.5f}.

5. **Drop.** On `confirm` the drop is {drop_confirm} points. Other splits of the same observers would have chosen the
same pair; averaged over them the drop is **{drop} points**, with a 95 % interval from {drop_low} to {drop_high}.

6. **Verdict.** q is at most {level:.3f} and the interval lies above zero, so the pair is **{verdict}**. Two figures
say how far to trust it. A drop smaller than {detectable_drop} points would probably have been missed
(`detectable_drop`). And if {breaking_share} % of the photos that the selector gets wrong were named {counter} whatever
they show (or of those that it gets right, {common}), that alone could explain the drop (`breaking_share`).

For comparison, the {near_name}: {near_common} to {near_counter}, a drop of {near_drop} points, q = {near_q_value:.3f},
interval from {near_drop_low} to {near_drop_high}. Its verdict is {near_verdict}{why}.
"""

HEAD = (
    "| group | right on discover (photos, {units}) | right on confirm (photos, {units}) | takes part |",
    "|---|---|---|---|",
)


def section() -> str:
    """The example, in Markdown."""
    release = counterset.load("counterset-demo")
    pairs = {row["class_id"]: row for row in release.pairs.to_pylist()}
    tested = [row for row in pairs.values() if row["verdict"] == "unconfirmed" and row["q_value"] is not None]
    pair, near = pairs[CLASS_ID], min(tested, key=lambda row: float(row["q_value"]))
    select = release.metadata["config"]["select"]
    units = "units" if "min_units" in select else "observers"  # as older releases have it
    photos = [row for row in release.all_photos.to_pylist() if row["class_id"] == CLASS_ID]
    text = TEMPLATE.format(
        **select,
        **in_points(pair) | {"level": pair.get("level") or select["max_q_value"]},
        units=units,
        least=select[f"min_{units}"],
        **{f"near_{key}": value for key, value in in_points(near).items()},
        name=release.class_names[CLASS_ID],
        near_name=release.class_names[near["class_id"]],
        version=release.version,
        num_photos=len(photos),
        num_unclear=sum(row["group"] is None for row in photos),
        num_classes=len(pairs),
        why=", because the interval reaches below zero" if near["drop_low"] <= 0 else "",
    )
    head = [line.format(units=units) for line in HEAD]
    table = "\n".join(f"    {line}" for line in (*head, *rows(release, select, units)))
    return "\n\n".join(filled(part) for part in text.strip().split("\n\n")).replace("TABLE", table) + "\n"


def in_points(pair: dict[str, Any]) -> dict[str, Any]:
    """A pair's row for the template: drops in points, the breaking share in per cent."""
    drops = {key: f"{100 * value:.1f}" for key, value in pair.items() if "drop" in key and value is not None}
    return pair | drops | {"breaking_share": f"{100 * (pair['breaking_share'] or 0):.0f}"}


def rows(release: counterset.Release, select: dict[str, Any], units: str) -> list[str]:
    """One row per group, those of most photos first."""
    selector = next(model["name"] for model in release.metadata["models"] if model["role"] == "selector")
    groups = {
        (row["group"], row["half"]): row
        for row in release.groups.to_pylist()
        if row["class_id"] == CLASS_ID and row["model"] == selector
    }
    table = []
    for name in sorted({name for name, _ in groups}, key=lambda name: (-groups[name, "all"]["num_photos"], name)):
        halves = [groups[name, half] for half in ("discover", "confirm")]
        takes_part = all(
            half["num_photos"] >= select["min_photos"] and half[f"num_{units}"] >= select[f"min_{units}"]
            for half in halves
        )
        cells = [f"{100 * half['accuracy']:.1f} % ({half['num_photos']}, {half[f'num_{units}']})" for half in halves]
        table.append(f"| {name} | {' | '.join(cells)} | {'yes' if takes_part else 'no'} |")
    return table


def filled(part: str) -> str:
    """A paragraph, or an item of a list, in lines of the page's width."""
    indent = "   " if part[0].isdigit() else ""
    return textwrap.fill(part.replace("\n", " "), 120, subsequent_indent=indent, break_on_hyphens=False)


def page(text: str) -> str:
    """The page with the example as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{section()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
