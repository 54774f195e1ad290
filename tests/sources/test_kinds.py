"""URL lists, folders, the one line that switches between sources, and what each says of itself."""

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
from counterset.config import OPEN_LICENSES, parse_config, source_config
from counterset.config_sections import SOURCES, SourceConfig
from counterset.content import content
from counterset.demo.server.look_alike import serve
from counterset.errors import ConfigError, SourceError
from counterset.fetching.addresses import HostRules
from counterset.schemas import CANDIDATES, REJECTS
from counterset.sources import Crawl, Source, visible_files
from counterset.sources.candidate_rows import license_code
from counterset.sources.inaturalist.api import INaturalistSource
from counterset.sources.inaturalist.observations import PHOTO_ID_PREFIX
from counterset.sources.kinds.folder import FolderConfig, FolderSource
from counterset.sources.kinds.url_list import UrlListConfig, UrlListSource
from counterset.sources.places import place_of
from counterset.tables import sha256_of

from .conftest import HARE_CLASS, RED_FOX, catalog, foxes, observation
from .inaturalist.bulk_world import write_tables

HOSTS = ("photos.example",)


def url_config(path: Path, **fields: object) -> UrlListConfig:
    return UrlListConfig.model_validate({"path": str(path), "allowed_hosts": HOSTS, **fields})


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
        "decimalLatitude": "52.5",
        "decimalLongitude": "13.4",
        "coordinateUncertaintyInMeters": "30",
    }
    source = UrlListSource(url_config(write(tmp_path / "list.csv", [dict(row)])))
    (found,) = source.crawl(RED_FOX).candidates.to_pylist()
    assert (found["observation_id"], found["observer_id"], found["observed_on"]) == (
        "77",
        "Ann Other",
        date(2024, 5, 1),
    )
    assert (found["title"], found["description"], found["tags"]) == ("A fox", "similarity: 0.31", ["snow", "night"])
    assert found["hour"] is None, "an hour of UTC is not known to be the hour of the place"
    assert found["place"] == place_of(52.5, 13.4, 30, cell_km=1.0)
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


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"observed_on": "2024-05-01T16:20:00", "lifeStage": "Adult ", "sex": "FEMALE"}, (16, "adult", "female")),
        ({"observed_on": "2024-05-01", "eventTime": "00:40:00", "life_stage": "unknown"}, (0, None, None)),
        ({"eventTime": "14:30-05:00", "sex": "male | female"}, (14, None, "male | female")),
        ({"observed_on": "2024-05-01 00:00:00"}, (None, None, None)),  # what programs make of a day
        ({"hour": "7", "observed_on": "2024-05-01T16:20:00"}, (7, None, None)),
        ({"hour": "2024"}, (None, None, None)),
        ({"eventDate": "2024-05-01T16:00/2024-05-01T17:00"}, (None, None, None)),
    ],
)
def test_the_hour_and_which_animal_it_is(
    columns: dict[str, object], expected: tuple[object, ...], tmp_path: Path
) -> None:
    row = {"url": "https://photos.example/1.jpg", "class": "red fox"} | columns
    (found,) = UrlListSource(url_config(write(tmp_path / "list.parquet", [row]))).crawl(RED_FOX).candidates.to_pylist()
    assert (found["hour"], found["life_stage"], found["sex"]) == expected


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
        ("list.csv", "link,class\nx,red fox\n", "has no column 'url', .*; it has link, class"),
        ("list.csv", "url,class,URL\nx,red fox,y\n", "has two columns named 'url'"),
        ("list.tsv", "url,class\nx,red fox\n", "has no column 'url', .*; it has url,class"),
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
        UrlListSource(UrlListConfig(path=path))


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
        for number, photo in enumerate(contents):
            (root / name / ("more" if number else ".") / f"{number}.JPG").write_bytes(photo)
    (root / "hare" / "notes.txt").write_text("no photo")
    (root / "hare" / ".hidden.jpg").write_bytes(b"x")
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    (root / "hare" / "link.jpg").symlink_to(secret)
    return root


