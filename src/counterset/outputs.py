"""Output folders that a user names: looked at before the work, not after it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from counterset.errors import WorkspaceError


def check_output(folder: Path) -> None:
    """See that files can be written into a folder that is there, or that it can be made; nothing is left behind.

    Raises:
        WorkspaceError: they cannot, or it cannot.
    """
    try:
        str(folder).encode()  # what writes Parquet takes no other names
        nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        with tempfile.TemporaryFile(dir=nearest):
            pass
        os.stat(folder)
    except FileNotFoundError as error:
        if error.filename != str(folder) or os.path.lexists(folder):  # a link to nowhere
            raise WorkspaceError(f"{folder} cannot be written ({error.strerror}); choose another folder") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise WorkspaceError(f"{folder} cannot be written ({reason}); choose another folder") from error
