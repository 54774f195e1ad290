"""The API source against a server whose truth is known."""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import random
import runpy
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest

from counterset.classes import ClassSpec, load_classes
from counterset.demo.server.catalog import Catalog, Taxon
from counterset.demo.server.faults import Fault, FaultKind
from counterset.demo.server.look_alike import LookAlikeServer, serve
from counterset.demo.world.observations import demo_catalog
from counterset.errors import ConfigError, SourceError, SourceUnavailable
from counterset.sources import Crawl
from counterset.sources.inaturalist.api import INaturalistSource
from counterset.sources.inaturalist.client import ApiClient
from counterset.sources.inaturalist.settings import INaturalistConfig

from ..conftest import FOX, HARE, QUICK, RED_FOX, TAXA, MakeConfig, catalog, foxes, observation, photo


def crawl(config: INaturalistConfig, state: Path, spec: ClassSpec = RED_FOX, seed: int = 0) -> Crawl:
    source = INaturalistSource(config, state, seed, retry=QUICK)
    source.check((spec,))
    return source.crawl(spec)


def ids(table: pa.Table) -> list[int]:
    return sorted(int(text.removeprefix("inaturalist-")) for text in table["photo_id"].to_pylist())


def reasons(found: Crawl) -> dict[int, str]:
    rows = found.rejects.to_pylist()
    return {int(row["photo_id"].removeprefix("inaturalist-")): row["reason"] for row in rows}


def observation_queries(server: LookAlikeServer) -> list[dict[str, str]]:
    paths = [urlsplit(record.path) for record in server.requests]
    return [
        {key: value[0] for key, value in parse_qs(path.query).items()}
        for path in paths
        if path.path == "/v1/observations"
    ]


def test_every_photo_is_found_once_over_many_pages(tmp_path: Path, config_of: MakeConfig) -> None:
    rows = foxes(701)
    with serve(catalog(*rows, *(observation(n, taxon_id=HARE) for n in (2, 5, 8)))) as server:
        found = crawl(config_of(server), tmp_path)
        queries = observation_queries(server)
    assert ids(found.candidates) == sorted(row.photos[0].photo_id for row in rows)
    assert found.rejects.num_rows == 0
    assert len(queries) == 5  # the frozen bound, then four pages
    assert all(query["order_by"] == "id" and "page" not in query for query in queries)
    assert {query.get("id_below") for query in queries[1:]} == {str(rows[-1].observation_id + 1)}


def test_another_choice_of_one_look_asks_nothing(tmp_path: Path, config_of: MakeConfig) -> None:
    rows = foxes(30)

    def look(number: int, seed: int = 0, spec: ClassSpec = RED_FOX, **settings: object) -> tuple[list[int], int]:
        before = len(server.requests)
        source = INaturalistSource(config_of(server, **settings), tmp_path, seed, retry=QUICK, look=number)
        source.check((spec,))
        return ids(source.crawl(spec).candidates), len(server.requests) - before

    with serve(catalog(*rows)) as server:
        first, num_asked = look(1, photos_per_class=10)
        assert len(first) == 10 and num_asked > 2
        other, num_asked = look(1, seed=1, photos_per_class=10)
        assert other != first and num_asked == 0
        assert look(1, photos_per_class=20, photos_per_observer_day=1)[1] == 0
        assert look(1, spec=dataclasses.replace(RED_FOX, name="the fox"), photos_per_class=10) == (first, 0)
        assert look(2, photos_per_class=10)[1] > 1, "a new look asks what changed since"
        assert look(2, seed=1, photos_per_class=10) == (other, 1), "whether what it takes still stands; no page"


