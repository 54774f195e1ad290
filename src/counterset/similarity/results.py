"""Audits and prunings by version: each a folder that the one publisher writes and nobody rewrites.

    <home>/<version>/  tables, <kind>.json, SHA256SUMS

A version follows the releases' rule: rows gone or changed = major, only added = minor, else patch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from counterset.errors import ReleaseError
from counterset.outputs import check_output
from counterset.parquet_sql import parquet_sql
from counterset.release.checksums import SUMS, parse_sums, verify_files
from counterset.release.publish.publisher import results_turn
from counterset.release.versions.order import newest as newest_version
from counterset.release.versions.order import next_version
from counterset.storage import Place, files_below, name_below
from counterset.tables import sha256_of, write_bytes
from counterset.workspace import check_writable, digest


class Folder(NamedTuple):
    """A published folder; `is_new` is false when an equal one was there."""

    path: Place
    is_new: bool


def publish_folder(
    home: Place,
    kind: str,
    metadata: Mapping[str, Any],
    write: Callable[[Path], None],
    *,
    rows: str,
    columns: str,
) -> Folder:
    """Publish what `write` puts into an empty folder, unless the newest version holds the same.

    Args:
        home: the folder or address of versions.
        kind: audit or pruning; names the JSON file.
        metadata: goes into that file, with the version.
        write: writes all other files.
        rows: glob of the Parquet files whose rows decide the version.
        columns: SQL list of their columns that count as a row's content, the id first.

    Raises:
        ReleaseError: the folder or bucket cannot be written, or another run is publishing there.
    """
    with results_turn(home, kind) as (turn, last):
        aside = turn.aside
        write(aside)
        digests = {name_below(aside, path): sha256_of(path) for path in files_below(aside)}
        content = digest(kind, metadata, digests)
        if last is not None and _content_digest(last, kind) == content:
            return Folder(home / last.name, False)
        version = _next(last, aside, rows, columns)
        full = {"format": f"counterset-{kind}", "version": version, "content_digest": content} | dict(metadata)
        write_bytes((json.dumps(full, indent=2, sort_keys=True) + "\n").encode(), aside / f"{kind}.json")
        digests[f"{kind}.json"] = sha256_of(aside / f"{kind}.json")
        turn.commit(version, digests)
        return Folder(home / version, True)


def check_home(home: Place, kind: str) -> None:
    """See, before any work, that a folder of versions can be written and that its newest version is whole.

    Raises:
        WorkspaceError: it cannot be written.
        ReleaseError: a file of the newest version is missing or altered.
    """
    if isinstance(home, Path):
        check_output(home)
    else:
        check_writable(home, "--output")
    last = newest(home, kind)
    if last is not None:
        try:
            digests = parse_sums((last / SUMS).read_text(encoding="utf-8"), str(last))
            for name in (name_below(last, path) for path in files_below(last)):
                if name not in (*digests, SUMS):
                    raise ReleaseError(f"{SUMS} does not list {name}")
            if isinstance(last, Path):
                verify_files(last, digests)
            elif altered := [name for name, known in digests.items() if sha256_of(last / name) != known]:
                raise ReleaseError(f"{altered[0]} does not match {SUMS}")
            _content_digest(last, kind)
        except (OSError, ValueError, ReleaseError) as error:
            raise ReleaseError(_damaged(last, error)) from error


def _content_digest(last: Place, kind: str) -> str:
    try:
        return str(json.loads((last / f"{kind}.json").read_text(encoding="utf-8"))["content_digest"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ReleaseError(_damaged(last, error)) from error


def _damaged(last: Place, error: Exception) -> str:
    reason = " ".join(str(error).split("; ")[0].split())[:200]
    return f"the last result {last} is damaged ({reason}); restore it, move it away, or give another --name"


def newest(home: Place, kind: str) -> Place | None:
    """The folder of the highest version below `home`; None without any. On S3 a version is there when its sums are."""
    name = f"{kind}.json" if isinstance(home, Path) else SUMS
    version = newest_version(path.parent.name for path in home.glob(f"*/{name}"))
    return home / version if version else None


def _next(last: Path | None, aside: Path, rows: str, columns: str) -> str:
    if last is None:
        return next_version(None, "major")
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        old, new = (f"SELECT {columns} FROM {parquet_sql(sorted(home.glob(rows)))}" for home in (last, aside))
        gone = connection.execute(f"SELECT 1 FROM ({old} EXCEPT {new}) LIMIT 1").fetchone()
        added = connection.execute(f"SELECT 1 FROM ({new} EXCEPT {old}) LIMIT 1").fetchone()
    level = "major" if gone else "minor" if added else "patch"
    return next_version(last.name, level)
