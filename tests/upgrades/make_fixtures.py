"""Makes `first_edition/`: a workspace and its releases as the first edition's code left them.

Run it with the code of the last commit before the second edition, 2dcf2a1, and never with later code:

    git worktree add --detach ../first 2dcf2a1
    PYTHONPATH=../first/src:../first/flows python tests/upgrades/make_fixtures.py

Two classes of the demo's world, two dozen photos each; the second release bundles its photos. It is made at
`BUILT_AT`, which some of its files name, and copied beside this script.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PHOTOS_PER_CLASS, SEED, PORT = 24, 5, 28713
"""Of the world's server; tests serve what it gave (`kept_world`) at the same place."""
BUILT_AT = Path("/tmp/counterset-first-edition")
KEPT = Path(__file__).parent / "first_edition"
RELEASES = {"old-addresses": "false", "old-photos": "true"}
"""Name -> whether its photos are bundled."""

CONFIG = """\
name = "{name}"
[classes]
list = "demo"
only = ["ice_bear", "lion"]
[source]
api_url = "{url}/v1"
photo_url = "{url}"
contact = "tests@localhost"
photos_per_class = 1000
requests_per_minute = 6000
requests_per_day = 100000
[download]
shard_size = 30
[models]
annotator = "demo:annotator"
selectors = ["demo:selector"]
[annotate]
vocabulary = "demo"
[evaluate]
label_space = "classes"
[select]
min_photos = 2
min_observers = 2
num_permutations = 1000
[publish]
thumbnails_per_group = 1
with_images = {with_images}
"""


def make() -> None:
    """Build twice in one workspace, evaluate and audit, and keep it all."""
    shutil.rmtree(BUILT_AT, ignore_errors=True)
    BUILT_AT.mkdir()
    # By the names that these had in the first edition.
    world, _ = importlib.import_module("counterset.demo.world").demo_catalog(PHOTOS_PER_CLASS, SEED)
    with importlib.import_module("counterset.demo.server").serve(world, port=PORT) as server:
        for name, with_images in RELEASES.items():
            config = BUILT_AT / f"{name}.toml"
            config.write_text(CONFIG.format(name=name, url=server.photo_url, with_images=with_images))
            counterset("build", str(config))
    release = "releases/old-photos"
    both = ("--verdict", "confirmed", "--verdict", "unconfirmed")
    counterset("evaluate", release, "--model", "demo:weak", "--model", "demo:medium", *both)
    vectors = str(next((BUILT_AT / "workspace/embeddings").iterdir()))
    counterset("audit", release, "--against", vectors, "--queries", vectors, "--name", "old-audit")
    for rest in (".prefect", "audits/.work", "workspace/.lock"):
        path = BUILT_AT / rest
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree(KEPT, ignore_errors=True)
    shutil.copytree(BUILT_AT, KEPT)


def counterset(*arguments: str) -> None:
    environment = os.environ | {"PREFECT_HOME": str(BUILT_AT / ".prefect"), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "counterset.cli", *arguments], cwd=BUILT_AT, env=environment, check=True)


if __name__ == "__main__":
    make()