def test_a_row_carries_what_captions_and_credits_need(tmp_path: Path, config_of: MakeConfig) -> None:
    rows = (
        observation(1, taxon_id=420691, description="A fox in snow\ud800\0.", tags=("snow", "night")),
        observation(2, photo(20, "cc0", extension="JPG"), user_name="Ann Other"),
    )
    with serve(catalog(rows[0], rows[1])) as server:
        first, second = crawl(config_of(server, photo_size="large"), tmp_path).candidates.to_pylist()
        mirrored = crawl(config_of(server, photo_url="http://mirror.example/"), tmp_path / "2")
    assert first["url"] == "https://inaturalist-open-data.s3.amazonaws.com/photos/10/large.jpg"
    assert first["attribution"] == "(c) user0, some rights reserved (CC BY-NC)"
    assert (first["taxon_id"], first["taxon_name"]) == (420691, "Vulpes vulpes crucigera")
    assert (first["observation_id"], first["observer_id"], first["observed_on"]) == ("1", "100", date(2020, 1, 2))
    assert first["title"] == "European Red Fox"
    assert first["description"].startswith("A fox in snow") and "\0" not in first["description"]
    assert first["tags"] == ["snow", "night"]
    assert second["url"].endswith("/photos/20/large.JPG")
    assert second["attribution"] == "Ann Other, no rights reserved (CC0)"
    # Where photos are fetched from is the download's to know: addresses in tables are the source's own.
    assert mirrored.candidates["url"].to_pylist()[0] == first["url"].replace("large", "medium")
    assert not {"location", "place_guess", "latitude"} & set(mirrored.candidates.column_names)


def test_each_rule_turns_its_photo_away(tmp_path: Path, config_of: MakeConfig) -> None:
    rows = (
        observation(1, photo(10, None), photo(11, "cc-by-nd"), photo(12, "cc-by"), photo(13, "cc-by")),
        observation(
            2, photo(20, "cc-by", placeholder="assets/media-hidden-square.png"), photo(21, "cc-by", is_hidden=True)
        ),
        observation(3, photo(30), annotations=((22, 26),)),
        observation(4, photo(40), annotations=((22, 26), (22, 24))),
        observation(5, photo(50), annotations=((17, 19),)),
        observation(6, photo(60), annotations=((1, 6),)),
        observation(7, photo(70), annotations=((9, 20), (17, 20))),
        observation(8, photo(80), is_captive=True, quality_grade="casual"),
        observation(9, photo(90), quality_grade="needs_id"),
        observation(10, photo(100, "cc-by", placeholder="assets/copyright-infringement-square.png"), photo(101)),
    )
    with serve(catalog(*rows)) as server:
        found = crawl(config_of(server), tmp_path)
        everything = crawl(
            config_of(server, include_captive=True, quality_grades=("casual", "needs_id", "research")), tmp_path / "2"
        )
    assert ids(found.candidates) == [12, 40, 70, 101]
    assert reasons(found) == {
        10: "license",
        11: "license",
        13: "same_observation",
        20: "hidden",
        21: "hidden",
        30: "not_organism",
        50: "dead",
        60: "life_stage",
        100: "hidden",
    }
    assert ids(everything.candidates) == [12, 40, 70, 80, 90, 101]


def test_rules_are_checked_here_even_when_the_service_does_not(tmp_path: Path, config_of: MakeConfig) -> None:
    rows = (
        observation(1, quality_grade="needs_id"),
        observation(2, is_captive=True),
        observation(3, taxon_id=HARE),
        observation(4, taxon_id=None),
        observation(5),
    )
    with serve(catalog(*rows)) as server:
        answer = server.api.observations
        server.api.observations = lambda query: answer(  # type: ignore[method-assign]
            {key: query[key] for key in query if key in ("order_by", "order", "id_above", "id_below", "per_page")}
        )
        found = crawl(config_of(server), tmp_path)
    assert ids(found.candidates) == [50]
    assert reasons(found) == {10: "not_research_grade", 20: "captive", 30: "unidentified", 40: "unidentified"}


def test_one_observer_and_day_gives_no_more_than_the_cap(tmp_path: Path, config_of: MakeConfig) -> None:
    day = date(2022, 6, 1)
    rows = [observation(n, user_id=7, observed_on=day) for n in range(1, 21)]
    rows += [observation(n, user_id=7, observed_on=day + timedelta(days=1)) for n in range(21, 23)]
    with serve(catalog(*rows)) as server:
        found = crawl(config_of(server, photos_per_observer_day=3), tmp_path)
    assert Counter(found.candidates["observed_on"].to_pylist()) == {day: 3, day + timedelta(days=1): 2}
    assert Counter(reasons(found).values()) == {"observer_day_cap": 17}


