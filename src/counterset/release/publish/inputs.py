"""Everything a release is made from, in one frozen record: no clock and no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from counterset.backgrounds import BACKGROUND
from counterset.causes.schemas import ANIMALS, APPEARANCE
from counterset.classes import ClassSpec
from counterset.config import Config
from counterset.naming.schemas import GROUP_NAMES
from counterset.photo_rows import Rows
from counterset.release.publish.series import SeriesInputs
from counterset.schemas import BACKGROUNDS, CANDIDATES, MEMBERS, PHOTOS, PREDICTIONS, REJECTS, SENSITIVITY, TableSchema
from counterset.tables import table_of

BY_PHOTO: dict[str, TableSchema] = {
    table.name: table for table in (CANDIDATES, PHOTOS, MEMBERS, BACKGROUNDS, PREDICTIONS, REJECTS, APPEARANCE, ANIMALS)
}
"""The tables of ReleaseInputs that grow with the photos: in memory, or read where they lie."""
ROLES = ("annotator", "selector", "evaluator")
DEFAULT_FAMILY = "CLIP"


@dataclass(frozen=True)
class ModelRecord:
    """One model of the build.

    Attributes:
        name: as in the config and in the tables' `model` column.
        role: annotator, selector or evaluator; a selector's own rows are in-sample.
        weights_sha256: digest of the weights, hex; "" where they cannot be hashed.
        lineage: what is known of it, e.g. `{"family": "CLIP", "pretraining": "LAION-400M"}`.
    """

    name: str
    role: str
    weights_sha256: str = ""
    lineage: Mapping[str, str] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """The family that lines are fitted for."""
        return self.lineage.get("family") or DEFAULT_FAMILY


def no_photos(photo_id: str) -> bytes | None:
    """No photo's bytes: a release without thumbnails."""
    return None


@dataclass(frozen=True)
class ReleaseInputs:
    """What `publish` reads.

    Attributes:
        config: the build's config.
        classes: the classes asked for, in the class list's order.
        candidates, photos, members, backgrounds, predictions, group_accuracy, pairs,
        rejects: the stages' tables, each of its schema in `counterset.schemas`; of those in `BY_PHOTO`, `rows`
            gives the rows.
        models: one record per model and role.
        source_snapshot: the day the source's content is of (ISO date), kept by the
            crawl; a release knows no clock of its own.
        funnel: photos left after each step, in order, e.g. `{"offered": 900, "downloaded": 880}`.
        sensitivity: the pairs' drops under every model and set of prompts; empty where only one was used.
        group_names: how often each group's name is right; empty where nobody has labelled.
        files: sha256 of each file that the config names (class list, vocabulary, label space, list of
            photos), by its path there.
        review: what release.json says of the reviewers whose decisions were applied; None = nobody looked.
        appearance: what photos look like as a whole; empty where they were not measured.
        animals: where photos' animals are; empty where no boxes or masks say so.
        imagenet_labels: ImageNet-1K index of labels that models choose among, where it is known.
        series: the release's place among those before it.
        empty_names: what a check measured that the annotator's names failed; None = they passed, or were not checked.
        cue: what the names of groups are kinds of: background, light, weather.
        photo_bytes: a photo's bytes as downloaded, or None; asked only for thumbnails
            and bundled photos.
    """

    config: Config
    classes: tuple[ClassSpec, ...]
    candidates: pa.Table | Rows
    photos: pa.Table | Rows
    members: pa.Table | Rows
    backgrounds: pa.Table | Rows
    predictions: pa.Table | Rows
    group_accuracy: pa.Table
    pairs: pa.Table
    rejects: pa.Table | Rows
    models: tuple[ModelRecord, ...]
    source_snapshot: str
    funnel: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    sensitivity: pa.Table = field(default_factory=lambda: table_of(SENSITIVITY, []))
    group_names: pa.Table = field(default_factory=lambda: table_of(GROUP_NAMES, []))
    review: Mapping[str, Any] | None = None
    appearance: pa.Table | Rows = field(default_factory=lambda: table_of(APPEARANCE, []))
    animals: pa.Table | Rows = field(default_factory=lambda: table_of(ANIMALS, []))
    imagenet_labels: Mapping[str, int] = field(default_factory=dict)
    series: SeriesInputs = field(default_factory=SeriesInputs)
    empty_names: Mapping[str, Any] | None = None
    cue: str = BACKGROUND
    photo_bytes: Callable[[str], bytes | None] = no_photos

    def rows(self, name: str) -> Rows:
        """The rows of a table of `BY_PHOTO`."""
        return Rows.of(getattr(self, name), BY_PHOTO[name].key)
