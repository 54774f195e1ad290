"""From the stages' tables to an immutable release folder, or to the reason why there is none.

It knows no clock and no path: the same inputs after the same last release give the same bytes.
"""

from __future__ import annotations

import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterset.errors import GateRefused, ReleaseError
from counterset.parquet_sql import fill, sorted_rows, spilling
from counterset.release.checksums import METADATA, SUMS
from counterset.release.publish.card import render_card, render_citation
from counterset.release.publish.croissant import describe
from counterset.release.publish.files import describe_file, write_tables
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.provenance import build_digest, release_metadata, statement
from counterset.release.publish.public import public_inputs
from counterset.release.publish.publisher import Turn, release_turn
from counterset.release.publish.report import render_report
from counterset.release.publish.rows import photo_tables, release_tables
from counterset.release.publish.summary import Summary, summarise
from counterset.release.publish.takedowns import bounds_in_words, takedowns
from counterset.release.publish.written import Written, WrittenTable
from counterset.release.stated import MAX_NAME
from counterset.release.versions.changelog import render_markdown
from counterset.release.versions.diff import ReleaseDiff, diff_tables, stored_tables
from counterset.release.versions.last import LastRelease
from counterset.release.versions.meaning import COMPARED
from counterset.release.versions.order import check_asked, newest, next_version
from counterset.schemas import Verdict
from counterset.storage import Place, place
from counterset.tables import sha256_of, write_bytes
from counterset.version import __version__

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published(os.PathLike[str]):
    """A release on disk.

    Attributes:
        path: its folder, or its address on S3.
        version: its version.
        is_new: false when the last release already held the same content.
        diff: what changed since the last release; None for a first release or the same content.
    """

    path: Place
    version: str
    is_new: bool
    diff: ReleaseDiff | None = None

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)


def publish(
    inputs: ReleaseInputs, kind: str = "built", default_verdicts: tuple[str, ...] = (Verdict.CONFIRMED.value,)
) -> Published:
    """Write the release of `inputs` below `config.releases`, or return the last one when nothing changed.

    `kind` is `built` or `imported`; `default_verdicts` are the classes that `counterset.load`
    gives when not told otherwise.

    Raises:
        ReleaseError: a gate refuses, the last release is damaged, the version asked for exists or is
            too low, another run is publishing, or a class id may not name a folder.
    """
    _check_classes(inputs)
    inputs, names = public_inputs(inputs)
    said = statement(inputs, names, kind, default_verdicts)
    name = inputs.config.name
    home = place(inputs.config.releases) / name
    with release_turn(home, name) as (turn, last):
        return _write(turn, inputs, said, last)


def _write(turn: Turn, inputs: ReleaseInputs, said: dict[str, Any], last: LastRelease | None) -> Published:
    """Write the release that follows `last`, unless it says the same."""
    aside = turn.aside
    if last is not None and all(last.metadata.get(key) == value for key, value in said.items()):
        return _unchanged(turn, last)  # the same inputs, so nothing need be written to see that
    is_placed = [len(part) - part["place"].null_count for part in inputs.rows("members").read(["place"])]
    share_placed = sum(is_placed) / max(inputs.rows("members").count(), 1)
    photo_bytes = inputs.photo_bytes if inputs.config.publish.with_images else None
    names = {spec.class_id: spec.name for spec in inputs.classes}
    tables = Written(
        aside,
        __version__,
        lambda tables: write_tables(
            tables, aside, __version__, photo_bytes, class_names=names, verdicts=said["default_verdicts"]
        ),
    )
    photo_tables(inputs, tables)
    release_tables(inputs, tables)
    summary = summarise(tables, inputs.models, inputs.funnel, inputs.config.select.mode, share_placed)
    digest = build_digest(said, tables.files)
    if last is not None and last.metadata.get("build_digest") == digest:
        return _unchanged(turn, last)
    previous = {"version": last.version, "sha256sums": sha256_of(last.path / SUMS)} if last else None
    if inputs.series.newest not in (None, previous["sha256sums"] if previous else ""):
        raise ReleaseError(
            f"another build published to {turn.home} while this one ran, so this one published nothing; run it again"
        )
    diff = _diff(inputs, tables, said, last)
    _gate(inputs, summary, diff, last)
    version = _version(inputs, last, diff)
    _write_tombstones(last, diff, tables, version)
    metadata = release_metadata(inputs, said, summary, version, digest, previous, diff)
    if last is not None and diff is not None and (kept := takedowns(last, diff.photos["removed"], tables["pairs"])):
        metadata["takedowns"] = kept
    digests = _write_pages(aside, inputs, metadata, summary, tables, diff, last)
    return Published(turn.commit(version, digests), version, is_new=True, diff=diff)


def _unchanged(turn: Turn, last: LastRelease) -> Published:
    logger.info("nothing changed since %s; no new version", turn.home / last.version)
    return Published(turn.home / last.version, last.version, is_new=False)