def test_the_sample_is_the_smallest_hashes_whatever_the_order_of_arrival(tmp_path: Path, config_of: MakeConfig) -> None:
    rows = foxes(300)
    drawn = sorted(rows, key=lambda row: hashlib.sha256(f"5:{row.uuid}".encode()).digest())[:50]
    expected = [f"inaturalist-{row.photos[0].photo_id}" for row in drawn]
    with serve(catalog(*rows)) as server:
        found = crawl(config_of(server, photos_per_class=50), tmp_path, seed=5)
        other = crawl(config_of(server, photos_per_class=50), tmp_path, seed=6)
    assert found.candidates["photo_id"].to_pylist() == sorted(expected)
    assert Counter(reasons(found).values()) == {"not_sampled": 250}
    assert found.candidates["photo_id"].to_pylist() != other.candidates["photo_id"].to_pylist()


def test_latest_takes_the_newest_and_asks_for_no_more_pages(tmp_path: Path, config_of: MakeConfig) -> None:
    rows = foxes(900)
    with serve(catalog(*rows)) as server:
        found = crawl(config_of(server, photos_per_class=250, order="latest"), tmp_path)
        assert len(observation_queries(server)) == 3
    assert ids(found.candidates) == sorted(row.photos[0].photo_id for row in rows[-250:])


def test_latest_goes_on_down_to_the_oldest_that_still_counts(tmp_path: Path, config_of: MakeConfig) -> None:
    rows = foxes(900)
    with serve(catalog(*rows)) as server:
        crawl(config_of(server, photos_per_class=250, order="latest"), tmp_path)
    new = [observation(10_000 + n, created_at=datetime.now(UTC)) for n in range(900)]
    with serve(catalog(*rows, *new)) as server:
        found = crawl(config_of(server, photos_per_class=250, order="latest"), tmp_path)
        assert len(observation_queries(server)) == 3
    assert ids(found.candidates) == [row.photos[0].photo_id for row in new[-250:]]


def test_one_photo_in_two_observations_counts_once(tmp_path: Path, config_of: MakeConfig) -> None:
    rows = (observation(1, photo(10)), observation(2, photo(10)), observation(3, photo(30), photo(10)))
    with serve(catalog(*rows)) as server:
        found = crawl(config_of(server), tmp_path)
    assert found.candidates.select(["photo_id", "observation_id"]).to_pylist() == [
        {"photo_id": "inaturalist-10", "observation_id": "1"},
        {"photo_id": "inaturalist-30", "observation_id": "3"},
    ]


ALL_FAULTS = [
    Fault(FaultKind.THROTTLED, 4),
    Fault(FaultKind.THROTTLED_SECONDS, 5, retry_after_s=0),
    Fault(FaultKind.MAINTENANCE, 7, retry_after_s=0),
    Fault(FaultKind.SERVER_ERROR, 8, every=9),
    Fault(FaultKind.TRUNCATED, 10, every=7),
    Fault(FaultKind.BROKEN, 11, every=8),
    Fault(FaultKind.SHORT_PAGE, 3, every=2),
    Fault(FaultKind.OLD_HOST, 6),
    Fault(FaultKind.VANISH, 9),
]


@pytest.mark.parametrize(
    "faults",
    [*([fault] for fault in ALL_FAULTS), ALL_FAULTS],
    ids=lambda value: "+".join(fault.kind for fault in value),
)
def test_under_every_fault_the_candidates_equal_the_truth(
    faults: list[Fault], tmp_path: Path, config_of: MakeConfig
) -> None:
    shared = photo(77)
    rows = (
        *foxes(1500),
        observation(2, photo(20), shared),
        observation(5, shared),
        observation(8, taxon_id=None),
        observation(11, photo(110, None)),
        observation(14, photo(140, placeholder="assets/copyright-infringement-square.png")),
    )
    truth = {row.photos[0].photo_id for row in foxes(1500)} | {20, 77}
    with serve(catalog(*rows), faults=faults) as server:
        found = crawl(config_of(server, photos_per_observation=2), tmp_path)
        statuses = Counter(record.status for record in server.requests)
        deleted = set(range(1, 4500)) - set(server.api.by_id)
    # A row that vanishes was either read before (and stays, until the recheck) or never seen.
    assert set(ids(found.candidates)) == truth
    assert found.candidates.num_rows == len(truth)
    if any(fault.kind is FaultKind.VANISH for fault in faults):
        assert len([row for row in rows if row.observation_id in deleted]) == 1
    expected = {
        FaultKind.THROTTLED: 429,
        FaultKind.THROTTLED_SECONDS: 429,
        FaultKind.MAINTENANCE: 503,
        FaultKind.SERVER_ERROR: 500,
    }
    for fault in faults:
        assert statuses[expected.get(fault.kind, 200)] > 0


