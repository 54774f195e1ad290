"""`report.html`: one page that opens offline, prints, fits a phone and asks nothing of the network.

The page carries a content security policy that allows its own style sheet (by hash)
and `data:` pictures, and nothing else; all text is escaped by the template engine.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jinja2
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from counterset.causes.balance import over_classes
from counterset.causes.covariates import in_words
from counterset.licenses import license_title, license_url, may_adapt
from counterset.parquet_sql import runs
from counterset.release.publish import figures
from counterset.release.publish.left_out import not_shown
from counterset.release.publish.other_causes import covariate_lines, held_by, parts_plot
from counterset.release.publish.replication_figure import replication_plot
from counterset.release.publish.summary import Summary
from counterset.release.publish.text import cue_words, percent, plain, points
from counterset.release.publish.thumbnails import pick, thumbnail_uri
from counterset.release.publish.written import WrittenTable, asked
from counterset.release.schemas import SPLITS
from counterset.release.small_classes import small_classes
from counterset.schemas import Verdict

MAX_THUMBNAILS = 2_000
"""In the whole report; many classes get fewer each, so that the page still opens."""

_RIGHTS = re.compile(r",? (?:some|no|all) rights reserved(?: \([^()]*\))?")

_STAGE_ORDER = {"crawl": 0, "download": 1, "curate": 2, "embed": 3, "review": 4, "publish": 5}


@dataclass(frozen=True)
class Thumbnail:
    """One picture of a contact sheet with its credit line; `is_right` is the selector's outcome."""

    uri: str
    credit: str
    license: str
    license_url: str | None
    page_url: str | None
    is_right: bool | None


@dataclass(frozen=True)
class Sheet:
    """One side of a pair: its background, figures and pictures."""

    split: str
    background: str
    accuracy: float | None
    frequency: float | None
    num_photos: int
    num_units: int | None
    thumbnails: tuple[Thumbnail, ...]
    num_withheld: int


@dataclass(frozen=True)
class ClassCard:
    """One class with both sides of its pair."""

    class_id: str
    name: str
    pair: Mapping[str, Any]
    sheets: tuple[Sheet, ...]


@functools.cache  # to compile them takes longer than to fill them
def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("counterset.release.publish"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "plain": plain,
        "points": points,
        "percent": percent,
        "thousands": "{:,}".format,
        "in_words": in_words,
    }
    return templates


def render_report(
    metadata: Mapping[str, Any],
    summary: Summary,
    tables: Mapping[str, Any],
    names: Mapping[str, str],
    photo_bytes: Callable[[str], bytes | None],
) -> str:
    """The page. `metadata` is the content of release.json; `names` the class names by id."""
    templates = _templates()
    pairs = tables["pairs"].to_pylist()
    style = templates.get_template("report.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return templates.get_template("report.html.j2").render(
        **cue_words(metadata),
        metadata=metadata,
        summary=summary,
        style=Markup(style),
        style_digest=digest,
        models=_models(metadata, summary),
        drops=figures.drop_plot(pairs, names, tables["sensitivity"].to_pylist()),
        scatter=figures.scatter(summary.scores),
        clock=replication_plot(tables["replication"].to_pylist(), tables["looks"].to_pylist(), names),
        cards=_cards(metadata, tables, names, photo_bytes),
        small=[
            {"name": names.get(one.class_id, one.class_id), **vars(one)}
            for one in small_classes(tables["pairs"], tables["groups"], metadata["config"]["select"])
        ],
        wrong_answers=tables["wrong_answers_by_model"].to_pylist(),
        controlled={row["class_id"]: row for row in tables["controlled"].to_pylist()},
        covariates=covariate_lines(tables["balance"]),
        parts=parts_plot(over_classes(parts := tables["decomposition"].to_pylist()), held_by(parts)),
        class_parts={class_id: parts_plot(rows) for class_id, rows in _by_class(tables["decomposition"]).items()},
        funnel=_funnel(summary),
        rejects=_rejects(summary),
        not_shown=not_shown(summary.licenses, metadata["config"]["source"]["kind"] in ("folder", "url_list")),
        licenses=[
            (license_title(code), license_url(code), count, may_adapt(code)) for code, count in summary.licenses.items()
        ],
    )


