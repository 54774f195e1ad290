"""Galleries of a workspace and of a release."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from counterset.build_records import FINISHED, Run, read_runs
from counterset.errors import ReleaseError, ReviewError, WorkspaceError
from counterset.load import Release, load
from counterset.review.gallery import Gallery, Shown, Use
from counterset.schemas import BACKGROUNDS, CANDIDATES
from counterset.storage import Place
from counterset.tables import read_table
from counterset.workspace import Workspace
from counterset.workspace_photos import WorkspacePhotos

MAX_CACHED_BYTES = 256_000_000
"""Of photos, beside what the page keeps of thumbnails."""


def is_workspace(root: Place) -> bool:
    """Whether builds have run in a folder."""
    return next(iter((root / "runs").glob("*.json")), None) is not None


def review_gallery(workspace: Workspace) -> Gallery:
    """The members of a workspace's last finished build, with the names that the annotator gave.

    Earlier decisions are not in these names: the page shows them on top.

    Raises:
        ReviewError: no build has finished in the workspace, or its files are gone.
    """
    run = _last_finished(workspace)
    table = read_table(_only_file(workspace, run, "backgrounds"), BACKGROUNDS)
    columns = ("photo_id", "class_id", "group", "margin")
    rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
    photos = [Shown(photo_id, class_id, group, margin) for photo_id, class_id, group, margin in rows]
    names = run.vocabulary or tuple(sorted({*table["background"].to_pylist()}))
    classes = run.classes or {class_id: class_id for class_id in sorted({photo.class_id for photo in photos})}
    offered = _Offered(workspace, run)

    def read(photo_id: str, may_fetch: bool) -> bytes | None:
        return offered.read(photo_id)

    return Gallery(run.name, Use.REVIEW, photos, classes, names, read=read, about=offered.about)


def audit_gallery(workspace: Workspace, sample: Sequence[Mapping[str, Any]]) -> Gallery:
    """The photos of an audit's sample, without names and in the sample's order.

    Args:
        workspace: where they lie.
        sample: rows with sample_id (one for all), position, photo_id, class_id and probability.

    Raises:
        ReviewError: no build has finished in the workspace, or the sample is empty.
    """
    run = _last_finished(workspace)
    if not sample:
        raise ReviewError(f"the sample drawn in {workspace.root} holds no photo; ask for more photos per group")
    offered = _Offered(workspace, run)
    rows = sorted(sample, key=lambda row: int(row["position"]))
    photos = [Shown(row["photo_id"], row["class_id"], probability=row["probability"]) for row in rows]
    classes = {photo.class_id: run.classes.get(photo.class_id, photo.class_id) for photo in photos}

    def read(photo_id: str, may_fetch: bool) -> bytes | None:
        return offered.read(photo_id)

    sample_id = str(rows[0]["sample_id"])
    return Gallery(run.name, Use.AUDIT, photos, classes, run.vocabulary, sample_id=sample_id, read=read)


def browse_workspace(workspace: Workspace) -> Gallery:
    """The last release of a workspace, with all photos that lie in the workspace, kept or not.

    Raises:
        ReviewError: no build has finished in the workspace, or its files are gone.
        ReleaseError: its release is gone or damaged.
    """
    run = _last_finished(workspace)
    offered = _Offered(workspace, run)
    return browse_release(load(run.release), offered)


def browse_release(release: Release, offered: _Offered | None = None) -> Gallery:
    """Every group of every class of a release, and every reject by reason.

    Args:
        release: what `load` opens.
        offered: the workspace that it was built in, where its photos lie; None = only bundled and cached photos are
            at hand, and others are fetched when they are asked for.
    """
    columns = ("photo_id", "class_id", "group", "background_margin")
    rows = zip(*(release.all_photos[name].to_pylist() for name in columns), strict=True)
    photos = [Shown(photo_id, class_id, group, margin) for photo_id, class_id, group, margin in rows]
    for row in release.rejects.to_pylist():
        reason = f"{row['stage']}: {row['reason'].replace('_', ' ')}"
        photos.append(Shown(row["photo_id"], row["class_id"], rejected=reason))
    notes, group_notes = {}, {}
    for row in release.pairs.to_pylist():
        notes[row["class_id"]] = row["verdict"].replace("_", " ")
        for side in ("common", "counter"):
            if row[side] is not None:
                group_notes[row["class_id"], row[side]] = side
    known = _Known(release)

    def read(photo_id: str, may_fetch: bool) -> bytes | None:
        found = offered.read(photo_id) if offered else None
        return found or known.read(photo_id, may_fetch)

    def about(photo_id: str) -> Mapping[str, str]:
        return known.about(photo_id) or (offered.about(photo_id) if offered else {})

    # A reject may be of no class that the release has.
    others = {photo.class_id: photo.class_id or "of no class" for photo in photos}
    classes = release.class_names | {key: name for key, name in others.items() if key not in release.class_names}
    return Gallery(
        f"{release.name} {release.version}",
        Use.BROWSE,
        photos,
        classes,
        notes=notes,
        group_notes=group_notes,
        read=read,
        about=about,
    )


class _Offered:
    """What a workspace holds of the photos that a source offered."""

    def __init__(self, workspace: Workspace, run: Run) -> None:
        pools = [key for key in run.keys if next(iter(workspace.folder("shards", key).glob("*.parquet")), None)]
        if len(pools) != 1:
            raise _gone(workspace)
        self._rows: dict[str, tuple[str | None, ...]] = {}
        shard_of: dict[str, str] = {}
        with_images = set(workspace.names("images", pools[0]))
        columns = ["photo_id", "url", "license", "attribution", "title"]
        for shard in workspace.names("shards", pools[0]):  # the last shard of a photo is the one that counts
            table = read_table(workspace.file("shards", pools[0], shard), CANDIDATES, columns)
            for photo_id, *row in zip(*(table[name].to_pylist() for name in columns), strict=True):
                self._rows[photo_id] = tuple(row)
                if shard in with_images:
                    shard_of[photo_id] = shard
        self.read = WorkspacePhotos(workspace, pools[0], shard_of.get, MAX_CACHED_BYTES)

    def about(self, photo_id: str) -> Mapping[str, str]:
        if photo_id not in self._rows:
            return {}
        url, license, attribution, title = self._rows[photo_id]
        return _texts(title=title, credit=attribution, license=license, link=url)


class _Known:
    """What a release holds and says of its photos."""

    def __init__(self, release: Release) -> None:
        self._release = release

    @functools.cached_property
    def _rows(self) -> dict[str, dict[str, str | None]]:
        tables = self._release.all_photos, self._release.attribution, self._release.captions
        columns = ("url", "license", "attribution"), ("page_url",), ("title",)
        rows: dict[str, dict[str, str | None]] = {}
        for table, names in zip(tables, columns, strict=True):
            for row in table.select(["photo_id", *names]).to_pylist():
                rows.setdefault(row.pop("photo_id"), {}).update(row)
        return rows

    def read(self, photo_id: str, may_fetch: bool) -> bytes | None:
        if photo_id not in self._rows:
            return None
        photos = self._release.photos
        try:
            return photos.get(photo_id) if may_fetch else photos.at_hand(photo_id)
        except ReleaseError as error:
            raise ReviewError(str(error)) from error

    def about(self, photo_id: str) -> Mapping[str, str]:
        row = self._rows.get(photo_id, {})
        link = row.get("page_url") or row.get("url")
        return _texts(title=row.get("title"), credit=row.get("attribution"), license=row.get("license"), link=link)


def _texts(**texts: str | None) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}


def _last_finished(workspace: Workspace) -> Run:
    runs = [run for run in read_runs(workspace) if run.state == FINISHED]
    if not runs:
        raise ReviewError(f"no build has finished in {workspace.root}, so there are no photos to show; finish one")
    return runs[-1]


def _only_file(workspace: Workspace, run: Run, stage: str) -> Place:
    found = [workspace.file(stage, key, "all") for key in run.keys]
    there = [path for path in found if path.is_file()]
    if len(there) != 1:
        raise _gone(workspace)
    return there[0]


def _gone(workspace: Workspace) -> WorkspaceError:
    return WorkspaceError(f"{workspace.root} lacks files of its last finished build; run the build again")
