"""Where a release's photos come from and what was done with them, as Croissant's RAI and W3C's PROV say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from counterset.release.publish.text import cue_words, plain

_PEOPLE = "Photos are taken where people go, so places, seasons and species are unevenly covered."
_CREDITED = "Credit lines name photographers as their licences require; observers are hashed; no location, no EXIF."
_INATURALIST = {"@id": "https://www.inaturalist.org", "prov:label": "observations of iNaturalist"}


@dataclass(frozen=True)
class Collection:
    """What is true of one kind of source.

    Attributes:
        how: photos were collected, in a sentence.
        types: of collection, in the words of Croissant RAI.
        origin: what the release derives from, a PROV entity.
        bias: of what is collected so, in a sentence.
        personal: what the release tells of persons, in a sentence.
        people: who took the photos, in a sentence.
    """

    how: str
    types: tuple[str, ...]
    origin: Mapping[str, str]
    bias: str = _PEOPLE
    personal: str = _CREDITED
    people: str = "Volunteers who published their photos under open licences."


KINDS = {
    "inaturalist": Collection(
        "Photos of iNaturalist's observations of each class's taxa, asked for by its API and chosen by licence and "
        "quality grade.",
        ("Web API", "User-Generated Content Data"),
        _INATURALIST,
    ),
    "open_data": Collection(
        "Photos of each class's taxa in the tables of iNaturalist's Open Data, chosen by licence and quality grade.",
        ("Secondary Data Analysis", "User-Generated Content Data"),
        {"@id": "https://registry.opendata.aws/inaturalist-open-data", "prov:label": "iNaturalist Open Data"},
    ),
    "url_list": Collection(
        "Photos at the addresses of a list that the authors of the release give, of which the class of each is told by "
        "the list.",
        ("Secondary Data Analysis",),
        {"prov:label": "a list of addresses of photos"},
        people="Whoever published the photos at the addresses of the list.",
    ),
    "folder": Collection(
        "Photos of the release's authors, who sorted them into folders by class.",
        ("Manual Human Curation",),
        {"prov:label": "photos of the authors"},
        "Who took the photos, where and when is not told, so what is unevenly covered is not known.",
        "Nothing tells photographers or places; no EXIF. Whether photos show persons was not looked at.",
        "Who took the photos is not told.",
    ),
}
OTHER = Collection(
    "Photos of a source that the authors of the release have added.",
    ("Others",),
    {"prov:label": "a source of photos"},
    "What is unevenly covered depends on the source.",
    people="Who took the photos depends on the source.",
)
IMPORTED = Collection(
    "Photos of the published data set, as its folders hold them.",
    ("Secondary Data Analysis",),
    {"@id": "https://arxiv.org/abs/2403.11497", "prov:label": "CounterAnimal as published"},
)


def is_synthetic(metadata: Mapping[str, Any]) -> bool:
    """Whether the photos were drawn or generated."""
    return bool(metadata["config"]["source"].get("is_synthetic", False))


def collection(metadata: Mapping[str, Any]) -> Collection:
    """How the photos of a release were collected."""
    if metadata["kind"] == "imported":
        return IMPORTED
    collected = KINDS.get(metadata["config"]["source"]["kind"], OTHER)
    if metadata["config"]["source"].get("match"):
        how = collected.how.replace("told by the list", "said by the captions of the list")
        collected = replace(collected, how=how)
    if not is_synthetic(metadata):
        return collected
    return Collection(
        "Photos were drawn, rendered or generated, not taken.",
        ("Others",),
        {"prov:label": "generated photos"},
        "The photos show what whoever made them chose to show, and no photographer's habits.",
        "None: the photos were not taken of anybody, and names beside them are made up.",
        "Nobody took the photos.",
    )


def lineage(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """`prov:wasDerivedFrom` and `prov:wasGeneratedBy`: what photos come from, and what was done, in order."""
    config = metadata["config"]
    collected, cues = collection(metadata), cue_words(metadata)["cues"]
    derived: list[dict[str, Any]] = [_entity(collected.origin)]
    if metadata["previous"]:
        label = f"{metadata['name']} {metadata['previous']['version']}, the release before"
        derived.append(_entity({"prov:label": plain(label)}))
    activities = [_activity("Collection", collected.how)]
    if metadata["kind"] != "imported":
        annotator = plain(config["models"]["annotator"])
        selectors = " and ".join(plain(name) for name in config["models"]["selectors"])
        activities += [
            _activity(
                "Curation",
                "Undecodable, small and duplicate photos were removed, and each was put into a half by its "
                "photographers and places before any outcome was known.",
            ),
            _activity("Annotation", f"{cues.capitalize()} were named by the model {annotator}."),
            *([_activity("Review", _reviewed(metadata["review"]))] if metadata.get("review") else []),
            _activity(
                "Selection",
                f"Each class's pair of {cues} was chosen on one half by the answers of {selectors}, and tested.",
            ),
        ]
    return {"prov:wasDerivedFrom": derived, "prov:wasGeneratedBy": activities}


def _reviewed(review: Mapping[str, Any]) -> str:
    number = len(review["classes"])
    return f"People looked at every photo of {number} classes, corrected names and turned photos away."


def _entity(origin: Mapping[str, str]) -> dict[str, Any]:
    return {"@type": "prov:Entity", **origin}


def _activity(label: str, text: str) -> dict[str, Any]:
    agent = {"@type": "prov:SoftwareAgent", "prov:label": "counterset"}
    return {
        "@type": "prov:Activity",
        "prov:label": label,
        "description": text,
        **({} if label == "Review" else {"prov:wasAssociatedWith": agent}),
    }