def test_a_row_that_vanishes_before_it_is_read_is_missing_and_nothing_else(
    tmp_path: Path, config_of: MakeConfig
) -> None:
    with serve(catalog(*foxes(900)), faults=[Fault(FaultKind.VANISH, 2)]) as server:
        found = crawl(config_of(server), tmp_path)  # request 2 asks for the bound, so the newest row vanishes
    assert ids(found.candidates) == [row.photos[0].photo_id for row in foxes(899)]


def test_a_look_asks_about_each_photo_once(tmp_path: Path, config_of: MakeConfig) -> None:
    """A second look's crawl asks about all that it takes one by one, so the recheck of the same run need not."""
    rows = foxes(250)
    with serve(catalog(*rows)) as server:
        crawl(config_of(server), tmp_path)
    with serve(catalog(*rows[1:])) as server:
        source = INaturalistSource(config_of(server), tmp_path, retry=QUICK)
        source.check((RED_FOX,))
        found = source.crawl(RED_FOX)
        asked = [number for record in server.requests for number in record.path.split("/")[-1].split(",")]
        numbers = {str(row.observation_id) for row in rows}
        again = Counter(number for number in asked if number in numbers)
        assert set(again) == numbers
        assert again.pop(str(rows[0].observation_id)) == 2, "what is not in an answer is asked for again"
        assert sorted(again.values()) == [1] * 248 + [2], "with one that is there"
        num_asked = len(server.requests)
        assert source.recheck(found.candidates, (RED_FOX,)).num_rows == 0
        assert len(server.requests) == num_asked
        as_hare = found.candidates.set_column(1, "class_id", pa.array(["hare"] * found.candidates.num_rows))
        assert len(source.unasked(as_hare)) == len(as_hare), "it may stand in one class and not in another"
        later = INaturalistSource(config_of(server), tmp_path, retry=QUICK)
        assert later.recheck(found.candidates, (RED_FOX,)).num_rows == 0
        assert len(server.requests) == num_asked + 2, "another run asks again"


CRAWL_IN_CHILD = """
from pathlib import Path
from counterset.classes import ClassSpec
from counterset.sources.inaturalist.settings import INaturalistConfig
from counterset.sources.inaturalist.api import INaturalistSource

config = INaturalistConfig(api_url=api_url, requests_per_minute=1_000_000, requests_per_day=1_000_000)
spec = ClassSpec("red_fox", "red fox", 277, (42069,), "Vulpes vulpes", "species")
INaturalistSource(config, Path(state), 0).crawl(spec)
"""


def test_a_crawl_killed_ten_times_ends_as_one_undisturbed(tmp_path: Path, config_of: MakeConfig) -> None:
    generator = random.Random(0)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["counterset.sources.inaturalist.api"])
    script = tmp_path / "crawl.py"
    script.write_text(CRAWL_IN_CHILD)
    faults = [Fault(FaultKind.SHORT_PAGE, 1, every=1)]  # half pages, so that there are many
    with serve(catalog(*foxes(3000)), faults=faults) as server:
        for _ in range(10):
            last = len(server.requests) + generator.randint(1, 4)
            names = {"api_url": server.api_url, "state": str(tmp_path / "killed")}
            child = processes.Process(target=runpy.run_path, args=(str(script), names))
            child.start()
            while len(server.requests) < last and child.is_alive():
                time.sleep(0.0005)
            child.kill()
            child.join()
            assert child.exitcode == -9
            child.close()
        num_killed = len(server.requests)
        killed = crawl(config_of(server, photos_per_class=300), tmp_path / "killed")
        num_in_all = len(server.requests)
        undisturbed = crawl(config_of(server, photos_per_class=300), tmp_path / "whole")
        num_undisturbed = len(server.requests) - num_in_all
    assert killed.candidates.equals(undisturbed.candidates)
    assert killed.rejects.equals(undisturbed.rejects)
    assert killed.candidates.num_rows == 300
    assert num_killed >= 10
    assert num_in_all <= num_undisturbed + 2 * 10 + 2  # a kill costs the taxon, the bound or the page in flight


