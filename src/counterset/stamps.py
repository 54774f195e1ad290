"""What a table's file says of itself: which table it holds, and in which version of its schema.

By itself, for a release's tables are read without what writes tables.
"""

from __future__ import annotations

import pyarrow as pa

from counterset.errors import SchemaError
from counterset.schemas import TableSchema


def check_stamp(found: pa.Schema, schema: TableSchema, path: str) -> None:
    """Check the table name and version stamped into a file's metadata.

    Raises:
        SchemaError: it is another table's, or of a newer version.
    """
    metadata = found.metadata or {}
    name = metadata.get(b"counterset.table", b"").decode()
    version = metadata.get(b"counterset.schema_version", b"0").decode()
    if name != schema.name:
        raise SchemaError(schema.name, "", f"{path} holds the table {name or 'of another program'!r}")
    if int(version) > schema.version:
        raise SchemaError(
            schema.name,
            "",
            f"{path} has schema version {version}, newer than {schema.version}; upgrade counterset",
        )
