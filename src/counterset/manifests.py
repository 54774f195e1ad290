"""Where the data that ships with counterset lies: class lists, vocabularies, published figures, releases, configs."""

from __future__ import annotations

from pathlib import Path

from counterset.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent


def manifest_path(name: str) -> Path:
    """The path of `data_manifests/<name>`, in a checkout or in an installed package."""
    return _shipped("data_manifests") / name


def config_path(name: str) -> Path:
    """The path of `configs/<name>`, in a checkout or in an installed package."""
    return _shipped("configs") / name


def read_csv(path: Path, what: str, remedy: str) -> list[dict[str, str]]:
    """The rows of a CSV file that a user may have written, separated by commas, in the dialect of `csv_rows`.

    Args:
        path: the file.
        what: it is, e.g. `the class list`, and `remedy`: both for the error.

    Raises:
        ConfigError: no such file, one that is not CSV in UTF-8, or a line of another number of cells than the first.
    """
    from counterset.csv_rows import BadLine, header_of, records_of  # opening a release asks for paths alone

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            _, names = header_of(file.readline(), (",",), lambda _: False)
            lines = list(records_of(file, names, ",", lambda _: False))
    except OSError as error:
        raise ConfigError(f"cannot read {what} {path}: {error.strerror}; {remedy}") from error
    except ValueError as error:  # not UTF-8, or a path with a null character
        raise ConfigError(f"cannot read {what} {path}: {error}; save it as CSV in UTF-8") from error
    rows: list[dict[str, str]] = []
    for line in lines:
        if isinstance(line, BadLine):
            raise ConfigError(
                f"cannot read {what} {path}: line {line.number} {line.fault}; save it as CSV in UTF-8, each line with "
                "as many cells as the first"
            )
        rows.append(dict(zip(names, line.cells, strict=True)))
    return rows


def _shipped(folder: str) -> Path:
    checkout = _PACKAGE.parents[1] / folder
    return checkout if checkout.is_dir() else _PACKAGE / folder
