"""Lists and folders, row by row: whatever is offered is a candidate or a reject, once."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
import tempfile
import unicodedata
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterset.classes import ClassSpec
from counterset.errors import SourceError
from counterset.sources import Crawl
from counterset.sources.cells import UNKNOWN, day_of, id_of, known_text
from counterset.sources.kinds.folder import FolderConfig, FolderSource
from counterset.sources.kinds.url_list import UrlListConfig, UrlListSource

FOX, HARE = ClassSpec("red_fox", "red fox"), ClassSpec("hare", "hare")
URL = "https://photos.example/"
JPEG, PNG = b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"


def listed(path: Path, content: str | bytes, *specs: ClassSpec, **fields: object) -> Crawl:
    """The crawls of some classes as one."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    values = {"kind": "url_list", "path": str(path), "allowed_hosts": ("photos.example",), "photos_per_class": 100_000}
    source = UrlListSource(UrlListConfig.model_validate(values | fields))
    specs = specs or (FOX,)
    source.check(specs)
    found = [source.crawl(spec) for spec in specs]
    return Crawl(*(pa.concat_tables(tables) for tables in zip(*found, strict=True)))


def reasons(found: Crawl) -> Counter[str]:
    return Counter(found.rejects["reason"].to_pylist())


def check_all_there(found: Crawl, num_offered: int) -> None:
    kept, rejected = found.candidates["photo_id"].to_pylist(), found.rejects["photo_id"].to_pylist()
    assert len(kept) + len(rejected) == num_offered
    assert len({*kept, *rejected}) == num_offered


def test_joined_lists_lose_no_row_without_a_word(tmp_path: Path) -> None:
    first = "".join(f"{URL}{number}.jpg,red fox\n" for number in range(50))
    second = "".join(f"{URL}{number}.jpg,red fox,cc0\n" for number in range(50, 80))
    found = listed(tmp_path / "a.csv", "url,class\n" + first + "url,class,license\n" + second)
    check_all_there(found, 80)
    assert found.candidates.num_rows == 50
    assert "line 53 has 3 cells, not 2" in str(found.rejects["detail"].to_pylist())
    same = second.replace(",cc0", "")
    check_all_there(found := listed(tmp_path / "b.csv", "url,class\n" + first + "url,class\n" + same), 80)
    assert found.candidates.num_rows == 80


def test_a_quote_first_met_at_row_25000(tmp_path: Path) -> None:
    rows = "".join(f"{URL}{number}.jpg,red fox\n" for number in range(25_000))
    found = listed(tmp_path / "a.csv", "url,class\n" + rows + f'"{URL}w_3,h_1.jpg","red fox"\n')
    assert found.candidates.num_rows == 25_001
    assert f"{URL}w_3,h_1.jpg" in found.candidates["url"].to_pylist()


def test_a_broken_line_belongs_to_the_class_that_it_names(tmp_path: Path) -> None:
    text = f"url,class\n{URL}1.jpg,red fox\n{URL}w_3,h_1.jpg,hare\n{URL}2.jpg,hare\nnothing\n,,,\n{URL}3.jpg,\n"
    found = listed(tmp_path / "a.csv", text, FOX, HARE)
    check_all_there(found, 5)  # a line of separators alone is blank
    rows = {row["photo_id"]: (row["class_id"], row["reason"]) for row in found.rejects.to_pylist()}
    assert rows == {
        "url_list-line-3": ("hare", "malformed"),
        "url_list-line-5": ("red_fox", "malformed"),
        "url_list-line-7": ("red_fox", "malformed"),
    }


def test_equal_and_empty_urls_are_rows(tmp_path: Path) -> None:
    text = f"url,class,license\n,red fox,cc0\n,red fox,cc0\n{URL}1.jpg,red fox,cc0\n{URL}1.jpg,red fox,CC0 1.0\n"
    text += f"{URL}2.jpg,red fox,all rights reserved\n{URL}2.jpg,red fox,cc0\n{URL}3?a=1&amp;b=2,red fox,cc0\n"
    text += f"{URL}3?a=1&b=2,red fox,cc0\n"
    found = listed(tmp_path / "a.csv", text)
    check_all_there(found, 8)
    assert set(found.candidates["url"].to_pylist()) == {f"{URL}1.jpg", f"{URL}3?a=1&b=2"}
    assert reasons(found) == {"url_refused": 2, "duplicate_id": 3, "license": 1}


