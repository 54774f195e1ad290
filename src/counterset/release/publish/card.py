"""`README.md` (the dataset card with its datasheet) and `CITATION.cff`."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.compute as pc

from counterset.licenses import LICENSES, license_title
from counterset.release.publish.files import is_offered
from counterset.release.publish.left_out import not_bundled
from counterset.release.publish.lineage import collection
from counterset.release.publish.summary import Summary
from counterset.release.publish.text import cue_words, of_cue, percent, plain, points
from counterset.release.publish.written import WrittenTable, asked
from counterset.release.schemas import SPLITS
from counterset.release.table_files import file_pattern
from counterset.release.versions.changelog import markdown_text

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

PAPER = """\
references:
  - type: article
    title: "A Sober Look at the Robustness of CLIPs to Spurious Features"
    year: 2024
    authors:
      - {family-names: "Wang", given-names: "Qizhou"}
      - {family-names: "Lin", given-names: "Yong"}
      - {family-names: "Chen", given-names: "Yongqiang"}
      - {family-names: "Schmidt", given-names: "Ludwig"}
      - {family-names: "Han", given-names: "Bo"}
      - {family-names: "Zhang", given-names: "Tong"}
    identifiers:
      - {type: other, value: "arXiv:2403.11497"}
"""
"""The paper whose method a release follows, as CITATION.cff names it."""

TABLE_WORDS = {
    "all_photos": "every photo that curation kept, with its background group, in a pair or not",
    "groups": "accuracy and frequency of every class, background group, model and half",
    "pairs": "each class's pair, drop with interval, p and q value, verdict",
    "predictions": "what each model said of each photo",
    "group_names": "how often each group's name is right, by photos labelled without seeing it",
    "sensitivity": "each pair's drop on confirm under every model, and under other prompts",
    "wrong_answers": "where each model's wrong answers on a counter group go: to classes at home there, relatives",
    "wrong_answers_by_model": "the same over all classes, with interval",
    "covariates": "what else than its background may make a photo easy or hard: season, photographer, light",
    "balance": "how covariates differ between a pair's groups, and what of its drop goes with them",
    "decomposition": "each pair's drop as parts that add up: what goes with other things, and what with none of them",
    "controlled": "each pair's drop with covariates taken out, and how strong a hidden cause would have to be",
    "captions": "the source's own texts without personal data, and two templated captions",
    "rejects": "every photo turned away, with stage and reason",
    "attribution": "licence and credit line of every photo",
    "tombstones": "photos that an earlier version held: id and reason, no content",
}


@functools.cache  # to compile them takes longer than to fill them
def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("counterset.release.publish"),
        # The card is Markdown: every outside text goes through the `md` filter.
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {
        "md": _markdown,
        "yaml": _quoted,
        "points": points,
        "percent": percent,
        "thousands": "{:,}".format,
    }
    return templates


def render_card(
    metadata: Mapping[str, Any], summary: Summary, tables: Mapping[str, pa.Table], paths: Collection[str]
) -> str:
    """The card: front matter for the Hugging Face hub, results, how to load, datasheet. `paths` are of all tables."""
    card = _templates().get_template("card.md.j2")
    return card.render(
        metadata=metadata,
        summary=summary,
        collected=collection(metadata),
        pairs=tables["pairs"].to_pylist(),
        offered={split: _num_offered(tables[split], metadata["default_verdicts"]) for split in SPLITS},
        names={row["class_id"]: row["name"] for row in metadata["classes"]},
        wrong_answers=tables["wrong_answers_by_model"].to_pylist(),
        licenses=[(license_title(code), count) for code, count in summary.licenses.items()],
        hub_licenses=_hub_licenses(summary),
        size=next((label for limit, label in _SIZES if summary.num_common + summary.num_counter < limit), "1M<n<10M"),
        table_words={name: _markdown(of_cue(words, metadata)) for name, words in TABLE_WORDS.items()},
        table_files={name: file_pattern(name, paths) for name in TABLE_WORDS},
        not_bundled=not_bundled(
            {split: tables[split] for split in SPLITS}, metadata["config"]["source"]["kind"] in ("folder", "url_list")
        ),
        # Hugging Face `datasets` refuses a configuration without rows.
        hub_tables=[name for name in TABLE_WORDS if tables[name].num_rows],
        **asked(tables["captions"], _TEXTS).to_pylist()[0],
        **{key: _markdown(word) for key, word in cue_words(metadata).items()},
        dates=_dates(tables["all_photos"]),
    )


def render_citation(metadata: Mapping[str, Any]) -> str:
    """CITATION.cff, version 1.2.0."""
    doi = metadata["config"]["publish"].get("doi")
    lines = [
        "cff-version: 1.2.0",
        "message: If you use this dataset, please cite it, and the paper whose method it follows.",
        "type: dataset",
        f"title: {_quoted(metadata['title'])}",
        f"version: {_quoted(metadata['version'])}",
        f"date-released: {_quoted(metadata['source_snapshot'])}",
        "authors:",
        *_authors(metadata["author"] or f"the authors of {metadata['name']}"),
    ]
    lines += [f"url: {_quoted(metadata['homepage'])}"] * bool(metadata["homepage"])
    lines += [f"doi: {_quoted(doi)}"] * bool(doi)
    return "\n".join(lines) + "\n" + PAPER


def _authors(text: str) -> list[str]:
    """Who made it, as CITATION.cff names persons and groups."""
    lines = []
    for name in (part.strip() for part in text.split(";")):
        family, comma, given = (part.strip() for part in name.partition(","))
        if comma and family and given:
            lines += [f"  - family-names: {_quoted(family)}", f"    given-names: {_quoted(given)}"]
        elif name:
            lines.append(f"  - name: {_quoted(name)}")
    return lines


def _markdown(text: object, limit: int = 200) -> str:
    return markdown_text(plain(text, limit))


def _quoted(text: object) -> str:
    """A YAML string: JSON's strings are YAML's; no markup even for a reader that shows the file as a page."""
    quoted = json.dumps(plain(text), ensure_ascii=False)
    return quoted.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hub_licenses(summary: Summary) -> list[str]:
    names = {LICENSES[code].hub_id if code in LICENSES else "other" for code in summary.licenses}
    return sorted(names) or ["other"]


_TEXTS = "SELECT count(title) AS num_titles, count(description) AS num_descriptions FROM rows"


def _num_offered(table: pa.Table | WrittenTable, verdicts: list[str]) -> int:
    kinds = asked(table, "SELECT verdict, naming, count(*) AS number FROM rows GROUP BY ALL")
    return pc.sum(kinds.filter(is_offered(kinds, verdicts))["number"]).as_py() or 0


def _dates(photos: pa.Table | WrittenTable) -> str:
    first, last = (
        asked(photos, "SELECT min(observed_on) AS first, max(observed_on) AS last FROM rows").to_pylist()[0].values()
    )
    return f"{first.isoformat()} to {last.isoformat()}" if first is not None else ""