def test_a_folder_gives_its_files(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    source = FolderSource(FolderConfig(path=str(root)))
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
    found = FolderSource(FolderConfig(path=str(root))).crawl(HARE_CLASS)
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
    for source in (listed, FolderSource(FolderConfig(path=str(folder_of(tmp_path))))):
        with pytest.raises(SourceError, match=f"'red fox' in .* the classes 'red_fox' and '{twin.class_id}'"):
            source.check((RED_FOX, twin, HARE_CLASS))


def test_a_class_without_its_folder_is_an_error(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    source = FolderSource(FolderConfig(path=str(root)))
    with pytest.raises(SourceError, match="class 'wolf' has no folder"):
        source.check((RED_FOX, ClassSpec("wolf", "wolf")))
    (root / "red_fox").mkdir()
    with pytest.raises(SourceError, match="has several folders"):
        source.check((RED_FOX,))
    with pytest.raises(SourceError, match="is not a folder"):
        FolderSource(FolderConfig(path=str(tmp_path / "nothing"))).check((RED_FOX,))
    with pytest.raises(ConfigError, match=r"needs source\.path"):
        FolderSource(FolderConfig())


CONFIG = """
name = "switch"
[classes]
list = "counteranimal"
[models]
annotator = "demo:a"
selectors = ["demo:b"]
[source]
kind = "{kind}"
{path}
"""


def opened(config: SourceConfig, state: Path, look: int = 0) -> Source:
    """A source as a build opens it."""
    kind: type[Source] = SOURCES[config.kind]
    return kind.open(config, state=state, seed=0, budget=kind.budget_in(state, config), look=look)


def test_one_line_switches_between_the_sources(tmp_path: Path) -> None:
    world = catalog(*foxes(20), observation(2, taxon_id=None))
    paths = {
        "inaturalist": "",
        "open_data": f"path = '{write_tables(world, tmp_path / 'tables')}'",
        "url_list": f"path = '{write(tmp_path / 'list.csv', [dict(row) for row in ROWS])}'",
        "folder": f"path = '{folder_of(tmp_path)}'",
    }
    found: dict[str, Crawl] = {}
    rechecking = set()
    with serve(world) as server:
        for kind, path in paths.items():
            config = parse_config(tomllib.loads(CONFIG.format(kind=kind, path=path)), tmp_path).source
            updated = {"api_url": server.api_url, "requests_per_minute": 10**6} if hasattr(config, "api_url") else {}
            made = opened(config.model_copy(update={**updated, "allowed_hosts": HOSTS}), tmp_path / kind)
            made.check((RED_FOX,))
            found[kind] = made.crawl(RED_FOX)
            if type(made).recheck is not Source.recheck:
                rechecking.add(kind)
            assert made.recheck(found[kind].candidates, (RED_FOX,)).num_rows == 0
    assert {kind: crawl.candidates.num_rows for kind, crawl in found.items()} == {
        "inaturalist": 20,
        "open_data": 20,
        "url_list": 2,
        "folder": 2,
    }
    assert found.keys() == set(SOURCES.own)
    assert rechecking == {"inaturalist", "open_data"}
    for kind, crawl in found.items():
        assert crawl.candidates.schema.equals(CANDIDATES.arrow(), check_metadata=True)
        assert crawl.rejects.schema.equals(REJECTS.arrow(), check_metadata=True)
        assert set(crawl.candidates["source"].to_pylist()) == {kind}
        licenses = set(crawl.candidates["license"].to_pylist())
        assert licenses <= {*OPEN_LICENSES, None}


def test_the_files_of_a_source_are_known_whatever_its_kind(tmp_path: Path) -> None:
    root = folder_of(tmp_path)
    names = {file.relative_to(root).as_posix() for file in visible_files(root)}
    assert "hare/0.JPG" in names and "hare/notes.txt" in names and "hare/.hidden.jpg" not in names
    listed = write(tmp_path / "list.csv", [dict(row) for row in ROWS])
    assert visible_files(listed) == [listed] and visible_files(tmp_path / "nothing") == []
    digests = Source.input_digests(FolderConfig(path=str(root)))
    assert {bytes.fromhex(name).decode() for name, _ in digests} == names
    assert Source.input_digests(url_config(listed)) == [[b".".hex(), sha256_of(listed)]]
    for kind in ("inaturalist", "open_data"):  # they know by themselves what is new
        config = source_config({"kind": kind} | ({"path": str(root)} if kind == "open_data" else {}))
        assert SOURCES[kind].input_digests(config) == []


def test_every_source_that_can_look_again_is_told_which_look_it_is(tmp_path: Path) -> None:
    for kind in ("inaturalist", "open_data"):
        config = source_config({"kind": kind, "contact": "ann@example.org"})
        assert vars(opened(config, tmp_path / kind, look=3))["_look"] == 3


def test_what_sources_say_of_themselves() -> None:
    said = {
        kind: (
            SOURCES[kind].is_by_taxon,
            SOURCES[kind].photo_hosts(source_config({"kind": kind, "allowed_hosts": ["a.example"]})),
            SOURCES[kind].page_url(f"{PHOTO_ID_PREFIX}7", "https://a.example/7.jpg"),
            sorted(SOURCES[kind].limits(source_config({"kind": kind}))),
        )
        for kind in SOURCES.own
    }
    ours = (True, ("*", "a.example"), "https://www.inaturalist.org/photos/7", ["media_bytes", "requests"])
    others = (False, ("a.example",), None, ["media_bytes"])
    assert said == {"inaturalist": ours, "open_data": ours, "url_list": others, "folder": others}
    assert INaturalistSource.page_url(f"{PHOTO_ID_PREFIX}7-0", "") is None  # the service gave no id


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            'kind = "folder"\nquality_grades = ["research"]',
            "'source.quality_grades' is no key of source.kind = 'folder' but of 'inaturalist' and 'open_data'; remove",
        ),
        ('path = "tables"', "no key of source.kind = 'inaturalist' but of 'folder' and 'open_data' and 'url_list'"),
        ('kind = "folder"\npth = "photos"', r"unknown key 'source\.pth'; did you mean 'path'\?"),
        (
            'kind = "gbif"\npath = "x"',
            "unknown source.kind 'gbif'; use one of folder, inaturalist, open_data, url_list",
        ),
        ('kind = "foldr"', r"key 'source.kind': unknown source.kind 'foldr'; did you mean 'folder'\?"),
        ("kind = 3", "key 'source.kind': input should be a valid string"),
        ('kind = "folder"\nphotos_per_class = 0', "key 'source.photos_per_class': "),
    ],
)
def test_a_key_belongs_to_a_kind(settings: str, message: str, tmp_path: Path) -> None:
    text = CONFIG.replace('kind = "{kind}"\n{path}', settings)
    assert settings in text
    with pytest.raises(ConfigError, match=message):
        parse_config(tomllib.loads(text), tmp_path)


def test_a_section_has_the_keys_of_its_kind_alone() -> None:
    assert not hasattr(FolderConfig(), "api_url")
    assert source_config({}).kind == "inaturalist"
    assert source_config({"kind": "folder", "path": "photos"}).paths == {"path": "photos"}
    assert source_config({"kind": "open_data", "path": "s3://bucket/tables"}).paths == {}


def test_keys_that_a_kind_once_took_stay_in_keys_and_releases_as_they_were() -> None:
    """Files of earlier versions stay good, and a release of equal inputs is the same."""
    kept = content(FolderConfig(path="photos"), "pool")
    assert kept["api_url"] == "https://api.inaturalist.org/v1" and "licenses" not in kept
    own = {"place_km", "license", "match"}
    names = {frozenset(source_config({"kind": kind}).model_dump()) - own for kind in SOURCES.own}
    assert len(names) == 1 and len(names.pop()) == 20
