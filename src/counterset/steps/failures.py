"""Shards that were set aside: a record for each, and how many a build may go on without.

    <workspace>/failed/<stage key>/<shard>.json

A shard that failed three times in one stage is left out of the build; its photos become
rejects, and the next build tries it again. The record goes when it succeeds.
"""

from __future__ import annotations

import errno
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from counterset.errors import BuildStopped, CountersetError, UserError, WorkspaceError
from counterset.tables import write_bytes

if TYPE_CHECKING:
    from counterset.steps.keys import Build  # which imports open_clip: what only prunes has no need of it

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass(frozen=True)
class Failure:
    """One shard's failure in one stage.

    Attributes:
        stage: download, inspect or embed.
        shard: its name.
        model: of embed, else "".
        reason: the last error, in words.
        attempts: over all builds.
        num_photos: of the shard.
    """

    stage: str
    shard: str
    model: str
    reason: str
    attempts: int
    num_photos: int


def as_user_error(error: BaseException) -> UserError | None:
    """The error as one that the user must fix, or None when trying again may help."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        where = error.filename or "the disk"
        return WorkspaceError(f"cannot write {where}: {error.strerror}; free space and run again")
    return None


def in_words(error: BaseException) -> str:
    """An error as one line: a planned one speaks for itself, another is named."""
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, CountersetError) else f"{type(error).__name__}: {text}".removesuffix(": ")


def stages(build: Build) -> list[tuple[str, str, str, str]]:
    """Stage, model, and the folder and key of its files, in the order in which a shard goes through them."""
    return [
        ("download", "", "images", build.pool_key),
        ("inspect", "", "photos", build.photos_key),
        *(("embed", model, "embeddings", build.embed_key(model)) for model in build.model_names),
    ]


def unfinished(build: Build, shards: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """What is missing of each shard that is not finished: stages with their models, in order."""
    todo: dict[str, list[tuple[str, str]]] = {}
    wanted = sorted(shards)
    for stage, model, files, key in stages(build):
        done = set(build.workspace.names(files, key))
        for shard in wanted:
            if shard not in done:
                todo.setdefault(shard, []).append((stage, model))
    return todo


def find(build: Build, stage: str, shard: str, model: str = "") -> Failure | None:
    """The record of a shard that was set aside; a damaged one is none."""
    path = build.workspace.folder("failed", _key(build, stage, model)) / f"{shard}.json"
    try:
        return Failure(**json.loads(path.read_text())) if path.is_file() else None
    except (ValueError, TypeError):
        return None


def set_aside(build: Build, failure: Failure) -> None:
    """Record a failure, adding to the attempts of earlier builds."""
    before = find(build, failure.stage, failure.shard, failure.model)
    record = asdict(failure) | {"attempts": failure.attempts + (before.attempts if before else 0)}
    folder = build.workspace.folder("failed", _key(build, failure.stage, failure.model))
    write_bytes((json.dumps(record, indent=1, sort_keys=True) + "\n").encode(), folder / f"{failure.shard}.json")


def forget(build: Build, stage: str, shard: str, model: str = "") -> None:
    """Remove the record of a shard that has succeeded since."""
    (build.workspace.folder("failed", _key(build, stage, model)) / f"{shard}.json").unlink(missing_ok=True)


def check_budget(build: Build, failures: Iterable[Failure], num_photos: int) -> None:
    """See that no more was set aside than the config allows.

    Args:
        build: the build.
        failures: of this build, at most one per shard.
        num_photos: of all shards of this build.

    Raises:
        BuildStopped: more was.
    """
    failed = list(failures)
    lost = sum(failure.num_photos for failure in failed)
    allowed = build.config.max_failed_share
    if lost <= allowed * num_photos:
        return
    reasons = Counter(f"{failure.stage}: {failure.reason}" for failure in failed)
    named = "; ".join(f"{reason} ({count} shards)" if count > 1 else reason for reason, count in reasons.most_common(3))
    raise BuildStopped(
        f"{len(failed)} shard{'s' * (len(failed) > 1)} with {lost} of {num_photos} photos failed three times and "
        f"max_failed_share is {allowed:g} ({named}); fix that and run again to resume, or raise max_failed_share"
    )


def _key(build: Build, stage: str, model: str) -> str:
    return {"download": build.pool_key, "inspect": build.photos_key}.get(stage) or build.embed_key(model)
