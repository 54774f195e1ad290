"""What the flow costs beside its stages, the download beside img2dataset alone, and a rebuild beside the first build.

    python benchmarks/overhead.py --photos 1000 10000 --rebuild 10000
    python benchmarks/overhead.py --photos --rebuild 10000

The second measures the rebuild alone: a first build, a refresh that finds 1 % more photos and 0.5 % gone, and a build
with nothing to do, which is the start; by the clock and in processor seconds, each with all processes that it starts.
`--floors NAME` holds its figures to `floors.toml`.
Each build is the command line's on a fresh workspace, against the look-alike server in a process of its own; the
bare stages are the same steps in one plain loop, in a process of its own, without Prefect and without overlap.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from floors import add_floors, hold

from counterset.config import load_config
from counterset.demo.server.look_alike import serve
from counterset.demo.world.observations import demo_catalog

CLASSES = 8
IMG2DATASET = """
import sys, time
from img2dataset import download
if __name__ == "__main__":
    begun = time.perf_counter()
    download(url_list=sys.argv[1], output_folder=sys.argv[2], input_format="parquet", url_col="url",
             output_format="parquet", disable_all_reencoding=True, processes_count=1, thread_count=int(sys.argv[3]),
             number_sample_per_shard=int(sys.argv[4]), enable_wandb=False, extract_exif=False,
             save_additional_columns=["photo_id"])
    print(time.perf_counter() - begun)
"""
CONFIG = """
name = "overhead"
workspace = "{name}/workspace"
releases = "{name}/releases"
[classes]
list = "demo"
[source]
api_url = "{url}/v1"
photo_url = "{url}"
contact = "benchmark@localhost"
photos_per_class = {photos_per_class}
photos_per_observer_day = 1000
requests_per_minute = 60000
requests_per_day = 1000000
[download]
shard_size = 2000
[models]
annotator = "demo:annotator"
selectors = ["demo:selector"]
evaluators = ["demo:medium", "demo:weak"]
[annotate]
vocabulary = "demo"
[evaluate]
label_space = "classes"
[publish]
thumbnails_per_group = 2
"""


def bare(config_path: Path) -> dict[str, float]:
    """Seconds of each stage, run one after the other in this process."""
    from counterset.steps import shard_steps, table_steps
    from counterset.steps.keys import Build
    from counterset.steps.release_steps import publish_release
    from counterset.steps.series import basis_of

    seconds: dict[str, float] = {}

    def timed(name: str, work: object, *arguments: object) -> object:
        begun = time.perf_counter()
        result = work(*arguments)  # type: ignore[operator]
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - begun
        return result

    build = Build(load_config(config_path))
    build.workspace.prepare()
    torch.set_num_threads(os.cpu_count() or 1)  # one model at a time, so it may have them all
    timed("models", build.check_models)
    timed("crawl", build.source.check, build.specs)
    crawls = [timed("crawl", shard_steps.crawl_class, build, spec) for spec in build.specs]
    timed("plan", shard_steps.recheck, build, crawls)
    shards = timed("plan", shard_steps.plan_shards, build, crawls)
    for shard in shards:
        timed("download", shard_steps.download_shard, build, shard)
        timed("inspect", shard_steps.inspect_shard, build, shard)
        for model in build.model_names:
            timed("embed", shard_steps.embed_shard, build, shard, model)
    photos = [build.ref("photos", build.photos_key, shard) for shard in shards]
    embedded = {
        model: [build.ref("embeddings", build.embed_key(model), shard) for shard in shards]
        for model in build.model_names
    }
    looked_at = embedded[build.config.models.annotator]
    basis = timed("members", basis_of, build, crawls, photos)
    chosen = timed("members", table_steps.choose_members, build, crawls, photos, looked_at, basis)
    annotated = timed("annotate", table_steps.annotate_and_group, build, chosen, looked_at)
    made = {
        item: timed("evaluate", table_steps.evaluate_model, build, chosen, embedded[item[0]], *item)
        for item in build.evaluations
    }
    usual = build.config.evaluate.templates
    predicted = [ref for (_, templates), ref in made.items() if templates == usual]
    others = {"openai80": [ref for (_, templates), ref in made.items() if templates != usual]}
    pairs = timed("select", table_steps.select_pairs, build, chosen, annotated, predicted, others, basis)
    tables = {"members": chosen, "backgrounds": annotated, **pairs}
    today = datetime.datetime.now(UTC).date().isoformat()

    def publish() -> object:
        return publish_release(build, crawls, shards, photos, tables, predicted, basis, today=today)

    timed("publish", publish)
    return seconds


class Took(NamedTuple):
    """What a command took: seconds by the clock, and of processors with all processes that it started."""

    wall_s: float
    cpu_s: float


def _children_s() -> float:
    """Processor seconds of all processes that ended below this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def flow(config: Path, *arguments: str) -> Took:
    """What `counterset build` takes, start of Python and of Prefect's server included."""
    begun, before = time.perf_counter(), _children_s()
    environment = os.environ | {"PREFECT_HOME": str(config.parent / "prefect")}
    command = [sys.executable, "-m", "counterset.cli", "build", str(config), *arguments]
    run = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"the build ended with {run.returncode}:\n{run.stderr[-4000:]}")
    return Took(time.perf_counter() - begun, _children_s() - before)


