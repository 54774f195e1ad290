"""The vectors that a build has made of its photos, for whoever needs them again: no photo is read or fetched."""

from __future__ import annotations

from pathlib import PurePosixPath

from counterset.build_records import FINISHED, read_runs
from counterset.errors import EmbeddingsError
from counterset.load import Release
from counterset.similarity.layouts import schema_of, tags_of
from counterset.storage import Place
from counterset.workspace import Workspace


def is_workspace(path: Place) -> bool:
    """Whether a folder is a build's workspace, not one of embeddings."""
    return (path / "runs").is_dir() and (path / "embeddings").is_dir()


def stored_vectors(folder: Place, release: Release, model: str) -> Place:
    """The folder of a release's vectors under a model, in the workspace that the release was built in.

    Raises:
        EmbeddingsError: the workspace did not build this release, or has no vectors under this model.
    """
    workspace = Workspace(str(folder))
    own = [run for run in read_runs(workspace) if run.state == FINISHED and _is_of(run.release, release)]
    if not own:
        raise EmbeddingsError(
            f"no finished build of the workspace {folder} made {release.name} {release.version}; give the workspace "
            "that its config names, or the vectors themselves"
        )
    models: set[str] = set()
    for key in own[-1].keys:
        files: list[Place] = sorted((folder / "embeddings" / key).glob("*.parquet"))
        if files and "surroundings" not in schema_of(files[0]).names:  # those are of whole frames, like no other
            here = set(tags_of(files[0]))
            if model in here:
                return files[0].parent
            models |= here
    raise EmbeddingsError(
        f"the workspace {folder} has vectors under {', '.join(sorted(models)) or 'no model'} and none under {model}; "
        "give a training set's embeddings under one of these, or leave --queries out: photos are then embedded anew"
    )


def _is_of(place: str, release: Release) -> bool:
    return PurePosixPath(place).parts[-2:] == (release.name, release.version)
