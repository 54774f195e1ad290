"""The coin: which half of a class a unit belongs to, as a fixed function that nobody may choose.

Whoever may draw the halves again may draw until more classes are confirmed. So the half of a
unit depends on nothing but the class, by its taxon, and the unit, by the source's own name of
it: no salt, no seed, no title of a release, no other class. Three quarters of the units choose
the pair; how much power that share buys is in docs/method.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from counterset.schemas import Half

DISCOVER_SHARE = 0.75
"""Expected share of a class's units that are in `discover`."""


def identity(taxon_ids: Iterable[int], name: str) -> str:
    """What a class is to the coin: its smallest taxon, or its name where it has none.

    Case, and spaces beyond one between words, make no other name. Neither the class's id nor
    the order of its taxa counts, for both are the user's to choose.
    """
    taxa = sorted(taxon_ids)
    return f"taxon:{taxa[0]}" if taxa else f"name:{' '.join(name.casefold().split())}"


def half_of(class_identity: str, unit: str) -> Half:
    """The half of one unit of one class, known before any pixel is read.

    Args:
        class_identity: from `identity`.
        unit: the source's own name of the unit, e.g. source and observer; never what is published of it,
            which is another hash.
    """
    digest = hashlib.sha256(f"half\x00{class_identity}\x00{unit}".encode()).digest()
    return Half.DISCOVER if int.from_bytes(digest[:8]) < DISCOVER_SHARE * 2**64 else Half.CONFIRM


def unit_number(unit: str) -> str:
    """16 hex digits by which a release knows a unit, in whatever classes: another hash, which says nothing of its half.

    Args:
        unit: as for `half_of`.
    """
    return hashlib.sha256(f"unit\x00{unit}".encode()).hexdigest()[:16]
