"""Releases as a forger would leave them: altered, and stated and summed to fit."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from counterset.release.checksums import render_sums


def reseal(folder: Path, *, rows: bool = True) -> None:
    """Make release.json and SHA256SUMS agree with the files; `rows` = their numbers of rows too."""
    metadata = json.loads((folder / "release.json").read_text())
    for path, entry in metadata.get("files", {}).items():
        content = (folder / path).read_bytes()
        entry |= {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        if rows and "num_rows" in entry:
            entry["num_rows"] = pq.read_metadata(folder / path).num_rows
    restate(folder, **metadata)


def restate(folder: Path, **changes: Any) -> None:
    """Change what release.json says, and SHA256SUMS with it."""
    metadata = json.loads((folder / "release.json").read_text()) | changes
    (folder / "release.json").write_text(json.dumps(metadata))
    digests = {path: entry["sha256"] for path, entry in metadata["files"].items()}
    digests["release.json"] = hashlib.sha256((folder / "release.json").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(render_sums(digests))
