"""Labels of a workspace's photos, from files to files: which are asked for, and what comes back. No Prefect here."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from counterset.build_records import FINISHED, read_runs
from counterset.classes import normal_name
from counterset.errors import ReviewError
from counterset.review import log
from counterset.review.labels import BETWEEN, Label, LabelFile, read_label_file
from counterset.review.sample import FOLDER, draw_sample
from counterset.review.schemas import AUDIT_SAMPLE, Answer, Mode
from counterset.schemas import BACKGROUNDS, MEMBERS
from counterset.storage import Place
from counterset.tables import read_table, write_table
from counterset.workspace import Workspace

SAMPLED = ("reviewed_backgrounds", "backgrounds")
"""Stages that hold the names of the last build, what reviewers corrected first."""


def audit_sample(workspace: Workspace, *, photos_per_group: int, seed: int = 0) -> pa.Table:
    """The photos of the last finished build that are to be labelled blindly (AUDIT_SAMPLE schema), kept in the
    workspace; the same sample is drawn again as long as the names are the same.

    Raises:
        ReviewError: no build of the workspace has finished.
    """
    backgrounds = _backgrounds(workspace)
    sample = draw_sample(backgrounds, photos_per_group, seed=seed)
    if sample.num_rows:
        [sample_id] = set(sample["sample_id"].to_pylist())
        path = workspace.root / FOLDER / f"{sample_id}.parquet"
        if not path.is_file():
            write_table(sample, AUDIT_SAMPLE, path)
    return sample


def _backgrounds(workspace: Workspace) -> pa.Table:
    """photo_id, class_id, group of the last finished build."""
    runs = [run for run in read_runs(workspace) if run.state == FINISHED]
    for stage in SAMPLED if runs else ():
        for key in runs[-1].keys:
            path = workspace.file(stage, key, "all")
            if path.is_file():
                return read_table(path, BACKGROUNDS, ["photo_id", "class_id", "group"])
    raise ReviewError(f"no build has finished in {workspace.root}, so there is nothing to label; finish one first")


@dataclass(frozen=True)
class Imported:
    """What became of a file of labels.

    Attributes:
        num_labels: that were written to the log.
        num_known: that had been imported before.
        num_unsure: photos that the file says nothing of.
        num_unsampled: labels whose probability is unknown, so that they do not count for `naming`.
        unknown_names: names that no group of the last build has, with how often each is said.
    """

    num_labels: int
    num_known: int
    num_unsure: int
    num_unsampled: int
    unknown_names: dict[str, int]


def import_labels(workspace: Workspace, labels: LabelFile, *, mode: str, reviewer: str = "") -> Imported:
    """Write the labels of a file to the workspace's log of decisions, each once however often it is imported.

    A label's probability is that of the audit sample that asked for its photo, else the file's own.

    Args:
        workspace: whose log.
        labels: the file's.
        mode: audit (made without the name in view) or review.
        reviewer: pseudonym of whoever made labels of which the file does not say who did.

    Raises:
        ReviewError: a label's photo is of no class that is known, its reviewer is not, or it was made with a guess in
            view and is said to be blind.
    """
    if mode == Mode.AUDIT.value and labels.num_guessed:
        raise ReviewError(
            f"{labels.num_guessed} tasks showed their reviewers a prediction, so their labels are not blind; "
            "import them with --mode review"
        )
    samples = _samples(workspace)
    class_of = _classes(workspace) if any(label.class_id is None for label in labels.labels) else {}
    known = set(log.read(workspace)["decision_id"].to_pylist())
    decisions = []
    num_unsampled = num_known = 0
    for label in labels.labels:
        sample_id, probability = samples.get(label.photo_id, (None, None))
        if mode == Mode.REVIEW.value:
            sample_id = probability = None
        elif probability is None:
            probability = label.probability
            num_unsampled += probability is None
        class_id = label.class_id or class_of.get(label.photo_id)
        who = label.reviewer or reviewer
        if class_id is None:
            raise ReviewError(
                f"the photo {label.photo_id[:80]!r} is of no build in {workspace.root}; build first, or give the "
                "labels a column class_id"
            )
        if not who:
            raise ReviewError("the labels do not say who made them; give --reviewer")
        decision_id = _id(labels, label, mode, who)
        if decision_id in known:
            num_known += 1
            continue
        known.add(decision_id)
        decisions.append(
            log.Decision(
                class_id=class_id,
                photo_id=label.photo_id,
                answer=(Answer.NONE if label.said is None else Answer.OTHER).value,
                said_name=label.said,
                reviewer=who,
                mode=mode,
                origin=labels.origin.value,
                sample_id=sample_id,
                probability=probability,
                decision_id=decision_id,
            )
        )
    log.append(workspace, decisions)
    unknown = _unknown_names(workspace, labels)
    return Imported(len(decisions), num_known, labels.num_unsure, num_unsampled, unknown)


def import_truth(workspace: str, path: Path) -> None:
    """Write a CSV file of what photos truly show to a workspace's log, before its first build or after."""
    home = Workspace(workspace)
    home.prepare()
    import_labels(home, read_label_file(path), mode=Mode.AUDIT.value, reviewer="the truth")


def _id(labels: LabelFile, label: Label, mode: str, reviewer: str) -> str:
    """The same for the same label of the same reviewer, however often it is imported."""
    parts: list[Any] = [labels.origin.value, mode, reviewer, label.photo_id, label.said or "", label.probability]
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def _samples(workspace: Workspace) -> dict[str, tuple[str, float]]:
    """photo_id -> sample and probability, of the sample in which the photo is likeliest."""
    found: dict[str, tuple[str, float]] = {}
    paths: list[Place] = sorted((workspace.root / FOLDER).glob("*.parquet"), key=lambda path: path.name)
    for path in paths:
        for row in read_table(path, AUDIT_SAMPLE).to_pylist():
            if row["probability"] > found.get(row["photo_id"], ("", 0.0))[1]:
                found[row["photo_id"]] = row["sample_id"], row["probability"]
    return found


def _classes(workspace: Workspace) -> dict[str, str]:
    """photo_id -> class_id, of all members that any build of the workspace had."""
    paths: list[Place] = sorted((workspace.root / "members").glob("*/all.parquet"), key=str)
    found: dict[str, str] = {}
    for path in paths:
        table = read_table(path, MEMBERS, ["photo_id", "class_id"])
        found |= dict(zip(table["photo_id"].to_pylist(), table["class_id"].to_pylist(), strict=True))
    return found


def _unknown_names(workspace: Workspace, labels: LabelFile) -> dict[str, int]:
    """Names that no group has: a background that the vocabulary lacks, or a slip of the pen."""
    try:
        known = {normal_name(name) for name in _backgrounds(workspace)["group"].to_pylist() if name is not None}
    except ReviewError:
        return {}  # labels may come before the first build
    said = Counter(name for label in labels.labels for name in (label.said or "").split(BETWEEN) if name)
    return {name: count for name, count in sorted(said.items()) if normal_name(name) not in known}
