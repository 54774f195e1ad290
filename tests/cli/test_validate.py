"""`validate` refuses what a build would refuse, before any network, names the key, and counts what can be counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterset.cli import main

HEAD = """
name = "mine"
workspace = "ws"
{top}
[classes]
list = "{classes}"
[models]
annotator = "demo:annotator"
selectors = ["demo:selector"]
[annotate]
vocabulary = "demo"
[evaluate]
label_space = "classes"
"""
API = 'kind = "inaturalist"\ncontact = "me@example.org"\n'
LIST = 'kind = "url_list"\npath = "list.csv"\n'
ROWS = "url,class\nhttps://a.example/1.jpg,ice_bear\nhttps://b.example/2.jpg,red fox\nhttps://a.example/3.jpg,red fox\n"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is looked up and nobody is connected to."""
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("validate used the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def config(folder: Path, source: str, top: str = "", classes: str = "demo", more: str = "") -> str:
    path = folder / "mine.toml"
    path.write_text(HEAD.format(top=top, classes=classes) + f"[source]\n{source}\n{more}")
    return str(path)


def two_classes(folder: Path) -> str:
    (folder / "two.csv").write_text("class_id,name\nice_bear,ice bear\nred_fox,red fox\n")
    return "two.csv"


@pytest.mark.parametrize(
    ("source", "more", "words"),
    [
        ('kind = "inaturalist"', "", "set source.contact"),
        (API + 'quality_grades = ["reserch"]', "", "'source.quality_grades': 'reserch' is not a quality grade"),
        (API + 'licenses = ["cc-bye"]', "", "'source.licenses': 'cc-bye' is not a licence"),
        (API + 'observed_from = "2024-13-01"', "", "'source.observed_from': not a day"),
        (API + 'observed_from = "2024-05-01"\nobserved_to = "2024-04-01"', "", "before observed_from 2024-05-01"),
        (API + 'path = "photos"', "", "'source.path' is no key of source.kind = 'inaturalist' but of"),
        (API, '[publish]\nversion = "new"', "publish.version 'new' is not a version"),
        (API, "[publish]\nmin_confirmed = 99", "publish.min_confirmed is 99 and there are 8 classes"),
        ('kind = "folder"', "", "needs source.path"),
        ('kind = "folder"\npath = "nowhere"', "", "nowhere is not a folder"),
        ('kind = "url_list"\npath = "nowhere.csv"', "", "cannot read"),
    ],
)
def test_what_a_build_would_refuse(
    source: str, more: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", config(tmp_path, source, more=more)]) == 2
    text = capsys.readouterr().err.strip()
    assert words in text and text.count("\n") == 0


def test_a_list_without_its_class_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.csv").write_text("url,animal\nhttps://a.example/1.jpg,ice_bear\n")
    source = LIST + 'allowed_hosts = ["a.example"]'
    assert main(["validate", config(tmp_path, source, classes=two_classes(tmp_path))]) == 2
    assert "has no column 'class', 'class_id', 'label'; it has url, animal" in capsys.readouterr().err


def test_a_list_whose_hosts_are_not_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.csv").write_text(ROWS)
    assert main(["validate", config(tmp_path, LIST, classes=two_classes(tmp_path))]) == 2
    assert "source.allowed_hosts names no host" in (text := capsys.readouterr().err)
    assert "['a.example', 'b.example']" in text


def test_a_class_without_a_taxon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", config(tmp_path, API, classes=two_classes(tmp_path))]) == 2
    assert "class 'ice_bear' has neither taxon_ids nor a scientific_name" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write")
@pytest.mark.parametrize("key", ["workspace", "releases"])
def test_places_that_cannot_be_written(key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(config(tmp_path, API, top='releases = "r"'))
    old = {"workspace": '"ws"', "releases": '"r"'}[key]
    path.write_text(path.read_text().replace(f"{key} = {old}", f'{key} = "/proc/counterset"'))
    assert main(["validate", str(path)]) == 2
    assert f"set '{key}' in the config" in capsys.readouterr().err


def test_photos_of_a_folder_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, count in (("ice_bear", 3), ("red fox", 12)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "photos" / name / f"{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0")
        (tmp_path / "photos" / name / "notes.txt").write_text("no photo")
    source = 'kind = "folder"\npath = "photos"'
    assert main(["validate", config(tmp_path, source, classes=two_classes(tmp_path))]) == 0
    lines = [line.strip("│┃ ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["ice_bear", "│", "3"] in lines and ["red_fox", "│", "12"] in lines
    assert any("photographer of its own" in " ".join(line) for line in lines)


def test_photos_of_a_list_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.csv").write_text(ROWS + "https://c.example/4.jpg,red fox\n")
    source = LIST + 'allowed_hosts = ["a.example", "b.example"]'
    assert main(["validate", config(tmp_path, source, classes=two_classes(tmp_path))]) == 0
    lines = [line.strip("│┃ ").split() for line in capsys.readouterr().out.splitlines()]
    assert ["ice_bear", "│", "1"] in lines and ["red_fox", "│", "2"] in lines, "the host of the last is not allowed"