@pytest.mark.parametrize("content", ["url,class\nx,caf\u00e9\n".encode("latin-1"), "url,class\n".encode("utf-16")])
def test_what_is_not_utf_8_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"it is not UTF-8 .*; save it as UTF-8"):
        listed(tmp_path / "a.csv", content)


def test_a_damaged_gzip_file_is_one_sentence(tmp_path: Path) -> None:
    whole = gzip.compress(f"url,class\n{URL}1.jpg,red fox\n".encode() * 100)
    assert listed(tmp_path / "a.csv.gz", whole).candidates.num_rows == 1
    for content in (whole[:-9], b"no gzip", whole[:30] + b"x" * 30):
        with pytest.raises(SourceError, match="cannot read"):
            listed(tmp_path / "a.csv.gz", content)


@pytest.mark.parametrize("unknown", [*sorted(UNKNOWN), "NaN", "NULL", "None", "N/A", "-", "--", "Unknown", " nan "])
def test_unknown_observers_are_units_of_their_own(unknown: str, tmp_path: Path) -> None:
    rows = "".join(f'{URL}{number}.jpg,red fox,"{unknown}"\n' for number in range(5))
    found = listed(tmp_path / "a.csv", "url,class,observer_id\n" + rows)
    assert len(set(found.candidates["observer_id"].to_pylist())) == found.candidates.num_rows == 5


def test_ids_stay_the_whole_numbers_that_they_were(tmp_path: Path) -> None:
    ids = pa.array([12345678.0, 12345678.0, math.nan, None, 2.5])
    table = pa.table({"url": [f"{URL}{n}.jpg" for n in range(5)], "class": ["red fox"] * 5, "observer_id": ids})
    pq.write_table(table, tmp_path / "p.parquet")
    found = listed(tmp_path / "p.parquet", (tmp_path / "p.parquet").read_bytes())
    observers = Counter(found.candidates["observer_id"].to_pylist())
    assert observers["12345678"] == 2 and len(observers) == 4 and "2.5" in observers
    large = 9007199254740993
    lines = [
        {"url": f"{URL}{n}.jpg", "class": "red fox", "observer_id": value} for n, value in enumerate([large, 1.5, None])
    ]
    found = listed(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert {str(large), "1.5"} < set(found.candidates["observer_id"].to_pylist())
    assert [id_of(text) for text in ("12345678.0", "1.2345678e+07", "007", "1e5", "a.0")] == [
        "12345678", "12345678", "007", "1e5", "a.0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2024-05-01", date(2024, 5, 1)), ("2024-05-01T23:30:00-08:00", date(2024, 5, 1)),
        ("2024-05-01T10:00Z/2024-05-01T11:00Z", date(2024, 5, 1)), ("2024-05-01/2024-05-03", None),
        ("2024-05-01 or so", None), ("01/05/2024", None), ("2024-05", None), ("2024-02-30", None), ("nan", None),
        (datetime(2024, 5, 1, 23, tzinfo=UTC), date(2024, 5, 1)), (None, None), (20240501, date(2024, 5, 1)),
    ],
)  # fmt: skip
def test_a_day_is_read_to_its_end(value: object, day: date | None) -> None:
    assert day_of(value) == day


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Wei\u00dfstorch", "WEISSSTORCH"), ("Wei\u00dfstorch", "Wei\u00dfstorch"), ("\u00e9land", "e\u0301land"),
        ("red fox", "Red\u00a0Fox"), ("red fox", "red\u2011fox"), ("Pere David's deer", "Pere David\u2019s deer"),
        ("red fox", "\uff32\uff45\uff44 fox"),
    ],
)  # fmt: skip
def test_class_names_have_one_normal_form(name: str, label: str, tmp_path: Path) -> None:
    spec = ClassSpec("some_id", name)
    assert listed(tmp_path / "a.csv", f"url,class\n{URL}1.jpg,{label}\n", spec).candidates.num_rows == 1
    (tmp_path / "photos" / label).mkdir(parents=True)
    (tmp_path / "photos" / label / "a.jpg").write_bytes(JPEG)
    source = FolderSource(FolderConfig(path=str(tmp_path / "photos")))
    source.check((spec,))
    assert source.crawl(spec).candidates.num_rows == 1


