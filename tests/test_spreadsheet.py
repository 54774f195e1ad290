"""No cell that is written is a formula to a spreadsheet, and what is read back is what was meant."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from counterset.classes import ClassSpec, class_list_csv, load_classes
from counterset.evaluation.paper import _csv
from counterset.spreadsheet import as_meant, safe_cell, safe_table

FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    '=cmd|"/C calc"!A0',
    "\t=1",
    "\r=1",
    "\tx",
    "\rx",
    "\nx",
    "  =1",
    "\u00a0=1",
    "\ufeff=1",
    "\u200b@x",
    "\x00=1",
    "\uff1d1",
    "\uff0b1",
    "\uff0d1",
    "\uff201",
)
TEXTS = ("", "a = b", "(c) A. Author", "https://a.example/?a=-1", "'quoted'", "'", "1-2", "Sjöberg", " a")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_written_as_text(text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    assert as_meant(f"'{text}") == text


@pytest.mark.parametrize("text", TEXTS)
def test_other_texts_and_numbers_stay(text: str) -> None:
    assert safe_cell(text) == as_meant(text) == text
    assert [safe_cell(value) for value in (-1, -0.5, None, True)] == [-1, -0.5, None, True]


def test_a_tables_texts_are_written_so(tmp_path: Path) -> None:
    table = pa.table({"credit": ["=1", None, "a", "=1"], "drop": [-0.5, None, 0.25, 1.0], "tags": [["=1"]] * 4})
    safe = safe_table(table)
    assert safe.to_pydict() == table.to_pydict() | {"credit": ["'=1", None, "a", "'=1"]}
    assert _csv(table.select(["credit", "drop"])).splitlines() == ["credit,drop", "'=1,-0.5", ",", "a,0.25", "'=1,1.0"]


def test_a_class_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    specs = (
        ClassSpec("a", "=HYPERLINK(1)", 7, (1,), "@Ursus", "-species"),
        ClassSpec("b", "brown bear", None, (), "Ursus arctos", "species"),
    )
    path = tmp_path / "classes.csv"
    path.write_text(class_list_csv(specs), encoding="utf-8", newline="")
    assert not [cell for line in path.read_text().splitlines() for cell in line.split(",") if cell[:1] in tuple("=+-@")]
    assert load_classes(str(path)) == specs