def test_a_rebuild_asks_only_for_what_is_new_or_changed(tmp_path: Path, config_of: MakeConfig) -> None:
    rows = list(foxes(900))
    with serve(catalog(*rows)) as server:
        config = config_of(server)
        crawl(config, tmp_path)
    changed = dataclasses.replace(
        rows[3], taxon_id=420691, description="again", updated_at=datetime.now(UTC) + timedelta(minutes=1)
    )
    rows[3] = changed
    new = [observation(10_000 + n, created_at=datetime.now(UTC)) for n in range(5)]
    with serve(catalog(*rows, *new)) as server:
        # The same service at another port: the state belongs to the query, not to the address.
        found = crawl(config_of(server), tmp_path)
        queries = observation_queries(server)
    assert len(queries) == 2
    assert all("updated_since" in query for query in queries)
    by_id = {row["photo_id"]: row for row in found.candidates.to_pylist()}
    assert len(by_id) == 905
    assert by_id[f"inaturalist-{changed.photos[0].photo_id}"]["description"] == "again"


def test_recheck_finds_what_may_no_longer_be_published(tmp_path: Path, config_of: MakeConfig) -> None:
    rows = [observation(n, photo(n * 10, "cc-by")) for n in range(1, 251)]
    with serve(catalog(*rows)) as server:
        config = config_of(server)
        before = crawl(config, tmp_path).candidates
    rows[0] = dataclasses.replace(rows[0], photos=(photo(10, None),))
    rows[1] = dataclasses.replace(rows[1], taxon_id=HARE)
    rows[2] = dataclasses.replace(rows[2], taxon_id=420691)
    rows[3] = dataclasses.replace(rows[3], photos=(photo(41),))
    rows[4] = dataclasses.replace(rows[4], quality_grade="casual")
    rows[5] = dataclasses.replace(rows[5], photos=(photo(60, "cc0"),))
    del rows[6]
    with serve(catalog(*rows)) as server:
        config = config_of(server)
        found = INaturalistSource(config, tmp_path).recheck(before, (RED_FOX,))
        assert len(server.requests) == 3  # batches of two hundred, and whether what is missing is really gone
    assert {row["photo_id"]: row["detail"] for row in found.to_pylist()} == {
        "inaturalist-10": "now license: all rights reserved",
        "inaturalist-20": "now unidentified: identified as Lepus europaeus",
        "inaturalist-40": "the photo was removed from its observation",
        "inaturalist-50": "now not research grade: casual",
        "inaturalist-70": "the observation was deleted",
    }
    assert set(found["reason"].to_pylist()) == {"withdrawn"}
    assert set(found["stage"].to_pylist()) == {"publish"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ClassSpec("x", "x", None, (999,)), "class 'x': the service knows no taxon 999"),
        (ClassSpec("x", "x", None, (503,), "Vulpes perdita", "species"), "is inactive and has no successor"),
        (ClassSpec("x", "x", None, (FOX,), "Vulpes lagopus", "species"), "is the species Vulpes vulpes, not the"),
        (ClassSpec("x", "x", None, (FOX,), "Vulpes vulpes", "genus"), "not the genus Vulpes vulpes"),
        (ClassSpec("x", "x", None, (), "Vulpes nova", "species"), "has none active species named 'Vulpes nova'"),
        (ClassSpec("x", "x"), "has neither taxon_ids nor a scientific_name"),
    ],
)
def test_a_class_that_cannot_be_found_is_an_error(
    spec: ClassSpec, message: str, tmp_path: Path, config_of: MakeConfig
) -> None:
    with serve(catalog(*foxes(1))) as server, pytest.raises(SourceError, match=message):
        INaturalistSource(config_of(server), tmp_path).check((RED_FOX, spec))


