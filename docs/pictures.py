"""Make the pictures of the README and the gallery: the packaged release's report, and the demo's models compared.

python docs/pictures.py RELEASE     (a release of the demo with its photos; needs chromium)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from counterset.manifests import manifest_path

FIGURES = Path(__file__).resolve().parent / "figures"
MODELS = ("demo:weak", "demo:medium", "demo:selector", "demo:plain")


def screenshot(page: Path, target: Path, width: int, height: int) -> None:
    """A page as a browser window of that size shows it, in at most 256 colours."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-quic"),
            *(f"--user-data-dir={folder}/profile", f"--window-size={width},{height}", "--virtual-time-budget=5000"),
            *(f"--screenshot={folder}/page.png", page.resolve().as_uri()),
        ]
        subprocess.run(command, check=True, capture_output=True)
        Image.open(f"{folder}/page.png").convert("RGB").quantize(256).save(target, optimize=True)


def models(release: Path, target: Path) -> None:
    """The plot of the demo's models on a release."""
    command = [sys.executable, "-m", "counterset.cli"]
    named = [word for model in MODELS for word in ("--model", model)]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*command, "evaluate", str(release), *named, "--output", folder], check=True)
        [evaluation] = Path(folder).glob("*/*/evaluation.json")
        subprocess.run([*command, "plot", str(evaluation.parent)], check=True)
        [plot] = evaluation.parent.glob("*.png")
        shutil.copyfile(plot, target)


if __name__ == "__main__":
    [packaged] = manifest_path("releases").glob("counterset-demo/*/report.html")
    screenshot(packaged, FIGURES / "report.png", 1200, 1250)
    models(Path(sys.argv[1]), FIGURES / "demo_models.png")
