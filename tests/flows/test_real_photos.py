"""Real photos and a real-weights model, through the same build; needs the material in ../shared."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

import counterset

from ..steps import whole_build

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

STYLES = """background,phrases
foggy,in thick fog|in mist
night,late at night|in the darkness
sunny,in bright sunshine
drawn,as a pencil drawing|as a cartoon
"""
"""Names that say how a photo was taken, not where: hardly any of these photos fits one."""


@pytest.fixture(scope="module")
def real_build(shared: Path, real_models: Path, sandbox: Any) -> Path:
    """A folder with a config that the command line built, and its release."""
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
        run = sandbox.here("build", str(work / "real.toml"))
    assert run.returncode == 0, run.stdout + run.stderr
    return work


def test_two_hundred_real_photos_end_in_a_release(real_build: Path) -> None:
    work = real_build
    release = counterset.load(work / "releases" / "popular-animals" / "1.0.0", verdicts=("confirmed", "unconfirmed"))
    photos = release.table("all_photos")
    assert photos.num_rows > 0.95 * NUM_CLASSES * PHOTOS_EACH
    right = release.table("predictions").filter(release.table("predictions")["is_correct"]).num_rows
    assert right > 0.6 * photos.num_rows  # five classes; measured 0.9 and more
    assert release.metadata["config"]["models"]["allow_circular"] is True


def test_names_that_no_photo_fits_end_in_no_pair_that_is_given_by_default(
    real_build: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = (real_build / "real.toml").read_text().replace("popular-animals", "styles")
    (real_build / "styles.csv").write_text(STYLES)
    (real_build / "styles.toml").write_text(f'{config}[annotate]\nvocabulary = "styles.csv"\n')
    with caplog.at_level(logging.WARNING):  # photos and vectors are those of the first build, so no server is needed
        folder, _ = whole_build.build(real_build / "styles.toml")
    anything = ("confirmed", "unconfirmed")
    release = counterset.load(str(folder), verdicts=anything)
    tested = [row for row in release.pairs.to_pylist() if row["common"] is not None]
    assert tested and {row["naming"] for row in tested} == {"failed"}
    assert len(release.common) == len(release.counter) == 0, "the verdicts that are asked for do not matter"
    assert len(counterset.load(str(folder), verdicts=anything, naming=("failed",)).common) > 0
    assert f"gives {len(tested)} pair" in caplog.text and "annotate.vocabulary" in caplog.text
    assert "names failed" in repr(release)
    for page in ("README.md", "report.html"):
        assert "other places suit" in (folder / page).read_text(), page

    honest = counterset.load(real_build / "releases" / "popular-animals" / "1.0.0", verdicts=anything)
    namings = [row["naming"] for row in honest.pairs.to_pylist() if row["common"] is not None]
    assert set(namings) == {"unaudited"}
    assert len(honest.common) > 0
