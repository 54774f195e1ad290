"""A package from outside adds an export layout in one file; the recipe is in CONTRIBUTING.md."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from counterset.errors import ConfigError
from counterset.load import Release
from counterset.release import exports
from counterset.release.exports import EXPORTS

from ..toy_packages import add_package

TOY = '''
"""One line per photo: its class and its split."""

from counterset.release.exporting import Exported, new_folder

def export(release, folder):
    lines = [f"{row['class_id']} common" for row in release.common.to_pylist()]
    with new_folder(folder) as target:
        (target / "photos.txt").write_text("\\n".join(lines) + "\\n")
    return Exported(folder, len(lines), {})
'''


def command(site: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), *(entry for entry in sys.path if entry)])
    return subprocess.run(
        [sys.executable, "-m", "counterset.cli", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_layout_from_outside(release: Release, release_folder: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    add_package(site, "toy_export", code=TOY, entry_points={"counterset.exports": {"toy": "export"}})
    done = command(site, "export", release_folder, "toy", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{release.common.num_rows} photos in {tmp_path / 'out'}; 0 could not be exported\n"
    classes = release.common["class_id"].to_pylist()
    assert (tmp_path / "out" / "photos.txt").read_text().splitlines() == [f"{name} common" for name in classes]
    refused = command(site, "export", release_folder, "toys", tmp_path / "other")
    assert refused.returncode == 2
    assert refused.stderr == (
        "counterset: unknown export layout 'toys'; did you mean 'toy'? "
        "The choices are captions, csv, hub, hub_eval, imagefolder, inspect_ai, lmms_eval, vlmevalkit, webdataset, "
        "toy\n"
    )


def test_a_release_exports_itself(release: Release, tmp_path: Path) -> None:
    assert release.export("csv", tmp_path / "out").num_photos == release.common.num_rows + release.counter.num_rows
    with pytest.raises(ConfigError, match="did you mean 'imagefolder'"):
        release.export("imagefolders", tmp_path / "other")


def test_the_functions_of_0_1_still_work(release: Release, tmp_path: Path) -> None:
    with pytest.warns(
        DeprecationWarning, match=r'export_csv is deprecated and .* 0\.4; use release.export\("csv", f'
    ) as told:
        export = exports.export_csv
    assert told[0].filename == __file__
    assert export is EXPORTS["csv"]
    with pytest.raises(AttributeError, match="export_nothing"):
        _ = exports.export_nothing