def test_a_credit_line_is_somebodys(tmp_path: Path) -> None:
    text = f"url,class,license,attribution,creator\n{URL}1.jpg,red fox,cc-by,,Ann\n{URL}2.jpg,red fox,cc-by,nan,-\n"
    found = listed(tmp_path / "a.csv", text + f"{URL}3.jpg,red fox,cc0,,\n")
    assert sorted(map(str, found.candidates["attribution"].to_pylist())) == ["Ann", "None"]
    assert reasons(found) == {"uncredited": 1}


def test_a_licence_of_the_config_stands_where_none_is_stated(tmp_path: Path) -> None:
    rows = "".join(f"{URL}{number}.jpg,red fox,{said}\n" for number, said in enumerate(("", "cc0", "own", "mine?")))
    crawl = listed(tmp_path / "a.csv", "url,class,license\n" + rows, license="own")
    assert sorted(crawl.candidates["license"].to_pylist()) == ["cc0", "own"]
    assert reasons(crawl) == {"license": 2}, "a list cannot say so itself"
    (tmp_path / "red fox").mkdir()
    (tmp_path / "red fox" / "a.jpg").write_bytes(JPEG)
    for said, kept in (("own", "own"), ("", None)):
        source = FolderSource(FolderConfig(path=str(tmp_path), license=said))
        assert source.crawl(FOX).candidates["license"].to_pylist() == [kept]
    with pytest.raises(ValueError, match="licence"):
        FolderConfig(path=str(tmp_path), license="mine")


def test_lists_of_labels_are_of_each(tmp_path: Path) -> None:
    labels = pa.array([["red fox", "hare"], ["hare"], []])
    pq.write_table(pa.table({"url": [f"{URL}{n}.jpg" for n in range(3)], "class": labels}), tmp_path / "p.parquet")
    found = listed(tmp_path / "p.parquet", (tmp_path / "p.parquet").read_bytes(), FOX, HARE)
    assert Counter(found.candidates["class_id"].to_pylist()) == {"red_fox": 1, "hare": 2}
    assert reasons(found) == {"malformed": 1}


CELL = st.one_of(
    st.sampled_from(
        ["nan", "", "cc0", "CC BY 4.0", "red fox", "x,y", 'a "quoted" word', "two\nlines", " - ", "\u00e9", ";"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
)
ROW = st.tuples(
    st.one_of(
        st.sampled_from(["", f"{URL}1.jpg", f"{URL}2.jpg", "ftp://x/y", "no url"]), st.integers(3, 10**6).map(str)
    ),
    st.sampled_from(["red fox", "Red_Fox", "hare", " HARE ", ""]),
    CELL,
    CELL,
)


def text_of_rows(rows: list[tuple[str, ...]], suffix: str) -> bytes:
    names = ("url", "class", "license", "observer_id")
    rows = [(url if not url.isdigit() else f"{URL}{url}.jpg", *rest) for url, *rest in rows]
    if suffix == ".jsonl":
        return "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows).encode()
    if suffix == ".parquet":
        out: Any = io.BytesIO()
        columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(4)]
        pq.write_table(pa.table(columns, names=list(names)), out)
        return bytes(out.getvalue())
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, delimiter="\t" if suffix == ".tsv" else ",", quoting=csv.QUOTE_ALL)
    writer.writerows([names, *rows])
    return lines.getvalue().encode()


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(rows=st.lists(ROW, min_size=1, max_size=30), suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]))
def test_whatever_is_listed_is_a_candidate_or_a_reject(rows: list[tuple[str, ...]], suffix: str) -> None:
    certain = [(f"{URL}a.jpg", "red fox", "cc0", "ann"), (f"{URL}b.jpg", "hare", "cc0", "ann")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"list{suffix}"
        found = listed(path, text_of_rows([*certain, *rows], suffix), FOX, HARE, photos_per_class=7)
    num_blank = 0 if suffix == ".jsonl" or suffix == ".parquet" else sum(not "".join(row).strip() for row in rows)
    assert found.candidates.num_rows + found.rejects.num_rows == len(rows) + 2 - num_blank
    for spec in (FOX, HARE):
        ids = [
            photo_id
            for table in found
            for photo_id, class_id in zip(table["photo_id"].to_pylist(), table["class_id"].to_pylist(), strict=True)
            if class_id == spec.class_id
        ]
        assert len(ids) == len(set(ids))


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    lines=st.lists(
        st.one_of(
            st.text(st.sampled_from('a",;\n \tfox'), max_size=12),
            st.sampled_from(
                ["url,class", f"{URL}1.jpg,red fox", f"{URL}2.jpg,red fox,x", '"', "\ufeffurl,class,license"]
            ),
        ),
        max_size=20,
    )
)
def test_no_line_however_broken_takes_a_good_one_with_it(lines: list[str]) -> None:
    good = [f"{URL}good{number}.jpg,red fox" for number in range(3)]
    quoted = sum(line.count('"') for line in lines)
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join(["url,class", good[0], good[1], *lines, "url,class", good[2]])
        found = listed(Path(folder) / "a.csv", text)
    urls = set(found.candidates["url"].to_pylist())
    assert {f"{URL}good0.jpg", f"{URL}good1.jpg"} <= urls
    assert quoted or f"{URL}good2.jpg" in urls


