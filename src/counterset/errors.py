"""Every error that counterset raises on purpose.

CountersetError                 base; its text is one sentence with the remedy
├── UserError                   the user can fix it: the command line exits with 2
│   ├── ConfigError             a config file or class list is wrong
│   ├── ExtensionError          what another package adds cannot be loaded
│   ├── SourceError             a source answers, but does not give what was asked of it
│   ├── SourceUnavailable       a source does not answer after all retries
│   ├── ServerUnavailable       the Prefect server does not start, or cannot be used
│   ├── ModelError              a model cannot be loaded or does not fit
│   ├── EmbeddingsError         files of embeddings are missing, damaged, or do not fit together
│   ├── WorkspaceError          the workspace cannot be read, written or locked
│   ├── PictureError            a photo's file is no picture that is read here
│   ├── ReviewError             decisions of reviewers are damaged, foreign, or contradict themselves
│   ├── BuildStopped            more shards failed than the config allows
│   └── ReleaseError            a release is missing, altered, or may not be written
│       └── GateRefused         the config's own gate refuses a release
├── SchemaError                 a table does not match its declared schema (a bug, or a foreign file)
└── ShardError                  a stage failed on one shard; tried again, then set aside
"""

from __future__ import annotations


class CountersetError(Exception):
    """Base of all errors raised on purpose; `str(error)` is one sentence."""


class UserError(CountersetError):
    """Something the user can fix; the command line prints it and exits with 2."""


class ConfigError(UserError):
    """A config file, class list or vocabulary is wrong."""


class ExtensionError(UserError):
    """Another package adds something to counterset that cannot be loaded, or under a name that is taken."""


class SourceError(UserError):
    """A source answered, but cannot give what the config asks of it."""


class SourceUnavailable(UserError):
    """A source gave no usable answer after all retries."""


class ServerUnavailable(UserError):
    """The Prefect server does not start, does not answer, or refuses us."""


class ModelError(UserError):
    """A model cannot be found, loaded, or used for what the config asks."""


class EmbeddingsError(UserError):
    """Files of embeddings are missing, damaged, or do not fit together."""


class WorkspaceError(UserError):
    """The workspace cannot be created, read, written or locked."""


class PictureError(UserError):
    """A photo's file is damaged, of another format, or costs more work than a photo may.

    Attributes:
        reason: a RejectReason.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    def __reduce__(self) -> tuple[type[PictureError], tuple[str, str]]:
        return type(self), (self.reason, str(self))


class ReviewError(UserError):
    """Decisions of reviewers are damaged or foreign, contradict themselves, or cannot be cited."""


class BuildStopped(UserError):
    """More of a build failed than `max_failed_share` allows to go without."""


class ReleaseError(UserError):
    """A release is missing, damaged, immutable, or refused by a gate."""


class GateRefused(ReleaseError):
    """The config's own gate (`publish.min_confirmed` and the like) refuses a release."""


class SchemaError(CountersetError):
    """A table does not match its declared schema.

    Attributes:
        table: name of the table.
        column: the first column that differs, or "" when the whole table does.
    """

    def __init__(self, table: str, column: str, message: str) -> None:
        super().__init__(f"table {table!r}, column {column!r}: {message}" if column else f"table {table!r}: {message}")
        self.table = table
        self.column = column
        self._message = message

    def __reduce__(self) -> tuple[type[SchemaError], tuple[str, str, str]]:
        return type(self), (self.table, self.column, self._message)  # it comes back from other processes


class ShardError(CountersetError):
    """A stage failed on one shard for a reason that may pass; it is tried again, then set aside."""
