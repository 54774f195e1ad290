"""A build reads each model's weights once, whichever of its steps ask for it, and holds no more than it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from ..conftest import Sandbox
from .small_build import SMALL_SETTINGS

CONFIG = """
name = "models"
workspace = "workspace"
releases = "releases"
[classes]
list = "demo"
only = ["ice_bear", "lion"]
[source]
kind = "folder"
path = "photos"
[download]
shard_size = 8
""" + SMALL_SETTINGS.replace("[annotate]", 'evaluators = ["demo:medium", "demo:weak"]\n[annotate]')
COUNTED = """
import json, sys
from collections import Counter
from counterset.models import held, open_clip_encoder
read, create, most = Counter(), open_clip_encoder._create, 0
def counted(name):
    global most
    read[name] += 1
    most = max(most, held.num_held())
    return create(name)
open_clip_encoder._create = counted
from counterset.cli import main
code = main(["build", "my.toml"])
print(json.dumps({"read": read, "most": most}), file=open("read.json", "w"))
sys.exit(code)
"""


def test_each_model_is_read_once(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0)
    for class_id in ("ice_bear", "lion"):
        folder = tmp_path / "photos" / class_id
        folder.mkdir(parents=True)
        for number in range(12):
            Image.fromarray(pixels.integers(0, 255, (120, 120, 3), np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "my.toml").write_text(CONFIG)
    sandbox = Sandbox(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", COUNTED], cwd=tmp_path, env=sandbox.environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    found = json.loads((tmp_path / "read.json").read_text())
    assert found["read"] == dict.fromkeys(("demo:annotator", "demo:selector", "demo:medium", "demo:weak"), 1)
    assert found["most"] == 4
