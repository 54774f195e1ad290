"""URL lists, folders, and the one line that switches between the four sources."""

from __future__ import annotations

import json
import os
import tomllib
from collections import Counter
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterset.classes import ClassSpec
from counterset.config import OPEN_LICENSES, SourceConfig, parse_config
from counterset.demo.server.look_alike import serve
from counterset.errors import ConfigError, SourceError
from counterset.schemas import CANDIDATES, REJECTS
from counterset.sources import Crawl, Rechecks
from counterset.sources.candidate_rows import license_code
from counterset.sources.factory import input_files, make_source
from counterset.sources.folder import FolderSource
from counterset.sources.hosts import HostRules
from counterset.sources.url_list import UrlListSource

from .conftest import HARE_CLASS, RED_FOX, catalog, foxes, observation
from .inaturalist.bulk_world import write_tables

HOSTS = ("photos.example",)


def url_config(path: Path, **fields: object) -> SourceConfig:
    return SourceConfig.model_validate({"kind": "url_list", "path": str(path), "allowed_hosts": HOSTS, **fields})


ROWS: list[dict[str, object]] = [
    {
        "url": "https://photos.example/1.jpg",
        "class": "red_fox",
        "license": "CC-BY-NC 4.0",
        "observer_id": "a",
        "attribution": "(c) Ann",
    },
    {
        "url": "https://photos.example/2.jpg",
        "class": "Red Fox",
        "license": "https://creativecommons.org/licenses/by/4.0/",
        "attribution": "(c) Bea",
    },
    {"url": "https://photos.example/2.jpg", "class": "red-fox", "license": "cc0"},
    {"url": "https://photos.example/3.jpg", "class": "red fox", "license": "All rights reserved"},
    {"url": "https://elsewhere.example/4.jpg", "class": "red fox", "license": "cc0"},
    {"url": "http://10.0.0.1/5.jpg", "class": "red fox", "license": "cc0"},
    {"url": "ftp://photos.example/6.jpg", "class": "red fox", "license": "cc0"},
    {"url": "file:///etc/passwd", "class": "red fox", "license": "cc0"},
    {"url": None, "class": "red fox", "license": "cc0"},
    {"url": "https://photos.example/9.jpg", "class": "hare", "license": "cc0"},
    {"url": "https://photos.example/10.jpg", "class": None, "license": "cc0"},
    {"url": "https://photos.example/11.jpg", "class": "red fox", "license": "CC BY 4.0"},
]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in names])), path)
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case suffix:
            separator = {".csv": ",", ".tsv": "\t"}[suffix]
            lines = [separator.join(str(row.get(name) or "") for name in names) for row in rows]
            path.write_text("\n".join([separator.join(names), *lines]) + "\n")
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl"])
def test_a_list_of_any_kind_gives_the_same(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"list{suffix}", [dict(row) for row in ROWS])
    source = UrlListSource(url_config(path))
    source.check((RED_FOX, HARE_CLASS))
    found = source.crawl(RED_FOX)
    rows = found.candidates.to_pylist()
    assert sorted((row["url"], row["license"]) for row in rows) == [
        ("https://photos.example/1.jpg", "cc-by-nc"),
        ("https://photos.example/2.jpg", "cc-by"),
    ]
    assert {row["observer_id"] for row in rows} == {"a", rows[0]["photo_id"], rows[1]["photo_id"]} - {
        next(row["photo_id"] for row in rows if row["observer_id"] == "a")
    }
    reasons = {"url_refused": 5, "license": 1, "duplicate_id": 1, "malformed": 1, "uncredited": 1}
    assert Counter(found.rejects["reason"].to_pylist()) == reasons
    assert source.crawl(HARE_CLASS).candidates.num_rows == 1


