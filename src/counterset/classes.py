"""Class lists: which classes a build has, and how each source finds them.

A class list is a CSV with the columns of `ClassSpec`; `data_manifests/classes` holds
the packaged ones.
"""

from __future__ import annotations

import csv
import functools
import io
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from counterset.content import NotContent
from counterset.errors import ConfigError
from counterset.manifests import manifest_path, read_csv
from counterset.spreadsheet import as_meant, safe_cell

_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u02bb\u0060\u00b4\uff07"), "'")


def tidy_name(text: str) -> str:
    """A name as it is shown and put into prompts: composed letters (NFC), single plain spaces, nothing invisible."""
    visible = "".join(char for char in text if unicodedata.category(char) != "Cf")
    return " ".join(unicodedata.normalize("NFC", visible).split())


@functools.lru_cache(maxsize=10_000)  # lists name few classes many times
def normal_name(text: str) -> str:
    """A name as it is compared, everywhere: `Red-Fox`, `red fox` and `RED_FOX` are one.

    Unicode's compatibility form and full case folding (`Wei\u00dfstorch` = `WEISSSTORCH`, a decomposed letter = a
    composed one), any dash, underscore or space = one space, any apostrophe = the typewriter's.
    """
    plain = unicodedata.normalize("NFKC", tidy_name(text.translate(_APOSTROPHES)))
    plain = unicodedata.normalize("NFKC", plain.casefold())
    plain = "".join(" " if char in "_\u2212" or unicodedata.category(char) == "Pd" else char for char in plain)
    return " ".join(plain.split())


def id_of_name(text: str) -> str:
    """A name as an id: its unaccented letters a-z and digits, joined by underscores; may be empty."""
    letters = unicodedata.normalize("NFKD", normal_name(text).replace("'", ""))
    unaccented = "".join(char for char in letters if not unicodedata.combining(char))
    return re.sub(r"[^a-z0-9]+", "_", unaccented).strip("_")


BY_TAXON = NotContent("the source is asked by taxon", of=("requests",))
BY_NAME = NotContent("prompts hold the name alone", of=("backgrounds",))


@dataclass(frozen=True)
class ClassSpec:
    """One class.

    Attributes:
        class_id: lower-case id used in tables and file names, e.g. `ice_bear`.
        name: the name in prompts and label spaces, e.g. `ice bear`.
        imagenet_index: index in ImageNet-1K, or None.
        taxon_ids: iNaturalist taxa; photos of these and all their descendants count.
        scientific_name: of each taxon, joined by " + " in the order of taxon_ids. Without
            taxon_ids the names are looked up.
        rank: of each taxon, joined by " + "; a single one is that of all.
    """

    class_id: str
    name: Annotated[str, BY_TAXON]
    imagenet_index: Annotated[
        int | None, NotContent("the label that it leads to is in the key", of=("requests", "crawl", "backgrounds"))
    ] = None
    taxon_ids: Annotated[tuple[int, ...], BY_NAME] = ()
    scientific_name: Annotated[str, BY_NAME] = ""
    rank: Annotated[str, BY_NAME] = ""

    def listed_taxa(self) -> tuple[ListedTaxon, ...]:
        """The taxa with their names and ranks, in the list's order.

        Raises:
            ConfigError: the numbers of ids, names and ranks do not fit together.
        """
        names = _parts(self.scientific_name)
        num_taxa = len(self.taxon_ids) or len(names)
        ids = self.taxon_ids or (None,) * num_taxa
        names = names or ("",) * num_taxa
        ranks = _parts(self.rank) or ("",)
        ranks = ranks * num_taxa if len(ranks) == 1 else ranks
        if not len(ids) == len(names) == len(ranks):
            raise ConfigError(
                f"class {self.class_id!r} has {len(ids)} taxon_ids, {len(names)} names in scientific_name and "
                f"{len(ranks)} ranks; give one name and rank a taxon, joined by ' + '"
            )
        return tuple(ListedTaxon(*parts) for parts in zip(ids, names, ranks, strict=True))


class ListedTaxon(NamedTuple):
    """One taxon as a class list names it; `taxon_id` None = to be looked up by name and rank."""

    taxon_id: int | None
    name: str
    rank: str


def load_classes(source: str, only: tuple[str, ...] = ()) -> tuple[ClassSpec, ...]:
    """Read a class list (packaged name or CSV path), in the file's order, or those of `only`, each once.

    Raises:
        ConfigError: no such list, not CSV in UTF-8, a missing column, a bad value, a repeated class,
            or a name in `only` that the list does not have.
    """
    path = Path(source) if source.endswith(".csv") else manifest_path(f"classes/{source}.csv")
    rows = read_csv(path, "the class list", "set classes.list to a CSV file or a packaged list")
    specs = tuple(_spec(row, f"{path}, line {line}") for line, row in enumerate(rows, 2))
    if not specs:
        raise ConfigError(f"the class list {path} is empty; give at least one class")
    by_id = {spec.class_id: spec for spec in specs}
    if len(by_id) < len(specs):
        raise ConfigError(f"the class list {path} repeats a class_id; make every class_id unique")
    for name in only:
        if name not in by_id:
            raise ConfigError(
                f"classes.only names {name!r}, which {path} does not have; use one of its class_id values"
            )
    return tuple(by_id[name] for name in dict.fromkeys(only)) if only else specs


def class_list_csv(specs: Iterable[ClassSpec]) -> str:
    """A class list as CSV text, as `load_classes` reads it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["class_id", "name", "imagenet_index", "wnid", "taxon_ids", "scientific_name", "rank"])
    for spec in specs:
        index = "" if spec.imagenet_index is None else spec.imagenet_index
        taxa = " ".join(str(taxon_id) for taxon_id in spec.taxon_ids)
        row = [spec.class_id, spec.name, index, "", taxa, spec.scientific_name, spec.rank]
        writer.writerow(map(safe_cell, row))
    return text.getvalue()


def _spec(row: dict[str, str], where: str) -> ClassSpec:
    class_id, name = (row.get("class_id") or "").strip(), tidy_name(as_meant(row.get("name") or ""))
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", class_id):
        raise ConfigError(f"{where}: class_id {class_id!r} must be lower-case letters, digits, '_' or '-'")
    if not name:
        raise ConfigError(f"{where}: class {class_id!r} has no name; fill in the column 'name'")
    try:
        index = int(row.get("imagenet_index") or -1)
        taxon_ids = tuple(int(part) for part in (row.get("taxon_ids") or "").replace(";", " ").split())
    except ValueError:
        raise ConfigError(f"{where}: imagenet_index and taxon_ids of {class_id!r} must be whole numbers") from None
    spec = ClassSpec(
        class_id=class_id,
        name=name,
        imagenet_index=index if index >= 0 else None,
        taxon_ids=taxon_ids,
        scientific_name=tidy_name(as_meant(row.get("scientific_name") or "")),
        rank=as_meant(row.get("rank") or "").strip(),
    )
    spec.listed_taxa()
    return spec


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("+") if part.strip())