FILES = st.dictionaries(
    st.tuples(
        st.sampled_from(["red fox", "red fox/more", "red fox/x.jpg", "hare", "red fox/.git"]),
        st.sampled_from(["a.jpg", "b.JFIF", "c", "d.heic", "e.txt", ".hidden.jpg", "f.png", "g\u0301.webp"]),
    ),
    st.sampled_from([JPEG + b"1", JPEG + b"2", PNG + b"3", b"", b"text", b"\0\0\0\x18ftypheic", b"RIFF\0\0\0\0WEBPx"]),
    max_size=25,
)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(files=FILES)
def test_whatever_lies_in_a_folder_is_a_candidate_or_a_reject(files: dict[tuple[str, str], bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("red fox", "hare"):
            (Path(folder) / name).mkdir()
        for (inner, name), content in files.items():
            (Path(folder) / inner).mkdir(parents=True, exist_ok=True)
            (Path(folder) / inner / name).write_bytes(content)
        source = FolderSource(FolderConfig(path=folder, photos_per_class=3))
        source.check((FOX, HARE))
        for spec, top in ((FOX, "red fox"), (HARE, "hare")):
            visible = [
                1 for inner, name in files if inner.split("/")[0] == top and ".git" not in inner and name[0] != "."
            ]
            check_all_there(source.crawl(spec), len(visible))


def test_content_says_what_a_file_is(tmp_path: Path) -> None:
    folder = tmp_path / unicodedata.normalize("NFD", "\u00e9land")
    folder.mkdir()
    names = {
        "a.jfif": JPEG + b"1",
        "b": PNG,
        "c.heic": b"\0\0\0\x18ftypheic",
        "d.avif": b"\0\0\0\x18ftypavif",
        "e.txt": b"x",
    }
    for name, content in names.items():
        (folder / name).write_bytes(content)
    spec = ClassSpec("eland", "\u00e9land")
    found = FolderSource(FolderConfig(path=str(tmp_path))).crawl(spec)
    assert sorted(found.candidates["title"].to_pylist()) == ["a", "b"]
    assert reasons(found) == {"undecodable": 3}


def test_what_is_no_file_is_a_reject_and_is_not_waited_for(tmp_path: Path) -> None:
    hare = tmp_path / "photos" / "hare"
    hare.mkdir(parents=True)
    os.mkfifo(hare / "pipe.jpg")
    (hare / "dir.jpg").mkdir()
    (hare / "dir.jpg" / "a.jpg").write_bytes(JPEG)
    (tmp_path / "photos" / "elsewhere").mkdir()
    (hare / "linked").symlink_to(tmp_path / "photos" / "elsewhere")
    (hare / "gone.jpg").symlink_to(tmp_path / "photos" / "nothing.jpg")
    found = FolderSource(FolderConfig(path=str(tmp_path / "photos"))).crawl(HARE)
    assert found.candidates["title"].to_pylist() == ["a"]
    assert {row["photo_id"]: row["detail"] for row in found.rejects.to_pylist()} == {
        "folder-hare/gone.jpg": "is a link that leads nowhere",
        "folder-hare/linked": "is a link to a folder, whose photos are not looked at",
        "folder-hare/pipe.jpg": "is no file but a pipe, a socket or a device",
    }


def test_known_text_keeps_what_says_something() -> None:
    assert known_text("A fox, unknown to me") == "A fox, unknown to me"
    assert known_text("Nan Goldin") == "Nan Goldin"
