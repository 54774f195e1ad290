"""The flows that are deployed (prefect.yaml): plain parameters, a time limit, and a message when they fail.

What builds and audits is imported in a run: to deploy them, to refuse a config and to tell of a killed run takes a
third of the time without.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow

from counterset.machine.orphans import leave_none
from counterset_flows.notify import published, tell

if TYPE_CHECKING:
    from counterset.config import Config

MAX_SECONDS = 7 * 24 * 3600
"""A run that takes longer hangs, and would keep next month's from starting."""

deployed: dict[str, Any] = {"timeout_seconds": MAX_SECONDS, "on_failure": [tell], "on_crashed": [tell]}


@flow(name="counterset-rebuild", **deployed)
def rebuild(config_path: str, refresh: bool = True) -> str:
    """Build or refresh the release of a config file; the folder of the newest release.

    Args:
        config_path: a TOML file; a relative path is below the folder where `prefect deploy` was called.
        refresh: look at the source again; without it, only what is unfinished is done.

    Raises:
        UserError: something that the user can fix, in one sentence.
    """
    from counterset.config import load_config

    leave_none()
    return _build(load_config(config_path), config_path, refresh=refresh)


@flow(name="counterset-audit-release", **deployed)
def audit_release(
    release: str, against: str, queries: str | None = None, model: str | None = None, output: str = "audits"
) -> str:
    """Audit the newest release of a folder against a training set; the result's folder.

    Args:
        release: a release, or the folder of its versions.
        against: the training set's embeddings, as for `counterset audit`.
        queries: embeddings of the release's photos under the same model; None = computed from the photos.
        model: the model's tag, where the embeddings do not say it.
        output: folder or s3:// address of results; relative paths are below the folder where `prefect deploy` was
            called.

    Raises:
        UserError: something that the user can fix, in one sentence.
    """
    from counterset.load import load
    from counterset.similarity.embedding_sets import check_same, open_embeddings
    from counterset.steps.audit_steps import AuditOptions
    from counterset.steps.similarity_steps import Source
    from counterset.storage import absolute, place
    from counterset_flows.audit import audit

    leave_none()
    opened, base = load(release), open_embeddings(against, model)
    name = f"{opened.name}-{opened.version}-vs-{absolute(base.path).stem}"
    if queries:
        check_same(base, open_embeddings(queries, fallback_model=base.model))
    address = release if "://" in release else ""
    source = Source(opened, place(queries) if queries else None, address=address)
    return str(audit.fn(source, base, absolute(place(output)), name, AuditOptions()).path)


@flow(name="counterset-demo", **deployed)
def demo(folder: str = "demo", photos_per_class: int = 300, refresh: bool = True) -> str:
    """Refresh the demo's release, from a look-alike source that runs as long as the flow; its folder.

    Args:
        folder: where to work; a relative path is below the folder where `prefect deploy` was called.
        photos_per_class: fewer is faster, and finds less.
        refresh: as in `rebuild`.
    """
    from counterset.demo.start import Demo

    leave_none()
    world, work = Demo(photos_per_class), Path(folder).resolve()
    with world.server(work) as server:
        return _build(world.config(work, server.url), demo.name, refresh=refresh)


def _build(config: Config, name: str, *, refresh: bool) -> str:
    """Build within the run that was scheduled, so that one failure is one failed run; tell of a new release."""
    from counterset_flows.build import build

    result = build.fn(config, refresh=refresh)
    if result.is_new:
        published(config, name, result.release)
    return str(result.release)
