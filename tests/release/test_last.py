"""Which release is the last one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from counterset.release.last import newest, read_last
from counterset.release.layout import version_key


def test_versions_are_in_the_order_of_their_numbers() -> None:
    ordered = ["0.0.9", "0.1.0", "0.9.0", "0.10.0", "1.0.0", "1.0.10", "2.0.0", "9.9.9", "9.10.0", "10.0.0", "100.0.0"]
    shuffled = ordered[:]
    random.Random(1).shuffle(shuffled)
    assert sorted(shuffled, key=lambda name: version_key(name) or ()) == ordered
    for last in range(1, len(ordered) + 1):
        assert newest(random.Random(last).sample(ordered[:last], last)) == ordered[last - 1]
    assert version_key("3.20.1") == (3, 20, 1)


@pytest.mark.parametrize(
    "name",
    ["", "1", "1.0", "1.0.0.0", "v1.0.0", "1.0.0-rc1", "01.0.0", "1.00.0", "1.0.01", "1.0.x", "1.0.0\n", " 1.0.0",
     "-1.0.0", "1..0", "1.0.1234567890", "١.0.0", ".part-2.0.0"],
)  # fmt: skip
def test_other_names_are_no_versions(name: str) -> None:
    assert version_key(name) is None
    assert newest([name]) is None
    assert newest([name, "0.0.1", name]) == "0.0.1"


def test_nine_digits_are_a_number_and_nothing_is_no_release(tmp_path: Path) -> None:
    assert version_key("0.999999999.0") == (0, 999_999_999, 0)
    assert newest([]) is None
    (tmp_path / "1.0.0").write_text("a file")
    assert read_last(tmp_path, "a") is None
    assert read_last(tmp_path / "nothing", "a") is None
