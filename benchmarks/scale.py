"""How the steps that look at all photos grow: processor microseconds per photo and peak memory above the imports.

    python benchmarks/scale.py --photos 20000 100000 1000000 --folder /tmp/scale

writes, for each number of photos, a workspace of made-up candidates, photos, vectors and appearances of the demo's
models (no pixels; once, the folder is kept until you delete it) and runs each step in a process of its own on what
the steps before it wrote; `plan` is the first, which puts all photos into shards. What was measured is kept in
`<folder>/<photos>/measured.jsonl`, so a run that was killed goes on; `--again STEP ...` forgets these steps and what
they wrote and measures them anew. The digests of what each step wrote are kept too: `--equal FOLDER` compares them with
those of another folder, which another commit wrote.

`--refreshed` measures these steps of a later look, at which one photo in a hundred is new and one in two hundred is
withdrawn. It stands on the release of the first look, and is a workspace of its own that shares the first one's files.

After `publish` come the uses of its release (`release_uses.py`): `verify`, `diff`, `photos`, exports; their memory is
that above what they import, which is far less than what a build imports.

`--floors NAME` ends with an error where a step writes other numbers of rows than that section of `floors.toml` states,
needs more memory, or takes more per photo at the largest number of photos than at a smaller one times a stated growth.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from floors import add_floors, end, peak_mb, section
from release_uses import USES, imports

STEPS = ("plan", "basis", "members", "backgrounds", "predictions", "pairs", "names", "publish")
WRITES = {
    "plan": ("shards",),
    "basis": (),
    "members": ("members", "members_rejects"),
    "backgrounds": ("backgrounds", "stability"),
    "predictions": ("predictions",),
    "pairs": ("pairs", "group_accuracy", "sensitivity"),
    "names": ("named_pairs", "group_names"),
    "publish": (),
} | dict.fromkeys(USES, ())
"""The folders of the workspace that each step writes; the release is beside the workspace."""
CONFIG = """
name = "scale"
workspace = "{folder}/workspace"
releases = "{folder}/releases"
[classes]
list = "{folder}/classes.csv"
[source]
kind = "url_list"
path = "{folder}/list.csv"
photos_per_class = 100000000
[models]
annotator = "demo:annotator"
selectors = ["demo:selector"]
[annotate]
vocabulary = "demo"
[evaluate]
label_space = "classes"
compare_templates = []
[publish]
thumbnails_per_group = 0
"""
PHOTOS_PER_OBSERVER = 3
COPIES = 100
"""Of so many photos one has the bytes of another, and one nearly its look."""


def opened(folder: Path) -> Any:
    """The build of a folder."""
    from counterset.config import load_config
    from counterset.steps.keys import Build

    return Build(load_config(folder / "config.toml"))


def write_candidates(folder: Path, num_photos: int, num_classes: int) -> None:
    """The config, the class list and the candidates of a workspace, unless they are there."""
    if (folder / "offered").exists() or (folder / "prepared").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    from counterset.schemas import CANDIDATES, REJECTS
    from counterset.tables import table_of, write_table

    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG.format(folder=folder))
    names = "".join(f"class_{number:04d},animal number {number}\n" for number in range(num_classes))
    (folder / "classes.csv").write_text("class_id,name\n" + names)
    (folder / "list.csv").write_text("url,class\n")
    build = opened(folder)
    build.workspace.prepare()
    file = functools.partial(build.workspace.file, key=build.crawl_key)
    rng = np.random.default_rng(0)
    class_of = rng.integers(0, num_classes, num_photos)
    observer_of = rng.integers(0, max(num_photos // PHOTOS_PER_OBSERVER, 1), num_photos)
    words = ["seen near the path in the morning", "by the river", "ask me at someone@example.org", "sobre la hierba"]
    order = np.argsort(class_of, kind="stable")
    ends = np.cumsum(np.bincount(class_of, minlength=num_classes))
    for number, spec in enumerate(build.specs):
        own = order[ends[number - 1] if number else 0 : ends[number]]
        photo, observer = pa.array(own), pa.array(observer_of[own])
        constant = {
            "class_id": spec.class_id,
            "source": "url_list",
            "license": "cc-by",
            "observed_on": datetime.date(2024, 5, 1),
            "hour": 12,
            "taxon_id": number,
            "taxon_name": "Animalis numerus",
            "life_stage": None,
            "sex": None,
            "quality_grade": "research",
        }
        types = {field.name: field.type for field in CANDIDATES.arrow()}
        columns = {name: pa.repeat(pa.scalar(value, types[name]), len(own)) for name, value in constant.items()} | {
            "photo_id": text("url_list-", pc.utf8_lpad(text(photo), 10, "0")),
            "url": text("https://photos.example/", photo, ".jpg"),
            "attribution": text("(c) observer ", observer, ", some rights reserved"),
            "observation_id": text(pa.array(np.where(own % 50 == 1, own - own % 2, own))),
            "observer_id": text(observer),
            "place": pc.if_else(
                pa.array(observer_of[own] % 4 > 0),
                text("place ", pa.array(observer_of[own] % (num_photos // 5 + 1))),
                None,
            ),
            "title": text("animal ", photo),
            "description": pa.array(words).take(pa.array(own % len(words))),
            "tags": pa.ListArray.from_arrays(
                np.arange(0, 2 * len(own) + 1, 2, dtype=np.int32), pa.array(["animal", "wild"] * len(own))
            ),
        }
        write_table(table_of(CANDIDATES, columns), CANDIDATES, file("crawl", name=build.crawl_name(spec)))
        write_table(table_of(REJECTS, []), REJECTS, file("crawl_rejects", name=build.crawl_name(spec)))
    write_table(table_of(REJECTS, []), REJECTS, file("withdrawn", name=build.snapshot_name))
    (folder / "offered").touch()


def write_refreshed(folder: Path, first: Path) -> None:
    """A later look at the photos of the workspace `first`, with its release, unless it is there."""
    if (folder / "offered").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    if not released(first):
        sys.exit(f"{first} has no release; measure it without --refreshed first")
    from counterset.schemas import CANDIDATES, REJECTS, RejectReason
    from counterset.tables import read_table, table_of, write_table

    def link_or_copy(source: str, target: str) -> None:
        (os.link if source.endswith(".parquet") else shutil.copy)(source, target)  # tables are only replaced whole

    own = shutil.ignore_patterns("offered", "prepared", "measured.jsonl")
    shutil.copytree(first, folder, copy_function=link_or_copy, ignore=own)
    config = (first / "config.toml").read_text()  # the list stays where it is, for its path is in the keys
    for name in ("workspace", "releases"):
        config = config.replace(f"{first}/{name}", f"{folder}/{name}")
    (folder / "config.toml").write_text(config)
    build = opened(folder)
    before = [build.workspace.file("crawl", build.crawl_key, build.crawl_name(spec)) for spec in build.specs]
    build.end_look()
    build.refresh()
    file = functools.partial(build.workspace.file, key=build.crawl_key)
    gone = [table_of(REJECTS, [])]
    for spec, path in zip(build.specs, before, strict=True):
        known = read_table(path, CANDIDATES)
        row = np.arange(len(known))
        new = known.filter(row % 100 == 0)
        changed = {
            "photo_id": pc.replace_substring(new["photo_id"], "-0", "-9", max_replacements=1),
            "url": text(new["url"].combine_chunks(), "?new"),
            "observation_id": text("new ", new["observation_id"].combine_chunks()),
            "observer_id": text("new ", new["observer_id"].combine_chunks()),
        }
        new = table_of(CANDIDATES, {name: new[name] for name in new.column_names} | changed)
        write_table(pa.concat_tables([known, new]), CANDIDATES, file("crawl", name=build.crawl_name(spec)))
        write_table(table_of(REJECTS, []), REJECTS, file("crawl_rejects", name=build.crawl_name(spec)))
        away = known.filter(row % 200 == 1)
        constant = {"stage": "crawl", "reason": RejectReason.WITHDRAWN.value, "detail": ""}
        told = {name: pa.repeat(value, len(away)) for name, value in constant.items()}
        gone.append(table_of(REJECTS, {name: away[name] for name in ("photo_id", "class_id")} | told))
    write_table(pa.concat_tables(gone), REJECTS, file("withdrawn", name=build.snapshot_name))
    (folder / "offered").touch()


def text(*parts: pa.Array | str) -> pa.Array:
    """Texts put together of texts and numbers, row by row."""
    texts = [part if isinstance(part, str) else part.cast(pa.string()) for part in parts]
    return pc.binary_join_element_wise(*texts, "")


def write_shards(folder: Path) -> None:
    """Images of one byte, photos, vectors and appearances of every shard that has none."""
    from counterset.causes.schemas import APPEARANCE
    from counterset.models.door import open_text_model
    from counterset.schemas import CANDIDATES, IMAGES, PHOTOS, REJECTS, embeddings
    from counterset.stages import annotate
    from counterset.steps.causes_steps import appearance_key
    from counterset.tables import read_table, table_of, write_table

    if (folder / "prepared").exists():
        return
    build = opened(folder)
    number_of = {spec.class_id: number for number, spec in enumerate(build.specs)}
    models = {name: open_text_model(name) for name in build.model_names}
    method = build.config.annotate.method
    annotator = build.config.models.annotator
    backgrounds = annotate.background_classifiers(models[annotator], build.vocabulary, build.specs, method)
    labels = {name: model.encode_texts([spec.name for spec in build.specs]) for name, model in models.items()}
    # (C, B + E, D)
    places = np.stack([backgrounds[spec.class_id] for spec in build.specs])
    names = build.workspace.names("shards", build.pool_key)
    last = build.embed_key([*models][-1])
    for shard, name in enumerate(names):
        if build.workspace.file("embeddings", last, name).exists():
            continue  # written by a run that was killed
        rng = np.random.default_rng(shard)
        photo_ids = read_table(
            build.workspace.file("shards", build.pool_key, name), CANDIDATES, ["photo_id", "class_id"]
        )
        class_of = [number_of[class_id] for class_id in photo_ids["class_id"].to_pylist()]
        photo_ids = photo_ids["photo_id"].combine_chunks()
        size = len(photo_ids)
        hashes = rng.integers(0, 2**64, size, dtype=np.uint64)
        digests = [f"{shard:032x}{row:032x}" for row in range(size)]
        for row in range(COPIES, size, COPIES):
            digests[row] = digests[row - 1]
            hashes[row + 1 if row + 1 < size else row] = hashes[row - 2] ^ np.uint64(0b101)
        constant = {"width_px": 500, "height_px": 375, "size_bytes": 90_000, "shard": name}
        columns = {key: pa.repeat(value, size) for key, value in constant.items()}
        looks_like = pa.array(np.frombuffer(hashes.astype(">u8").tobytes(), "V8").tolist(), pa.binary(8))
        columns |= {"photo_id": photo_ids, "sha256": digests, "phash": looks_like}
        file = functools.partial(build.workspace.file, name=name)
        write_table(table_of(PHOTOS, columns), PHOTOS, file("photos", build.photos_key))
        write_table(table_of(REJECTS, []), REJECTS, file("photos_rejects", build.photos_key))
        write_table(table_of(REJECTS, []), REJECTS, file("download_rejects", build.pool_key))
        images = {"photo_id": photo_ids, "image": pa.repeat(b"x", size)}
        write_table(table_of(IMAGES, images), IMAGES, file("images", build.pool_key))
        looks = {column: rng.random(size) for column in APPEARANCE.arrow().names[1:]} | {"photo_id": photo_ids}
        write_table(table_of(APPEARANCE, looks), APPEARANCE, file("appearance", appearance_key(build)))
        seen = rng.integers(0, len(build.vocabulary), size)
        for model, opened_model in models.items():
            vectors = rng.standard_normal((size, opened_model.embedding_dim)) / np.sqrt(opened_model.embedding_dim)
            vectors += labels[model][class_of]
            if model == annotator:
                vectors += 2 * places[class_of, seen]
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            column = pa.FixedSizeListArray.from_arrays(
                pa.array(vectors.astype(np.float32).reshape(-1)), opened_model.embedding_dim
            )
            schema = embeddings(opened_model.embedding_dim)
            rows = {"photo_id": photo_ids, "model": pa.repeat(model, size), "embedding": column}
            write_table(table_of(schema, rows), schema, file("embeddings", build.embed_key(model)))
    (folder / "prepared").touch()


def run_step(folder: Path, which: str) -> float:
    """Run the steps before `which`, which are done, and then it; its processor seconds."""
    from counterset.steps import naming_steps, release_steps, series, shard_steps, table_steps

    build = opened(folder)
    build.check_models()
    crawls = [build.ref("crawl", build.crawl_key, build.crawl_name(spec)) for spec in build.specs]
    begun = time.process_time()
    shards = shard_steps.plan_shards(build, crawls)
    if which == "plan":
        return time.process_time() - begun
    photos = [build.ref("photos", build.photos_key, name) for name in shards]
    vectors = {
        model: [build.ref("embeddings", build.embed_key(model), name) for name in shards] for model in build.model_names
    }
    annotator, (selector,) = build.config.models.annotator, build.config.models.selectors
    made: dict[str, Any] = {}
    usual = build.config.evaluate.templates
    todo = {
        "basis": lambda: series.basis_of(build, crawls, photos),
        "members": lambda: table_steps.choose_members(build, crawls, photos, vectors[annotator], made["basis"]),
        "backgrounds": lambda: table_steps.annotate_and_group(build, made["members"], vectors[annotator]),
        "predictions": lambda: table_steps.evaluate_model(build, made["members"], vectors[selector], selector, usual),
        "pairs": lambda: table_steps.select_pairs(
            build, made["members"], made["backgrounds"], [made["predictions"]], {}, made["basis"]
        ),
        "names": lambda: naming_steps.name_pairs(
            build, made["members"], made["backgrounds"], [made["predictions"]], made["pairs"]["pairs"]
        ),
        "publish": lambda: release_steps.publish_release(
            build,
            crawls,
            shards,
            photos,
            {"members": made["members"], "backgrounds": made["backgrounds"], **made["pairs"], **made["names"]},
            [made["predictions"]],
            made["basis"],
            today="2026-01-01",
        ),
    }
    for name, step in todo.items():
        before = peak_mb(), time.process_time()
        made[name] = step()
        if name == which:
            sys.stderr.write(f"peak before the step {before[0]:.0f} MB\n")
            return time.process_time() - before[1]
    raise ValueError(which)


def digests_of(folder: Path, which: str) -> dict[str, str]:
    """The sha256 of what a step wrote, by table, whatever its keys are."""
    if which == "publish":
        paths = sorted((folder / "releases").rglob("SHA256SUMS"))
        return {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    found = {}
    for stage in WRITES[which]:
        state = hashlib.sha256()
        for path in sorted((folder / "workspace" / stage).glob("*/*.parquet")):
            state.update(hashlib.sha256(path.read_bytes()).digest())
        found[stage] = state.hexdigest()
    return found


def rows_of(folder: Path, which: str) -> dict[str, int]:
    """The rows that a step wrote, by table."""
    import pyarrow.parquet as pq

    if which == "publish":
        files = [file for path in released(folder) for file in json.loads(path.read_text())["files"].values()]
        tables = {file["table"] for file in files if "table" in file}
        return {name: sum(file["num_rows"] for file in files if file.get("table") == name) for name in sorted(tables)}
    paths = {stage: sorted((folder / "workspace" / stage).glob("*/*.parquet")) for stage in WRITES[which]}
    return {name: sum(pq.read_metadata(path).num_rows for path in files) for name, files in paths.items()}


def released(folder: Path) -> list[Path]:
    """What each release of a workspace says of itself."""
    return sorted((folder / "releases").glob("*/*/release.json"))


def broken(measured: dict[int, dict[str, Any]], floors: dict[str, Any]) -> list[str]:
    """What does not keep to the floors: sentences.

    Args:
        measured: what was measured of each step, by number of photos.
        floors: `growth` and the number of photos that it is `from`, `peak_mb`, and `rows` of tables by number of photos
            and step.
    """
    said = []
    small, large = min(measured, key=lambda num_photos: abs(num_photos - floors["from"])), max(measured)
    for step in [step for step in measured[large] if step in measured[small]]:
        growth = measured[large][step]["seconds"] / large / (measured[small][step]["seconds"] / small)
        if growth > floors["growth"]:
            said.append(f"{step} takes {growth:.2f} times as long per photo for {large} photos as for {small}")
    for num_photos, steps in measured.items():
        for step, row in steps.items():
            if row["peak_mb"] > floors["peak_mb"]:
                said.append(f"{step} takes {row['peak_mb']:.0f} MB for {num_photos} photos")
            for table, count in floors["rows"].get(str(num_photos), {}).get(step, {}).items():
                if row["rows"].get(table) != count:
                    said.append(f"{step} writes {row['rows'].get(table)} {table} of {num_photos} photos, not {count}")
    return said


def measure_use(folder: Path, which: str, queue: Any) -> None:
    """The same of what a user does with the release, whose files are forgotten."""
    if not released(folder):
        sys.exit(f"{folder} has no release; measure publish first")
    imports()
    before = peak_mb()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        begun = time.process_time()
        num_photos = USES[which](released(folder)[-1].parent, Path(scratch))
        seconds = time.process_time() - begun
    rows = {"photos": num_photos}
    row = {"step": which, "seconds": seconds, "peak_mb": peak_mb() - before, "imports_mb": before}
    queue.put(row | {"rows": rows, "digests": {}})


def measure(folder: Path, which: str, queue: Any) -> None:
    """Put a step's processor seconds and peak MB above the imports, and what it wrote, into `queue`."""
    from counterset.models.door import open_text_model  # noqa: F401 - all imports of a build come before
    from counterset.steps import naming_steps, release_steps, table_steps  # noqa: F401

    opened(folder).check_models()
    above = peak_mb()
    seconds = run_step(folder, which)
    row = {"step": which, "seconds": seconds, "peak_mb": peak_mb() - above, "imports_mb": above}
    queue.put(row | {"digests": digests_of(folder, which), "rows": rows_of(folder, which)})


