"""Releases: whole or not at all, immutable, the same bytes from the same inputs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from counterset.classes import ClassSpec
from counterset.config import source_config
from counterset.errors import ConfigError, ReleaseError
from counterset.load import load
from counterset.release.publish.inputs import ModelRecord, ReleaseInputs
from counterset.release.publish.writer import Published, publish
from counterset.release.schemas import TABLES
from counterset.schemas import REJECTS, SENSITIVITY
from counterset.tables import table_of

from ..build_inputs import SELECTOR, build_config, build_inputs, drop_photos

FILES = {
    "README.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "SHA256SUMS",
    "croissant.json",
    "release.json",
    "report.html",
    *(f"{name}.parquet" for name in TABLES),
    "data/common-00000-of-00001.parquet",
    "data/counter-00000-of-00001.parquet",
}


@pytest.fixture(scope="module")
def small() -> ReleaseInputs:
    return build_inputs(3, 60, with_photos=False)


def published(inputs: ReleaseInputs, folder: Path, **changes: Any) -> Published:
    config = build_config(**changes).model_copy(update={"releases": str(folder)})
    return publish(replace(inputs, config=config))


def sums(release: Published) -> str:
    return (release.path / "SHA256SUMS").read_text()


def edit(table: pa.Table, column: str, photo_id: str, value: Any) -> pa.Table:
    rows = table.to_pylist()
    for row in rows:
        if row["photo_id"] == photo_id:
            row[column] = value
    return pa.Table.from_pylist(rows, schema=table.schema)


def test_a_release_holds_every_file(small: ReleaseInputs, tmp_path: Path) -> None:
    release = published(small, tmp_path)
    found = {path.relative_to(release.path).as_posix() for path in release.path.rglob("*") if path.is_file()}
    assert found == FILES
    assert release.path == tmp_path / "little-animals" / "1.0.0"
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=release.path, capture_output=True, text=True)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == len(FILES) - 1


def test_the_same_inputs_give_the_same_bytes(small: ReleaseInputs, tmp_path: Path) -> None:
    shuffled = replace(
        small,
        **{
            name: getattr(small, name).take(list(range(getattr(small, name).num_rows))[::-1])
            for name in ("candidates", "photos", "members", "predictions", "pairs", "rejects")
        },
    )
    first, second = published(small, tmp_path / "a"), published(shuffled, tmp_path / "b" / "deeper")
    assert sums(first) == sums(second)


def test_the_same_content_gives_no_new_version(small: ReleaseInputs, tmp_path: Path) -> None:
    first = published(small, tmp_path)
    again = published(replace(small, source_snapshot="2026-11-30"), tmp_path)
    assert (again.is_new, again.path) == (False, first.path)
    assert [path.parent.name for path in (tmp_path / "little-animals").glob("[!.]*/release.json")] == ["1.0.0"]


def test_versions_follow_what_changed(small: ReleaseInputs, tmp_path: Path) -> None:
    photo_ids = sorted(small.members["photo_id"].to_pylist())
    without_one = drop_photos(small, {photo_ids[0]})
    steps: list[tuple[ReleaseInputs, str]] = [
        (without_one, "1.0.0"),
        (small, "1.1.0"),  # only added
        (replace(small, models=(*small.models, ModelRecord("new", "evaluator"))), "1.1.1"),  # repackaged
        (without_one, "2.0.0"),  # removed
        (replace(without_one, candidates=edit(without_one.candidates, "license", photo_ids[3], "cc0")), "3.0.0"),
        (replace(without_one, backgrounds=edit(without_one.backgrounds, "group", photo_ids[4], "moon")), "4.0.0"),
    ]
    for number, (changed, version) in enumerate(steps):
        assert published(changed, tmp_path).version == version, number


def test_the_change_log_and_tombstones_tell_of_removals(small: ReleaseInputs, tmp_path: Path) -> None:
    first, second = sorted(small.members["photo_id"].to_pylist())[:2]
    withdrawn = {"photo_id": first, "class_id": "ostrich", "stage": "crawl", "reason": "withdrawn", "detail": "x"}
    rejects = table_of(REJECTS, [*small.rejects.to_pylist(), withdrawn])
    published(small, tmp_path)
    release = published(replace(drop_photos(small, {first, second}), rejects=rejects), tmp_path)
    tombstones = load(release.path).tombstones.to_pylist()
    assert {row["photo_id"]: (row["reason"], row["version"]) for row in tombstones} == {
        first: ("withdrawn", "2.0.0"),
        second: ("not_in_build", "2.0.0"),
    }
    assert set(load(release.path).tombstones.column_names) == {"photo_id", "class_id", "version", "reason"}
    log = (release.path / "CHANGELOG.md").read_text()
    assert (
        log.index("## 2.0.0") < log.index("2 photos removed") < log.index("| withdrawn | 1 |") < log.index("## 1.0.0")
    )
    back = published(replace(drop_photos(small, {second}), rejects=rejects), tmp_path)
    assert back.version == "2.1.0"
    assert load(back.path).tombstones["photo_id"].to_pylist() == [second]
    assert (back.path / "CHANGELOG.md").read_text().count("\n## ") == 3


def test_a_photo_rejected_at_publishing_is_left_out(small: ReleaseInputs, tmp_path: Path) -> None:
    first = sorted(small.members["photo_id"].to_pylist())[0]
    row = {"photo_id": first, "class_id": "ostrich", "stage": "publish", "reason": "withdrawn", "detail": "x"}
    release = load(published(replace(small, rejects=table_of(REJECTS, [row])), tmp_path).path)
    for name in ("all_photos", "captions", "attribution", "predictions"):
        assert first not in release.table(name)["photo_id"].to_pylist()


def test_a_version_may_be_asked_for_but_never_rewritten(small: ReleaseInputs, tmp_path: Path) -> None:
    assert published(small, tmp_path, version="3.1.4").version == "3.1.4"
    fewer = drop_photos(small, {small.members["photo_id"][0].as_py()})
    for version, message in (
        ("3.1.4", "too low.*at least 4.0.0"),
        ("3.2.0", "too low"),
        ("new", "is not a version"),
        ("../5.0.0", "is not a version"),
    ):
        with pytest.raises(ReleaseError, match=message):
            published(fewer, tmp_path, version=version)
    (tmp_path / "little-animals" / "4.0.0").mkdir()
    with pytest.raises(ReleaseError, match=r"4\.0\.0 is damaged \(.*it has no file release\.json"):
        published(fewer, tmp_path)
    assert [path.name for path in (tmp_path / "little-animals").glob(".part*")] == []


def test_gates_refuse_with_the_remedy(small: ReleaseInputs, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"publish\.min_confirmed is 99; collect more photos or lower it"):
        published(small, tmp_path, min_confirmed=99)
    published(small, tmp_path)
    some = set(small.members["photo_id"].to_pylist()[:30])
    with pytest.raises(ReleaseError, match=r"30 of the \d+ photos of 1\.0\.0 would be removed"):
        published(drop_photos(small, some), tmp_path, max_removed_share=0.05)
    moved = small.pairs.set_column(
        small.pairs.column_names.index("drop"), "drop", pc.add(small.pairs["drop"], pa.scalar(0.125))
    )
    with pytest.raises(ReleaseError, match=r"the drop of \w+ moved by 12\.5 points since 1\.0\.0"):
        published(replace(small, pairs=moved), tmp_path, max_drop_change=0.1)
    assert published(replace(small, pairs=moved), tmp_path, max_drop_change=0.2).version == "2.0.0"


def test_class_ids_cannot_leave_the_folder(small: ReleaseInputs, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"class id '\.\./evil' may not name a folder"):
        published(replace(small, classes=(*small.classes, ClassSpec("../evil", "evil"))), tmp_path)


def test_nothing_of_the_machine_is_published(small: ReleaseInputs, tmp_path: Path) -> None:
    local = f"local-dir:{tmp_path}/models/our-model"

    def renamed(table: pa.Table) -> pa.Table:
        column = pc.if_else(pc.equal(table["model"], SELECTOR), local, table["model"])
        return table.set_column(table.column_names.index("model"), table.field("model"), column)

    candidates, rejects = small.candidates.to_pylist(), small.rejects.to_pylist()
    for row in candidates:
        row["url"] = (tmp_path / "my photos" / row["class_id"] / f"{row['photo_id']}.jpg").as_uri()
    rejects[0]["detail"] = f"leads out of the folder, to {tmp_path}/secret/x.jpg"
    rejects[1]["detail"] = "https://photos.example.org/a/b.jpg answers 404"
    models = tuple(replace(model, name=local) if model.name == SELECTOR else model for model in small.models)
    inputs = replace(
        small,
        models=models,
        predictions=renamed(small.predictions),
        group_accuracy=renamed(small.group_accuracy),
        candidates=pa.Table.from_pylist(candidates, schema=small.candidates.schema),
        rejects=pa.Table.from_pylist(rejects, schema=small.rejects.schema),
        config=build_config().model_copy(
            update={"releases": str(tmp_path / "out"), "workspace": str(tmp_path / "work")},
        ),
    )
    config = inputs.config.model_copy(
        update={
            "models": inputs.config.models.model_copy(update={"selectors": (local,)}),
            "source": source_config(
                {
                    "kind": "open_data",
                    "path": str(tmp_path / "my photos"),
                    "api_url": "http://127.0.0.1:40123/v1",
                    "allowed_hosts": ("127.0.0.1:40123",),
                    "contact": "me@x.org",
                }
            ),
        }
    )
    release = publish(replace(inputs, config=config))
    for path in release.path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(tmp_path).encode() not in content, path
            assert b"40123" not in content, path
            assert b"me@x.org" not in content, path
    loaded = load(release.path)
    public = f"local-dir:our-model@{hashlib.sha256(b's').hexdigest()[:8]}"
    assert public in loaded.predictions["model"].to_pylist()
    first = loaded.all_photos.to_pylist()[0]
    assert first["url"] == f"{first['class_id']}/{first['photo_id']}.jpg"
    details = loaded.rejects["detail"].to_pylist()
    assert "leads out of the folder, to x.jpg" in details
    assert "https://photos.example.org/a/b.jpg answers 404" in details
    scores = json.loads((release.path / "release.json").read_text())["models"]
    assert public in [row["name"] for row in scores]


def with_local_things(inputs: ReleaseInputs, home: Path) -> ReleaseInputs:
    """The inputs as of a build whose models, lists and photos all lie below `home`."""
    local, checkpoint, labels = f"local-dir:{home}/models/ours", f"RN50@{home}/w/last.pt", f"{home}/lists/labels.txt"
    names = {SELECTOR: local, "RN50/openai": checkpoint}

    def renamed(table: pa.Table, column: str, changes: dict[str, str]) -> pa.Table:
        values = [changes.get(value, value) for value in table[column].to_pylist()]
        return table.set_column(table.column_names.index(column), table.field(column), pa.array(values))

    candidates, rejects = inputs.candidates.to_pylist(), inputs.rejects.to_pylist()
    for row in candidates:
        row |= {"url": (home / "my photos" / row["class_id"] / f"{row['photo_id']}.jpg").as_uri(), "source": "folder"}
    for number, row in enumerate(rejects):
        row["detail"] = (
            f"leads out of the folder, to {home}/a folder/x y.jpg",
            f"cannot read '{home}/my photos/lion/z.jpg'",
            f"file://{home}/my photos/lion/z.jpg is no photo",
        )[number % 3]
    pair = inputs.pairs.to_pylist()[0]
    figures = dict.fromkeys(("accuracy_common", "accuracy_counter", "drop"), 0.5)
    rows = [
        {"class_id": pair["class_id"], "model": model, "templates": "paper", "num_common": 9, "num_counter": 9}
        | figures
        for model in (local, checkpoint)
    ]
    predictions = renamed(renamed(inputs.predictions, "model", names), "label_space", {"imagenet1k": labels})
    config = inputs.config
    return replace(
        inputs,
        models=tuple(
            replace(m, name=names.get(m.name, m.name), lineage={**m.lineage, "recipe": f"{home}/models/r.json"})
            for m in inputs.models
        ),
        predictions=predictions,
        group_accuracy=renamed(inputs.group_accuracy, "model", names),
        sensitivity=table_of(SENSITIVITY, rows),
        candidates=pa.Table.from_pylist(candidates, schema=inputs.candidates.schema),
        rejects=pa.Table.from_pylist(rejects, schema=inputs.rejects.schema),
        files={f"{home}/lists/{name}": "ab" * 32 for name in ("labels.txt", "classes.csv", "words.csv")},
        config=config.model_copy(
            update={
                "workspace": f"{home}/work",
                "releases": f"{home}/out",
                "classes": config.classes.model_copy(update={"list": f"{home}/lists/classes.csv"}),
                "annotate": config.annotate.model_copy(update={"vocabulary": f"{home}/lists/words.csv"}),
                "evaluate": config.evaluate.model_copy(update={"label_space": labels}),
                "source": source_config({"kind": "folder", "path": f"{home}/my photos"}),
                "models": config.models.model_copy(update={"selectors": (local,), "evaluators": (checkpoint,)}),
            }
        ),
    )


def test_two_builds_in_other_folders_give_equal_bytes_and_name_neither(small: ReleaseInputs, tmp_path: Path) -> None:
    homes = [tmp_path / "alices-home-xyz", tmp_path / "bobs-home" / "deeper"]
    made = [publish(with_local_things(small, home)) for home in homes]
    assert sums(made[0]) == sums(made[1])
    for release, home in zip(made, homes, strict=True):
        for path in (path for path in release.path.rglob("*") if path.is_file()):
            content = path.read_bytes()
            if path.suffix == ".parquet":
                content += json.dumps(pq.read_table(path).to_pylist(), default=str).encode()
            for trace in (str(tmp_path), home.name, "alices-home", "a folder", "my photos"):
                assert trace.encode() not in content, (path, trace)
    loaded = load(made[0].path)
    weights = {role: hashlib.sha256(key.encode()).hexdigest()[:8] for role, key in (("s", "s"), ("e", "RN50/openai"))}
    selector, checkpoint = f"local-dir:ours@{weights['s']}", f"RN50@last.pt@{weights['e']}"
    for table in ("predictions", "groups", "sensitivity"):
        assert {selector, checkpoint} <= set(loaded.table(table)["model"].to_pylist()), table
    assert set(loaded.predictions["label_space"].to_pylist()) == {"labels.txt@abababab"}
    config = loaded.metadata["config"]
    assert config["evaluate"]["label_space"] == "labels.txt@abababab"
    assert (config["classes"]["list"], config["annotate"]["vocabulary"]) == (
        "classes.csv@abababab",
        "words.csv@abababab",
    )
    assert (config["models"]["selectors"], config["models"]["evaluators"]) == ([selector], [checkpoint])
    first = loaded.all_photos.to_pylist()[0]
    assert first["url"] == f"{first['class_id']}/{first['photo_id']}.jpg"
    assert set(loaded.rejects["detail"].to_pylist()) == {
        "leads out of the folder, to x y.jpg",
        "cannot read 'lion/z.jpg'",
        "lion/z.jpg is no photo",
    }


def test_other_weights_are_another_model_and_equal_ones_the_same(small: ReleaseInputs, tmp_path: Path) -> None:
    local = with_local_things(small, tmp_path)
    first = publish(local)
    retrained = tuple(replace(m, weights_sha256="9" * 64) if "ours" in m.name else m for m in local.models)
    second = publish(replace(local, models=retrained))
    assert second.diff is not None and second.version == "2.0.0"
    assert [row["model"] for row in second.diff.predictions.to_pylist()] == [
        f"local-dir:ours@{digest}" for digest in (hashlib.sha256(b"s").hexdigest()[:8], "99999999")
    ]
    twice = replace(
        local.models[0], name=f"local-dir:{tmp_path}/copy/ours", weights_sha256=local.models[1].weights_sha256
    )
    with pytest.raises(ReleaseError, match="have the same name and the same weights; name each model once"):
        publish(replace(local, models=(*local.models, twice)))
    assert first.version == "1.0.0"


def test_no_location_no_handle_no_observer_id(small: ReleaseInputs, tmp_path: Path) -> None:
    release = published(small, tmp_path)
    for path in release.path.rglob("*.parquet"):
        columns = pq.read_schema(path).names
        assert not {"observer_id", "observation_id", "latitude", "longitude", "place"} & set(columns)
    texts = " ".join(filter(None, load(release.path).captions["description"].to_pylist()))
    assert "Seen near the" in texts
    assert not re.search(r"@|48\.8|2\.29", texts)


def test_only_one_build_publishes_at_a_time(small: ReleaseInputs, tmp_path: Path) -> None:
    home = tmp_path / "little-animals"
    home.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import fcntl,time;f=open({str(home / '.lock')!r},'w');"
         "fcntl.flock(f,fcntl.LOCK_EX);print('held',flush=True);time.sleep(60)"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ReleaseError, match="another run is publishing"):
            published(small, tmp_path)
    finally:
        holder.kill()
        holder.communicate()


def test_an_unwritable_place_is_one_sentence(small: ReleaseInputs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReleaseError, match="set `releases` to another folder"):
        published(small, tmp_path / "file")
    elsewhere = build_config().model_copy(update={"releases": "gs://bucket/releases"})
    with pytest.raises(ConfigError, match="give a folder, or s3://bucket/prefix"):
        publish(replace(small, config=elsewhere))


@pytest.mark.parametrize("delay_s", [0.05, 0.2, 0.5])
def test_a_kill_at_any_moment_leaves_no_half_release(small: ReleaseInputs, tmp_path: Path, delay_s: float) -> None:
    """kill -9 while publishing; the next run gives what an undisturbed one gives."""
    undisturbed = published(small, tmp_path / "calm")
    started, child = tmp_path / "started", os.fork()
    if child == 0:
        started.touch()
        try:
            published(small, tmp_path / "killed")
        finally:
            os._exit(0)
    while not started.exists():
        time.sleep(0.01)
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    home = tmp_path / "killed" / "little-animals"
    for left in home.glob("[0-9]*"):
        load(left)
    assert sums(published(small, tmp_path / "killed")) == sums(undisturbed)
    assert not (home / ".part").exists()
    shutil.rmtree(home)


def without_line(folder: Path, name: str) -> None:
    """Take a file out of a release and out of its SHA256SUMS."""
    (folder / name).unlink()
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(line for line in lines if not line.endswith(f"  {name}\n")))


DAMAGES: dict[str, tuple[str, Any]] = {
    "no SHA256SUMS": ("SHA256SUMS", lambda folder: (folder / "SHA256SUMS").unlink()),
    "no data file": ("data/common", lambda folder: (folder / "data" / "common-00000-of-00001.parquet").unlink()),
    "no tombstones": ("tombstones", lambda folder: (folder / "tombstones.parquet").unlink()),
    "tombstones struck out": ("tombstones", lambda folder: without_line(folder, "tombstones.parquet")),
    "altered CHANGELOG": ("CHANGELOG", lambda folder: (folder / "CHANGELOG.md").write_text("# Changes\n\n## 0.9.0\n")),
    "no release.json": ("release.json", lambda folder: (folder / "release.json").unlink()),
    "altered release.json": ("is altered: release.json", lambda folder: (folder / "release.json").write_text("{}")),
    "a list as release.json": ("is altered: release.json", lambda folder: (folder / "release.json").write_text("[]")),
    "a line that is no checksum": ("SHA256SUMS", lambda folder: (folder / "SHA256SUMS").write_text("x\n")),
    "all files but one": ("SHA256SUMS", lambda folder: [p.unlink() for p in folder.glob("[!r]*") if p.is_file()]),
    "another version's folder": (
        r"is of little-animals 1\.0\.0",
        lambda folder: [shutil.rmtree(folder), shutil.copytree(folder.parent / "1.0.0", folder)],
    ),
}


@pytest.fixture(scope="module")
def fewer(small: ReleaseInputs) -> ReleaseInputs:
    return drop_photos(small, {small.members["photo_id"][0].as_py()})


@pytest.fixture(scope="module")
def two_versions(small: ReleaseInputs, fewer: ReleaseInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-versions")
    assert [published(inputs, folder).version for inputs in (small, fewer)] == ["1.0.0", "2.0.0"]
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_last_release_is_not_built_upon(
    small: ReleaseInputs, fewer: ReleaseInputs, two_versions: Path, tmp_path: Path, damage: str
) -> None:
    shutil.copytree(two_versions, tmp_path, dirs_exist_ok=True)
    named, break_it = DAMAGES[damage]
    break_it(tmp_path / "little-animals" / "2.0.0")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for inputs in (small, fewer):
        with pytest.raises(ReleaseError) as refused:
            published(inputs, tmp_path)
    text = str(refused.value)
    assert re.fullmatch(
        rf"the last release \S+/2\.0\.0 is damaged \(.*{named}.*\), so no other is built on it; .*", text
    )
    assert text.endswith("restore it from a copy, or move it away")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_damaged_last_release_may_be_moved_away(fewer: ReleaseInputs, two_versions: Path, tmp_path: Path) -> None:
    shutil.copytree(two_versions, tmp_path, dirs_exist_ok=True)
    (tmp_path / "little-animals" / "2.0.0").rename(tmp_path / "elsewhere")
    made = published(fewer, tmp_path)
    assert made.version == "2.0.0"
    assert sums(made) == (tmp_path / "elsewhere" / "SHA256SUMS").read_text()


def test_what_was_the_content_before_is_the_newest_release_again(small: ReleaseInputs, tmp_path: Path) -> None:
    other = drop_photos(small, {small.members["photo_id"][0].as_py()})
    versions = [published(inputs, tmp_path) for inputs in (small, other, small, small)]
    assert [(made.version, made.is_new) for made in versions] == [
        ("1.0.0", True),
        ("2.0.0", True),
        ("2.1.0", True),
        ("2.1.0", False),
    ]


def test_ten_comes_after_nine(small: ReleaseInputs, tmp_path: Path) -> None:
    published(small, tmp_path, version="9.0.0")
    fewer = drop_photos(small, {small.members["photo_id"][0].as_py()})
    assert published(fewer, tmp_path).version == "10.0.0"
    assert published(fewer, tmp_path).is_new is False
    assert published(small, tmp_path).version == "10.1.0"


def test_every_setting_and_class_is_published_when_it_changes(small: ReleaseInputs, tmp_path: Path) -> None:
    published(small, tmp_path)
    config = small.config
    slower = config.model_copy(update={"download": config.download.model_copy(update={"timeout_s": 25})})
    classes = (replace(small.classes[0], scientific_name="Another name"), *small.classes[1:])
    steps = [replace(small, config=slower), replace(small, config=slower, classes=classes)]
    for inputs, version, said in zip(
        steps, ("1.0.1", "1.0.2"), (r"config.download.timeout\_s | 20 | 25", "Another name"), strict=True
    ):
        made = publish(replace(inputs, config=inputs.config.model_copy(update={"releases": str(tmp_path)})))
        assert (made.version, made.is_new) == (version, True)
        assert said in (made.path / "CHANGELOG.md").read_text()


def test_the_same_inputs_are_not_written_again(
    small: ReleaseInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = published(small, tmp_path)
    monkeypatch.setattr("counterset.release.publish.writer.photo_tables", lambda *_: pytest.fail("made again"))
    again = published(replace(small, predictions=small.predictions.slice(0)), tmp_path)
    assert (again.is_new, again.path) == (False, first.path)


def test_the_removed_share_is_of_the_last_release(small: ReleaseInputs, tmp_path: Path) -> None:
    """10 of 50 photos leave and 56 come: a fifth was removed, not a tenth."""
    photo_ids = sorted(small.members["photo_id"].to_pylist())
    first = drop_photos(small, set(photo_ids[50:]))
    published(first, tmp_path)
    assert len(photo_ids) > 100
    second = drop_photos(small, set(photo_ids[:10]))
    with pytest.raises(ReleaseError, match=r"10 of the 50 photos of 1\.0\.0 would be removed"):
        published(second, tmp_path, max_removed_share=0.199)
    assert published(second, tmp_path, max_removed_share=0.2).version == "2.0.0"


def test_the_removed_share_is_of_the_last_releases_photos(small: ReleaseInputs, tmp_path: Path) -> None:
    """Photos that are new beside them do not hide how many have gone."""
    photo_ids = sorted(small.members["photo_id"].to_pylist())
    later, gone = set(photo_ids[::2]), set(photo_ids[1:31:2])
    published(drop_photos(small, later), tmp_path)
    before, after = len(photo_ids) - len(later), len(photo_ids) - len(gone)
    assert after > 1.5 * before
    share, hidden = len(gone) / before, len(gone) / after
    now = drop_photos(small, gone)
    said = rf"{len(gone)} of the {before} photos of 1\.0\.0 would be removed and publish\.max_removed_share"
    with pytest.raises(ReleaseError, match=said):
        published(now, tmp_path, max_removed_share=(share + hidden) / 2)
    assert published(now, tmp_path, max_removed_share=share, max_drop_change=1.0).version == "2.0.0"
