"""The world's classes, their taxa, how often each is met on each background, and to which models tie it."""

from __future__ import annotations

from counterset.demo.server.catalog import Taxon

CLASS_NAMES: dict[str, str] = {
    "ice_bear": "ice bear",
    "brown_bear": "brown bear",
    "arctic_fox": "Arctic fox",
    "red_fox": "red fox",
    "lion": "lion",
    "cheetah": "cheetah",
    "white_stork": "white stork",
    "flamingo": "flamingo",
}
"""class_id -> the name in prompts, in the order of data_manifests/classes/demo.csv."""

CLASS_TAXA: dict[str, int] = {
    "ice_bear": 41644,
    "brown_bear": 41641,
    "arctic_fox": 233598,
    "red_fox": 42069,
    "lion": 41964,
    "cheetah": 41955,
    "white_stork": 4733,
    "flamingo": 4255,
}
"""class_id -> the taxon under which its photos are found."""

HABITS: dict[str, tuple[float, ...]] = {
    # in the order of BACKGROUNDS: snow, grass, water, sand, rock, tree
    "ice_bear": (0.34, 0.14, 0.14, 0.11, 0.15, 0.12),
    "brown_bear": (0.14, 0.33, 0.15, 0.11, 0.12, 0.15),
    "arctic_fox": (0.19, 0.15, 0.10, 0.10, 0.32, 0.14),
    "red_fox": (0.13, 0.20, 0.10, 0.10, 0.14, 0.33),
    "lion": (0.10, 0.18, 0.12, 0.33, 0.13, 0.14),
    "cheetah": (0.10, 0.25, 0.12, 0.22, 0.14, 0.17),
    "white_stork": (0.11, 0.33, 0.16, 0.12, 0.12, 0.16),
    "flamingo": (0.11, 0.14, 0.36, 0.16, 0.12, 0.11),
}
"""class_id -> share of its photos on each of BACKGROUNDS."""

TIES: dict[str, tuple[str, str, float]] = {
    "ice_bear": ("snow", "grass", 0.9),
    "brown_bear": ("grass", "snow", 0.85),
    "arctic_fox": ("rock", "tree", 0.85),
    "red_fox": ("tree", "rock", 0.85),
    "lion": ("sand", "tree", 0.9),
    "white_stork": ("grass", "water", 0.75),
    "flamingo": ("water", "grass", 0.4),
}
"""class_id -> its home, the background where it is hardly seen in training, and how strong its tie is in the strongest
model. Cheetahs are tied to none. Look-alikes swap: where one is hardly seen, the other is at home."""

_TREE = (
    # taxon_id, name, rank, rank_level, parent, common name
    (48460, "Life", "stateofmatter", 100, 0, ""),
    (1, "Animalia", "kingdom", 70, 48460, "Animals"),
    (2, "Chordata", "phylum", 60, 1, "Chordates"),
    (355675, "Vertebrata", "subphylum", 57, 2, "Vertebrates"),
    (40151, "Mammalia", "class", 50, 355675, "Mammals"),
    (41573, "Carnivora", "order", 40, 40151, "Carnivorans"),
    (41636, "Ursidae", "family", 30, 41573, "Bears"),
    (41637, "Ursus", "genus", 20, 41636, "Brown Bears and Allies"),
    (41644, "Ursus maritimus", "species", 10, 41637, "Polar Bear"),
    (41641, "Ursus arctos", "species", 10, 41637, "Brown Bear"),
    (900641, "Ursus arctos horribilis", "subspecies", 5, 41641, "Grizzly Bear"),
    (42043, "Canidae", "family", 30, 41573, "Canids"),
    (42067, "Vulpes", "genus", 20, 42043, "Typical Foxes"),
    (233598, "Vulpes lagopus", "species", 10, 42067, "Arctic Fox"),
    (42069, "Vulpes vulpes", "species", 10, 42067, "Red Fox"),
    (900069, "Vulpes vulpes fulvus", "subspecies", 5, 42069, "American Red Fox"),
    (41944, "Felidae", "family", 30, 41573, "Felids"),
    (41963, "Panthera", "genus", 20, 41944, "Panthers"),
    (41964, "Panthera leo", "species", 10, 41963, "Lion"),
    (41954, "Acinonyx", "genus", 20, 41944, ""),
    (41955, "Acinonyx jubatus", "species", 10, 41954, "Cheetah"),
    (3, "Aves", "class", 50, 355675, "Birds"),
    (67566, "Ciconiiformes", "order", 40, 3, "Storks"),
    (4731, "Ciconiidae", "family", 30, 67566, "Storks"),
    (4732, "Ciconia", "genus", 20, 4731, "Typical Storks"),
    (4733, "Ciconia ciconia", "species", 10, 4732, "White Stork"),
    (67565, "Phoenicopteriformes", "order", 40, 3, "Flamingos"),
    (4255, "Phoenicopteridae", "family", 30, 67565, "Flamingos"),
    (904255, "Phoenicopterus", "genus", 20, 4255, ""),
    (904256, "Phoenicopterus roseus", "species", 10, 904255, "Greater Flamingo"),
    (904257, "Phoenicopterus ruber", "species", 10, 904255, "American Flamingo"),
)

RETIRED_TAXON = 942074
"""Inactive: Alopex lagopus, since moved into Vulpes lagopus."""

OBSERVED_TAXA: dict[str, tuple[int, ...]] = {
    "brown_bear": (41641, 41641, 41641, 900641),
    "red_fox": (42069, 42069, 42069, 900069),
    "flamingo": (904256, 904256, 904257),
}
"""class_id -> the taxa that its observations name, where these are not just the class's own."""


def demo_taxa() -> tuple[Taxon, ...]:
    """The tree of life as far as the demo needs it; ids above 900000 are the demo's own."""
    lines: dict[int, tuple[int, ...]] = {}
    taxa = []
    for taxon_id, name, rank, level, parent, common_name in _TREE:
        lines[taxon_id] = (*lines.get(parent, ()), taxon_id)
        taxa.append(Taxon(taxon_id, name, rank, level, lines[taxon_id], common_name))
    retired = (*lines[42043], RETIRED_TAXON)
    taxa.append(
        Taxon(RETIRED_TAXON, "Alopex lagopus", "species", 10, retired, "", is_active=False, synonym_ids=(233598,))
    )
    return tuple(taxa)
