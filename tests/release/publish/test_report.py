"""The report: harmless with hostile text, silent in a browser, offline, and right in its figures."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from PIL import Image

from counterset.classes import ClassSpec
from counterset.load import Release, load
from counterset.release.publish.figures import drop_plot, scatter
from counterset.release.publish.inputs import ReleaseInputs
from counterset.release.publish.summary import ModelScore, mean_drop
from counterset.release.publish.text import plain
from counterset.release.publish.thumbnails import pick, thumbnail_uri
from counterset.release.publish.writer import publish

from ..build_inputs import build_config, build_inputs, draw_photo

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>'",
    "\u202eright to left\u2066",
    "{{ 7 * 7 }}{% raw %}",
    "</style><style>*{display:none}</style>",
    "x" * 100_000,
    "a\x00b\ud800c",
)


class Tags(html.parser.HTMLParser):
    """Collects elements, attributes and visible text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def hostile_inputs() -> ReleaseInputs:
    """A world whose every text column is hostile, each photo with another one."""
    inputs = build_inputs(3, 60)
    rows = inputs.candidates.to_pylist()
    for number, row in enumerate(rows):
        text = HOSTILE[number % len(HOSTILE)].replace("\ud800", "")
        row |= {"attribution": text, "title": text, "description": text, "tags": [text], "taxon_name": text}
        row["url"] = "javascript:alert(1)" if number % 2 else row["url"]
        row["license"] = [None, "cc-by", "cc0", "<b>mine</b>"][number % 4]
    pairs = inputs.pairs.to_pylist()
    for row in pairs:
        row["reason"] = HOSTILE[0]
    rejects = inputs.rejects.to_pylist()
    for row in rejects:
        row |= {"detail": HOSTILE[1], "reason": HOSTILE[0], "stage": HOSTILE[2]}
    names = [ClassSpec(spec.class_id, HOSTILE[i % 5], spec.imagenet_index) for i, spec in enumerate(inputs.classes)]
    group = {"grass": "<i>grass</i>", "snow": "../snow", "rock": '"rock"'}

    def regrouped(table: pa.Table, *columns: str) -> pa.Table:
        found = table.to_pylist()
        for row in found:
            row |= {column: group.get(row[column], row[column]) for column in columns}
        return pa.Table.from_pylist(found, schema=table.schema)

    config = build_config(title=HOSTILE[0] + HOSTILE[2], author=HOSTILE[1], homepage=HOSTILE[4])
    return replace(
        inputs,
        config=config,
        classes=tuple(names),
        candidates=pa.Table.from_pylist(rows, schema=inputs.candidates.schema),
        pairs=regrouped(pa.Table.from_pylist(pairs, schema=inputs.pairs.schema), "common", "counter"),
        rejects=pa.Table.from_pylist(rejects, schema=inputs.rejects.schema),
        backgrounds=regrouped(inputs.backgrounds, "group", "background"),
        group_accuracy=regrouped(inputs.group_accuracy, "group"),
        models=tuple(replace(model, lineage={"family": HOSTILE[0]}) for model in inputs.models),
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs, folder = hostile_inputs(), tmp_path_factory.mktemp("hostile")
    return publish(replace(inputs, config=inputs.config.model_copy(update={"releases": str(folder)}))).path


def test_hostile_text_is_only_text(hostile: Path) -> None:
    page = (hostile / "report.html").read_text(encoding="utf-8")
    tags = Tags(page)
    names = [tag for tag, _ in tags.elements]
    assert not {"script", "iframe", "object", "embed", "form", "base", "i-grass", "b-mine"} & set(names)
    assert names.count("style") == 1
    for _, attributes in tags.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("href", "src"):
            target = attributes.get(name) or ""
            assert urlsplit(target).scheme in ("", "data", "https"), target
    assert "<script>alert(1)</script>" in "".join(tags.text)
    assert "{{ 7 * 7 }}" in "".join(tags.text)
    for invisible in ("\u202e", "\u2066", "\x00"):
        assert invisible not in page
    assert len(page) < 2_000_000
    assert "x" * 300 not in page


def test_hostile_text_in_card_and_metadata(hostile: Path) -> None:
    card = (hostile / "README.md").read_text(encoding="utf-8")
    assert "<script" not in card
    assert "<img" not in card
    assert "</style" not in card
    assert "\u202e" not in card
    front = card.split("---")[1]
    yaml = pytest.importorskip("yaml")
    parsed = yaml.safe_load(front)
    assert parsed["pretty_name"].startswith("<script>")
    assert parsed["configs"][0]["config_name"] == "default"
    citation = yaml.safe_load((hostile / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    json.loads((hostile / "croissant.json").read_text(encoding="utf-8"))
    assert load(hostile).captions["title"].to_pylist()


def test_the_policy_allows_only_the_pages_own_style(release_folder: Path) -> None:
    page = (release_folder / "report.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy[1]
    sources = [value for _, attributes in Tags(page).elements for name, value in attributes.items() if name == "src"]
    assert sources
    assert all((source or "").startswith("data:image/jpeg;base64,") for source in sources)


def test_thumbnails_carry_no_metadata_and_a_credit(release_folder: Path, release: Release) -> None:
    page = (release_folder / "report.html").read_text(encoding="utf-8")
    uris = re.findall(r'src="(data:image/jpeg;base64,[^"]+)"', page)
    assert page.count("<figcaption>") == len(uris)
    for uri in uris[:10]:
        content = base64.b64decode(uri.partition(",")[2])
        assert b"Exif" not in content
        image = Image.open(io.BytesIO(content))
        assert max(image.size) <= 200
        assert len(image.getexif()) == 0
    assert page.count("(c) Observer") == len(uris)


def test_thumbnails_only_where_the_licence_allows(inputs: ReleaseInputs, tmp_path: Path) -> None:
    rows = inputs.candidates.to_pylist()
    for number, row in enumerate(rows):
        row["license"] = (None, "cc-by-nd", "cc-by")[number % 3]
        row["attribution"] = "allowed" if number % 3 == 2 else "forbidden"
    candidates = pa.Table.from_pylist(rows, schema=inputs.candidates.schema)
    config = build_config().model_copy(update={"releases": str(tmp_path)})
    page = (publish(replace(inputs, candidates=candidates, config=config)).path / "report.html").read_text()
    assert "forbidden" not in page
    assert page.count("allowed") > 20
    assert "for their licence does not allow it" in page


def test_no_photo_at_hand_is_no_problem(inputs: ReleaseInputs, tmp_path: Path) -> None:
    config = build_config().model_copy(update={"releases": str(tmp_path)})
    for number, content in enumerate((None, b"<html>", b"\xff\xd8\xff\xe0 broken")):
        broken = replace(inputs, photo_bytes=lambda photo_id, content=content: content, config=config)
        config = config.model_copy(update={"name": f"broken-{number}"})
        page = (publish(broken).path / "report.html").read_text()
        assert "<img" not in page


def test_a_bomb_is_no_thumbnail() -> None:
    buffer = io.BytesIO()
    Image.new("1", (11_000, 11_000)).save(buffer, "PNG")
    assert thumbnail_uri(buffer.getvalue()) is None
    assert thumbnail_uri(draw_photo("x")) is not None


def test_the_figures_on_top_are_the_tables(release_folder: Path, release: Release) -> None:
    text = " ".join(" ".join(Tags((release_folder / "report.html").read_text()).text).split())
    verdicts = release.pairs["verdict"].to_pylist()
    assert f"{verdicts.count('confirmed')} of {len(verdicts)} classes confirmed" in text
    estimate = mean_drop(release.pairs)
    assert estimate is not None
    assert f"{estimate.value * 100:+.1f} points mean drop over {estimate.num_classes} classes" in text
    assert f"{release.table('common').num_rows} photos on common backgrounds" in text
    for row in release.pairs.to_pylist():
        if row["drop"] is not None:
            assert f"{row['drop'] * 100:+.1f} points".replace("-", "\N{MINUS SIGN}") in text


def test_drop_plot_places_values_on_its_axis(release: Release) -> None:
    plot = drop_plot(release.pairs.to_pylist(), {})
    assert plot is not None
    first, last = plot.ticks[0], plot.ticks[-1]
    per_point = (last.at - first.at) / (float(last.label) - float(first.label))
    drops = {row["class_id"]: row["drop"] for row in release.pairs.to_pylist()}
    for row in plot.rows:
        assert row.x == pytest.approx(plot.zero + drops[row.label] * 100 * per_point, abs=0.02)
        assert row.low <= row.x <= row.high
        assert plot.left <= row.low
        assert row.high <= plot.width
    ordered = [drops[row.label] for row in plot.rows]
    assert ordered == sorted(ordered, reverse=True)
    assert drop_plot([], {}) is None


def test_drop_plot_marks_other_models_and_prompts(release: Release) -> None:
    pairs = [row for row in release.pairs.to_pylist() if row["drop"] is not None][:1]
    others = [
        {"class_id": pairs[0]["class_id"], "model": "a<b", "templates": "openai80", "drop": -0.35},
        {"class_id": "another", "model": "m", "templates": "paper", "drop": 0.9},
    ]
    plot = drop_plot(pairs, {}, others)
    assert plot is not None
    (mark,) = plot.rows[0].others
    assert mark.title == "a<b, openai80 prompts: -35.0"
    assert plot.ticks[0].at <= mark.x < plot.zero


def test_scatter_fits_lines_without_the_in_sample_models() -> None:
    def score(name: str, family: str, common: float, counter: float, is_in_sample: bool = False) -> ModelScore:
        return ModelScore(name, "evaluator", family, common, counter, 3, is_in_sample)

    scores = [score(f"a{i}", "A", 0.5 + 0.1 * i, 0.3 + 0.2 * i) for i in range(3)]
    scores += [score("b0", "B", 0.6, 0.5), score("b1", "B", 0.7, 0.6), score("chosen", "A", 0.8, 0.1, True)]
    drawn = scatter(scores)
    assert drawn is not None
    assert [line.family for line in drawn.lines] == [0]
    line, own = drawn.lines[0], drawn.points[:3]
    slope = (line.y2 - line.y1) / (line.x2 - line.x1)
    for point in own:
        assert line.y1 + slope * (point.x - line.x1) == pytest.approx(point.y, abs=0.1)
    for end in (line.y1, line.y2):
        assert drawn.top - 0.1 <= end <= drawn.top + drawn.side + 0.1
    assert scatter([]) is None


def test_the_sample_of_photos_is_blind_and_fixed() -> None:
    photo_ids = [f"p-{i}" for i in range(100)]
    assert pick(photo_ids, 8) == pick(photo_ids[::-1], 8)
    assert pick(photo_ids, 8) != photo_ids[:8]


def test_plain_text() -> None:
    assert plain("a\n b\t\u202ec") == "a b c"
    assert plain("x" * 100_000, 10) == "x" * 9 + "…"
    assert plain(None) == ""


FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--no-first-run",
    "--no-pings",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


def browse(page: Path, folder: Path, *more: str) -> tuple[str, list[str], Sequence[dict[str, Any]]]:
    """The page's DOM, the console's lines, and the net log's URL requests."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no chromium on the PATH")
    log = folder / "net.json"
    done = subprocess.run(
        [
            chromium,
            *FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={log}",
            "--enable-logging=stderr",
            *more,
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    found = json.loads(log.read_text())
    requests = [
        event
        for event in found["events"]
        # The browser's own requests (its clock, its updates) have no page as initiator.
        if (event.get("params") or {}).get("url", "").startswith("http")
        and event["params"].get("initiator", "not an origin") != "not an origin"
    ]
    return done.stdout, console, requests


@pytest.mark.parametrize("which", ["plain", "hostile"])
def test_a_browser_shows_it_without_errors_or_requests(
    which: str, release_folder: Path, hostile: Path, tmp_path: Path
) -> None:
    page = (hostile if which == "hostile" else release_folder) / "report.html"
    dom, console, requests = browse(page, tmp_path)
    assert "classes confirmed" in dom
    assert console == []
    own = [event["params"]["url"] for event in requests]
    assert own == []


def test_the_browser_test_can_fail(tmp_path: Path) -> None:
    """A page that asks for an outside picture and breaks its own policy is seen to do so."""
    page = tmp_path / "bad.html"
    page.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error("seen")</script>')
    _, console, requests = browse(page, tmp_path)
    assert any("seen" in line for line in console)
    assert any("127.0.0.1:9" in event["params"]["url"] for event in requests)
