"""Labels from elsewhere: each photo of a file is a label or is counted, and the log takes each once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from counterset.build_records import Recorder
from counterset.cli import main
from counterset.errors import ReviewError
from counterset.review import log
from counterset.review.labels import Label, read_label_file
from counterset.schemas import BACKGROUNDS, MEMBERS
from counterset.statistics.naming import photos_to_label
from counterset.steps.label_steps import audit_sample, import_labels
from counterset.tables import table_of, write_table
from counterset.workspace import Workspace

from .looked_at import make_workspace

KEY = "0123456789abcdef"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """What a finished build leaves of 60 photos of one class, in two groups."""
    made = Workspace(tmp_path / "work")
    made.prepare()
    ids = [f"folder-{n:02d}" for n in range(60)]
    member = {"class_id": "fox", "observation_id": "o", "observer": "b", "unit": "b", "half": "confirm", "shard": "s"}
    names = [column.name for column in MEMBERS.columns]
    rows = [{name: member.get(name) for name in names} | {"photo_id": photo_id} for photo_id in ids]
    write_table(table_of(MEMBERS, rows), MEMBERS, made.file("members", KEY, "all"))
    annotated = {"class_id": "fox", "profile": [1.0], "background": "snow", "margin": 1.0, "is_confident": True}
    rows = [annotated | {"photo_id": photo_id, "group": "snow" if n < 40 else "rock"} for n, photo_id in enumerate(ids)]
    write_table(table_of(BACKGROUNDS, rows), BACKGROUNDS, made.file("backgrounds", KEY, "all"))
    recorder = Recorder(made, "mine")
    recorder.update({}, [KEY])
    recorder.end("finished")
    return made


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_csv(tmp_path: Path) -> None:
    text = "photo_id,background,reviewer,probability\na,Snow | rock,ann,0.5\nb,none,,\nc,?,,\nd,,,\ne,sand,,1\n"
    read = read_label_file(written(tmp_path, "labels.csv", text))
    assert read.labels == (
        Label("a", "Snow|rock", reviewer="ann", probability=0.5),
        Label("b", None),
        Label("e", "sand", probability=1.0),
    )
    assert (read.origin, read.num_unsure) == ("csv", 2)


def task(photo_id: str, *choices: str, **more: Any) -> dict[str, Any]:
    result = [{"type": "choices", "from_name": "name", "to_name": "photo", "value": {"choices": list(choices)}}]
    annotation = {"id": 1, "completed_by": 7, "was_cancelled": False, "result": result if choices else []} | more
    return {"id": 1, "data": {"photo_id": photo_id, "image": "https://a.example/1.jpg"}, "annotations": [annotation]}


def test_label_studio(tmp_path: Path) -> None:
    tasks = [
        task("a", "snow"),
        task("b", "snow", was_cancelled=True),
        task("c"),
        task("d", "rock", completed_by={"email": "ann@example.org"}),
        {"data": {"photo_id": "e"}, "annotations": []},
    ]
    read = read_label_file(written(tmp_path, "tasks.json", tasks))
    assert [(label.photo_id, label.said) for label in read.labels] == [("a", "snow"), ("d", "rock")]
    assert read.labels[0].reviewer == "annotator 7" and "example" not in read.labels[1].reviewer
    assert (read.origin, read.num_unsure) == ("label_studio", 2)


def test_fiftyone(tmp_path: Path) -> None:
    label = {"_cls": "Classification", "label": "snow"}
    samples = [
        {"filepath": "data/a.b.jpg", "background": label, "tags": []},
        {"filepath": "data/x.jpg", "photo_id": "c", "ground_truth": label},
        {"filepath": "data/d.jpg", "ground_truth": None},
    ]
    read = read_label_file(written(tmp_path, "samples.json", {"samples": samples}))
    assert [(one.photo_id, one.said) for one in read.labels] == [("a.b", "snow"), ("c", "snow")]
    assert (read.origin, read.num_unsure) == ("fiftyone", 1)
    exported = {"classes": ["rock", "snow"], "labels": {"a": 1, "b": "rock", "c": None}}
    read = read_label_file(written(tmp_path, "labels.json", exported))
    assert [(one.photo_id, one.said) for one in read.labels] == [("a", "snow"), ("b", "rock")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("labels.csv", "photo,background\na,snow\n", "photo_id and background"),
        ("labels.csv", "photo_id,background\n,snow\n", "no photo_id"),
        ("labels.csv", "photo_id,background,probability\na,snow,often\n", "no number"),
        ("labels.json", "{", "no JSON"),
        ("labels.json", "[" * 100_000, "no JSON"),
        ("labels.json", {"something": 1}, "no labels that are known"),
        ("labels.json", [{"data": {"image": "1.jpg"}, "annotations": []}], "photo_id in its data"),
        ("labels.json", {"samples": [{"background": {"_cls": "Classification", "label": "snow"}}]}, "file path"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, content: Any, words: str) -> None:
    with pytest.raises(ReviewError, match=words):
        read_label_file(written(tmp_path, name, content))


def test_a_file_is_imported_once_with_the_probabilities_of_the_sample(tmp_path: Path, workspace: Workspace) -> None:
    sample = audit_sample(workspace, photos_per_group=10)
    assert audit_sample(workspace, photos_per_group=10) == sample
    asked = dict(zip(sample["photo_id"].to_pylist(), sample["probability"].to_pylist(), strict=True))
    assert sorted(asked.values()) == [0.25] * 10 + [0.5] * 10
    other = next(f"folder-{n:02d}" for n in range(60) if f"folder-{n:02d}" not in asked)
    lines = [f"{photo_id},snow" for photo_id in (*asked, other)]
    read = read_label_file(written(tmp_path, "labels.csv", "photo_id,background\n" + "\n".join(lines) + "\n"))
    done = import_labels(workspace, read, mode="audit", reviewer="ann")
    assert (done.num_labels, done.num_known, done.num_unsampled, done.unknown_names) == (21, 0, 1, {})
    words = {row["photo_id"]: row for row in log.last_words(log.read(workspace)).to_pylist()}
    assert {photo_id: words[photo_id]["probability"] for photo_id in asked} == asked
    assert words[other]["probability"] is None and words[other]["class_id"] == "fox"
    again = import_labels(workspace, read, mode="audit", reviewer="ann")
    assert (again.num_labels, again.num_known) == (0, 21) and log.read(workspace).num_rows == 21


def test_labels_that_are_not_blind_or_of_nobody_are_refused(tmp_path: Path, workspace: Workspace) -> None:
    guessed = task("folder-00", "snow") | {"predictions": [{"result": []}]}
    read = read_label_file(written(tmp_path, "tasks.json", [guessed]))
    with pytest.raises(ReviewError, match="not blind"):
        import_labels(workspace, read, mode="audit")
    assert import_labels(workspace, read, mode="review").num_labels == 1
    one = read_label_file(written(tmp_path, "one.csv", "photo_id,background\nfolder-00,snow\n"))
    with pytest.raises(ReviewError, match="--reviewer"):
        import_labels(workspace, one, mode="audit")
    other = read_label_file(written(tmp_path, "other.csv", "photo_id,background\nfolder-99,snow\n"))
    with pytest.raises(ReviewError, match="column class_id"):
        import_labels(workspace, other, mode="audit", reviewer="ann")


def test_commands(tmp_path: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    asked = tmp_path / "asked.csv"
    assert main(["labels", "sample", str(workspace.root), str(asked), "--half-width", "0.3"]) == 0
    lines = asked.read_text().splitlines()
    assert lines[0] == "photo_id,class_id,background" and len(lines) > 3
    asked.write_text("\n".join([lines[0], *(line + "snw" for line in lines[1:])]))
    for _ in range(2):
        assert main(["labels", "import", str(workspace.root), str(asked), "--mode", "audit", "--reviewer", "ann"]) == 0
    out = capsys.readouterr().out
    assert (
        f"{len(lines) - 1} labels imported\n" in out and f"0 labels imported, {len(lines) - 1} had been before" in out
    )
    assert f"snw ({len(lines) - 1})" in out
    assert main(["labels", "agreement", str(workspace.root)]) == 0
    assert main(["labels", "sample", str(tmp_path / "nowhere"), str(asked)]) == 2
    assert main(["labels", "sample", str(workspace.root), str(asked), "--half-width", "2"]) == 2


def test_the_page_of_an_audit_shows_the_sample_without_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, shown = make_workspace(tmp_path / "work", 200), []
    monkeypatch.setattr("counterset.cli.reviewing._serve", lambda gallery, *_: shown.append(gallery))
    assert main(["review", str(made.root), "--audit", "--half-width", "0.3"]) == 0
    sample = audit_sample(made, photos_per_group=photos_to_label(0.3))
    [gallery] = shown
    assert [photo.photo_id for photo in gallery.photos] == sample["photo_id"].to_pylist()
    assert {photo.name for photo in gallery.photos} == {None}
    assert gallery.sample_id == sample["sample_id"][0].as_py()
