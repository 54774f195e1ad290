"""`croissant.json`: the release described to machines, Croissant 1.1 with responsible-AI fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from counterset.licenses import LICENSES
from counterset.release.publish.lineage import collection, is_synthetic, lineage
from counterset.release.publish.summary import Summary
from counterset.release.publish.text import cue_words, of_cue, plain
from counterset.release.schemas import SPLITS, TABLES, split_schema
from counterset.release.table_files import file_pattern, files_of
from counterset.schemas import TableSchema

_PARQUET = "application/x-parquet"

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
    "arrayShape": "cr:arrayShape",
    "isArray": "cr:isArray",
}


def describe(
    metadata: Mapping[str, Any], summary: Summary, files: Mapping[str, Mapping[str, Any]], cite_as: str
) -> dict[str, Any]:
    """The Croissant description. `files` maps each Parquet path to its sha256, bytes and rows."""
    with_images, words = bool(metadata["config"]["publish"]["with_images"]), cue_words(metadata)
    record_sets: list[dict[str, Any]] = []
    file_sets: list[dict[str, Any]] = []
    # Whoever checks asks each record set for its first record.
    schemas = {split: split_schema(split, with_images) for split in SPLITS} | TABLES
    for name, schema in schemas.items():
        paths = files_of(name, files)
        if not sum(files[path]["num_rows"] for path in paths):
            continue
        source = {"fileObject": {"@id": paths[0]}}
        if len(paths) > 1:
            source = {"fileSet": {"@id": f"{name}-files"}}
            file_sets.append(
                {
                    "@type": "cr:FileSet",
                    "@id": f"{name}-files",
                    "name": f"{name}-files",
                    "encodingFormat": _PARQUET,
                    "includes": file_pattern(name, paths),
                }
            )
        record_sets.append(_record_set(name, schema, source, metadata))
    description: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": metadata["name"],
        "description": (
            f"{plain(metadata['title'])}: photos of {summary.num_classes} animal classes {words['before']} a common "
            f"and a counter {words['cue']}; {summary.verdicts['confirmed']} classes are confirmed."
        ),
        "version": metadata["version"],
        "license": [LICENSES[code].url for code in summary.licenses if code in LICENSES]
        or ["https://schema.org/license"],
        "url": metadata["homepage"] or f"https://example.org/{metadata['name']}",
        "creator": {"@type": "Organization", "name": plain(metadata["author"]) or metadata["name"]},
        "datePublished": metadata["source_snapshot"],
        "citeAs": cite_as,
        "keywords": ["robustness", "spurious correlation", "zero-shot classification"],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": path,
                "name": path,
                "contentUrl": path,
                "contentSize": f"{entry['size_bytes']} B",
                "encodingFormat": _PARQUET,
                "sha256": entry["sha256"],
            }
            for path, entry in sorted(files.items())
        ]
        + file_sets,
        "recordSet": record_sets,
    }
    return description | _responsible(metadata, summary) | lineage(metadata)


def _record_set(name: str, schema: TableSchema, source: dict[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    fields = [_field(name, one.name, one.type, of_cue(one.doc, metadata), source) for one in schema.columns]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"One row is {of_cue(schema.row, metadata)}.",
        "key": [{"@id": f"{name}/{column}"} for column in schema.key],
        "field": fields,
    }


def _field(record_set: str, column: str, kind: pa.DataType, doc: str, source: dict[str, Any]) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{record_set}/{column}",
        "name": column,
        "description": doc,
        "dataType": _data_type(kind),
        "source": source | {"extract": {"column": column}},
    }
    if pa.types.is_list(kind):
        field |= {"isArray": True, "arrayShape": "-1"}
    if pa.types.is_struct(kind):
        field["source"] |= {"transform": {"jsonPath": "bytes"}}
    return field


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return f"cr:Int{kind.bit_width}"
    if pa.types.is_floating(kind):
        return f"cr:Float{kind.bit_width}"
    if pa.types.is_date(kind):
        return "sc:Date"
    return "sc:ImageObject" if pa.types.is_struct(kind) else "sc:Text"


def _responsible(metadata: Mapping[str, Any], summary: Summary) -> dict[str, Any]:
    """The responsible-AI fields, from what the build knows."""
    config = metadata["config"]
    collected = collection(metadata)
    annotator, cues = config["models"]["annotator"], cue_words(metadata)["cues"]
    return {
        "rai:dataCollection": (
            f"{collected.how} At most {config['source']['photos_per_class']} per class; source as of "
            f"{metadata['source_snapshot']}."
        ),
        "rai:dataCollectionType": list(collected.types),
        "rai:hasSyntheticData": is_synthetic(metadata),
        "rai:dataCollectionMissingData": "Photos turned away are listed in rejects.parquet with stage and reason.",
        "rai:dataPreprocessingProtocol": [
            "Undecodable, small and duplicate photos are removed; one photo per observation; a cap for each observer "
            "and day. No photo is removed because a measured model gets it wrong."
        ],
        "rai:dataAnnotationProtocol": (
            "Backgrounds are those of the published data set."
            if metadata["kind"] == "imported"
            else _protocol(annotator, cues, metadata.get("review"))
        ),
        "rai:machineAnnotationTools": [annotator],
        **_people(metadata.get("review")),
        "rai:dataUseCases": [
            f"Measuring how far the accuracy of image classifiers goes with {cues} (testing, not training)."
        ],
        "rai:dataBiases": [
            collected.bias,
            "The selector model chose the pairs: its own drop is in-sample.",
        ],
        "rai:dataLimitations": [
            f"Labels of {cues} are a model's; errors shared with the selector would inflate drops (breaking_share).",
            f"{summary.verdicts['unconfirmed']} classes are unconfirmed and {summary.verdicts['too_small']} too small.",
        ],
        "rai:dataSocialImpact": (
            f"Shows where a classifier leans on {cues} before it is used where they differ. A drop is an "
            f"association with {cues}, not proof of a cause, and says nothing of other tasks; whoever trains on "
            "these photos can no longer be tested on them."
        ),
        "rai:personalSensitiveInformation": [collected.personal],
        "rai:dataReleaseMaintenancePlan": (
            "Versions are immutable; a withdrawn photo leaves the next version and a tombstone without content stays."
        ),
    }


def _protocol(annotator: str, cues: str, review: Mapping[str, Any] | None) -> str:
    named = f"{cues.capitalize()} are named by the model {annotator}"
    if review is None:
        return f"{named} (no human labels); photos of low margin abstain."
    return (
        f"{named}. In {len(review['classes'])} classes people then looked at "
        "every photo with its name in view, corrected names and turned photos away; they never saw what a measured "
        "model says of a photo. Where they do not agree, most decide; where no answer has most, it has no name."
    )


def _people(review: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is said of reviewers, where there were any."""
    if review is None:
        return {}
    agreement = "no photo has two reviewers"
    if review["agreement"] is not None:
        agreement = (
            f"of the {review['num_shared']} photos that several looked at, pairs of them say the same in "
            f"{review['agreement']:.1%}"
        )
        if review["alpha"] is not None:
            agreement += f" (Krippendorff's alpha {review['alpha']:.2f})"
    return {
        "rai:annotationsPerItem": f"{review['per_photo']:g} of each of {review['num_photos']} photos",
        "rai:dataAnnotationPlatform": list(review["platforms"]),
        "rai:dataAnnotationAnalysis": [
            "Reviewers by pseudonym, with their decisions: "
            + ", ".join(f"{name} ({count})" for name, count in review["reviewers"].items())
            + f"; {agreement}."
        ],
    }
