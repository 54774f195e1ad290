"""What of a setting decides content: everything, unless its field is marked.

A file is filed under a digest of all that it depends on. A setting belongs to the digest of every
stage that reads its section, from the day it is added; one that does not decide what a stage makes
says so where it is declared, with the reason:

    contact: Annotated[str, NotContent("names who asks, not what is asked")] = ""
    seed: Annotated[int, NotContent("nothing is drawn", of=("pool", "features"))] = 0
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel

STAGES = ("requests", "crawl", "pool", "photos", "features", "members", "backgrounds", "predictions", "pairs", "names")
"""requests = what is asked of the source; crawl = the choice among its answers; pool = photos' bytes; photos = what
they are; features = of one model; then the tables over all photos."""


@dataclasses.dataclass(frozen=True)
class NotContent:
    """Marks a field that does not decide what some stages make.

    Attributes:
        reason: why not, for whoever reads the declaration.
        of: the stages; () = of every stage.
    """

    reason: str
    of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.reason or not set(self.of) <= set(STAGES):
            raise ValueError(f"a mark needs a reason and stages of {STAGES}, not {self.of}")

    def covers(self, stage: str) -> bool:
        return not self.of or stage in self.of


def content(value: Any, stage: str = "") -> dict[str, Any]:
    """The fields of a config, one of its sections or a dataclass that decide what `stage` makes, as JSON-like values.

    Args:
        value: a pydantic model or a dataclass.
        stage: one of STAGES; "" = fields that any stage may depend on.
    """
    kind: Any = type(value)
    marks = marks_of(kind)
    kept = {name: mark for name, mark in marks.items() if not any(part.covers(stage) for part in mark)}
    if not isinstance(value, BaseModel):
        return {name: part for name, part in dataclasses.asdict(value).items() if name in kept}
    dumped = value.model_dump(mode="json")
    parts = {name: getattr(value, name) for name in dumped if name in kept}
    own = {name: content(part, stage) if isinstance(part, BaseModel) else dumped[name] for name, part in parts.items()}
    former = [content(part(), stage) for part in getattr(kind, "FORMER", ())]
    return {name: part for parts in (*former, own) for name, part in parts.items()}


@functools.cache
def marks_of(kind: Any) -> dict[str, tuple[NotContent, ...]]:
    """Each field's marks, of a pydantic model or a dataclass; () for most."""
    names = kind.model_fields if issubclass(kind, BaseModel) else [field.name for field in dataclasses.fields(kind)]
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: tuple(part for part in get_args(hints[name])[1:] if isinstance(part, NotContent))
        if get_origin(hints[name]) is Annotated
        else ()
        for name in names
    }
