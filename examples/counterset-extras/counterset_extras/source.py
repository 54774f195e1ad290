"""A source, `source.kind = "file_names"`: a folder of photos whose names begin with their class, `red_fox-0001.jpg`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from counterset import marks
from counterset.classes import ClassSpec, normal_name
from counterset.config_sections import LocalPath, SourceConfig
from counterset.errors import SourceError
from counterset.schemas import RejectReason
from counterset.sources import Crawl, Source
from counterset.sources.candidate_rows import candidate, chosen, labels_of
from counterset.tables import sha256_of


class FileNamesConfig(SourceConfig):
    """One folder of photos whose names begin with their class."""

    kind: Literal["file_names"] = "file_names"
    path: Annotated[LocalPath, marks.OFFERED] = ""
    """The folder of photos."""
    separator: Annotated[str, marks.OFFERED] = "-"
    """What stands between the class and the rest of a name."""


class FileNames(Source):
    """The photos below `source.path`, by what their names begin with."""

    settings = FileNamesConfig
    config: FileNamesConfig

    def check(self, specs: tuple[ClassSpec, ...]) -> None:
        """See that every class has a photo.

        Raises:
            SourceError: one has none.
        """
        for spec in specs:
            if not self._files(spec):
                example = f"{spec.class_id}{self.config.separator}1.jpg"
                raise SourceError(f"no photo in {self.config.path} is of {spec.class_id}; name some like {example}")

    def crawl(self, spec: ClassSpec) -> Crawl:
        """The photos of one class: each file is a candidate, or a reject with its reason."""
        rows, rejects = {}, {}
        for path in self._files(spec):
            photo_id = f"{self.name}-{sha256_of(path)[:24]}"  # the content's, so a renamed file is the same photo
            if photo_id in rows:
                rejects[f"{self.name}-{path.name}"] = (RejectReason.EXACT_DUPLICATE, "has the bytes of another file")
            else:
                rows[photo_id] = candidate(spec, photo_id, path.resolve().as_uri(), self.name, title=path.stem)
        return chosen(spec, list(rows.values()), rejects, self.config, self.seed)

    def _files(self, spec: ClassSpec) -> list[Path]:
        files = [path for path in sorted(Path(self.config.path).iterdir()) if path.is_file()]
        return [path for path in files if normal_name(path.name.split(self.config.separator)[0]) in labels_of(spec)]


source = FileNames
