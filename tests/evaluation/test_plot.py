"""The robustness plot: what it shows, the same bytes each time, and a page that works without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

import counterset
from counterset.cli import main
from counterset.evaluation.plot import draw, page, write_plots
from counterset.evaluation.points import Point, make_figure, published_points
from counterset.statistics.robustness import Scale

HOSTILE = "</script><b>x</b>\" onload='alert(1)' & co"
OWN = [
    Point("timm:resnet50", "ImageNet", 0.8, 0.65, (0.77, 0.83), (0.6, 0.7), (0.1, 0.2)),
    Point(HOSTILE, "CLIP", 1.0, 0.4, (0.98, 1.0), (0.35, 0.45), (0.55, 0.65), is_in_sample=True),
    Point("callable", "other", 0.7, 0.0, (0.66, 0.74), (0.0, 0.02), (0.64, 0.74)),
]


@pytest.mark.parametrize(("scale", "imagenet"), [("linear", 1.485), ("logit", 1.145), ("probit", 1.214)])
def test_lines_go_through_the_published_families(scale: str, imagenet: float) -> None:
    figure = make_figure("published", Scale(scale), published_points())
    fits = {fit.family: fit for fit in figure.fits}
    assert fits["ImageNet"].line.slope == pytest.approx(imagenet, abs=1e-3)
    assert (fits["ImageNet"].line.num_models, fits["CLIP"].line.num_models) == (15, 28)
    assert any(f"{scale} scale" in note for note in figure.notes)
    assert any("ImageNet line" in note and "15 models" in note for note in figure.notes)


def test_in_sample_models_draw_no_line() -> None:
    points = [Point(f"m{n}", "CLIP", 0.6 + n / 10, 0.4 + n / 10, is_in_sample=n == 0) for n in range(3)]
    assert make_figure("x", Scale.LOGIT, points).fits == ()
    assert len(make_figure("x", Scale.LOGIT, [*points, Point("m3", "CLIP", 0.95, 0.8)]).fits) == 1


@pytest.mark.parametrize("scale", list(Scale))
def test_the_same_figures_give_the_same_bytes(scale: Scale) -> None:
    figure = make_figure("a release", scale, [*OWN, *published_points()])
    assert draw(figure) == draw(figure) and page(figure) == page(figure)


def test_files_are_whole_and_ask_nothing_of_the_network(tmp_path: Path) -> None:
    svg, png, html = write_plots(make_figure("a release", Scale.LOGIT, [*OWN, *published_points()]), tmp_path)
    ElementTree.parse(svg)
    with Image.open(png) as image:
        assert min(image.size) > 900
    text = html.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?\s*(?:https?:)?//|@import|url\(", text)
    assert HOSTILE not in text and "&lt;/script&gt;" in text
    assert text.count('class="point mark') == len(OWN) + 43


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_opens_the_page_without_a_complaint(tmp_path: Path) -> None:
    _, _, html = write_plots(make_figure("a release", Scale.LOGIT, [*OWN, *published_points()]), tmp_path)
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"file://{html}"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in run.stderr, run.stderr
    assert "callable" in run.stdout


def test_plot_of_an_evaluation(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = counterset.evaluate(small.load(), ["demo:weak", "demo:plain"], label_space="classes", output=tmp_path)
    assert main(["plot", str(found.folder), "--published", "--output", str(tmp_path / "plots")]) == 0
    out = capsys.readouterr().out
    assert "logit scale" in out and "Published CLIP line" in out
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        f"robustness.{suffix}" for suffix in ("html", "png", "svg")
    ]
    assert main(["plot", str(found.folder.parent)]) == 2
    assert f"there is {found.folder}" in capsys.readouterr().err