def img2dataset_alone(config: Path, folder: Path) -> tuple[int, float, float]:
    """Photos, and seconds of one img2dataset call on the list of all shards: its own, and of the whole process."""
    from counterset.steps.keys import Build

    settings = load_config(config)
    build = Build(settings)
    url = f"{settings.source.photo_url}"
    tables = [pq.read_table(path) for path in (build.workspace.root / "shards").glob("*/*.parquet")]
    rows = [row for table in tables for row in table.select(["photo_id", "url"]).to_pylist()]
    urls = [url + "/" + row["url"].partition("://")[2].partition("/")[2] for row in rows]
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"photo_id": [row["photo_id"] for row in rows], "url": urls}), folder / "list.parquet")
    (folder / "alone.py").write_text(IMG2DATASET)
    download = settings.download
    arguments = [str(folder / "list.parquet"), str(folder / "out"), str(download.threads), str(download.shard_size)]
    begun = time.perf_counter()
    run = subprocess.run(
        [sys.executable, str(folder / "alone.py"), *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1"},
    )
    return len(rows), float(run.stdout.split()[-1]), time.perf_counter() - begun


def serve_world(photos_per_class: int, removed: float = 0.0, known: int = 0, port: int = 0) -> object:
    """The look-alike with a world of so many photos a class.

    Args:
        photos_per_class: of the world.
        removed: share of the known observations that are gone.
        known: photos a class of the earlier world, which this one contains; 0 = none.
        port: 0 = one that is free.
    """
    catalog, _ = demo_catalog(photos_per_class, 3)
    if known:
        earlier, _ = demo_catalog(known, 3)
        ids = [observation.observation_id for observation in earlier.observations]
        old, gone, now = set(ids), set(ids[:: round(1 / removed)]), datetime.datetime.now(UTC)
        observations = tuple(
            found if found.observation_id in old else dataclasses.replace(found, created_at=now, updated_at=now)
            for found in catalog.observations
            if found.observation_id not in gone
        )
        catalog = dataclasses.replace(catalog, observations=observations)
    return serve(catalog, port=port)


def say(text: str) -> None:
    """One line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def measure(photos: int, folder: Path) -> None:
    """The flow beside its stages, and the download beside img2dataset alone."""
    with serve_world(photos // CLASSES) as server:  # type: ignore[attr-defined]
        configs = {}
        for name in ("first", "bare", "flow"):
            configs[name] = folder / f"{name}.toml"
            url, each = server.photo_url, photos // CLASSES
            configs[name].write_text(CONFIG.format(name=name, url=url, photos_per_class=each))
        flow(configs["first"])  # the first of each kind is not counted
        command = [sys.executable, __file__, "--bare", str(configs["bare"])]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = json.loads(run.stdout.splitlines()[-1])
        whole = flow(configs["flow"]).wall_s
        total = sum(seconds.values())
        stages = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
        say(f"{photos} photos: stages bare {total:.1f} s ({stages})")
        say(f"{photos} photos: counterset build {whole:.1f} s, {whole / total:.2f} of the stages bare")
        number, own, process = img2dataset_alone(configs["bare"], folder / "alone")
        ours = seconds["download"]
        say(
            f"{number} photos: img2dataset alone {number / own:.0f} a second ({number / process:.0f} with its start), "
            f"the download stage {number / ours:.0f}: {process / ours:.2f} of its rate"
        )


def measure_rebuild(photos: int, folder: Path) -> dict[str, float]:
    """A rebuild after 1 % new and 0.5 % removed photos beside the first build and one with nothing to do; its figures,
    of processor seconds and of what changed in the release."""
    each = photos // CLASSES
    config = folder / "rebuild.toml"
    settings = {"name": "rebuild", "photos_per_class": 10 * each}
    with serve_world(each) as server:  # type: ignore[attr-defined]
        config.write_text(CONFIG.format(url=server.photo_url, **settings))
        first = flow(config)
        port = server.server_address[1]  # another address of the API is another source, of which all is made anew
    with serve_world(each + each // 100, 0.005, known=each, port=port) as server:  # type: ignore[attr-defined]
        config.write_text(CONFIG.format(url=server.photo_url, **settings))
        second = flow(config, "--refresh")
        again = flow(config)
    releases = sorted((folder / "rebuild" / "releases" / "overhead").glob("[0-9]*"))
    changed = json.loads((releases[-1] / "release.json").read_text())["changes"]
    say(f"{photos} photos: {'seconds':>20}{'processor seconds':>20}")
    for name, took in (("first build", first), ("rebuild", second), ("nothing to do", again)):
        say(f"{name:<15}{took.wall_s:>20.1f}{took.cpu_s:>20.1f}")
    ratios = (f"{later / sooner:.1%}" for later, sooner in zip(second, first, strict=True))
    above = (f"{later - start:.1f}" for later, start in zip(second, again, strict=True))
    say(
        f"the rebuild is {' and '.join(ratios)} of the first build, {' and '.join(above)} s above the start ({changed})"
    )
    return {
        "added": changed["added"],
        "removed": changed["removed"],
        "of_first_build": second.cpu_s / first.cpu_s,
        "above_start_of_start": (second.cpu_s - again.cpu_s) / again.cpu_s,
    }


def main() -> None:
    """Measure what was asked for; one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--rebuild", type=int, default=10_000, help="photos of the rebuild's world; 0 = leave it out")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    add_floors(parser)
    arguments = parser.parse_args()
    if arguments.bare:  # in a process of its own, away from the server's
        say(json.dumps(bare(arguments.bare)))
        return
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="counterset-overhead-") as temporary:
        for photos in arguments.photos:
            folder = Path(temporary) / str(photos)
            folder.mkdir()
            measure(photos, folder)
        if arguments.rebuild:
            folder = Path(temporary) / "rebuild"
            folder.mkdir()
            figures = measure_rebuild(arguments.rebuild, folder)
    hold(arguments.floors, figures)


if __name__ == "__main__":
    main()
