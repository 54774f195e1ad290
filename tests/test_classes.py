"""Class lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterset.classes import ClassSpec, ListedTaxon, id_of_name, load_classes, normal_name, tidy_name
from counterset.errors import ConfigError

HEAD = "class_id,name,imagenet_index,wnid,taxon_ids,scientific_name,rank\n"


def write(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "list.csv"
    path.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", ["counteranimal", "popular_animals", "demo"])
def test_packaged_lists_name_every_taxon(name: str) -> None:
    for spec in load_classes(name):
        taxa = spec.listed_taxa()
        assert taxa and all(taxon.name and taxon.rank and "+" not in taxon.name for taxon in taxa)


def test_several_taxa_of_one_class(tmp_path: Path) -> None:
    bittern, mink, plain = load_classes(
        write(
            tmp_path,
            "bittern,bittern,133,,5030 5002,Botaurus + Ixobrychus,genus + genus",
            "mink,mink,357,,,Neogale vison + Mustela lutreola,species",
            "mine,my own,,,,,",
        )
    )
    assert bittern.listed_taxa() == (ListedTaxon(5030, "Botaurus", "genus"), ListedTaxon(5002, "Ixobrychus", "genus"))
    assert mink.listed_taxa() == (
        ListedTaxon(None, "Neogale vison", "species"),
        ListedTaxon(None, "Mustela lutreola", "species"),
    )
    assert plain.listed_taxa() == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,a,1,,5 6,One name,species", "2 taxon_ids, 1 names"),
        ("a,a,1,,5,One + Two,species", "1 taxon_ids, 2 names"),
        ("a,a,1,,5 6 7,A + B + C,genus + species", "2 ranks"),
        ("A,a,1,,5,A,species", "must be lower-case"),
        ("a,,1,,5,A,species", "has no name"),
        ("a,a,x,,5,A,species", "whole numbers"),
        ("a,a,1,,five,A,species", "whole numbers"),
    ],
)
def test_a_bad_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_classes(write(tmp_path, line))


def test_lists_that_are_missing_empty_or_repeat_a_class(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the class list"):
        load_classes("no_such_list")
    with pytest.raises(ConfigError, match="is empty"):
        load_classes(write(tmp_path))
    path = write(tmp_path, "a,a,1,,5,A,species", "b,b,2,,6,B,species")
    assert [spec.class_id for spec in load_classes(path, only=("b",))] == ["b"]
    with pytest.raises(ConfigError, match=r"classes\.only names 'c'"):
        load_classes(path, only=("c",))
    with pytest.raises(ConfigError, match="repeats a class_id"):
        load_classes(write(tmp_path, "a,a,1,,5,A,species", "a,b,2,,6,B,species"))


@pytest.mark.parametrize("content", [HEAD.encode() + b"l\xf6we,l\xf6we,,,,,\n", HEAD.encode() + b"a," + b"b" * 140_000])
def test_a_list_that_is_no_csv_in_utf_8_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot read the class list .*; save it as CSV in UTF-8"):
        load_classes(str(path))


def test_a_byte_order_mark_and_a_repeated_choice_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(HEAD + "a,a,1,,5,A,species\nb,b,2,,6,B,species\n", encoding="utf-8-sig")
    assert [spec.class_id for spec in load_classes(str(path), only=("b", "a", "b"))] == ["b", "a"]


@pytest.mark.parametrize(
    "alike",
    [
        (
            "Red-Fox",
            "red fox",
            "RED_FOX",
            "red\u00a0fox",
            "red\u2011fox",
            "red\u2013 fox",
            " red  fox ",
            "red\u00ad fox",
        ),
        ("Wei\u00dfstorch", "WEISSSTORCH", "wei\u1e9estorch", "Wei\u00df\u200bstorch"),
        ("\u00e9land", "e\u0301land", "\u00c9LAND"),
        ("Pere David's deer", "p\u0065re david\u2019s deer", "PERE DAVID\u00b4S DEER"),
    ],
)
def test_names_are_compared_in_one_form(alike: tuple[str, ...]) -> None:
    assert len({normal_name(name) for name in alike}) == 1
    assert {normal_name(normal_name(name)) for name in alike} == {normal_name(alike[0])}


def test_names_that_differ_stay_apart() -> None:
    assert len({normal_name(name) for name in ("fox", "foxes", "red fox", "redfox", "f\u00f6x")}) == 5
    assert tidy_name(" e\u0301land\u00a0 Antelope ") == "\u00e9land Antelope"


def test_ids_are_made_of_plain_letters() -> None:
    assert id_of_name("Wei\u00dfstorch") == "weissstorch"
    assert id_of_name("\u00c9land (male)") == id_of_name("e\u0301land - male") == "eland_male"
    assert id_of_name("P\u00e8re David\u2019s deer") == "pere_davids_deer"


def test_a_list_gives_one_spelling_of_a_name(tmp_path: Path) -> None:
    (eland,) = load_classes(write(tmp_path, "eland,e\u0301land\u00a0 antelope,,,,,"))
    assert eland == ClassSpec("eland", "\u00e9land antelope")


@pytest.mark.parametrize("line", ["a,a,1,,5,A", "a,a,1,,5,A,species,more", 'a,"a,1,,5,A,species'])
def test_a_line_of_another_width_is_an_error_with_its_number(line: str, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"line 3 (has \d cells, not 7|has a quote that does not end); save it as CSV"
    ):
        load_classes(write(tmp_path, "b,b,,,,,", line))
