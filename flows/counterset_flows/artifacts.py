"""What a build shows in Prefect's UI: its progress, the pairs, the report's place, and what changed.

Every page has one key a build name (`<name>-pairs` and so on), so that the UI keeps their
history. Nothing here fails a build: a server that does not answer is asked no more.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

from counterset.config import Config
from counterset.errors import GateRefused
from counterset.schemas import PAIRS
from counterset.steps.progress import Progress, StageCount
from counterset.storage import Place
from counterset.tables import TableRef, read_table

logger = logging.getLogger(__name__)

STAGES = ("crawl", "download", "inspect", "embed", "annotate", "evaluate")
"""Each is one share of the whole; the release is the last."""

EVERY_S = 5.0
"""Between two looks at the progress."""

_AWAY = (httpx.HTTPError, PrefectException, OSError, ValueError)
"""What a server that is away, old, or behind something else makes of a request."""


class Pages:
    """The artifacts of the build that runs in a `with` block; outside a flow run it shows nothing.

    Args:
        config: the build's config.
        progress: what is shown of the run.
        every_s: seconds between two looks at the progress.
    """

    def __init__(self, config: Config, progress: Progress, every_s: float = EVERY_S) -> None:
        context = FlowRunContext.get()
        self._run_id: UUID | None = context.flow_run.id if context and context.flow_run else None
        self._config = config
        self._progress = progress
        self._every_s = every_s
        self._progress_id: UUID | None = None
        self._shown: tuple[float, str] = (0.0, "")
        self._ended = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="progress page", daemon=True)

    def __enter__(self) -> Self:
        self._progress_id = self._create("progress", "progress", 0.0, "begun")
        if self._progress_id is not None:
            self._follower.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._follower.is_alive():
            self._follower.join()
        if isinstance(error, Exception):  # not when someone stops the run: that must be quick
            self._show_progress()
            self._create("report", "markdown", failure_page(self._config.name, error))
        elif error is None:
            self._show_progress(is_done=True)

    def show_pairs(self, pairs: TableRef) -> None:
        """The pairs, a row a class."""
        rows = pair_rows(read_table(pairs.path, PAIRS).to_pylist())
        # As Prefect's own tables are sent: its newer pages read nothing but a string of JSON.
        self._create("pairs", "table", json.dumps(rows), f"The pairs of {self._config.name}; drops in points.")

    def show_release(self, release: Place, is_new: bool, pairs: TableRef) -> None:
        """The report's place, and what changed since the last release."""
        verdicts = read_table(pairs.path, PAIRS, ["verdict"])["verdict"].to_pylist()
        page = report_page(self._config, release, is_new, verdicts)
        self._create("report", "markdown", page)
        self._create("changes", "markdown", changes_page(release, is_new))

    def _follow(self) -> None:
        while not self._ended.wait(self._every_s):
            self._show_progress()

    def _show_progress(self, is_done: bool = False) -> None:
        known = dict(self._progress.stages)  # a copy: other threads begin stages meanwhile
        now = (100.0 if is_done else percent_done(known)), progress_text(known)
        if self._progress_id is not None and now != self._shown:
            self._shown = now
            self._update(self._progress_id, *now)

    def _create(self, page: str, kind: str, content: Any, description: str | None = None) -> UUID | None:
        if self._run_id is None:
            return None
        artifact = ArtifactCreate(
            key=f"{self._config.name}-{page}",
            type=kind,
            data=content,
            description=description,
            flow_run_id=self._run_id,
        )
        try:
            return get_client(sync_client=True).create_artifact(artifact).id
        except _AWAY as error:
            self._give_up(error)
            return None

    def _update(self, artifact_id: UUID, percent: float, text: str) -> None:
        try:
            get_client(sync_client=True).update_artifact(artifact_id, ArtifactUpdate(data=percent, description=text))
        except _AWAY as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Each try of a server that is away takes its time, so there is no second one."""
        self._run_id = self._progress_id = None
        logger.warning("Prefect's UI shows no pages of this build: %s: %s", type(error).__name__, error)


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
    """What the UI shows of the pairs table, a row a class; drops in points, as text so that none is cut."""

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