def test_other_columns_are_carried_as_text(tmp_path: Path) -> None:
    row = {
        "identifier": "https://photos.example/1.jpg",
        "label": "red fox",
        "gbifID": "77",
        "recordedBy": "Ann Other",
        "eventDate": "2024-05-01T10:00:00Z",
        "caption": "A fox",
        "tags": "snow; night",
        "similarity": "0.31",
        "camera": "",
    }
    source = UrlListSource(url_config(write(tmp_path / "list.csv", [dict(row)])))
    (found,) = source.crawl(RED_FOX).candidates.to_pylist()
    assert (found["observation_id"], found["observer_id"], found["observed_on"]) == (
        "77",
        "Ann Other",
        date(2024, 5, 1),
    )
    assert (found["title"], found["description"], found["tags"]) == ("A fox", "similarity: 0.31", ["snow", "night"])
    assert found["license"] is None  # the list has no licence column, so nothing is known and nothing refused


@pytest.mark.parametrize(
    ("tags", "expected"),
    [(7, ["7"]), (True, ["True"]), ({"a": 1}, ["{'a': 1}"]), (["snow", None, 3], ["snow", "3"]), (None, [])],
)
def test_tags_of_any_type_are_text(tags: object, expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(
        pa.table(
            {
                "url": ["https://photos.example/1.jpg"],
                "class": ["red fox"],
                "tags": pa.array([[text and str(text) for text in tags] if isinstance(tags, list) else tags]),
            }
        ),
        path,
    )
    (found,) = UrlListSource(url_config(path)).crawl(RED_FOX).candidates.to_pylist()
    assert found["tags"] == expected


def test_observers_cap_and_sample_as_for_every_source(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {
            "url": f"https://photos.example/{n}.jpg",
            "class": "hare",
            "observer_id": f"u{n % 5}",
            "observed_on": "2024-05-01",
        }
        for n in range(50)
    ]
    path = write(tmp_path / "list.parquet", rows)
    found = UrlListSource(url_config(path, photos_per_class=12, photos_per_observer_day=3)).crawl(HARE_CLASS)
    assert found.candidates.num_rows == 12
    assert max(Counter(found.candidates["observer_id"].to_pylist()).values()) <= 3
    write(path, rows[::-1])
    again = UrlListSource(url_config(path, photos_per_class=12, photos_per_observer_day=3)).crawl(HARE_CLASS)
    assert again.candidates.equals(found.candidates)


def test_a_star_allows_every_public_host(tmp_path: Path) -> None:
    path = write(tmp_path / "list.csv", [dict(row) for row in ROWS])
    rules = HostRules((), ("*",))
    found = UrlListSource(url_config(path), rules=rules).crawl(RED_FOX)
    refused = [row["detail"] for row in found.rejects.to_pylist() if row["reason"] == "url_refused"]
    assert found.candidates.num_rows == 3  # a name is resolved, and its address judged, when it is connected to
    assert any("10.0.0.1 is a private address" in detail for detail in refused)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.csv", "link,class\nx,red fox\n", "has no column 'url'; it has link, class"),
        ("list.csv", "url,class,URL\nx,red fox,y\n", "has two columns named 'url'"),
        ("list.tsv", "url,class\nx,red fox\n", "has no column 'url'; it has url,class"),
        ("list.csv", "url,kind\nx,red fox\n", "has no column 'class'"),
        ("list.csv", "url,class\nhttps://photos.example/1.jpg,wolf\n", "class 'red_fox' has no row"),
        ("list.parquet", "no parquet", "cannot read"),
        ("list.jsonl", "{]", "cannot read"),
    ],
)
def test_a_bad_list_is_an_error_with_a_remedy(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SourceError, match=message):
        UrlListSource(url_config(tmp_path / name)).check((RED_FOX,))


