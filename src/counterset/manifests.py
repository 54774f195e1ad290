"""Where the data that ships with counterset lies: class lists, vocabularies, published figures, releases, configs."""

from __future__ import annotations

import csv
from pathlib import Path

from counterset.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent


def manifest_path(name: str) -> Path:
    """The path of `data_manifests/<name>`, in a checkout or in an installed package."""
    return _shipped("data_manifests") / name


def config_path(name: str) -> Path:
    """The path of `configs/<name>`, in a checkout or in an installed package."""
    return _shipped("configs") / name


def read_csv(path: Path, what: str, remedy: str) -> list[dict[str, str | None]]:
    """The rows of a CSV file that a user may have written, with or without a byte order mark.

    Args:
        path: the file.
        what: it is, e.g. `the class list`, and `remedy`: both for the error.

    Raises:
        ConfigError: no such file, or one that is not CSV in UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise ConfigError(f"cannot read {what} {path}: {error.strerror}; {remedy}") from error
    except (ValueError, csv.Error) as error:  # ValueError: not UTF-8, or a path with a null character
        raise ConfigError(f"cannot read {what} {path}: {error}; save it as CSV in UTF-8") from error


def _shipped(folder: str) -> Path:
    checkout = _PACKAGE.parents[1] / folder
    return checkout if checkout.is_dir() else _PACKAGE / folder
