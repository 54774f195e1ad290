"""CSV by its stated dialect: every line is a row or a bad line."""

from __future__ import annotations

import io

import pytest

from counterset.csv_rows import SEPARATORS, BadLine, Line, header_of, records_of


def is_header(names: object) -> bool:
    return {"url", "class"} <= set(names)  # type: ignore[call-overload]


def read(text: str) -> list[Line | BadLine]:
    file = io.StringIO(text, newline="")
    separator, names = header_of(file.readline(), SEPARATORS, is_header)
    return list(records_of(file, names, separator, is_header))


def cells(text: str) -> list[list[str]]:
    return [line.cells for line in read(text) if isinstance(line, Line)]


def faults(text: str) -> dict[int, str]:
    return {line.number: line.fault for line in read(text) if isinstance(line, BadLine)}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_and_line_ends(separator: str, end: str) -> None:
    text = end.join(
        [f"url{separator}class", "", f"u1{separator}fox", f'"u{separator}2"{separator}"a ""b"""', separator]
    )
    assert cells(text) == [["u1", "fox"], [f"u{separator}2", 'a "b"']]
    assert not faults(text)


def test_a_quote_first_met_far_down_is_a_quote() -> None:
    rows = "".join(f"u{number},fox\n" for number in range(25_000))
    found = cells("url,class\n" + rows + '"u,x",fox\n"u\ny","fo""x"\n')
    assert len(found) == 25_002
    assert found[-2:] == [["u,x", "fox"], ["u\ny", 'fo"x']]


def test_a_quote_within_an_unquoted_cell_is_itself() -> None:
    assert cells('url,class\nu,a 5" fox\n') == [["u", 'a 5" fox']]


def test_a_quote_that_does_not_end_costs_its_own_line_alone() -> None:
    text = 'url,class\nu1,fox\nu2,"open\nu3,fox\nu4,"fox"\nu5,fox\n'
    assert [row[0] for row in cells(text)] == ["u1", "u3", "u4", "u5"]
    assert set(faults(text)) == {3}
    text = 'url,class\nu1,"' + "x" * 140_000 + "\nu2,fox\n"
    assert cells(text) == [["u2", "fox"]] and "field larger" in faults(text)[2]


def test_ragged_lines_and_null_characters_are_bad_with_their_numbers() -> None:
    text = "url,class\nu1,fox\nu2\nu,3,fox\nu4,f\0x\n\nu5,fox\n"
    assert [row[0] for row in cells(text)] == ["u1", "u5"]
    assert faults(text) == {3: "has 1 cells, not 2", 4: "has 3 cells, not 2", 5: "has a null character"}


def test_files_put_one_after_the_other() -> None:
    same = "url,class\nu1,fox\n\ufeffURL,Class\nu2,fox\n"
    assert cells(same) == [["u1", "fox"], ["u2", "fox"]] and not faults(same)
    swapped = "url,class\nu1,fox\nclass,url\nfox,u2\nfox,u3\nurl,class\nu4,fox\n"
    assert cells(swapped) == [["u1", "fox"], ["u4", "fox"]]
    assert set(faults(swapped).values()) == {"stands below another header, that of line 3"}
    longer = "url,class\nu1,fox\nurl,class,license\nu2,fox,cc0\nu3,fox,cc0\n"
    assert cells(longer) == [["u1", "fox"]] and set(faults(longer)) == {4, 5}
