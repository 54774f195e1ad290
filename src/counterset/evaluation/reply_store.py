"""What a model said of each photo, kept as soon as it is said: a killed run asks none of it again.

One SQLite file per model. A reply is a row, written in a transaction of its own, so it is there whole or not at all,
and several threads and processes may write. It holds what was said and not what that is taken to mean. By SQLite's
write-ahead log a kill loses no reply and a power cut the last ones at most; waiting for the disk took 26 ms per reply
instead of 0.1.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from counterset.errors import WorkspaceError
from counterset.models.door import Reply

FORMAT = 1
WAIT_S = 60.0
"""For another process that writes."""
_COLUMNS = ("answer", "is_refusal", "is_cut", "tokens_in", "tokens_out", "served")
_TABLE = f"""
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, photo_id TEXT NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL,
    is_refusal INTEGER NOT NULL, is_cut INTEGER NOT NULL, tokens_in INTEGER, tokens_out INTEGER, served TEXT NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = {FORMAT};
"""


class ReplyStore:
    """The replies of one model.

    Args:
        path: of the file, made unless it is there.

    Raises:
        WorkspaceError: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._in_words():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, timeout=WAIT_S, check_same_thread=False)
            with contextlib.ExitStack() as stack:
                stack.callback(self._file.close)
                (version,) = self._file.execute("PRAGMA user_version").fetchone()
                if version not in (0, FORMAT):
                    raise WorkspaceError(f"{path} is of another version of counterset; give another output folder")
                self._file.executescript(_TABLE)
                stack.pop_all()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._file.close()

    def read(self) -> dict[str, Reply]:
        """key -> reply, of all that were kept."""
        with self._in_words(), self._lock:
            rows = self._file.execute(f"SELECT key, {', '.join(_COLUMNS)} FROM replies").fetchall()
        return {
            key: Reply(answer, bool(is_refusal), bool(is_cut), tokens_in, tokens_out, served)
            for key, answer, is_refusal, is_cut, tokens_in, tokens_out, served in rows
        }

    def keep(self, key: str, photo_id: str, question: str, reply: Reply) -> None:
        """Write a reply; of two to the same question the first stays."""
        row = (key, photo_id, question, *reply)
        with self._in_words(), self._lock, self._file:
            self._file.execute(f"INSERT OR IGNORE INTO replies VALUES ({', '.join('?' * len(row))})", row)

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise WorkspaceError(
                f"{self.path} cannot be used ({error}); make room, or move it away to ask everything again"
            ) from error