def _by_class(table: pa.Table) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        rows.setdefault(row["class_id"], []).append(row)
    return rows


def _cards(
    metadata: Mapping[str, Any],
    tables: Mapping[str, Any],
    names: Mapping[str, str],
    photo_bytes: Callable[[str], bytes | None],
) -> list[ClassCard]:
    order = {verdict.value: rank for rank, verdict in enumerate(Verdict)}
    pairs = [row for row in tables["pairs"].to_pylist() if row["common"] is not None]
    pairs.sort(key=lambda row: (order.get(row["verdict"], 9), -(row["drop"] or 0.0), row["class_id"]))
    asked = int(metadata["config"]["publish"]["thumbnails_per_group"])
    per_group = min(asked, MAX_THUMBNAILS // max(2 * len(pairs), 1))
    selectors = [model["name"] for model in metadata["models"] if model["role"] == "selector"]
    sides = {split: _Side.by_class(tables[split], 2 * per_group) for split in SPLITS}
    shown = pa.array(
        sorted({photo_id for side in sides.values() for one in side.values() for photo_id in one.picked}), pa.string()
    )
    outcomes, pages = {}, {}
    if len(shown):
        answers = _of_photos(tables["predictions"], ["photo_id", "model", "label_space", "is_correct"], shown)
        outcomes = _outcomes(answers, selectors, metadata["config"]["evaluate"]["label_space"])
        told = _of_photos(tables["attribution"], ["photo_id", "page_url"], shown)
        pages = dict(zip(*(told[name].to_pylist() for name in ("photo_id", "page_url")), strict=True))
    cards = []
    for row in pairs:
        sheets = tuple(
            _sheet(row, split, side.get(row["class_id"], _Side({}, 0)), per_group, outcomes, pages, photo_bytes)
            for split, side in sides.items()
        )
        cards.append(ClassCard(row["class_id"], names.get(row["class_id"], row["class_id"]), row, sheets))
    return cards


class _Side(NamedTuple):
    """The photos of one side of a pair.

    Attributes:
        picked: rows of those that may be shown first, by photo, in the order in which they are tried.
        num_withheld: those that may not be shown.
    """

    picked: Mapping[str, Mapping[str, Any]]
    num_withheld: int

    @classmethod
    def by_class(cls, photos: WrittenTable, count: int) -> dict[str, _Side]:
        """The sides of all classes, with at most `count` photos of each."""
        withheld: Counter[str] = Counter()
        for row in asked(photos, "SELECT class_id, license, count(*) AS number FROM rows GROUP BY ALL").to_pylist():
            withheld[row["class_id"]] += 0 if may_adapt(row["license"]) else row["number"]
        picked: dict[str, dict[str, Mapping[str, Any]]] = {class_id: {} for class_id in withheld}
        if count:  # all photos of a class lie one after another
            parts = photos.rows.read(["photo_id", "class_id", "license", "attribution"])
            picked |= {class_id: _picked(rows, count) for class_id, rows in runs(parts, "class_id")}
        return {class_id: cls(picked[class_id], number) for class_id, number in withheld.items()}


def _picked(rows: pa.Table, count: int) -> dict[str, Mapping[str, Any]]:
    """Rows of a class's photos that may be shown, a few more than are, for photos whose bytes are not at hand."""
    codes = [code for code in rows["license"].unique().to_pylist() if may_adapt(code)]
    allowed = rows.filter(pc.is_in(rows["license"], pa.array(codes, pa.string())))
    chosen = pa.array(pick(allowed["photo_id"].to_pylist(), count), pa.string())
    told = allowed.take(pc.index_in(chosen, allowed["photo_id"].combine_chunks()))
    return {row["photo_id"]: row for row in told.to_pylist()}


def _of_photos(table: WrittenTable, columns: list[str], photo_ids: pa.Array) -> pa.Table:
    """The rows of some photos."""
    empty = pa.schema([table.schema.field(name) for name in columns]).empty_table()
    parts = (part.filter(pc.is_in(part["photo_id"], photo_ids)) for part in table.rows.read(columns))
    return pa.concat_tables([empty, *parts])


def _sheet(
    pair: Mapping[str, Any],
    split: str,
    side: _Side,
    per_group: int,
    outcomes: Mapping[str, bool],
    pages: Mapping[str, str | None],
    photo_bytes: Callable[[str], bytes | None],
) -> Sheet:
    thumbnails: list[Thumbnail] = []
    for photo_id, row in side.picked.items():
        content = photo_bytes(photo_id) if len(thumbnails) < per_group else None
        uri = thumbnail_uri(content) if content else None
        if uri:
            thumbnails.append(
                Thumbnail(
                    uri,
                    _credit(row["attribution"]),
                    license_title(row["license"]),
                    license_url(row["license"]),
                    pages.get(photo_id),
                    outcomes.get(photo_id),
                )
            )
    return Sheet(
        split,
        pair[split],
        pair[f"accuracy_{split}"],
        pair[f"frequency_{split}"],
        pair[f"num_{split}"],
        pair[f"num_units_{split}"],
        tuple(thumbnails),
        side.num_withheld,
    )


def _outcomes(predictions: pa.Table, selectors: list[str], label_space: str) -> dict[str, bool]:
    """Whether the first selector was right, by photo; of several label spaces, in the build's own."""
    if not selectors:
        return {}
    own = predictions.filter(pc.equal(predictions["model"], selectors[0]))
    in_space = own.filter(pc.equal(own["label_space"], label_space))
    own = in_space if in_space.num_rows else own
    return dict(zip(own["photo_id"].to_pylist(), own["is_correct"].to_pylist(), strict=True))


def _models(metadata: Mapping[str, Any], summary: Summary) -> list[dict[str, Any]]:
    """The annotator first, then every scored model under its number in the scatter."""
    scores = {score.name: (number, score) for number, score in enumerate(summary.scores, 1)}
    rows = []
    for model in metadata["models"]:
        number, score = scores.get(model["name"], (0, None)) if model["role"] != "annotator" else (0, None)
        rows.append(
            {
                "number": number,
                "name": model["name"],
                "role": model["role"],
                "family": model["family"],
                "common": score.common if score else None,
                "counter": score.counter if score else None,
                "drop": score.drop if score else None,
                "weights": model["weights_sha256"],
            }
        )
    return sorted(rows, key=lambda row: (row["role"] != "annotator", row["number"], row["name"]))


def _credit(attribution: str | None) -> str:
    """The credit line without the licence's name, which stands beside it as a link."""
    return plain(_RIGHTS.sub("", plain(attribution, 400)), 90)


def _funnel(summary: Summary) -> list[tuple[str, int, float]]:
    """Step, photos left, share of the first step."""
    steps = dict(summary.funnel) | {"in a pair": summary.num_common + summary.num_counter}
    largest = max([*steps.values(), 1])
    return [(name, count, count / largest) for name, count in steps.items()]


def _rejects(summary: Summary) -> list[tuple[str, str, int, float]]:
    """Stage, reason, photos, share of the largest; in the stages' order, most frequent first."""
    largest = max([count for _, _, count in summary.rejects] + [1])
    rows = sorted(summary.rejects, key=lambda row: (_STAGE_ORDER.get(row[0], 9), row[0], -row[2], row[1]))
    return [(stage, reason.replace("_", " "), count, count / largest) for stage, reason, count in rows]
