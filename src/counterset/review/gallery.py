"""What the page shows: photos in sheets, by class and group, and the places that they are read from.

A gallery holds what a reviewer may see and nothing else. No model's verdict on a photo is in it, so none can reach
the page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

NO_NAME = "none"
GROUP = "group"
REJECTS = "rejects"
LEFT = "left"
SAMPLE = "sample"
"""Kinds of sheets: photos without a name, of one group, turned away for one reason, that nobody decided on, drawn."""

MAX_SHOWN = 2_000
"""Characters of one text about a photo."""


class Use(StrEnum):
    """What a page is for."""

    REVIEW = "review"
    AUDIT = "audit"
    BROWSE = "browse"


@dataclass(frozen=True)
class Shown:
    """One photo of a gallery.

    Attributes:
        photo_id: its id.
        class_id: the class it is in, or was offered for.
        name: of its background; None = it has none, or it is to be labelled blind.
        margin: the annotator's, by which a sheet is sorted; None = unknown.
        rejected: stage and reason, e.g. `curate: too small`; "" = it is kept.
        probability: with which an audit's sample holds it.
    """

    photo_id: str
    class_id: str
    name: str | None = None
    margin: float | None = None
    rejected: str = ""
    probability: float | None = None


@dataclass(frozen=True)
class Sheet:
    """One contact sheet of one class.

    Attributes:
        kind: GROUP, NO_NAME, REJECTS, LEFT or SAMPLE.
        name: of the group, or stage and reason.
        num_photos: on it.
        note: what there is to say of it, e.g. that it is the common group.
    """

    kind: str
    name: str
    num_photos: int
    note: str = ""


def no_bytes(photo_id: str, may_fetch: bool) -> bytes | None:
    """No photo is at hand."""
    return None


def nothing_known(photo_id: str) -> Mapping[str, str]:
    """Nothing is known of a photo but its id."""
    return {}


@dataclass(frozen=True)
class Gallery:
    """All that a page shows.

    Attributes:
        title: of the page.
        use: what it is for.
        photos: one row per photo; its position is its number on the page.
        classes: name by class_id, in the order shown.
        names: of the vocabulary, which reviewers choose from.
        notes: class_id -> what there is to say of a class, e.g. its verdict; nothing in a review.
        group_notes: class_id, group -> what there is to say of a group.
        sample_id: of an audit's sample.
        read: photo id, and whether it may be fetched -> bytes, or None.
        about: photo id -> what is known of it: credit, licence, link, title.
    """

    title: str
    use: Use
    photos: Sequence[Shown]
    classes: Mapping[str, str]
    names: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    group_notes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    sample_id: str | None = None
    read: Callable[[str, bool], bytes | None] = no_bytes
    about: Callable[[str], Mapping[str, str]] = nothing_known

    def __post_init__(self) -> None:
        of_class: dict[str, list[int]] = {class_id: [] for class_id in self.classes}
        for number, photo in enumerate(self.photos):
            of_class.setdefault(photo.class_id, []).append(number)
        object.__setattr__(self, "_of_class", of_class)

    def of_class(self, class_id: str) -> list[int]:
        """The numbers of a class's photos; [] for one that is not known."""
        numbers: dict[str, list[int]] = getattr(self, "_of_class")  # noqa: B009
        return numbers.get(class_id, [])

    def sheets(self, class_id: str) -> list[Sheet]:
        """The sheets of a class: groups from the largest on, then the others."""
        own = [self.photos[number] for number in self.of_class(class_id)]
        kept = [photo for photo in own if not photo.rejected]
        if self.use is Use.AUDIT:
            return [Sheet(SAMPLE, "drawn", len(kept))]
        groups = Counter(photo.name for photo in kept if photo.name is not None)
        found = [
            Sheet(GROUP, name, count, self.group_notes.get((class_id, name), ""))
            for name, count in sorted(groups.items(), key=lambda item: (-item[1], item[0]))
        ]
        if unnamed := sum(photo.name is None for photo in kept):
            found.append(Sheet(NO_NAME, "", unnamed))
        if self.use is Use.REVIEW:
            found.append(Sheet(LEFT, "", len(kept)))
        rejected = Counter(photo.rejected for photo in own if photo.rejected)
        return found + [Sheet(REJECTS, reason, count) for reason, count in sorted(rejected.items())]

    def on_sheet(self, class_id: str, kind: str, name: str) -> list[int]:
        """The numbers of a sheet's photos: least sure first, a sample in its own order, rejects by id."""
        own = [(number, self.photos[number]) for number in self.of_class(class_id)]
        if kind == REJECTS:
            return [number for number, photo in own if photo.rejected and photo.rejected == name]
        wanted = [
            (number, photo)
            for number, photo in own
            if not photo.rejected
            and (kind in (LEFT, SAMPLE) or (photo.name == name if kind == GROUP else photo.name is None))
        ]
        if kind == SAMPLE:
            return [number for number, _ in wanted]
        return [number for number, photo in sorted(wanted, key=lambda item: (_sureness(item[1]), item[1].photo_id))]


def _sureness(photo: Shown) -> float:
    return float("inf") if photo.margin is None or photo.margin != photo.margin else photo.margin
