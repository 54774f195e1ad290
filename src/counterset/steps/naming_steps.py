"""The step that says how far groups' names can be trusted, from files to files. No Prefect here."""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.naming.schemas import GROUP_NAMES, Naming
from counterset.review import log
from counterset.review.schemas import Mode
from counterset.schemas import BACKGROUNDS, MEMBERS, PAIRS, PREDICTIONS
from counterset.stages import naming
from counterset.steps.keys import TEST_PACKAGES, Build, parts_of, settings_of
from counterset.tables import TableRef, read_parts, read_table, write_table
from counterset.workspace import digest

logger = logging.getLogger(__name__)

SAID = ("photo_id", "reviewer", "answer", "said_name", "probability")
"""What of a decision says how a photo is named: not when it was said, nor under which id."""
NUM_TOLD = 5
"""Pairs that a warning names."""


def blind_words(build: Build, members: TableRef) -> pa.Table:
    """Each reviewer's last word on each of these photos, of those that were said without the name in view.

    Raises:
        ReviewError: the log of decisions is damaged.
    """
    words = log.last_words(log.read(build.workspace))
    words = words.filter(pc.equal(words["mode"], Mode.AUDIT.value))
    said = words["photo_id"].combine_chunks()
    is_own = np.zeros(len(words), np.bool_)
    for part in read_parts(members.path, MEMBERS, ["photo_id"]) if len(words) else ():
        is_own |= pc.is_in(said, part["photo_id"].combine_chunks()).to_numpy(zero_copy_only=False)
    return words.filter(pa.array(is_own))


def names_key(build: Build, inputs: list[TableRef], words: pa.Table) -> str:
    """`inputs` are the members, backgrounds, pairs and predictions."""
    said = sorted(
        [str(value) for value in row] for row in zip(*(words[name].to_pylist() for name in SAID), strict=True)
    )
    return digest(
        settings_of(build.config, "names", *TEST_PACKAGES),
        [GROUP_NAMES.version, PAIRS.version],
        [ref.sha256 for ref in inputs],
        said,
        build.space.name,
    )


def name_pairs(
    build: Build, members: TableRef, backgrounds: TableRef, predictions: list[TableRef], pairs: TableRef
) -> dict[str, TableRef]:
    """The pairs with what is known of their names, and every group's name.

    Args:
        build: the build.
        members: those that go into the release.
        backgrounds: as reviewers left them.
        predictions: one file per model.
        pairs: the chosen ones.
    """
    words = blind_words(build, members)
    key = names_key(build, [members, backgrounds, pairs, *predictions], words)
    if not build.is_done("named_pairs", key, "all"):
        result = naming.name_pairs(
            words,
            parts_of([members], MEMBERS, ["photo_id", "class_id", "unit"]),
            parts_of([backgrounds], BACKGROUNDS, ["photo_id", "group", "background", "elsewhere"]),
            parts_of(predictions, PREDICTIONS, ["photo_id", "model", "label_space", "is_correct"]),
            read_table(pairs.path, PAIRS),
            build.config.naming,
            selectors=build.config.models.selectors,
            label_space=build.space.name,
            seed=build.config.seed,
        )
        write_table(result.group_names, GROUP_NAMES, build.workspace.file("group_names", key, "all"))
        write_table(result.pairs, PAIRS, build.workspace.file("named_pairs", key, "all"))
    named = {"pairs": build.ref("named_pairs", key, "all"), "group_names": build.ref("group_names", key, "all")}
    _tell_of_doubts(read_table(named["pairs"].path, PAIRS), read_table(named["group_names"].path, GROUP_NAMES))
    return named


def _tell_of_doubts(pairs: pa.Table, group_names: pa.Table) -> None:
    """Warn of pairs that failed because other places suit their photos better than their names."""
    doubted = {
        (row["class_id"], row["group"]) for row in group_names.to_pylist() if naming.is_doubted(row["share_elsewhere"])
    }
    failed = [
        f"{row['class_id']}: {row['common']} > {row['counter']}"
        for row in pairs.to_pylist()
        if row["naming"] == Naming.FAILED.value
        and doubted & {(row["class_id"], row["common"]), (row["class_id"], row["counter"])}
    ]
    if failed:
        logger.warning(
            "`load` gives %d pair%s only when asked to (%s%s), for other places suit most photos of a group better "
            "than its name; choose an annotate.vocabulary that fits the photos, or label some of them blindly "
            "(`counterset review --audit`)",
            len(failed),
            "s" if len(failed) > 1 else "",
            "; ".join(failed[:NUM_TOLD]),
            "; ..." if len(failed) > NUM_TOLD else "",
        )