@pytest.mark.parametrize("path", ["", "list.txt", "https://x.example/list.csv", "list"])
def test_a_list_of_another_kind_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"needs source\.path"):
        UrlListSource(SourceConfig(kind="url_list", path=path))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("cc-by-nc", "cc-by-nc"), ("CC BY-NC-SA 4.0", "cc-by-nc-sa"), ("CC0 1.0", "cc0"), ("CC0", "cc0"), ("PD", "pd"),
        ("http://creativecommons.org/licenses/by-nc/4.0/legalcode", "cc-by-nc"), ("CC-BY-ND", "cc-by-nd"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "cc0"), ("cc_by", "cc-by"),
        ("CC BY-NC-ND 2.0", "cc-by-nc-nd"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "pd"), ("© me", None), ("", None), (None, None),
        ("bycc", None), ("GFDL", None),
    ],
)  # fmt: skip
def test_licences_in_their_many_spellings(text: str | None, code: str | None) -> None:
    assert license_code(text) == code


def folder_of(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name, contents in (("Red Fox", [b"one", b"two", b"two"]), ("hare", [b"three"])):
        (root / name / "more").mkdir(parents=True)
        for number, content in enumerate(contents):
            (root / name / ("more" if number else ".") / f"{number}.JPG").write_bytes(content)
    (root / "hare" / "notes.txt").write_text("no photo")
    (root / "hare" / ".hidden.jpg").write_bytes(b"x")
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    (root / "hare" / "link.jpg").symlink_to(secret)
    return root


def test_a_folder_gives_its_files(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    source = FolderSource(SourceConfig(kind="folder", path=str(root)))
    source.check((RED_FOX, HARE_CLASS))
    fox, hare = source.crawl(RED_FOX), source.crawl(HARE_CLASS)
    assert sorted(fox.candidates["title"].to_pylist()) == ["0", "1"]  # equal bytes are one photo
    assert hare.candidates["url"].to_pylist() == [(root / "hare" / "0.JPG").as_uri()]
    assert [(row["reason"], row["photo_id"]) for row in hare.rejects.to_pylist()] == [
        ("url_refused", "folder-hare/link.jpg"),
        ("undecodable", "folder-hare/notes.txt"),
    ]
    (copy,) = fox.rejects.to_pylist()
    assert copy["reason"] == "exact_duplicate"
    assert (copy["photo_id"], copy["detail"]) == ("folder-Red Fox/more/2.JPG", "has the bytes of Red Fox/more/1.JPG")
    before = set(fox.candidates["photo_id"].to_pylist())
    (root / "Red Fox" / "0.JPG").rename(root / "Red Fox" / "renamed.jpg")
    assert set(source.crawl(RED_FOX).candidates["photo_id"].to_pylist()) == before


def test_odd_names_and_links_in_a_folder(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    (root / "hare").mkdir(parents=True)
    (root / "hare" / "a.png").symlink_to("a.png")
    name = os.fsdecode(b"l\xf6we.png")
    (root / "hare" / name).write_bytes(b"lion")
    (root / "hare" / os.fsdecode(b"\xf6.png")).symlink_to(tmp_path / os.fsdecode(b"secret-\xf6"))
    found = FolderSource(SourceConfig(kind="folder", path=str(root))).crawl(HARE_CLASS)
    (row,) = found.candidates.to_pylist()
    assert (row["title"], row["url"]) == ("l\ufffdwe", (root / "hare" / name).as_uri())
    rejects = {row["photo_id"]: (row["reason"], row["detail"]) for row in found.rejects.to_pylist()}
    assert rejects == {
        "folder-hare/a.png": ("url_refused", "is a link that leads to itself"),
        "folder-hare/\ufffd.png": ("url_refused", f"leads out of the folder, to {tmp_path}/secret-\ufffd"),
    }


@pytest.mark.parametrize("twin", [ClassSpec("red-fox", "other fox"), ClassSpec("kitsune", "Red fox")])
def test_photos_of_two_classes_are_refused(tmp_path: Path, twin: ClassSpec) -> None:
    """What stands for two classes would be given to both, and turned away from the second."""
    listed = UrlListSource(url_config(write(tmp_path / "list.csv", [dict(row) for row in ROWS])))
    for source in (listed, FolderSource(SourceConfig(kind="folder", path=str(folder_of(tmp_path))))):
        with pytest.raises(SourceError, match=f"'red fox' in .* the classes 'red_fox' and '{twin.class_id}'"):
            source.check((RED_FOX, twin, HARE_CLASS))


def test_a_class_without_its_folder_is_an_error(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    source = FolderSource(SourceConfig(kind="folder", path=str(root)))
    with pytest.raises(SourceError, match="class 'wolf' has no folder"):
        source.check((RED_FOX, ClassSpec("wolf", "wolf")))
    (root / "red_fox").mkdir()
    with pytest.raises(SourceError, match="has several folders"):
        source.check((RED_FOX,))
    with pytest.raises(SourceError, match="is not a folder"):
        FolderSource(SourceConfig(kind="folder", path=str(tmp_path / "nothing"))).check((RED_FOX,))
    with pytest.raises(ConfigError, match=r"needs source\.path"):
        FolderSource(SourceConfig(kind="folder"))


CONFIG = """
name = "switch"
[classes]
list = "counteranimal"
[models]
annotator = "demo:a"
selectors = ["demo:b"]
[source]
kind = "{kind}"
path = "{path}"
"""


def test_one_line_switches_between_the_sources(tmp_path: Path) -> None:
    world = catalog(*foxes(20), observation(2, taxon_id=None))
    paths = {
        "inaturalist": "",
        "open_data": str(write_tables(world, tmp_path / "tables")),
        "url_list": str(write(tmp_path / "list.csv", [dict(row) for row in ROWS])),
        "folder": str(folder_of(tmp_path)),
    }
    found: dict[str, Crawl] = {}
    rechecking = set()
    with serve(world) as server:
        for kind, path in paths.items():
            raw = tomllib.loads(CONFIG.format(kind=kind, path=path))
            source = parse_config(raw, tmp_path).source.model_copy(
                update={"api_url": server.api_url, "requests_per_minute": 10**6, "allowed_hosts": HOSTS}
            )
            made = make_source(source, tmp_path / kind, 0)
            made.check((RED_FOX,))
            found[kind] = made.crawl(RED_FOX)
            if isinstance(made, Rechecks):
                rechecking.add(kind)
                assert made.recheck(found[kind].candidates, (RED_FOX,)).num_rows == 0
    assert {kind: crawl.candidates.num_rows for kind, crawl in found.items()} == {
        "inaturalist": 20,
        "open_data": 20,
        "url_list": 2,
        "folder": 2,
    }
    assert rechecking == {"inaturalist", "open_data"}
    for kind, crawl in found.items():
        assert crawl.candidates.schema.equals(CANDIDATES.arrow(), check_metadata=True)
        assert crawl.rejects.schema.equals(REJECTS.arrow(), check_metadata=True)
        assert set(crawl.candidates["source"].to_pylist()) == {kind}
        licenses = set(crawl.candidates["license"].to_pylist())
        assert licenses <= {*OPEN_LICENSES, None}


def test_the_files_of_a_source_are_known_whatever_its_kind(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    names = {file.relative_to(root).as_posix() for file in input_files(SourceConfig(kind="folder", path=str(root)))}
    assert "hare/0.JPG" in names and "hare/notes.txt" in names and "hare/.hidden.jpg" not in names
    listed = write(tmp_path / "list.csv", [dict(row) for row in ROWS])
    new_kind = SourceConfig.model_construct(kind="gbif", path=str(listed))  # a kind that nobody has made known yet
    assert input_files(new_kind) == input_files(url_config(listed)) == [listed]
    assert input_files(SourceConfig(kind="open_data", path=str(root))) == input_files(SourceConfig()) == []


def test_every_source_that_can_look_again_is_told_which_look_it_is(tmp_path: Path) -> None:
    for kind in ("inaturalist", "open_data"):
        config = SourceConfig.model_validate({"kind": kind, "contact": "ann@example.org"})
        assert vars(make_source(config, tmp_path / kind, 0, look=3))["_look"] == 3
