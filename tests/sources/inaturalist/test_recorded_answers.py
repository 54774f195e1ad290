"""The recorded answers of the real service, read as the client reads them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from counterset.classes import ClassSpec, ListedTaxon
from counterset.errors import SourceError, SourceUnavailable
from counterset.schemas import RejectReason
from counterset.sources.budget import Budget, request_limits
from counterset.sources.inaturalist.client import ApiClient, RetryPolicy, retry_after_s
from counterset.sources.inaturalist.observations import Offer, credit, offers_of, photo_url, refusal
from counterset.sources.inaturalist.schemas import OFFERS
from counterset.sources.inaturalist.settings import INaturalistConfig
from counterset.sources.inaturalist.taxa import TaxonResolver
from counterset.tables import table_of

FIXTURES = Path(__file__).resolve().parents[3] / "../shared/reference/inaturalist/fixtures"
pytestmark = pytest.mark.skipif(not FIXTURES.is_dir(), reason="no recorded answers beside the checkout")

OBSERVATION_FILES = (
    "v1_observations_page1.json",
    "v1_observations_page2.json",
    "v1_observation_16227955_2018.json",
    "v1_observation_16227955_2023.json",
    "v1_observation_54823261_2020.json",
    "v1_observation_70963477_obscured_annotated.json",
    "v1_observation_83103252_bare_object.json",
    "v1_observation_records_30_part1.json",
    "v1_observation_records_30_part2.json",
    "v1_observation_nonexistent_200_empty.json",
)


def load(name: str) -> Any:
    return json.loads((FIXTURES / name).read_text(encoding="utf-8"))


def records_of(name: str) -> list[dict[str, Any]]:
    body = load(name)
    if isinstance(body, dict) and "results" not in body:
        return [body]
    return list(body["results"] if isinstance(body, dict) else body)


def offers_in(name: str) -> list[Offer]:
    return [offer for record in records_of(name) for offer in offers_of(record)]


@pytest.mark.parametrize("name", OBSERVATION_FILES)
def test_every_recorded_observation_becomes_rows(name: str) -> None:
    records = records_of(name)
    offers = offers_in(name)
    assert len(offers) == sum(len(record["photos"]) for record in records)
    table = table_of(OFFERS, offers)
    assert table.num_rows == len(offers)
    for record in records:
        mine = [offer for offer in offers if offer["observation_id"] == record["id"]]
        assert [offer["photo_id"] for offer in mine] == [photo["id"] for photo in record["photos"]]
        if record["taxon"] is not None:
            assert all(offer["taxon_id"] in offer["ancestor_ids"] for offer in mine)
    assert not {"location", "latitude", "geojson", "place_guess"} & set(table.column_names)


def test_one_photo_on_its_old_and_new_host() -> None:
    old, new = (offers_in(f"v1_observation_16227955_{year}.json")[0] for year in (2018, 2023))
    assert old["photo_id"] == new["photo_id"] == 24355315
    assert "static.inaturalist.org" in old["url"] and "?" in old["url"]
    assert photo_url(old["url"], "medium") == "https://static.inaturalist.org/photos/24355315/medium.jpeg"
    assert photo_url(new["url"], "medium") == (
        "https://inaturalist-open-data.s3.amazonaws.com/photos/24355315/medium.jpeg"
    )
    assert not old["is_hidden"] and not new["is_hidden"]
    assert new["annotations"] == ["17|18", "1|2"]


def test_a_closed_licence_is_refused_and_an_open_one_taken() -> None:
    closed = offers_in("v1_observations_page2.json")
    assert {offer["license"] for offer in closed} == {None}
    taxon = closed[0]["taxon_id"]
    config = INaturalistConfig(quality_grades=("research", "needs_id", "casual"))
    assert refusal(closed[0], (taxon,), config) == (RejectReason.LICENSE, "all rights reserved")
    annotated = offers_in("v1_observation_70963477_obscured_annotated.json")
    assert {"1|2", "17|18", "22|24"} <= set(annotated[0]["annotations"])
    assert refusal(annotated[0], annotated[0]["ancestor_ids"][:1], config) is None
    assert refusal(annotated[0], annotated[0]["ancestor_ids"][:1], INaturalistConfig()) == (
        RejectReason.NOT_RESEARCH_GRADE,
        "needs_id",
    )
    assert credit("cc-by-nc", annotated[0]["attribution"], "x").endswith("some rights reserved (CC BY-NC)")


def test_a_record_of_photo_and_observation_licences_that_differ() -> None:
    (record,) = records_of("v1_observation_83103252_bare_object.json")
    assert record["license_code"] == "cc0"
    assert {offer["license"] for offer in offers_of(record)} == {"cc-by"}


def test_recorded_coordinates_are_places_unless_obscured() -> None:
    (exact,) = records_of("v1_observation_16227955_2018.json")
    assert None not in {offer["place"] for offer in offers_of(exact, 1)}
    (obscured,) = records_of("v1_observation_70963477_obscured_annotated.json")
    assert {offer["place"] for offer in offers_of(obscured, 1)} == {None}


class Replay:
    """Serves scripted (status, headers, body) answers in turn, then the last again."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        waiting = list(answers)
        self.paths: list[str] = []
        replay = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                replay.paths.append(self.path)
                status, headers, body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def client_of(replay: Replay, tmp_path: Path) -> tuple[ApiClient, list[float]]:
    waits: list[float] = []
    budget = Budget(tmp_path / "budget.sqlite", {"requests": request_limits(10**6, 10**6)})
    return ApiClient(replay.url, contact="", budget=budget, timeout_s=5, sleep=waits.append), waits