def in_process(target: Any, *arguments: Any) -> None:
    """Run a function in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{target.__name__} failed")


def forget(folder: Path, steps: list[str]) -> list[dict[str, Any]]:
    """What was measured but for these steps and all after the first of them, whose files are deleted."""
    path = folder / "measured.jsonl"
    kept = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for step in steps:
        for stage in WRITES[step]:
            shutil.rmtree(folder / "workspace" / stage, ignore_errors=True)
        if step == "publish":
            shutil.rmtree(folder / "releases", ignore_errors=True)
    kept = [row for row in kept if row["step"] not in steps]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return kept


def main() -> None:
    """Prepare, measure, and print one line per step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, nargs="+", default=[20_000])
    parser.add_argument("--classes", type=int, help="without it 100, or one per 10,000 photos where that is more")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--refreshed", action="store_true", help="a later look at workspaces that are measured")
    parser.add_argument("--steps", nargs="+", choices=[*STEPS, *USES], default=STEPS)
    parser.add_argument("--again", nargs="*", choices=[*STEPS[1:], *USES], default=[])
    parser.add_argument("--equal", type=Path, help="a folder of another commit, whose digests must be the same")
    add_floors(parser)
    arguments = parser.parse_args()
    if arguments.refreshed and arguments.again:
        parser.error("--again would delete the first look's release; delete the folder of the later look instead")
    is_equal = True
    measured: dict[int, dict[str, Any]] = {}
    for num_photos in arguments.photos:
        folder = arguments.folder.resolve() / str(num_photos)
        in_process(write_candidates, folder, num_photos, arguments.classes or max(100, num_photos // 10_000))
        if arguments.refreshed:
            first, folder = folder, folder.with_name(f"{num_photos}-refreshed")
            in_process(write_refreshed, folder, first)
        known = {row["step"]: row for row in forget(folder, arguments.again)}
        for step in ["plan", *(step for step in arguments.steps if step != "plan")]:
            if step not in known:
                queue = multiprocessing.get_context("spawn").SimpleQueue()
                in_process(measure_use if step in USES else measure, folder, step, queue)
                known[step] = queue.get()
                with (folder / "measured.jsonl").open("a") as file:
                    file.write(json.dumps(known[step]) + "\n")
            if step == "plan":
                in_process(write_shards, folder)
            row = known[step]
            measured.setdefault(num_photos, {})[step] = row
            said = f"{step:12s} {num_photos:>10,d} photos {row['seconds'] / num_photos * 1e6:7.1f} us per photo, "
            said += f"peak {row['peak_mb']:6.0f} MB above the imports"
            if arguments.equal:
                lines = (arguments.equal / folder.name / "measured.jsonl").read_text().splitlines()
                other = {row["step"]: row for row in map(json.loads, lines)}.get(step)
                same = other is not None and other["digests"] == row["digests"]
                is_equal &= same
                said += f" ({other['seconds'] / num_photos * 1e6:.1f} us, {other['peak_mb']:.0f} MB)" if other else ""
                said += ", the same bytes" if same else ", OTHER BYTES"
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()
    end(broken(measured, section(arguments.floors)) if arguments.floors else [])
    sys.exit(0 if is_equal else 1)


if __name__ == "__main__":
    main()
