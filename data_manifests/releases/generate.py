"""Make the packaged demo release anew: the generated world at 300 photos a class, without the photos.

python data_manifests/releases/generate.py
"""

from __future__ import annotations

import runpy
import shutil
import tempfile
from pathlib import Path

from counterset_flows.build import build

from counterset.demo.start import Demo
from counterset.machine.orphans import leave_none
from counterset.steps.label_steps import import_truth

PHOTOS_PER_CLASS = 300
HOME = Path(__file__).resolve().parent

if __name__ == "__main__":
    leave_none()
    demo = Demo(PHOTOS_PER_CLASS)
    with tempfile.TemporaryDirectory() as folder, demo.server() as server:
        config = demo.config(Path(folder), server.url)
        import_truth(config.workspace, demo.write_labels(Path(folder)))
        publish = config.publish.model_copy(update={"with_images": False})
        result = build(config.model_copy(update={"publish": publish}))
        target = HOME / "counterset-demo" / result.release.name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(result.release, target)
    runpy.run_path(
        str(HOME.parents[1] / "docs/worked_example.py"), run_name="__main__"
    )  # its numbers are this release's