@pytest.fixture
def served() -> Iterator[Any]:
    replays: list[Replay] = []

    def start(*answers: tuple[int, dict[str, str], bytes]) -> Replay:
        replays.append(Replay(*answers))
        return replays[-1]

    yield start
    for replay in replays:
        replay.close()


GOOD = (200, {"Content-Type": "application/json"}, b'{"total_results": 0, "results": []}')


@pytest.mark.parametrize(
    "case", load("derived_error_bodies.json")["v1"] if FIXTURES.is_dir() else [], ids=lambda case: str(case["status"])
)
def test_each_error_of_the_service_is_retried_or_not_as_it_heals(
    case: dict[str, Any], tmp_path: Path, served: Any
) -> None:
    body = json.dumps(case["body"]) if "body" in case else case["body_text"]
    replay = served((case["status"], case.get("headers", {}), body.encode()), GOOD)
    client, waits = client_of(replay, tmp_path)
    if case["status"] in (429, 500, 503):
        assert client.get("/observations")["results"] == []
        assert len(replay.paths) == 2
        assert waits[0] == 60.0 if case["status"] == 429 else waits[0] < 2
    elif case["status"] == 200:
        assert client.get("/observations")["results"] == []
        assert len(replay.paths) == 1
    else:
        with pytest.raises(SourceError, match=str(case["status"])):
            client.get("/observations")
        assert (len(replay.paths), waits) == (1, [])


def test_the_recorded_end_of_the_result_window_is_not_retried(tmp_path: Path, served: Any) -> None:
    response = load("http_403_result_window_2019.json")["response"]
    replay = served((response["status"], {}, json.dumps(response["body"]).encode()))
    client, _ = client_of(replay, tmp_path)
    with pytest.raises(SourceError, match="403"):
        client.get("/observations", {"page": 51, "per_page": 200})
    refused = served((401, {}, json.dumps(load("oauth_401_invalid_client.json")).encode()))
    with pytest.raises(SourceError, match="401"):
        client_of(refused, tmp_path)[0].get("/observations")


def test_a_throttle_without_retry_after_waits_a_minute_then_more_and_ends(tmp_path: Path, served: Any) -> None:
    replay = served((429, {}, b"<html>"))
    client, waits = client_of(replay, tmp_path)
    with pytest.raises(SourceUnavailable, match="run the same command again"):
        client.get("/observations")
    assert waits == [60.0, 120.0, 300.0]
    assert len(replay.paths) == 4


def test_failures_back_off_with_jitter_and_end(tmp_path: Path, served: Any) -> None:
    replay = served((500, {}, b"{}"))
    client, waits = client_of(replay, tmp_path)
    with pytest.raises(SourceUnavailable):
        client.get("/observations")
    assert len(replay.paths) == RetryPolicy().max_tries == len(waits) + 1
    assert all(0.5 * 2**n <= wait <= 1.5 * 2**n for n, wait in enumerate(waits))
    assert len({wait / 2**n for n, wait in enumerate(waits)}) == len(waits)


