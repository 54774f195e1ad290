"""Loading a release: Arrow tables, and from them torch, Hugging Face and polars.

Nothing heavy is imported until it is needed: `import counterset` costs milliseconds, and
Arrow comes with the first table.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterset.errors import ConfigError, ReleaseError
from counterset.naming.words import NAMINGS, TRUSTED, named
from counterset.release.checksums import MAX_RELEASE_BYTES, verify_files
from counterset.release.table_files import files_of
from counterset.release.versions.locate import find_release
from counterset.release.versions.order import LATEST

if TYPE_CHECKING:
    import datasets
    import polars
    import pyarrow as pa

    from counterset.release.exporting import Exported
    from counterset.release.photo_store import Changed, PhotoStore
    from counterset.release.questions import Candidates
    from counterset.release.torch_photos import PhotoDataset

_SPLITS = ("common", "counter")
_VERDICTS = ("confirmed", "unconfirmed", "too_small")


def load(
    name_or_path: str | Path,
    version: str | None = None,
    *,
    verdicts: Sequence[str] | None = None,
    naming: Sequence[str] | None = None,
    verify: bool = True,
    cache: str | Path | None = None,
    mirrors: Sequence[str] = (),
    allowed_hosts: Sequence[str] = (),
    accept_changed: bool = False,
    max_bytes: int = MAX_RELEASE_BYTES,
) -> Release:
    """Open a release.

    Args:
        name_or_path: a packaged name, a release's folder (or the folder of its versions),
            an `https://` or an `s3://` address of either, or `hf://user/name@revision`.
        version: which one; None or "latest" = the newest, or the release that the folder or address itself is.
        verdicts: rows of `common` and `counter` are of classes with these verdicts;
            None = as the release says, which is the confirmed ones for a built release. Figures (the card,
            the report, `evaluate`) are over all tested pairs, confirmed or not, on photos of the confirm half.
        naming: rows of `common` and `counter` are of classes whose names are audited, unaudited or failed; None = all
            but failed. Names are audited by labels that were made without seeing them.
        verify: check every file against SHA256SUMS now.
        cache: folder for fetched releases and photos; None = $COUNTERSET_CACHE or
            ~/.cache/counterset.
        mirrors: places asked for photos before their own URLs, see `PhotoStore`.
        allowed_hosts: private hosts that photos may be fetched from.
        accept_changed: also take a photo whose bytes are nowhere those that the release names, if the picture is the
            same: its perceptual hash differs by no more bits than make two photos of the release one
            (`curate.near_duplicate_bits`). `changed_photos` says which. A hash is no proof: crafted pictures share one.
        max_bytes: a remote release that says it is larger is not fetched.

    Raises:
        ReleaseError: nothing there, a file is missing or altered, the release is of a newer
            schema version, or states of itself what no release may or what is not so.
    """
    from counterset.release.bounded import check_footer
    from counterset.release.stated import check_sizes, read_stated

    folder = find_release(name_or_path, version, cache, max_bytes)
    said = read_stated(folder)
    if version not in (None, LATEST) and said.metadata["version"] != version:
        raise ReleaseError(
            f"{folder} is version {said.metadata['version']}, not {version}; give the folder that holds its versions"
        )
    check_sizes(folder, said.files)
    if verify:
        verify_files(folder, said.digests)
    for path, entry in said.files.items():
        if path.endswith(".parquet"):
            check_footer(folder / path, entry.num_rows)
    chosen = tuple(verdicts) if verdicts is not None else tuple(said.metadata["default_verdicts"])
    unknown = [verdict for verdict in chosen if verdict not in _VERDICTS]
    if unknown:
        raise ReleaseError(f"unknown verdict {unknown[0]!r}; use {', '.join(_VERDICTS)}")
    trusted = TRUSTED if naming is None else tuple(naming)
    unknown = [name for name in trusted if name not in NAMINGS]
    if unknown:
        raise ReleaseError(f"unknown naming {unknown[0]!r}; use {', '.join(NAMINGS)}")
    files = tuple(said.digests)
    places = cache, tuple(mirrors), tuple(allowed_hosts)
    return Release(folder, said.metadata, files, chosen, *places, naming=trusted, accept_changed=accept_changed)


class Release:
    """A release that was opened by `load`. Tables are read when first asked for.

    Attributes:
        path: its folder.
        metadata: the content of release.json.
        verdicts: `common` and `counter` hold the classes with these verdicts.
        naming: and whose names can be trusted so far: audited, unaudited or failed.
    """

    def __init__(
        self,
        path: Path,
        metadata: Mapping[str, Any],
        files: tuple[str, ...],
        verdicts: tuple[str, ...],
        cache: str | Path | None,
        mirrors: tuple[str, ...],
        allowed_hosts: tuple[str, ...],
        naming: tuple[str, ...] = TRUSTED,
        accept_changed: bool = False,
    ) -> None:
        self.path = path
        self.metadata = metadata
        self.verdicts = verdicts
        self.naming = naming
        self._files = files
        self._cache = cache
        self._mirrors = mirrors
        self._allowed_hosts = allowed_hosts
        self._accept_changed = accept_changed
        self._tables: dict[str, pa.Table] = {}

    def __repr__(self) -> str:
        # Of pairs, which is small: the splits may bundle photos.
        rows = [row for row in self.pairs.to_pylist() if row["verdict"] in self.verdicts and self._trusts(row)]
        common, counter = (sum(row[f"num_{split}"] for row in rows) for split in _SPLITS)
        which = "" if set(self.verdicts) == set(_VERDICTS) else f" of {' and '.join(self.verdicts) or 'no'} classes"
        photos = f"{common} common and {counter} counter photos{which}"
        return f"<Release {self.name} {self.version}: {photos}, names {self.named}>"

    @property
    def named(self) -> str:
        """How far the names of the pairs' groups can be trusted: audited, unaudited, failed, or how many are what."""
        return named(self.metadata.get("naming"))

    def _trusts(self, pair: Mapping[str, Any]) -> bool:
        return (pair["naming"] or "unaudited") in self.naming

    @property
    def name(self) -> str:
        """The release's name."""
        return str(self.metadata["name"])

    @property
    def version(self) -> str:
        """major.minor.patch."""
        return str(self.metadata["version"])

    def table(self, name: str) -> pa.Table:
        """A table as it lies in the release, rows of every verdict: common, counter, all_photos,
        groups, group_names, pairs, predictions, sensitivity, wrong_answers, wrong_answers_by_model, captions, rejects,
        attribution or tombstones. A table that the release is too old for is empty.

        Raises:
            ReleaseError: no such table, or its file is damaged.
        """
        from counterset.release.bounded import WantedRows, read_files

        if name not in self._tables:
            rows = WantedRows(self.class_names) if name in _SPLITS else None
            self._tables[name] = read_files(self.path, name, self._paths(name), rows=rows)
        return self._tables[name]

    def parts(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows of a table in order, a few thousand at a time: a release of any size in little memory. Of `common`
        and `counter`, only the rows of the wanted verdicts; `columns` = only those.

        Raises:
            ReleaseError: as `table`.
        """
        from counterset.release.bounded import WantedRows, read_parts

        rows = None
        if name in _SPLITS:
            trusted = {*self.naming, None} if "unaudited" in self.naming else {*self.naming}  # None: it does not say
            rows = WantedRows(self.class_names, {"verdict": self.verdicts, "naming": trusted})
        return read_parts(self.path, name, self._paths(name), columns, rows=rows)

    def _paths(self, name: str) -> list[str]:
        """The files of a table."""
        return files_of(name, self._files)

    @functools.cached_property
    def common(self) -> pa.Table:
        """One row per photo of a common background, of the classes with the wanted verdicts."""
        return self._split("common")

    @functools.cached_property
    def counter(self) -> pa.Table:
        """One row per photo of a counter background, of the classes with the wanted verdicts."""
        return self._split("counter")

    @property
    def all_photos(self) -> pa.Table:
        """One row per photo that curation kept."""
        return self.table("all_photos")

    @property
    def groups(self) -> pa.Table:
        """One row per class, background group, model and half."""
        return self.table("groups")

    @property
    def group_names(self) -> pa.Table:
        """One row per class and background group: how often its name is right, by labels."""
        return self.table("group_names")

    @property
    def pairs(self) -> pa.Table:
        """One row per class, with its pair and verdict."""
        return self.table("pairs")

    @property
    def predictions(self) -> pa.Table:
        """One row per photo, model and label space."""
        return self.table("predictions")

    @property
    def captions(self) -> pa.Table:
        """One row per photo, with its texts."""
        return self.table("captions")

    @property
    def rejects(self) -> pa.Table:
        """One row per photo turned away, and stage."""
        return self.table("rejects")

    @property
    def attribution(self) -> pa.Table:
        """One row per photo, with its credit line."""
        return self.table("attribution")

    @property
    def tombstones(self) -> pa.Table:
        """One row per photo that an earlier version held."""
        return self.table("tombstones")

    @functools.cached_property
    def class_names(self) -> dict[str, str]:
        """class_id -> class name, in the class list's order."""
        return {row["class_id"]: row["name"] for row in self.metadata["classes"]}

    @functools.cached_property
    def photos(self) -> PhotoStore:
        """The photos' bytes, by photo id."""
        from counterset.release.photo_store import BundledPhotos, PhotoStore, StoredRows
        from counterset.storage import cache_folder

        bundled = None
        if any("image" in part.column_names for split in _SPLITS for part in itertools.islice(self.parts(split), 1)):
            bundled = BundledPhotos(self.table(split) for split in _SPLITS)
        rows = StoredRows(self.path, self._paths("all_photos"))
        config = self.metadata["config"]
        return PhotoStore(
            rows,
            cache_folder(self._cache),
            self._mirrors,
            self._allowed_hosts,
            bundled,
            own_mirrors=config.get("publish", {}).get("mirrors", ()),
            max_bits=max(config["curate"]["near_duplicate_bits"], 0) if self._accept_changed else None,
        )

    @property
    def changed_photos(self) -> Mapping[str, Changed]:
        """photo_id -> what was read instead, of photos with other bytes than the release names (`accept_changed`),
        among those that were read so far."""
        return self.photos.changed

    def photo(self, photo_id: str) -> bytes:
        """One photo's bytes, checked against its sha256 (a bundled one: without metadata; a changed one, where that was
        asked for: against its picture).

        Raises:
            ReleaseError: no such photo, or no place gives the right bytes.
        """
        return self.photos.get(photo_id)

    def fetch(self, threads: int = 4) -> dict[str, str]:
        """Fetch all photos of `common` and `counter` into the cache, so that later reads need no network.

        Returns photo_id -> why, for the photos that could not be fetched.
        """
        parts = (part for split in _SPLITS for part in self.parts(split, ["photo_id"]))
        return self.photos.fetch((photo_id for part in parts for photo_id in part["photo_id"].to_pylist()), threads)

    def to_torch(self, transform: Callable[[Any], Any] | None = None) -> dict[str, PhotoDataset]:
        """Map-style torch datasets by split: `(image, label)`, the image an RGB PIL image or what
        `transform` makes of it, the label `imagenet_index`, or the position in `class_names`
        for a release of other classes."""
        import pyarrow as pa

        from counterset.release.torch_photos import PhotoDataset

        rows = {split: pa.concat_tables(self.parts(split, ["photo_id", "class_id"])) for split in _SPLITS}
        return {split: PhotoDataset(rows[split], self.labels, self.photo, transform) for split in _SPLITS}

    def to_hf(self) -> datasets.DatasetDict:
        """A Hugging Face DatasetDict with the splits common and counter."""
        import datasets

        return datasets.DatasetDict({split: datasets.Dataset(getattr(self, split)) for split in _SPLITS})

    def to_polars(self) -> dict[str, polars.DataFrame]:
        """polars data frames by split."""
        import polars

        frames = {split: polars.from_arrow(getattr(self, split)) for split in _SPLITS}
        return {split: frame for split, frame in frames.items() if isinstance(frame, polars.DataFrame)}

    def export(self, layout: str, folder: str | Path, candidates: Mapping[str, Candidates] | None = None) -> Exported:
        """Write the photos of `common` and `counter` into a new folder in another layout.

        Args:
            layout: imagefolder, webdataset, hub, csv, captions, inspect_ai, lmms_eval, vlmevalkit, hub_eval, or one
                that an installed package adds.
            folder: does not exist yet, or is empty.
            candidates: class_id -> what its photos are asked about, for the layouts that ask; None = the names of all
                classes.

        Raises:
            ConfigError: no such layout, or candidates for one that asks nothing.
            ReleaseError: the folder is not empty, or cannot be written.
        """
        from counterset.release.exports import EXPORTS, asks

        if candidates is None:
            exported: Exported = EXPORTS[layout](self, folder)
            return exported
        if not asks(layout):
            raise ConfigError(
                f"the layout {layout!r} asks no questions, so it takes no candidates; leave them out, or use one of "
                f"{', '.join(name for name in EXPORTS.own if asks(name))}"
            )
        exported = EXPORTS[layout](self, folder, candidates)
        return exported

    @functools.cached_property
    def labels(self) -> dict[str, int]:
        """class_id -> label: the ImageNet-1K index if every class has one, else the position in the class list."""
        classes = self.metadata["classes"]
        if all(row["imagenet_index"] is not None for row in classes):
            return {row["class_id"]: row["imagenet_index"] for row in classes}
        return {row["class_id"]: position for position, row in enumerate(classes)}

    def _split(self, split: str) -> pa.Table:
        """The rows of a split of the wanted verdicts and namings."""
        import pyarrow as pa

        return pa.concat_tables(self.parts(split))
