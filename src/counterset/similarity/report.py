"""The audit's page: one HTML file without scripts or network; all text is escaped by the template engine."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from counterset.licenses import license_title, license_url, may_adapt
from counterset.load import Release
from counterset.release.publish.text import percent, plain, points
from counterset.release.publish.thumbnails import thumbnail_uri
from counterset.similarity.audit import Audit

MAX_SHOWN = 24
"""Pairs of each kind with pictures on the page; the tables hold all."""
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 460.0, 190.0, 40.0, 12.0, 34.0
_BINS = 40


@dataclass(frozen=True)
class Histogram:
    """Share of photos by similarity, one line per split; positions in drawing units."""

    width: float
    height: float
    bottom: float
    left: float
    ticks: tuple[tuple[float, str], ...]
    lines: tuple[tuple[str, str], ...]
    threshold: float | None


@dataclass(frozen=True)
class BandPlot:
    """One model's drop by band with its intervals; positions in drawing units."""

    model: str
    width: float
    height: float
    left: float
    zero: float
    ticks: tuple[tuple[float, str], ...]
    rows: tuple[tuple[str, float, float, float, float, str], ...]


@dataclass(frozen=True)
class Photo:
    """One photo of the release as the page shows it."""

    photo_id: str
    uri: str | None
    credit: str
    license: str
    license_url: str | None