def _write_pages(
    aside: Path,
    inputs: ReleaseInputs,
    metadata: dict[str, Any],
    summary: Summary,
    tables: Written,
    diff: ReleaseDiff | None,
    last: LastRelease | None,
) -> dict[str, str]:
    """Write the pages and release.json; the sha256 of every file of the release by its path."""
    files = dict(tables.files)
    names = {spec.class_id: spec.name for spec in inputs.classes}
    cite_as = f"{metadata['title']}, release {metadata['name']} {metadata['version']}, made with counterset"
    pages = {
        "README.md": render_card(metadata, summary, tables, files),
        "CITATION.cff": render_citation(metadata),
        "CHANGELOG.md": _changelog(metadata, summary, diff, last),
        "croissant.json": _json(describe(metadata, summary, files, cite_as)),
        "report.html": render_report(metadata, summary, tables, names, inputs.photo_bytes),
    }
    for name, text in pages.items():
        write_bytes(text.encode("utf-8", errors="replace"), aside / name)
        files[name] = describe_file(aside, name)
    metadata["files"] = {path: files[path] for path in sorted(files)}
    write_bytes(_json(metadata).encode(), aside / METADATA)
    return {path: entry["sha256"] for path, entry in files.items()} | {METADATA: sha256_of(aside / METADATA)}


def _changelog(metadata: dict[str, Any], summary: Summary, diff: ReleaseDiff | None, last: LastRelease | None) -> str:
    confirmed = f"{summary.verdicts['confirmed']} of {summary.num_classes} classes confirmed"
    text = f"## {metadata['version']}\n\nSource as of {metadata['source_snapshot']}; {confirmed}.\n\n"
    text += render_markdown(diff) if diff else "- First release.\n"
    text += bounds_in_words(metadata, last.version) if last else ""
    earlier = last.changelog.partition("\n## ")[2] if last else ""
    return f"# Changes of {metadata['name']}\n\n{text}" + (f"\n## {earlier}" if earlier else "")


def _diff(inputs: ReleaseInputs, tables: Written, said: dict[str, Any], last: LastRelease | None) -> ReleaseDiff | None:
    if last is None:
        return None
    name = inputs.config.name
    now = {one: of.stored if isinstance(of := tables[one], WrittenTable) else of for one in COMPARED}
    return diff_tables(stored_tables(last), now, f"{name} {last.version}", f"{name} (new)", (last.metadata, said))


def _gate(inputs: ReleaseInputs, summary: Summary, diff: ReleaseDiff | None, last: LastRelease | None) -> None:
    limits = inputs.config.publish
    confirmed = summary.verdicts[Verdict.CONFIRMED.value]
    if confirmed < limits.min_confirmed:
        raise GateRefused(
            f"the gate refuses this release: {confirmed} classes are confirmed and publish.min_confirmed is "
            f"{limits.min_confirmed}; collect more photos or lower it"
        )
    if diff is None or last is None:
        return
    before = last.num_rows("all_photos")
    removed = diff.counts["removed"]
    share = removed / max(before, 1)
    if share > limits.max_removed_share:
        raise GateRefused(
            f"the gate refuses this release: {removed} of the {before} photos of {last.version} would "
            f"be removed and publish.max_removed_share is {limits.max_removed_share:g}; "
            "look at the rejects, or raise it"
        )
    change, class_id = diff.largest_drop_change
    if change > limits.max_drop_change:
        raise GateRefused(
            f"the gate refuses this release: the drop of {class_id} moved by {change * 100:.1f} points since "
            f"{last.version} and publish.max_drop_change is {limits.max_drop_change:g}; look at the models, or raise it"
        )


def _version(inputs: ReleaseInputs, last: LastRelease | None, diff: ReleaseDiff | None) -> str:
    needed = next_version(last.version if last else None, diff.level if diff else "major")
    asked = inputs.config.publish.version
    if not asked:
        return needed
    check_asked(asked)
    if last is not None and newest([asked, needed]) != asked:
        raise ReleaseError(
            f"publish.version {asked} is too low: this is a {diff.level if diff else 'major'} change of "
            f"{last.version}; give at least {needed}, or leave it empty"
        )
    return asked


def _write_tombstones(last: LastRelease | None, diff: ReleaseDiff | None, tables: Written, version: str) -> None:
    """Write the last release's tombstones and the photos removed since; a photo that came back has none."""
    with tables.growing("tombstones") as tombstones:
        if last is None or diff is None:
            return
        with spilling() as connection:
            diff.photos["removed"].give(connection, "removed", ["photo_id", "class_id", "reason"])
            fill(connection, "earlier", last.parts("tombstones"))
            tables["all_photos"].rows.give(connection, "all_photos", ["photo_id"])
            query = f"""
                SELECT * FROM (
                    SELECT photo_id, class_id, '{version}' AS version, reason FROM removed
                    UNION ALL BY NAME FROM earlier ANTI JOIN removed USING (photo_id))
                ANTI JOIN all_photos USING (photo_id)"""
            for part in sorted_rows(connection, query, ["photo_id"]):
                tombstones.add(part)


def _check_classes(inputs: ReleaseInputs) -> None:
    for spec in inputs.classes:
        if not re.fullmatch(rf"[\w-]{{1,{MAX_NAME}}}", spec.class_id):
            raise ReleaseError(
                f"the class id {spec.class_id!r} may not name a folder; use letters, digits, '_' and '-' only, at most "
                f"{MAX_NAME}"
            )


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
