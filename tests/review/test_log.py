"""The log of decisions loses nothing, takes nothing from outside, and says what counts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.errors import ReviewError
from counterset.review import log
from counterset.review.log import Decision
from counterset.review.schemas import DECISIONS
from counterset.workspace import Workspace


def said(photo: str, answer: str = "none", reviewer: str = "ada", **more: object) -> Decision:
    return Decision("fox", photo, answer, reviewer, **more)  # type: ignore[arg-type]


def words(workspace: Workspace) -> list[tuple[str, str, str]]:
    table = log.last_words(log.read(workspace))
    return [(row["reviewer"], row["photo_id"], row["answer"]) for row in table.to_pylist()]


def test_a_batch_is_read_as_it_was_written_in_the_order_it_was_said(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert log.read(workspace).num_rows == 0
    right = said("a-1", "right", shown_name="snow")
    other = said("a-0", "other", shown_name="snow", said_name="grass")
    blind = said("a-0", "other", said_name="grass", mode="audit", sample_id="s1", probability=0.25)
    assert log.append(workspace, [right, other]) == 2
    assert log.append(workspace, [blind]) == 1
    assert log.append(workspace, []) == 0
    table = log.read(workspace)
    assert table.schema.equals(DECISIONS.arrow())
    assert table["decision_id"].to_pylist() == [right.decision_id, other.decision_id, blind.decision_id]
    assert table["probability"].to_pylist() == [None, None, 0.25]
    assert table["said_at"].to_pylist() == sorted(set(table["said_at"].to_pylist()))
    assert len(list((tmp_path / "decisions").iterdir())) == 2  # one file per batch, and nothing else


def test_the_last_word_of_each_reviewer_counts_and_what_was_taken_back_does_not(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first, second = said("a-1"), said("a-1", "reject", reason="clarity")
    log.append(workspace, [first, second, said("a-1", reviewer="bea"), said("a-2")])
    assert words(workspace) == [("ada", "a-1", "reject"), ("bea", "a-1", "none"), ("ada", "a-2", "none")]
    log.append(workspace, [said("a-1", "undo", undoes=second.decision_id)])
    assert words(workspace) == [("ada", "a-1", "none"), ("bea", "a-1", "none"), ("ada", "a-2", "none")]
    log.append(workspace, [said("a-1", "undo", undoes=first.decision_id)])
    assert words(workspace) == [("bea", "a-1", "none"), ("ada", "a-2", "none")]


def test_nobody_takes_back_what_another_said(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    decision = said("a-1")
    log.append(workspace, [decision, said("a-1", "undo", reviewer="bea", undoes=decision.decision_id)])
    assert words(workspace) == [("ada", "a-1", "none")]


def test_a_blind_label_and_a_review_of_one_photo_are_two_things(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    log.append(workspace, [said("a-1"), said("a-1", "other", said_name="snow", mode="audit", sample_id="s1")])
    assert len(words(workspace)) == 2


def test_a_batch_that_was_sent_twice_is_there_once(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    log.append(workspace, [said("a-1")])
    [path] = (tmp_path / "decisions").iterdir()
    path.with_name("copy.parquet").write_bytes(path.read_bytes())
    assert log.read(workspace).num_rows == 1
    log.append(workspace, [said("a-2", decision_id="x")])
    log.append(workspace, [said("a-3", decision_id="x")])
    with pytest.raises(ReviewError, match="have one id and are not the same"):
        log.read(workspace)
    with pytest.raises(ReviewError, match="one decision twice"):
        log.append(workspace, [said("a-2", decision_id="x"), said("a-3", decision_id="x")])


def test_a_damaged_or_foreign_file_is_one_sentence_that_names_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    log.append(workspace, [said("a-1")])
    foreign = tmp_path / "decisions" / "zzz.parquet"
    pq.write_table(pa.table({"photo_id": ["a-1"]}), foreign)
    with pytest.raises(ReviewError, match=r"zzz\.parquet is damaged or holds no decisions .*move it out"):
        log.read(workspace)
    foreign.write_bytes(b"PAR1 not much")
    with pytest.raises(ReviewError, match=r"zzz\.parquet is damaged") as caught:
        log.read(workspace)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"answer": "maybe"}, "the answer 'maybe' of a decision is unknown"),
        ({"mode": "half"}, "the mode 'half'"),
        ({"origin": "web"}, "the origin 'web'"),
        ({"answer": "reject"}, "'reject' needs 'reason'"),
        ({"answer": "reject", "reason": "ugly"}, "the reason 'ugly'"),
        ({"answer": "other"}, "'other' needs 'said_name'"),
        ({"answer": "undo"}, "'undo' needs 'undoes'"),
        ({"said_name": "snow"}, "'none' may not have 'said_name'"),
        ({"reason": "clarity"}, "'none' may not have 'reason'"),
        ({"answer": "right"}, "nothing was shown that could be right"),
        ({"mode": "audit", "shown_name": "snow"}, "a blind decision was shown a name"),
        ({"reviewer": "<b>"}, "the reviewer '<b>' cannot be cited"),
        ({"reviewer": ""}, "the reviewer '' cannot be cited"),
        ({"reviewer": "a" * 41}, "cannot be cited"),
        ({"shown_name": ""}, "the shown_name ''"),
        ({"shown_name": "x" * 201}, "the shown_name"),
        ({"shown_name": "sn\now"}, "the shown_name"),
        ({"probability": 0.0}, "the probability 0.0 is none"),
    ],
)
def test_a_decision_that_contradicts_itself_is_refused(changes: dict[str, object], complaint: str) -> None:
    parts: dict[str, object] = {"class_id": "fox", "photo_id": "a-1", "answer": "none", "reviewer": "ada"}
    with pytest.raises(ReviewError, match=complaint):
        Decision(**(parts | changes))  # type: ignore[arg-type]


WRITER = """
import itertools, sys
from counterset.review import log
from counterset.workspace import Workspace
workspace = Workspace(sys.argv[1])
for number in itertools.count():
    log.append(workspace, [log.Decision("fox", f"a-{number}", "none", "ada")])
    print(number, flush=True)
"""


def test_no_decision_that_was_kept_is_lost_by_a_kill(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for _ in range(25):
        writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    told = 25 + len(writer.stdout.read().split())
    writer.wait()
    writer.stdout.close()
    photos = log.read(Workspace(tmp_path))["photo_id"].to_pylist()
    assert photos[:told] == [f"a-{number}" for number in range(told)]