def test_both_forms_of_retry_after() -> None:
    now = "Sat, 23 Sep 2023 06:59:00 GMT"
    assert retry_after_s("Sat, 23 Sep 2023 7:00:00 GMT", now) == 60.0  # the hour has one digit
    assert retry_after_s("120", now) == 120.0
    assert retry_after_s("Sat, 23 Sep 2023 06:00:00 GMT", now) == 0.0
    assert retry_after_s("soon", now) is None
    assert retry_after_s(None) is None


def test_a_pause_that_is_too_long_ends_the_run(tmp_path: Path, served: Any) -> None:
    client, waits = client_of(served((503, {"Retry-After": "86400"}, b"")), tmp_path)
    with pytest.raises(SourceUnavailable, match="status 503"):
        client.get("/observations")
    assert waits == []


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b'{"results": 3}', b'{"results": [1]}', b"null", b"", b"\xff", b"[" * 100_000]
)
def test_an_answer_of_another_shape_is_no_answer(body: bytes, tmp_path: Path, served: Any) -> None:
    replay = served((200, {}, body), GOOD)
    client, waits = client_of(replay, tmp_path)
    assert client.get("/observations")["results"] == []
    assert len(waits) == 1


def test_an_endless_answer_is_cut_off(tmp_path: Path, served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterset.sources.inaturalist.client.MAX_ANSWER_BYTES", 1000)
    replay = served((200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * 10_000_000)))  # a bomb of 10 kB
    with pytest.raises(SourceError, match="more than 1,000 bytes"):
        client_of(replay, tmp_path)[0].get("/observations")
    assert len(replay.paths) == 1


def test_a_redirect_is_not_followed(tmp_path: Path, served: Any) -> None:
    replay = served((302, {"Location": "http://169.254.169.254/"}, b""))
    with pytest.raises(SourceError, match="302"):
        client_of(replay, tmp_path)[0].get("/observations")
    assert len(replay.paths) == 1


def test_the_recorded_taxa_resolve(tmp_path: Path, served: Any) -> None:
    by_id = (FIXTURES / "v1_taxa_by_id.json").read_bytes()
    replay = served((200, {}, by_id))
    spec = ClassSpec("beetle", "burying beetle", None, (70118,), "Nicrophorus vespilloides", "species")
    client, _ = client_of(replay, tmp_path)
    assert TaxonResolver(client).resolve((spec,)) == {"beetle": (70118,)}
    assert replay.paths == ["/v1/taxa/70118"]
    assert spec.listed_taxa() == (ListedTaxon(70118, "Nicrophorus vespilloides", "species"),)


@pytest.mark.parametrize("name", ["v1_taxa_search.json", "v1_taxa_autocomplete.json", "v1_taxa_all_names.json"])
def test_recorded_taxon_searches_are_matched_exactly(name: str, tmp_path: Path, served: Any) -> None:
    rows = load(name)["results"]
    row = rows[len(rows) // 2]
    client, _ = client_of(served((200, {}, (FIXTURES / name).read_bytes())), tmp_path)
    spec = ClassSpec("a", "a", None, (), row["name"], row["rank"])
    assert TaxonResolver(client).resolve((spec,)) == {"a": (row["id"],)}
    with pytest.raises(SourceError, match="has none active"):
        TaxonResolver(client).resolve((ClassSpec("a", "a", None, (), row["name"] + "x", row["rank"]),))


@pytest.mark.parametrize(
    "name",
    ["v1_species_counts.json", "v1_controlled_terms.json", "v2_observations_full.json", "v2_observations_minimal.json"],
)
def test_other_recorded_answers_are_whole(name: str, tmp_path: Path, served: Any) -> None:
    client, _ = client_of(served((200, {}, (FIXTURES / name).read_bytes())), tmp_path)
    assert client.get("/anything")["results"] == load(name)["results"]


def test_the_terms_that_the_rules_rest_on_are_the_recorded_ones() -> None:
    terms = {
        row["id"]: (row["label"], {value["id"]: value["label"] for value in row["values"]})
        for row in load("v1_controlled_terms.json")["results"]
    }
    assert terms[22][0] == "Evidence of Presence" and terms[22][1][24] == "Organism"
    assert terms[17][0] == "Alive or Dead" and terms[17][1][19] == "Dead"
    assert {key: terms[1][1][key] for key in (4, 6, 7)} == {4: "Pupa", 6: "Larva", 7: "Egg"}
