"""Every setting and input of a build, each with another value, and the stages whose files are then made anew.

`test_keys.py` changes each in turn; a setting without an entry here fails it. `docs/keys.md` is the same table.
"""

from __future__ import annotations

ALL = (
    "requests", "crawl", "pool", "photos", "features", "members", "backgrounds", "predictions", "pairs", "names"
)  # fmt: skip
MEANING = {
    "requests": "the source is asked",
    "crawl": "candidates are chosen among its answers",
    "pool": "photos are filed, and downloaded if their address gave none yet that fits",
    "photos": "photos are inspected",
    "features": "photos are embedded",
    "members": "the kept photos are chosen",
    "backgrounds": "backgrounds are named and grouped",
    "predictions": "labels are predicted",
    "pairs": "pairs are chosen and tested",
    "names": "pairs are told how far their names can be trusted",
}
ASKED = ("requests", "crawl", "members", "backgrounds", "predictions", "pairs")
CHOSEN = ASKED[1:]
TABLES = ASKED[2:]
BYTES = ("pool", "photos", "features", *TABLES)
FEATURES = ("features", "backgrounds", "predictions", "pairs")

SETTINGS: dict[str, tuple[object, tuple[str, ...]]] = {
    "name": ("other", ()),
    "workspace": ("elsewhere", ()),
    "releases": ("elsewhere", ()),
    "seed": (1, CHOSEN),
    "runner": ("processes", ()),
    "max_failed_share": (0.5, ()),
    "classes.list": ("copy.csv", ()),
    "classes.only": (["fox"], CHOSEN),
    "source.kind": ("open_data", (*ASKED, "pool", "photos", "features")),
    "source.api_url": ("https://api.other.example/v1", ALL),
    "source.photo_url": ("https://mirror.example", ()),
    "source.path": ("tables", ASKED),
    "source.contact": ("b@example.org", ()),
    "source.allowed_hosts": (["photos.example"], (*CHOSEN, "pool", "photos", "features")),
    "source.is_synthetic": (True, ()),
    "source.photos_per_class": (301, CHOSEN),
    "source.order": ("latest", ASKED),
    "source.licenses": (["cc0"], ASKED),
    "source.quality_grades": (["needs_id"], ASKED),
    "source.include_captive": (True, ASKED),
    "source.place_km": (2.0, ASKED),
    "source.license": ("own", ASKED),
    "source.match": ("match.csv", ASKED),
    "source.photo_size": ("large", (*CHOSEN, "pool", "photos", "features")),
    "source.observed_from": ("2020-01-01", ASKED),
    "source.observed_to": ("2020-01-01", ASKED),
    "source.photos_per_observer_day": (4, CHOSEN),
    "source.photos_per_observation": (2, CHOSEN),
    "source.requests_per_minute": (59, ()),
    "source.requests_per_day": (59, ()),
    "source.timeout_s": (59, ()),
    "download.threads": (3, ()),
    "download.timeout_s": (59, ()),
    "download.retries": (3, ()),
    "download.max_size_bytes": (1_000, BYTES),
    "download.shard_size": (1_000, BYTES),
    "curate.min_side_px": (101, TABLES),
    "curate.max_pixels": (1_000, TABLES),
    "curate.max_aspect_ratio": (4.1, TABLES),
    "curate.near_duplicate_bits": (5, TABLES),
    "curate.max_similarity": (0.9, TABLES),
    "models.annotator": ("demo:medium", ("features", "backgrounds", "pairs")),
    "models.selectors": (["demo:medium"], ("features", "predictions", "pairs")),
    "models.evaluators": (["demo:medium"], ("features", "predictions", "pairs")),
    "models.allow_circular": (True, ()),
    "models.batch_size": (32, FEATURES),
    "models.backend": ("torch-float32", ()),
    "annotate.vocabulary": ("vocabulary-copy.csv", ()),
    "annotate.method": ("plain", ("backgrounds", "pairs")),
    "annotate.animals": ("animals.csv", ()),
    "annotate.max_elsewhere": (0.2, ("backgrounds", "pairs")),
    "annotate.min_margin": (0.1, ("backgrounds", "pairs")),
    "group.num_clusters": (3, ("backgrounds", "pairs")),
    "group.min_purity": (0.7, ("backgrounds", "pairs")),
    "group.min_photos": (11, ("backgrounds", "pairs")),
    "group.clear_quantile": (0.2, ("backgrounds", "pairs")),
    "group.max_distance": (6.0, ("backgrounds", "pairs")),
    "evaluate.label_space": ("classes", ("predictions", "pairs")),
    "evaluate.templates": ("openai80", ("predictions", "pairs")),
    "evaluate.compare_templates": (["paper", "openai80"], ("predictions", "pairs")),
    "select.mode": ("paper", ("pairs",)),
    "select.salt": ("other", TABLES),
    "select.min_photos": (21, ("pairs",)),
    "select.min_units": (4, ("pairs",)),
    "select.max_q_value": (0.06, ("pairs",)),
    "select.min_drop": (0.06, ("pairs",)),
    "select.num_permutations": (300, ("pairs",)),
    "select.fragile_share": (0.2, ("pairs",)),
    "naming.min_precision": (0.7, ("names",)),
    "naming.half_width": (0.05, ()),
    "publish.version": ("9.0.0", ()),
    "publish.title": ("Title", ()),
    "publish.author": ("Author", ()),
    "publish.doi": ("10.5281/zenodo.123", ()),
    "publish.homepage": ("https://example.org", ()),
    "publish.mirrors": (("https://mirror.example/{sha256}",), ()),
    "publish.with_images": (True, ()),
    "publish.thumbnails_per_group": (1, ()),
    "publish.min_confirmed": (1, ()),
    "publish.max_removed_share": (0.5, ()),
    "publish.max_drop_change": (0.5, ()),
    "notify.webhook": ("https://example.org/hook", ()),
    "notify.releases_url": ("https://example.org", ()),
}
"""Key of the config -> another value, and the stages whose files it changes. The release itself is compared with the
last one at every build, so what it alone depends on needs no key."""

