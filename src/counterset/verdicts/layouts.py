"""Layouts of grouped tables as data: which column says what, where nobody says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

ROLES = ("id", "class", "group", "correct", "prediction", "label", "cluster", "margin")
"""What a column can be: the row's name, its class, its group within the class, whether the model is right, what it
said and what would have been right (the class where no column says it), whose rows are not independent, and how
sure the model is of the truth."""
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Layout:
    """How a kind of table is read.

    Attributes:
        columns: role -> column; a role that is left out has the column of its own name, if there is one.
        where: (column, value) of the rows that count; None = all.
        names: role -> value -> what it is called.
    """

    columns: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    where: tuple[str, str] | None = None
    names: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "generic": Layout(),
        "waterbirds": Layout(
            {"id": "img_id", "class": "y", "group": "place", "label": "y"},
            where=("split", "2"),
            names={"class": {"0": "landbird", "1": "waterbird"}, "group": {"0": "land", "1": "water"}},
        ),
        "wilds": Layout({"label": "y", "class": "y"}, where=("split", "test")),
    }
)
"""`waterbirds`: its metadata.csv, of which the test split counts. `wilds`: its metadata with the columns `y` and
`split`; the group's column has to be named, and the cluster's where there is one."""
