"""The vectors of a release are those that its own build made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import counterset
from counterset.errors import EmbeddingsError
from counterset.steps.stored_vectors import is_workspace, stored_vectors


@pytest.mark.usefixtures("demo_workspace")
def test_an_audit_embeds_no_photo_again(
    demo_build: Any, prefect_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = demo_build.release.parents[2] / "workspace"
    release = counterset.load(demo_build.release)
    folder = stored_vectors(workspace, release, "demo:annotator")
    [table] = [pq.read_table(path) for path in folder.glob("*.parquet")]
    assert set(table["model"].to_pylist()) == {"demo:annotator"}
    assert set(release.all_photos["photo_id"].to_pylist()) <= set(table["photo_id"].to_pylist())
    arguments = ("audit", str(demo_build.release), "--against", str(folder), "--queries", str(workspace))
    sandbox = type(demo_build.sandbox)(
        tmp_path, prefect_server
    )  # its page looks for photos that the release does not bundle
    run = sandbox.here(*arguments)
    assert run.returncode == 0, run.stderr
    num_photos = release.all_photos.num_rows
    assert f"{num_photos} photos have a near duplicate there" in run.stdout, "each is its own"
    with pytest.raises(EmbeddingsError, match=r"has vectors under .*demo:annotator.* and none under ViT-B-32/openai"):
        stored_vectors(workspace, release, "ViT-B-32/openai")
    other = counterset.load("counterset-demo")
    monkeypatch.setattr(type(other), "version", "9.0.0")
    with pytest.raises(EmbeddingsError, match=r"no finished build of the workspace .* made counterset-demo 9\.0\.0"):
        stored_vectors(workspace, other, "demo:annotator")
    assert is_workspace(workspace) and not is_workspace(folder)