def render_audit(
    audit: Audit, release: Release, metadata: Mapping[str, Any], photo_bytes: Callable[[str], bytes | None]
) -> str:
    """The page. `metadata` is the content of audit.json; pictures are of photos whose licence allows it."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("counterset.similarity"), jinja2.PackageLoader("counterset.release.publish")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": plain, "points": points, "percent": percent, "thousands": "{:,}".format}
    style = environment.get_template("report.css").render() + environment.get_template("audit.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rows = audit.nearest.to_pylist()
    near = sorted(
        (row for row in rows if row["is_near_duplicate"]), key=lambda row: (-row["similarity"], row["photo_id"])
    )
    own = sorted(
        audit.own_duplicates.to_pylist(),
        key=lambda row: (not row["is_across_halves"], -row["similarity"], row["photo_id"], row["other_id"]),
    )
    shown = {row["photo_id"] for row in near[:MAX_SHOWN]}
    shown |= {row[key] for row in own[:MAX_SHOWN] for key in ("photo_id", "other_id")}
    bands = audit.bands.to_pylist()
    models = sorted({row["model"] for row in bands}, key=lambda name: (name not in _selectors(release), name))
    return environment.get_template("audit.html.j2").render(
        metadata=metadata,
        release=release,
        style=Markup(style),
        style_digest=digest,
        histogram=histogram(rows, metadata["threshold"]),
        plots=[band_plot(model, [row for row in bands if row["model"] == model]) for model in models],
        bands=sorted(bands, key=lambda row: (models.index(row["model"]), _band_order(row["band"]))),
        selectors=_selectors(release),
        unpredicted=audit.num_unpredicted,
        groups=audit.groups.to_pylist(),
        names=release.class_names,
        near=near[:MAX_SHOWN],
        num_near=len(near),
        own=own[:MAX_SHOWN],
        num_own=len(own),
        num_across=sum(row["is_across_halves"] for row in own),
        photos=_photos(release, shown, photo_bytes),
        splits=_splits(rows),
    )


def histogram(rows: Sequence[Mapping[str, Any]], threshold: float) -> Histogram | None:
    """Similarity to the nearest training image, as outlines for common, counter and the other photos."""
    if not rows:
        return None
    values = np.array([row["similarity"] for row in rows])
    low = np.floor((values.min() - 0.01) * 20) / 20
    high = max(np.ceil((values.max() + 0.01) * 20) / 20, low + 0.05)
    edges = np.linspace(low, high, _BINS + 1)
    splits = {"common": "common", "counter": "counter", "other": None}
    shares = {}
    for name, split in splits.items():
        own = np.array([row["similarity"] for row in rows if row["split"] == split])
        if len(own):
            shares[name] = np.histogram(own, edges)[0] / len(own)
    highest = max(share.max() for share in shares.values())
    inner, tall = _WIDTH - _LEFT - 12, _HEIGHT - _TOP - _BOTTOM

    def x(value: float) -> float:
        return float(round(_LEFT + (value - low) / (high - low) * inner, 2))

    lines = []
    for name, share in shares.items():
        corners = [f"{x(edges[0])},{_HEIGHT - _BOTTOM}"]
        for index, value in enumerate(share):
            y = round(float(_HEIGHT - _BOTTOM - value / highest * tall), 2)
            corners += [f"{x(edges[index])},{y}", f"{x(edges[index + 1])},{y}"]
        lines.append((name, " ".join([*corners, f"{x(edges[-1])},{_HEIGHT - _BOTTOM}"])))
    ticks = np.arange(low, high + 1e-9, 0.1 if high - low > 0.3 else 0.05)
    return Histogram(
        _WIDTH,
        _HEIGHT,
        _HEIGHT - _BOTTOM,
        _LEFT,
        tuple((x(tick), f"{tick:.2f}") for tick in ticks),
        tuple(lines),
        x(threshold) if low <= threshold <= high else None,
    )


def band_plot(model: str, rows: Sequence[Mapping[str, Any]]) -> BandPlot | None:
    """Drops of one model: all photos, each band from far to near, and all bands matched."""
    drawn = sorted((row for row in rows if row["drop"] is not None), key=lambda row: _band_order(row["band"]))
    if not drawn:
        return None
    ends = [0.0, *(row[key] for row in drawn for key in ("drop", "drop_low", "drop_high"))]
    step = 0.1 if max(ends) - min(ends) <= 0.7 else 0.2
    low, high = np.floor(min(ends) / step) * step, np.ceil(max(ends) / step) * step
    left = 150.0

    def x(value: float) -> float:
        return float(round(left + (value - low) / max(high - low, step) * (_WIDTH - left - 14), 2))

    labels = {"all": "all photos", "matched": "at equal distance"}
    placed = tuple(
        (
            labels.get(row["band"], f"{row['similarity_low']:.2f} to {row['similarity_high']:.2f}"),
            34.0 + 22 * index,
            x(row["drop"]),
            x(row["drop_low"]),
            x(row["drop_high"]),
            f"{points(row['drop'], True)} [{points(row['drop_low'])}, {points(row['drop_high'])}], "
            f"{row['num_classes']} classes, {row['num_common']} and {row['num_counter']} photos",
        )
        for index, row in enumerate(drawn)
    )
    ticks = tuple((x(tick), f"{tick * 100:.0f}") for tick in np.arange(low, high + step / 2, step))
    return BandPlot(model, _WIDTH, 40.0 + 22 * len(drawn), left, x(0.0), ticks, placed)


def _band_order(band: str) -> tuple[int, int]:
    return (0, 0) if band == "all" else (2, 0) if band == "matched" else (1, int(band))


def _selectors(release: Release) -> list[str]:
    return [model["name"] for model in release.metadata.get("models", []) if model["role"] == "selector"]


def _splits(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    entries = []
    for split in ("common", "counter", None):
        own = np.array([row["similarity"] for row in rows if row["split"] == split])
        if len(own):
            quartiles = np.quantile(own, [0.25, 0.5, 0.75])
            near = sum(row["is_near_duplicate"] for row in rows if row["split"] == split)
            entries.append({"split": split or "in no pair", "photos": len(own), "quartiles": quartiles, "near": near})
    return entries


def _photos(release: Release, photo_ids: set[str], photo_bytes: Callable[[str], bytes | None]) -> dict[str, Photo]:
    photos = {}
    for row in release.all_photos.select(["photo_id", "license", "attribution"]).to_pylist():
        if row["photo_id"] in photo_ids:
            content = photo_bytes(row["photo_id"]) if may_adapt(row["license"]) else None
            photos[row["photo_id"]] = Photo(
                row["photo_id"],
                thumbnail_uri(content) if content else None,
                plain(row["attribution"], 90),
                license_title(row["license"]),
                license_url(row["license"]),
            )
    return photos
