"""How many photos a release may not show or pass on, and why, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from counterset.licenses import license_code, may_adapt, may_share
from counterset.release.publish.written import WrittenTable, asked

OWN_HINT = 'if they are yours, set source.license = "own"'


def not_shown(licenses: Mapping[str, int], is_own_source: bool) -> str:
    """Of which photos the report shows no picture; empty where it may show all.

    Args:
        licenses: photos by licence; "" = none is stated.
        is_own_source: the photos come from a folder or a list, of which the builder may be the owner.
    """
    unknown = sum(count for code, count in licenses.items() if not may_adapt(code) and license_code(code) is None)
    closed = sum(count for code, count in licenses.items() if not may_adapt(code)) - unknown
    return _sentence("may not be shown here", unknown, closed, sum(licenses.values()), "forbid changes", is_own_source)


def not_bundled(splits: Mapping[str, pa.Table | WrittenTable], is_own_source: bool) -> str:
    """Which photos of the splits the release does not hold; empty where it may hold all."""
    sql = "SELECT license, coalesce(attribution, '') <> '' AS has_credit, count(*) AS number FROM rows GROUP BY ALL"
    kinds = [row for table in splits.values() for row in asked(table, sql).to_pylist()]
    closed = {True: 0, False: 0}  # photos by whether their licence is known
    for row in kinds:
        if not may_share(row["license"], "somebody" if row["has_credit"] else None):
            closed[license_code(row["license"]) is not None] += row["number"]
    why = "ask for a credit line that is missing"
    return _sentence(
        "may not be bundled", closed[False], closed[True], sum(row["number"] for row in kinds), why, is_own_source
    )


def _sentence(what: str, unknown: int, closed: int, total: int, why: str, is_own_source: bool) -> str:
    if not unknown + closed:
        return ""
    parts = [f"{unknown:,} state no licence that is known"] if unknown else []
    parts += [f"{closed:,} {why}"] if closed else []
    hint = f" ({OWN_HINT})" if unknown and is_own_source else ""
    return f"{unknown + closed:,} of {total:,} photos {what}: {' and '.join(parts)}{hint}."
