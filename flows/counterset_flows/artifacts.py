"""What a build shows in Prefect's UI: its progress, the pairs, the report's place, and what changed.

Every page has one key per build name (`<name>-pairs` and so on), so that the UI keeps their
history. Nothing here fails a build: a server that does not answer is not asked again.
"""

from __future__ import annotations

import contextvars
import json
import logging
import threading
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

from counterset.config import Config
from counterset.schemas import PAIRS
from counterset.steps.build_pages import changes_page, failure_page, pair_rows, percent_done, progress_text, report_page
from counterset.steps.progress import Progress
from counterset.storage import Place
from counterset.tables import TableRef, read_table

logger = logging.getLogger(__name__)

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
        # With the run's settings, which a thread of its own would not know: Prefect would start another server for it.
        follow, settings = self._follow, contextvars.copy_context()
        self._follower = threading.Thread(target=settings.run, args=(follow,), name="progress page", daemon=True)

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
        """The pairs, one row per class."""
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
