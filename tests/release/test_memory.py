"""What users of large releases feel: memory does not grow with the photos."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.manifests import manifest_path
from counterset.tables import parquet_options, row_group_size

from .forging import reseal

COPIES = 50
PHOTOS = (
    *("all_photos.parquet", "captions.parquet", "attribution.parquet"),
    *("data/common-00000-of-00001.parquet", "data/common-others-00000-of-00001.parquet"),
)

MEASURE = """
import sys, counterset
from counterset.release.exports import EXPORTS
from counterset.release.photo_store import PhotoStore
from counterset.release.questions import Candidates, Questions
from counterset.release.versions.diff import diff_releases
from counterset.release.versions.followed import newest_release
from counterset.storage import place
EXPORTS["captions"]

def peak(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) / 1024

release = counterset.load(sys.argv[1], verify=False)
before = peak("VmHWM")
{work}
print(peak("VmHWM") - before)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's release with every photo many times."""
    packaged = next(path.parent for path in manifest_path("releases").glob("counterset-demo/*/release.json"))
    folder = Path(shutil.copytree(packaged, tmp_path_factory.mktemp("large") / "1.0.0"))
    for name in PHOTOS:
        table = pq.read_table(folder / name)
        many = pa.concat_tables([table] * COPIES)
        photo_ids = pa.array(sorted(f"p-{number:07d}" for number in range(many.num_rows)))
        many = many.set_column(many.column_names.index("photo_id"), many.schema.field("photo_id"), photo_ids)
        if name.startswith("data/"):
            many = many.drop_columns([column for column in many.column_names if column in ("image", "bundled_sha256")])
        options = parquet_options(many.schema)
        pq.write_table(many, folder / name, row_group_size=row_group_size(many.schema), **options)
    reseal(folder)
    return folder


@pytest.mark.parametrize(
    ("work", "limit_mb"),
    [
        ("assert len(release.photos._rows) > 100_000 and 'p-0090000' in release.photos._rows", 100),
        ("assert not any(diff_releases(release, release).counts.values())", 170),
        ("assert release.export('captions', sys.argv[2]).num_photos > 1000", 185),
        (
            "asked = dict.fromkeys(release.class_names, Candidates(('a', 'b'), 'a'))\n"
            "parts = release.parts\n"
            "release.parts = lambda *what: (part for _ in range(8) for part in parts(*what))\n"
            "assert sum(1 for one in Questions(release, asked)) > 50_000",
            250,
        ),
        ("assert sum(map(len, newest_release(place(sys.argv[1]).parent).parts('all_photos', ['unit']))) > 100_000", 40),
    ],
    ids=["photos", "diff", "captions", "questions", "followed"],
)
def test_memory_does_not_grow_with_the_photos(large: Path, tmp_path: Path, work: str, limit_mb: float) -> None:
    """Read as rows or as whole tables, it is 156, 230, 222 and 437 MB; of ten times the photos, several times that."""
    code = MEASURE.format(work=work)
    command = [sys.executable, "-c", code, str(large), str(tmp_path / "out")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout.split()[-1]) < limit_mb
