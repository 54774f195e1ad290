"""What may not be shown or bundled is said in one sentence, and own photos may be both."""

from __future__ import annotations

import pyarrow as pa

from counterset.licenses import license_code, license_title, license_url, may_adapt, may_share
from counterset.release.publish.left_out import not_bundled, not_shown


def test_own_photos_are_shown_and_bundled_without_a_credit_line() -> None:
    assert may_adapt("own") and may_share("own", None) and license_title("own") == "own photos"
    assert license_url("own") is None
    assert license_code("own") is None, "a list or a source may not say so"


def test_nothing_is_left_out_silently() -> None:
    assert not_shown({"own": 5, "cc-by": 3}, True) == ""
    said = not_shown({"": 1_200, "cc-by-nd": 3, "cc0": 7}, True)
    assert said == (
        "1,203 of 1,210 photos may not be shown here: 1,200 state no licence that is known and 3 forbid changes "
        '(if they are yours, set source.license = "own").'
    )
    assert "yours" not in not_shown({"": 1}, False)


def test_what_a_bundle_lacks() -> None:
    table = pa.table({"license": ["cc-by", "cc-by", None, "own"], "attribution": ["ann", None, "bob", None]})
    assert not_bundled({"common": table}, False) == (
        "2 of 4 photos may not be bundled: 1 state no licence that is known and 1 ask for a credit line that is "
        "missing."
    )
    assert not_bundled({"common": table.take([0, 3])}, False) == ""
