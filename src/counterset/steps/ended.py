"""How a build ended, kept under a key of all that is made from its shards: so that the same build again reads no table.

    <workspace>/ended/<key>/all.json

The file counts only while all that it names is as it was: the tables that the build made by their digests, and the
release, which must still be the newest of its name, by the marks of its files.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from pydantic import TypeAdapter

from counterset.config_sections import ANNOTATORS
from counterset.digests import Mark, mark_of
from counterset.errors import CountersetError
from counterset.models.door import open_text_model
from counterset.naming.schemas import GROUP_NAMES
from counterset.release.checksums import SUMS
from counterset.release.versions.followed import Followed, newest_release
from counterset.review import log
from counterset.review.schemas import DECISIONS
from counterset.schemas import PREDICTIONS, SCHEMA_VERSION
from counterset.steps import annotator_check, review_steps
from counterset.steps.causes_steps import animals_key, appearance_key
from counterset.steps.keys import GROUP_PACKAGES, READS, SCORE_PACKAGES, TEST_PACKAGES, Build, settings_of
from counterset.steps.release_steps import model_records, named_files
from counterset.steps.table_steps import classifier_key
from counterset.storage import Place, place
from counterset.tables import TableRef, write_bytes
from counterset.version import __version__
from counterset.workspace import digest

REVISION = 1
"""Raised by whoever changes what is kept here."""


class Kept(NamedTuple):
    """A table that a build made."""

    stage: str
    key: str
    sha256: str


@dataclass(frozen=True)
class Ended:
    """How a build ended.

    Attributes:
        version: of the release that holds what it made.
        sums_sha256: digest of that release's SHA256SUMS.
        marks: of that release's files by their path: what tells that nobody has touched them.
        tables: what the build made, by name.
        num_photos: members.
        num_predictions: of all models under all prompts.
        keys: of all files that it used.
        told: its warnings.
    """

    version: str
    sums_sha256: str
    marks: Mapping[str, Mark]
    tables: Mapping[str, Kept]
    num_photos: int
    num_predictions: int
    keys: tuple[str, ...]
    told: tuple[str, ...]


_ENDED = TypeAdapter(Ended)


def ended_key(
    build: Build,
    crawls: Iterable[TableRef],
    shards: Sequence[str],
    photos: Iterable[TableRef],
    embedded: Mapping[str, Sequence[TableRef]],
) -> str:
    """A digest of all that decides what a build makes of its finished shards, its release included.

    Args:
        build: the build.
        crawls: candidates, one file per class.
        shards: names of the shards that hold them.
        photos: inspected photos, one file per shard.
        embedded: embeddings by model, one file per shard.
    """
    config = build.config
    names = [build.crawl_name(spec) for spec in build.specs]
    files = [
        *crawls,
        *(build.ref("crawl_rejects", build.crawl_key, name) for name in names),
        build.ref("withdrawn", build.crawl_key, build.snapshot_name),
        *photos,
        *(build.ref("download_rejects", build.pool_key, shard) for shard in shards),
        *(build.ref("photos_rejects", build.photos_key, shard) for shard in shards),
        *(ref for refs in embedded.values() for ref in refs),
    ]
    return digest(
        "ended",
        [REVISION, review_steps.REVISION, annotator_check.REVISION, __version__],
        [SCHEMA_VERSION, PREDICTIONS.version, GROUP_NAMES.version, DECISIONS.version],
        [settings_of(config, stage, *GROUP_PACKAGES, *SCORE_PACKAGES, *TEST_PACKAGES) for stage in READS],
        config.model_dump(mode="json"),  # more than decides anything: what differs is looked at the longer way
        named_files(build),
        [build.requests_key, build.crawl_key, build.pool_key, build.photos_key],
        [appearance_key(build), animals_key(build)],
        [build.embed_key(model) for model in build.model_names],
        [classifier_key(build, *item) for item in build.evaluations],
        open_text_model(config.models.annotator, config.models.backend).texts_id,
        [asdict(record) for record in model_records(build)],
        [asdict(spec) for spec in build.specs],
        asdict(build.space),
        [asdict(background) for background in build.vocabulary],
        [asdict(build.templates), build.elsewhere, build.cue],
        ANNOTATORS.version(config.annotate.method),
        list(shards),
        [ref.sha256 for ref in files],
        [[path.name, mark_of(path)] for path in log.files(build.workspace)],
    )


def how_it_ended(build: Build, key: str) -> Ended | None:
    """How a build of this key ended, if all of it is still as it was then."""
    try:
        ended = _ENDED.validate_json(_path(build, key).read_bytes())
        newest = build.newest_release
        if newest is None or (newest.folder.name, newest.sums_sha256) != (ended.version, ended.sums_sha256):
            return None
        if _marks(newest) != ended.marks:
            return None
        is_whole = all(build.ref(kept.stage, kept.key, "all").sha256 == kept.sha256 for kept in ended.tables.values())
    except (OSError, ValueError, CountersetError):  # whatever is wrong is said the longer way
        return None
    return ended if is_whole else None


def keep(
    build: Build,
    key: str,
    release: Place,
    *,
    tables: Mapping[str, TableRef],
    num_photos: int,
    num_predictions: int,
    keys: Iterable[str],
    told: Iterable[str],
) -> None:
    """Keep how a build ended; nothing where the release is not, or no longer, the newest of its name.

    Args:
        build: the build.
        key: `ended_key` of its shards.
        release: its release.
        tables: what it made, by name.
        num_photos: members.
        num_predictions: of all models under all prompts.
        keys: of all files that it used.
        told: its warnings.
    """
    with contextlib.suppress(CountersetError):  # the release is there, and the next build looks the longer way
        newest = newest_release(place(build.config.releases) / build.config.name)
        if newest is None or str(newest.folder) != str(release):
            return
        ended = Ended(
            newest.folder.name,
            newest.sums_sha256,
            _marks(newest),
            {name: _kept(ref) for name, ref in tables.items()},
            num_photos,
            num_predictions,
            tuple(sorted(keys)),
            tuple(told),
        )
        write_bytes(_ENDED.dump_json(ended, indent=1) + b"\n", _path(build, key))


def _kept(ref: TableRef) -> Kept:
    folder = place(ref.path).parent
    return Kept(folder.parent.name, folder.name, ref.sha256)


def _path(build: Build, key: str) -> Place:
    return build.workspace.folder("ended", key) / "all.json"


def _marks(release: Followed) -> dict[str, Mark]:
    """What tells that a release's files are the same; a missing one has a mark that no file has."""
    return {path: mark_of(release.folder / path) or Mark(-1, 0, 0, "") for path in (SUMS, *release.digests)}


@contextlib.contextmanager
def warnings_kept() -> Iterator[list[str]]:
    """The warnings of the block, which are said as ever, to be said again when nothing is to be done."""
    told: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    keeper, logger = Keeper(logging.WARNING), logging.getLogger("counterset")
    logger.addHandler(keeper)
    try:
        yield told
    finally:
        logger.removeHandler(keeper)