INPUTS: dict[str, tuple[str, ...]] = {
    "a class's name": ("backgrounds", "predictions", "pairs"),
    "a class's ImageNet index": ("predictions", "pairs"),
    "a class's taxon": CHOSEN,
    "a class's row is moved": TABLES,
    "a phrase of the vocabulary": ("backgrounds", "pairs"),
    "a packaged background prompt": ("backgrounds", "pairs"),
    "where an animal is, for a method that looks past it": ("features", "backgrounds", "pairs"),
    "a label of the label space": ("predictions", "pairs"),
    "the label space's file is moved": ("predictions", "pairs"),
    "the selector's weights": ("features", "predictions", "pairs"),
    "the selector's preprocessing": ("features", "predictions", "pairs"),
    "the selector's architecture": ("features", "predictions", "pairs"),
    "the selector's tokenizer": ("predictions", "pairs"),
    "the selector's training data": (),
    "the selector's folder is moved": ("predictions", "pairs"),
    "the version of pillow": ("photos", "features", *TABLES),
    "the version of torch": FEATURES,
    "the version of transformers": ("backgrounds", "predictions", "pairs"),
    "the version of faiss-cpu": ("backgrounds", "pairs"),
    "the version of statsmodels": ("pairs",),
    "the version of prefect": (),
    "a blind label": ("names",),
    "the number of threads": (),
    "the stability table": ("pairs",),
    "a half in the release before": TABLES,
    "a unit in the release before": TABLES,
    "anything else of the photos in the release before": (),
    "a photo of a folder source": ASKED,
    "the time of a folder source's photo": (),
    "a row of a list source": ASKED,
    "the time of a list source's file": (),
    "a phrase by which captions of a list source say a class": ASKED,
}
"""Input -> the stages whose files it changes."""


def _followed(stages: tuple[str, ...]) -> tuple[str, ...]:
    """The stages, and what always follows: other pairs have other names."""
    return (*stages, "names") if "pairs" in stages and "names" not in stages else stages


SETTINGS |= {name: (value, _followed(stages)) for name, (value, stages) in SETTINGS.items()}
INPUTS |= {name: _followed(stages) for name, stages in INPUTS.items()}


def table() -> str:
    """The page of the table."""
    lines = [
        "# What is made anew when something changes",
        "",
        "Files are filed under a key, a digest of all that they depend on. A setting is in the key of every stage that",
        "reads its section, unless it is marked where it is declared, with the reason. A test changes each setting and",
        "each input in turn; this page is its table.",
        "",
        *(f"- **{stage}**: {MEANING[stage]}" for stage in ALL),
        "",
        "A table that comes out as it was stops the rest: the stages after it find their files.",
        "A release is compared with the last one at every build, whatever was made anew.",
        "What reviewers say of every photo of a class makes the pairs anew (`steps/review_steps.py`).",
        "",
        "| changed | made anew |",
        "|---|---|",
    ]
    rows = [(f"`{name}`", stages) for name, (_, stages) in SETTINGS.items()] + list(INPUTS.items())
    lines += [
        f"| {name} | {', '.join(stage for stage in ALL if stage in stages) or 'nothing'} |" for name, stages in rows
    ]
    return "\n".join(lines) + "\n"
