"""Real photos and a real-weights model, through the same build; needs the material in ../shared."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import counterset

NUM_CLASSES, PHOTOS_EACH = 5, 40
CLASSES = ("bear", "bison", "eagle", "shark", "wolf")

CONFIG = """
name = "popular-animals"
[classes]
list = "classes.csv"
[source]
api_url = "{url}/v1"
photo_url = "{url}"
contact = "tests@localhost"
requests_per_minute = 6000
[models]
annotator = "local-dir:duo"
selectors = ["local-dir:conse"]
allow_circular = true  # both are joined from the same two sets of weights
[group]
min_photos = 5
[evaluate]
label_space = "classes"
[select]
min_photos = 2
min_units = 2
"""


def test_two_hundred_real_photos_end_in_a_release(shared: Path, real_models: Path, sandbox: Any) -> None:
    from counterset.classes import class_list_csv
    from counterset.demo.serve import ServerProcess
    from counterset.demo.server.photo_folder import folder_classes

    work = sandbox.folder / "real"
    for name in CLASSES:
        (work / "photos" / name).mkdir(parents=True)
        for path in sorted((shared / "photos" / name).glob("*.jpg"))[:PHOTOS_EACH]:
            shutil.copyfile(path, work / "photos" / name / path.name)
    for kind in ("duo", "conse"):
        (work / kind).symlink_to(real_models / kind)
    (work / "classes.csv").write_text(class_list_csv(folder_classes(work / "photos")))
    with ServerProcess("--folder", str(work / "photos")) as server:
        (work / "real.toml").write_text(CONFIG.format(url=server.url))
        run = sandbox.counterset("build", str(work / "real.toml"))
    assert run.returncode == 0, run.stdout + run.stderr
    release = counterset.load(work / "releases" / "popular-animals" / "1.0.0", verdicts=("confirmed", "unconfirmed"))
    photos = release.table("all_photos")
    assert photos.num_rows > 0.95 * NUM_CLASSES * PHOTOS_EACH
    right = release.table("predictions").filter(release.table("predictions")["is_correct"]).num_rows
    assert right > 0.6 * photos.num_rows  # five classes; measured 0.9 and more
    assert release.metadata["config"]["models"]["allow_circular"] is True