def test_synonyms_are_followed_and_names_looked_up(tmp_path: Path, config_of: MakeConfig) -> None:
    with serve(catalog(*foxes(1))) as server:
        source = INaturalistSource(config_of(server), tmp_path)
        old = ClassSpec("old", "mink", None, (500,), "Neovison vison", "species")
        renamed = ClassSpec("renamed", "mink", None, (500,), "Neogale vison", "species")
        named = ClassSpec("named", "mink", None, (), "Neogale vison + Mustela lutreola", "species")
        source.check((old, renamed, named))
        assert [source.taxon_ids(spec) for spec in (old, renamed, named)] == [(501,), (501,), (501, 502)]
        asked = len(server.requests)
        assert INaturalistSource(config_of(server), tmp_path).taxon_ids(named) == (501, 502)
        assert len(server.requests) == asked


def test_all_classes_of_the_paper_are_checked_in_few_requests(tmp_path: Path, config_of: MakeConfig) -> None:
    specs = load_classes("counteranimal")
    assert len(specs) == 45
    taxa = [taxon for spec in specs for taxon in spec.listed_taxa()]
    known = tuple(
        Taxon(taxon.taxon_id or 800_000 + number, taxon.name, taxon.rank, 10, (1, taxon.taxon_id or 800_000 + number))
        for number, taxon in enumerate(taxa)
    )
    with serve(Catalog(known, (), lambda photo_id: b"")) as server:
        INaturalistSource(config_of(server), tmp_path).check(specs)
        assert len(server.requests) == 2 + 3  # 58 ids in two requests, three names looked up


def test_the_demos_world_is_crawled_to_its_truth(tmp_path: Path, config_of: MakeConfig) -> None:
    world, truth = demo_catalog(15, 3)
    faults = {f"inaturalist-{row['photo_id']}": row["fault"] for row in truth.to_pylist()}
    told_by_the_file = {"gone_403", "gone_404", "html", "truncated", "bomb", "tiny", "panorama"}
    told_by_the_pixels = {"exact_duplicate", "near_duplicate"}
    with serve(world) as server:
        source = INaturalistSource(config_of(server), tmp_path)
        for spec in load_classes("demo"):
            found = source.crawl(spec).candidates["photo_id"].to_pylist()
            kinds = Counter(faults[photo_id] for photo_id in found)
            assert set(kinds) <= {None, "burst"} | told_by_the_file | told_by_the_pixels
            assert kinds[None] + kinds["burst"] >= 15  # a burst's frames stand in for one another


def test_a_real_host_needs_a_contact(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"set source\.contact"):
        INaturalistSource(INaturalistConfig(), tmp_path)
    INaturalistSource(INaturalistConfig(contact="ann@example.org"), tmp_path)


def test_every_request_says_who_asks(tmp_path: Path, config_of: MakeConfig) -> None:
    with serve(catalog(*foxes(3))) as server:
        crawl(config_of(server, contact="https://example.org/ann"), tmp_path)
        agents = {record.user_agent for record in server.requests}
    assert len(agents) == 1
    assert agents.pop().startswith("counterset/") and agents is not None


def test_a_service_that_ignores_the_window_is_not_crawled_for_ever(tmp_path: Path, config_of: MakeConfig) -> None:
    with serve(catalog(*foxes(500))) as server:
        answer = server.api.observations
        server.api.observations = lambda query: answer(  # type: ignore[method-assign]
            {key: value for key, value in query.items() if not key.startswith("id_")}
        )
        with pytest.raises(SourceUnavailable, match="does not keep to id_above"):
            crawl(config_of(server), tmp_path)


def test_progress_is_told_a_page_at_a_time(tmp_path: Path, config_of: MakeConfig) -> None:
    told: list[tuple[str, int]] = []
    with serve(catalog(*foxes(450))) as server:
        INaturalistSource(config_of(server), tmp_path, on_progress=lambda *args: told.append(args)).crawl(RED_FOX)
    assert told == [("red_fox", 200), ("red_fox", 400), ("red_fox", 450)]


def test_the_catalogue_of_these_tests_has_the_taxa_they_name() -> None:
    assert {FOX, HARE} < {taxon.taxon_id for taxon in TAXA}


