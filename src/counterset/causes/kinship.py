"""Which labels name relatives: animals of one family, or of one genus where the families are not known.

Families of ImageNet's 1000 labels are in `data_manifests/taxonomy/imagenet1k.csv`, by index: of animals the zoological
family (the order or class where the label is that wide), of everything else none. A class outside ImageNet has the
genus or family that its scientific name says.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from counterset.manifests import manifest_path, read_csv


class Kin(NamedTuple):
    """What is known of a label's place among animals; "" = no animal, None = not known."""

    family: str | None = None
    genus: str | None = None


def kin_of(scientific_name: str = "", imagenet_index: int | None = None) -> Kin:
    """The kin of a class, by its scientific name (several taxa: the first) and ImageNet index.

    Args:
        scientific_name: e.g. `Ursus maritimus` or `Pycnonotidae`; "" = none is known.
        imagenet_index: in ImageNet-1K; None = not one of its labels.
    """
    words = scientific_name.partition("+")[0].split()
    first = words[0] if words else None
    is_family = first is not None and first.endswith("idae")
    family = _families().get(imagenet_index) if imagenet_index is not None else None
    return Kin(family if family is not None else first if is_family else None, None if is_family else first)


def are_near(one: Kin, other: Kin) -> bool | None:
    """Whether two labels are relatives; None = not known."""
    if one.family is not None and other.family is not None:
        return bool(one.family) and one.family == other.family
    if one.genus is not None and one.genus == other.genus:
        return True
    return False if "" in (one.family, other.family) else None


@functools.cache
def _families() -> dict[int, str]:
    path = manifest_path("taxonomy/imagenet1k.csv")
    rows = read_csv(path, "the families of ImageNet's labels", "install counterset again")
    return {
        index: row["family"] for row in rows for index in range(int(row["first_index"]), int(row["last_index"]) + 1)
    }
