"""What the reviewers at one page have said so far, in memory, with the log behind it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from counterset.errors import ReviewError
from counterset.review import log
from counterset.review.gallery import Gallery, Use
from counterset.review.log import Decision
from counterset.review.schemas import Answer, Mode
from counterset.workspace import Workspace


class Said(NamedTuple):
    """One decision as the page sends it; what was shown is known here.

    Attributes:
        number: of the photo.
        decision_id: made by the page, so that what is sent twice is kept once.
    """

    number: int
    decision_id: str
    answer: str
    said_name: str | None = None
    reason: str | None = None
    undoes: str | None = None


class Desk:
    """The decisions on one gallery; several reviewers may speak at once.

    Args:
        gallery: what is looked at.
        workspace: where the log lies.

    Raises:
        ReviewError: the log is damaged.
    """

    def __init__(self, gallery: Gallery, workspace: Workspace) -> None:
        self._gallery = gallery
        self._workspace = workspace
        self._mode = Mode.AUDIT if gallery.use is Use.AUDIT else Mode.REVIEW
        self._numbers = {photo.photo_id: number for number, photo in enumerate(gallery.photos)}
        self._spoken: dict[str, dict[int, list[dict[str, Any]]]] = {}
        """reviewer -> photo -> what stands of what was said, the last at the end."""
        self._last: dict[str, list[tuple[int, str]]] = {}
        """reviewer -> photo and id of each decision that stands, the last at the end."""
        self._known: set[str] = set()
        self._times: Counter[int] = Counter()
        """photo -> decisions on it that stand."""
        self._decided: Counter[str] = Counter()
        """class_id -> photos with one."""
        self._totals = {class_id: len(self._kept(class_id)) for class_id in gallery.classes}
        self._lock = threading.Lock()
        for row in log.read(workspace).to_pylist():
            if row["mode"] == self._mode and row["sample_id"] == gallery.sample_id:
                self._hear(row)

    def _hear(self, row: dict[str, Any]) -> None:
        self._known.add(row["decision_id"])
        number = self._numbers.get(row["photo_id"])
        if number is None:
            return
        stands = self._spoken.setdefault(row["reviewer"], {}).setdefault(number, [])
        order = self._last.setdefault(row["reviewer"], [])
        before = len(stands)
        if row["answer"] == Answer.UNDO:
            stands[:] = [said for said in stands if said["decision_id"] != row["undoes"]]
            order[:] = [said for said in order if said[1] != row["undoes"]]
        else:
            stands.append(row)
            order.append((number, row["decision_id"]))
        had = bool(self._times[number])
        self._times[number] += len(stands) - before
        self._decided[self._gallery.photos[number].class_id] += bool(self._times[number]) - had

    def say(self, reviewer: str, said: Sequence[Said]) -> int:
        """Keep what a reviewer says; it is in the log when this returns.

        Returns:
            How many decisions are new: one that is known already is passed over.

        Raises:
            ReviewError: a decision makes no sense; none of the batch is kept.
            WorkspaceError: the log cannot be written.
        """
        with self._lock:
            new = [one for one in said if one.decision_id not in self._known]
            stands = {*self._last.get(reviewer, []), *((one.number, one.decision_id) for one in new)}
            decisions = [self._decision(reviewer, one, stands) for one in new]
            log.append(self._workspace, decisions)
            for decision in decisions:
                self._hear(vars(decision))
            return len(decisions)

    def _decision(self, reviewer: str, said: Said, stands: set[tuple[int, str]]) -> Decision:
        if not 0 <= said.number < len(self._gallery.photos):
            raise ReviewError(f"there is no photo {said.number} on this page; load it again")
        photo = self._gallery.photos[said.number]
        if said.said_name is not None and said.said_name not in self._gallery.names:
            raise ReviewError(f"the vocabulary has no background {said.said_name[:50]!r}; choose one that it has")
        if said.undoes is not None and (said.number, said.undoes) not in stands:
            raise ReviewError("only what the same reviewer said, and has not taken back, can be taken back")
        return Decision(
            photo.class_id,
            photo.photo_id,
            said.answer,
            reviewer,
            mode=self._mode.value,
            shown_name=photo.name,
            said_name=said.said_name,
            reason=said.reason,
            undoes=said.undoes,
            sample_id=self._gallery.sample_id,
            probability=photo.probability,
            decision_id=said.decision_id,
        )

    def words(self, reviewer: str, class_id: str) -> dict[int, list[str | None]]:
        """What a reviewer said last of each photo of a class: answer, its name or reason, and its id."""
        with self._lock:
            own = self._spoken.get(reviewer, {})
            last = {number: own[number][-1] for number in self._gallery.of_class(class_id) if own.get(number)}
        return {
            number: [row["answer"], row["said_name"] or row["reason"], row["decision_id"]]
            for number, row in last.items()
        }

    def progress(self) -> dict[str, list[int]]:
        """class_id -> photos that somebody decided on, and all of its photos."""
        with self._lock:
            return {class_id: [self._decided[class_id], total] for class_id, total in self._totals.items()}

    def left(self, class_id: str) -> list[int]:
        """The photos of a class that nobody decided on."""
        with self._lock:
            return [number for number in self._kept(class_id) if not self._times[number]]

    def _kept(self, class_id: str) -> list[int]:
        return [number for number in self._gallery.of_class(class_id) if not self._gallery.photos[number].rejected]

    def last(self, reviewer: str) -> tuple[int, str] | None:
        """The photo of a reviewer's last decision that stands, and its id: where to go on, and what `undo` means."""
        with self._lock:
            order = self._last.get(reviewer)
            return order[-1] if order else None

    def reviewers(self) -> list[str]:
        """Who has said something, sorted."""
        with self._lock:
            return sorted(self._spoken)