class Cut:
    """A client whose answers about single observations are cut, as `cut` says: the rows, and how many it claims."""

    def __init__(self, client: ApiClient, cut: Callable[[list[Any]], tuple[list[Any], int | None]]) -> None:
        self._client = client
        self._cut = cut

    def get(self, route: str, query: dict[str, str | int] | None = None) -> dict[str, Any]:
        answer = self._client.get(route, query)
        if route.startswith("/observations/") or "uuid" in (query or {}):
            rows, total = self._cut(answer["results"])
            return {"results": rows} | ({} if total is None else {"total_results": total})
        return answer


@pytest.mark.parametrize(
    ("cut", "is_told"),
    [
        (lambda rows: (rows[:5], len(rows)), True),
        (lambda rows: (rows[:5], len(rows[:5])), True),
        (lambda rows: (rows[-1:], len(rows)), True),
        (lambda rows: ([], len(rows)), False),
        (lambda rows: ([], 0), False),
        (lambda rows: (rows, None), False),
        (lambda rows: (rows[1:], len(rows[1:])), False),
    ],
)
def test_nothing_is_withdrawn_on_an_answer_that_may_be_short(
    cut: Callable[[list[Any]], tuple[list[Any], int | None]], is_told: bool, tmp_path: Path, config_of: MakeConfig
) -> None:
    rows = [observation(n) for n in range(1, 41)]
    with serve(catalog(*rows)) as server:
        before = crawl(config_of(server), tmp_path).candidates
    del rows[11]
    with serve(catalog(*rows)) as server:
        source = INaturalistSource(config_of(server), tmp_path, retry=QUICK)
        source._client = Cut(source._client, cut)  # type: ignore[assignment]
        if is_told:
            found = source.recheck(before, (RED_FOX,))
            assert found["photo_id"].to_pylist() == ["inaturalist-120"]
        else:
            with pytest.raises(SourceUnavailable, match="gives short answers"):
                source.recheck(before, (RED_FOX,))


def test_two_hundred_photos_are_asked_about_at_once_and_what_is_gone_once_more(
    tmp_path: Path, config_of: MakeConfig
) -> None:
    rows = [observation(n) for n in range(1, 451)]
    with serve(catalog(*rows)) as server:
        before = crawl(config_of(server, photos_per_class=450), tmp_path).candidates
    with serve(catalog(*rows[::10])) as server:
        withdrawn = INaturalistSource(config_of(server), tmp_path, retry=QUICK).withdrawn(before, {"red_fox": [FOX]})
        asked = [len(record.path.split(",")) for record in server.requests]
    assert len(withdrawn) == 405
    assert asked == [200, 200, 50, 200, 200, 8], "the second time with one that is there"


@pytest.mark.parametrize("order", ["sample", "latest"])
def test_a_withdrawn_photo_gives_its_place_to_another(order: str, tmp_path: Path, config_of: MakeConfig) -> None:
    rows = {n: observation(n, taxon_id=FOX) for n in range(1, 1001)}
    with serve(catalog(*rows.values())) as server:
        first = crawl(config_of(server, photos_per_class=200, order=order), tmp_path)
    taken = {int(text) for text in first.candidates["observation_id"].to_pylist()}
    gone = sorted(taken)[::2]
    closed = sorted(taken)[1]
    for number in gone:
        del rows[number]
    rows[closed] = dataclasses.replace(rows[closed], photos=(photo(closed * 10, None),))
    withdrawn = {f"inaturalist-{number * 10}" for number in (*gone, closed)}
    with serve(catalog(*rows.values())) as server:
        for _ in range(2):
            again = crawl(config_of(server, photos_per_class=200, order=order), tmp_path)
            told = {row["photo_id"] for row in again.rejects.to_pylist() if row["reason"] == "withdrawn"}
            assert told == withdrawn and not told & set(again.candidates["photo_id"].to_pylist())
            assert again.candidates.num_rows == 200
    kept = {int(text) for text in again.candidates["observation_id"].to_pylist()}
    assert taken - set(gone) - {closed} <= kept <= rows.keys()
    if order == "latest":
        assert kept == set(sorted(rows.keys() - {closed})[-200:])
