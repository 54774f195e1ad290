"""What `counterset` offers in Python beside `load` and `evaluate`; the command line calls the same functions.

A build or an audit runs as a Prefect flow. It reports to the server of PREFECT_API_URL, or to a temporary one with a
password of its own, and leaves no process behind.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterset.errors import UserError
from counterset.load import Release, load
from counterset.runners import RUNNERS
from counterset.storage import ObjectPath, Place, absolute, place

if TYPE_CHECKING:
    from counterset_flows.build import BuildResult

    from counterset.config import Config
    from counterset.release.versions.diff import ReleaseDiff
    from counterset.similarity.results import Folder

Prepare = Callable[[], Callable[..., Any]]
"""Imports a flow, and gives it with its arguments, ready to be called."""


def build(config: Config | str | Path, *, refresh: bool = False) -> BuildResult:
    """Build a release from a config; call it again to resume.

    Args:
        config: a TOML file's path, or what `counterset.config.load_config` gives.
        refresh: look at the source again: what is new is added, what was withdrawn is removed, the rest is reused.

    Returns:
        Where the release is (`release`), whether it is new (`is_new`), its pairs, and what was done by stage.

    Raises:
        UserError: something that the user can fix, in one sentence.
    """
    result: BuildResult = _run(prepare_build(config, refresh=refresh))
    return result


def audit(
    release: Release | str | Path,
    against: str | Path,
    *,
    queries: str | Path | None = None,
    threshold: float = 0.95,
    bands: int = 10,
    index: str = "exact",
    model: str | None = None,
    id_column: str | None = None,
    normalise: bool = False,
    mirrors: Sequence[str] = (),
    runner: str = "threads",
    seed: int = 0,
    output: str | Path = "audits",
    name: str | None = None,
) -> Folder:
    """Tell how near a release is to a training set, and whether its drops survive at equal distance.

    Args:
        release: a release, or what `load` opens.
        against: embeddings of the training set: a folder of shards or one file, or an s3:// address of either.
        queries: embeddings of the release's photos under the same model, or the workspace in which it was built, whose
            vectors are taken; None = they are computed from the photos.
        threshold: similarity above which two images are near duplicates.
        bands: bands of similarity, 1 to 100.
        index: exact, or ivfpq (approximate, for very large sets; the recall it reached is stated).
        model: the model's tag, where the files do not say it.
        id_column: the column of ids in `against`.
        normalise: accept vectors of any length and scale them to 1.
        mirrors: places asked for the release's photos before their own URLs.
        runner: threads, processes, ray, or one that an installed package adds.
        seed: of the bootstrap and of the index's samples.
        output: folder or s3:// address of results; this one is `<output>/<name>/<version>`.
        name: of the audit; None = it says what was compared.

    Returns:
        Where the tables and the page are (`path`), and whether they are new (`is_new`).

    Raises:
        UserError: something that the user can fix, in one sentence.
    """
    prepare = prepare_audit(
        release,
        against,
        queries=queries,
        threshold=threshold,
        bands=bands,
        index=index,
        model=model,
        id_column=id_column,
        normalise=normalise,
        mirrors=mirrors,
        runner=runner,
        seed=seed,
        output=output,
        name=name,
    )
    folder: Folder = _run(prepare)
    return folder


def diff(old: Release | str | Path, new: Release | str | Path) -> ReleaseDiff:
    """Tell what changed from one release to another.

    Args:
        old: a release, or what `load` opens.
        new: the same.

    Returns:
        The rows that differ, as Arrow tables, their counts, and the version that they ask for (`level`).

    Raises:
        ReleaseError: as `load`.
    """
    from counterset.release.versions.diff import diff_releases

    return diff_releases(_opened(old), _opened(new))


def prepare_build(config: Config | str | Path, *, refresh: bool = False) -> Prepare:
    """A build, its config read and checked; the arguments of `build`."""
    from counterset.config import Config, load_config

    checked = config if isinstance(config, Config) else load_config(config)

    def prepare() -> Callable[..., Any]:
        from counterset_flows.build import build as flow

        return functools.partial(flow, checked, refresh=refresh)

    return prepare


def prepare_audit(
    release: Release | str | Path,
    against: str | Path,
    *,
    queries: str | Path | None,
    threshold: float,
    bands: int,
    index: str,
    model: str | None,
    id_column: str | None,
    normalise: bool,
    mirrors: Sequence[str],
    runner: str,
    seed: int,
    output: str | Path,
    name: str | None,
) -> Prepare:
    """An audit, its arguments checked before anything is begun; those of `audit`."""
    from counterset.similarity.embedding_sets import check_same, open_embeddings
    from counterset.similarity.results import check_home

    check_fraction("threshold", threshold)
    if not 1 <= bands <= 100:
        raise UserError(f"bands {bands} cannot be cut; give a number from 1 to 100")
    _check_choice("index", index, ("exact", "ivfpq"))
    RUNNERS.check(runner)
    opened, home, base_place = _opened(release, mirrors), absolute(place(output)), place(against)
    own = None if queries is None else place(queries)
    address = str(release) if isinstance(release, str) and "://" in release else ""
    called = result_name(name, f"{opened.name}-{opened.version}-vs-{stem(base_place)}")
    check_home(home / called, "audit")
    base = open_embeddings(base_place, model, id_column=id_column, normalise=normalise)
    if own is not None:
        from counterset.steps.stored_vectors import is_workspace, stored_vectors

        if is_workspace(own):
            own = stored_vectors(own, opened, base.model)
        check_same(base, open_embeddings(own, fallback_model=base.model, normalise=base.is_normalised_here))

    def prepare() -> Callable[..., Any]:
        from counterset_flows.audit import audit as flow

        from counterset.steps.audit_steps import AuditOptions
        from counterset.steps.similarity_steps import Source

        source, options = Source(opened, own, tuple(mirrors), address), AuditOptions(threshold, bands, index, seed)
        return functools.partial(flow, source, base, home, called, options, runner)

    return prepare


def check_fraction(name: str, value: float) -> None:
    """See that a limit of similarity lies between 0 and 1.

    Raises:
        UserError: it does not.
    """
    if not 0 < value < 1:
        raise UserError(f"{name} {value} is no limit of similarity; give a number between 0 and 1, e.g. 0.95")


def result_name(given: str | None, said: str) -> str:
    """The name of a result's folder: as given, or of what was compared.

    Raises:
        UserError: the given one cannot name a folder.
    """
    if given is not None and _file_name(given) != given:
        raise UserError(f"name {given!r} cannot name a folder; use letters, digits, '.', '_' and '-'")
    return given or _file_name(said)


def stem(path: Place) -> str:
    """A path's last part without its suffix, links followed."""
    if isinstance(path, ObjectPath):
        return path.stem
    return Path(os.path.realpath(path)).stem  # a loop of links, which Path.resolve would stop at, is told later


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-") or "unnamed"


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"{name} {value!r} is unknown; use {', '.join(choices)}")


def _opened(release: Release | str | Path, mirrors: Sequence[str] = ()) -> Release:
    return release if isinstance(release, Release) else load(release, mirrors=mirrors)


def _run(prepare: Prepare) -> Any:
    from counterset_flows import surroundings

    with surroundings.prepared() as wait:
        run = prepare()
        wait()
        return run()
