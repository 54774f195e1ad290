"""What is shown of a build while it runs and when it ends: progress in percent, the pairs, pages in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterset.config import Config
from counterset.errors import GateRefused
from counterset.steps.progress import StageCount
from counterset.storage import Place

STAGES = ("crawl", "download", "inspect", "embed", "annotate", "evaluate")
"""Each is one share of the whole; the release is the last."""


def percent_done(stages: Mapping[str, StageCount]) -> float:
    """Progress in percent, 0 to 100: each stage is one share of the whole, the release another."""
    shares = [
        min(1.0, (count.done + count.reused) / count.total) if count.total else 1.0
        for name, count in stages.items()
        if name in STAGES
    ]
    return round(100 * sum(shares) / (len(STAGES) + 1), 1)


def progress_text(stages: Mapping[str, StageCount]) -> str:
    """Where each stage stands, e.g. `crawl 5 of 5, download 120 of 400`."""
    counts = [f"{name} {count.done + count.reused:,} of {count.total:,}" for name, count in stages.items()]
    return ", ".join(counts) or "begun"


def pair_rows(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is shown of the pairs table, one row per class; drops in points, as text so that none is cut."""

    def points(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.1f}"

    return [
        {
            "class": row["class_id"],
            "verdict": row["verdict"],
            "common": row["common"] or "",
            "counter": row["counter"] or "",
            "drop": points(row["drop"]),
            "95 % from": points(row["drop_low"]),
            "to": points(row["drop_high"]),
            "q": "" if row["q_value"] is None else f"{row['q_value']:.4f}",
            "photos": f"{row['num_common']} / {row['num_counter']}",
        }
        for row in pairs
    ]


def report_page(config: Config, release: Place, is_new: bool, verdicts: list[str]) -> str:
    """Markdown: the release in one sentence, and where its report is."""
    status = "published" if is_new else "unchanged, so no new version"
    base = config.notify.releases_url.rstrip("/")
    if base:
        place = f"[Open the report]({base}/{config.name}/{release.name}/report.html)"
    else:
        place = (
            f"Report: `{release / 'report.html'}`\n\n"
            "A browser opens no file from this page; set `notify.releases_url` in the config for a link."
        )
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in sorted(set(verdicts)))
    return f"# {config.name} {release.name}\n\n{status}: {len(verdicts)} classes, {counts}\n\n{place}\n"


def changes_page(release: Place, is_new: bool) -> str:
    """Markdown: what changed since the last release, as its CHANGELOG.md says."""
    if not is_new:
        return f"# Nothing changed\n\nThe source and the config still give release {release.name}.\n"
    text = (release / "CHANGELOG.md").read_text(encoding="utf-8")
    head, _, rest = text.partition("\n## ")
    return f"{head.strip()}\n\n## {rest.partition(chr(10) + '## ')[0].strip()}\n"


def failure_page(name: str, error: Exception) -> str:
    """Markdown: why there is no release."""
    title = "the gate refuses this release" if isinstance(error, GateRefused) else "no release, as the build failed"
    lines = f"{type(error).__name__}: {error}".splitlines()
    # An indented block shows text from outside as it is.
    return f"# {name}: {title}\n\n" + "\n".join(f"    {line}" for line in lines) + "\n"
