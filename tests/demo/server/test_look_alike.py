"""The look-alike server against the recorded facts of the real API and photo host."""

from __future__ import annotations

import io
import socket
import struct
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import requests
from PIL import Image

from counterset.demo.server.catalog import Catalog, Observation, Photo, Taxon
from counterset.demo.server.faults import Fault, FaultKind, PhotoFault, with_photo_faults
from counterset.demo.server.look_alike import LookAlikeServer, serve

PHOTO_FOLDER = Path(__file__).resolve().parents[3] / "../shared/photos"

LIFE, CATS = (48460,), (48460, 1, 41944)
TAXA = (
    Taxon(48460, "Life", "stateofmatter", 100, LIFE),
    Taxon(41944, "Panthera", "genus", 20, CATS, "Big Cats"),
    Taxon(41964, "Panthera leo", "species", 10, (*CATS, 41964), "Lion"),
    Taxon(41970, "Panthera onca", "species", 10, (*CATS, 41970), "Jaguar"),
    Taxon(7, "Felis leo", "species", 10, (48460, 1, 7), "Lion", is_active=False, synonym_ids=(41964,)),
)


def jpeg(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (30, 120, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


def observation(number: int, taxon_id: int | None = 41964, *photos: Photo) -> Observation:
    return Observation(
        observation_id=number,
        uuid=f"00000000-0000-4000-8000-{number:012d}",
        taxon_id=taxon_id,
        user_id=9,
        user_login="nine",
        user_name="",
        observed_on=date(2024, 5, 1),
        created_at=datetime(2024, 6, 1, tzinfo=UTC) - timedelta(minutes=number),
        photos=photos or (Photo(number * 10, "cc-by-nc", 1600, 900),),
        annotations=((22, 24),),
    )


def catalog(num: int = 450, *more: Observation) -> Catalog:
    rows = (*(observation(number) for number in range(1, num + 1)), *more)
    return Catalog(TAXA, rows, lambda photo_id: jpeg(1600, 900))


@pytest.fixture(scope="module")
def server() -> Iterator[LookAlikeServer]:
    odd = observation(
        5_000,
        41970,
        Photo(1, "cc-by", 60, 40, "JPG"),
        Photo(2, None, 800, 600),
        Photo(3, "cc-by", 800, 600, placeholder="assets/copyright-infringement-square.png"),
        Photo(4, "cc0", 800, 600, gone_status=404),
        Photo(5, "cc-by-nc-sa", 800, 600, is_hidden=True),
    )
    with serve(catalog(450, odd, observation(5_001, None))) as running:
        yield running


def get(server: LookAlikeServer, path: str, **query: object) -> requests.Response:
    return requests.get(f"{server.api_url}{path}", params={key: str(value) for key, value in query.items()}, timeout=10)


def test_per_page_is_clamped_defaulted_and_zero_counts_only(server: LookAlikeServer) -> None:
    for asked, given in ((1000, 200), (0, 0), (-3, 30), ("many", 30), (7, 7)):
        body = get(server, "/observations", per_page=asked, taxon_id=41964).json()
        assert (body["per_page"], len(body["results"]), body["total_results"]) == (given, given, 450)


def test_the_result_window_ends_at_ten_thousand(server: LookAlikeServer) -> None:
    assert get(server, "/observations", per_page=200, page=50).status_code == 200
    refused = get(server, "/observations", per_page=200, page=51)
    assert refused.status_code == 403
    assert refused.json()["status"] == 403


def test_id_windows_are_exclusive_and_totals_count_what_remains(server: LookAlikeServer) -> None:
    body = get(server, "/observations", taxon_id=41964, id_above=400, id_below=440, order_by="id", order="asc").json()
    assert body["total_results"] == 39
    assert [row["id"] for row in body["results"]] == list(range(401, 431))


def test_the_default_order_is_creation_newest_first(server: LookAlikeServer) -> None:
    ids = [row["id"] for row in get(server, "/observations", taxon_id=41964, per_page=3).json()["results"]]
    assert ids == [1, 2, 3]  # ids run against the time of creation in this catalogue
    ids = [row["id"] for row in get(server, "/observations", order_by="id", per_page=2).json()["results"]]
    assert ids == [5_001, 5_000]


def test_unknown_parameters_are_ignored_and_unknown_taxa_are_not(server: LookAlikeServer) -> None:
    assert get(server, "/observations", photo_licence="cc0").json()["total_results"] == 452
    assert get(server, "/observations", taxon_id=999_999_999).status_code == 422
    assert get(server, "/observations", taxon_id="999999999,41964").json()["total_results"] == 450
    assert get(server, "/observations", place_id=1).json() == {"error": "Unknown place_id 1", "status": 422}
    assert get(server, "/observations", taxon_id=41944).json()["total_results"] == 451
    assert get(server, "/nonsense").status_code == 404


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ({"exact_taxon_id": 41944}, 0),
        ({"without_taxon_id": 41964}, 2),
        ({"verifiable": "true"}, 452),
        ({"photo_licensed": "false"}, 0),
        ({"license": "cc-by-nc"}, 452),
        ({"id": "1,2,5001"}, 3),
        ({"not_id": "1,2"}, 450),
        ({"uuid": "00000000-0000-4000-8000-000000000007"}, 1),
        ({"user_id": 9}, 452),
        ({"not_user_id": 9}, 0),
        ({"rank": "genus,species"}, 451),
        ({"term_id": 22}, 452),
        ({"term_id": 22, "term_value_id": 26}, 0),
        ({"term_id": 22, "without_term_value_id": 24}, 0),
        ({"without_term_id": 17}, 452),
        ({"term_id_or_unknown": 22, "without_term_value_id": "23,26"}, 452),
        ({"d1": "2024-05-02"}, 0),
        ({"d1": "2024-05-01", "d2": "2024-05-01T23:00:00Z"}, 452),
        ({"d1": "nonsense"}, 452),
        ({"created_on": "2024-06-01"}, 0),
        ({"created_d1": "2024-05-31"}, 450),
        ({"updated_since": "2024-05-31T23:00:00Z"}, 60),
        ({"year": 2024, "month": "4,5", "day": 1}, 452),
        ({"captive": "any"}, 452),
        ({"captive": "true"}, 0),
    ],
)
def test_filters(server: LookAlikeServer, query: dict[str, object], total: int) -> None:
    body = get(server, "/observations", per_page=0, **query).json()
    assert (body["total_results"], body["results"]) == (total, [])


def test_any_photo_matches_a_licence_and_all_are_returned(server: LookAlikeServer) -> None:
    body = get(server, "/observations", photo_license="CC-BY").json()
    photos = body["results"][0]["photos"]
    assert body["total_results"] == 1
    assert [photo["license_code"] for photo in photos] == ["cc-by", None, "cc-by", "cc0", "cc-by-nc-sa"]
    assert photos[0]["url"] == "https://inaturalist-open-data.s3.amazonaws.com/photos/1/square.JPG"
    assert photos[1]["url"] == "https://static.inaturalist.org/photos/2/square.jpg"
    assert photos[2]["url"] == "https://www.inaturalist.org/assets/copyright-infringement-square.png"
    assert photos[4]["hidden"] and photos[4]["url"].startswith("https://static.inaturalist.org/")
    assert [photo["attribution"] for photo in photos[:4]] == [
        "(c) nine, some rights reserved (CC BY)",
        "(c) nine, all rights reserved",
        "(c) nine, some rights reserved (CC BY)",
        "no rights reserved",
    ]


def test_observations_by_id_leave_unknown_ones_out(server: LookAlikeServer) -> None:
    body = get(server, "/observations/5000,777777,5001").json()
    assert [row["id"] for row in body["results"]] == [5_000, 5_001]
    assert body["results"][1]["taxon"] is None
    assert get(server, "/observations/777777").json()["total_results"] == 0
    assert get(server, "/observations/" + ",".join(map(str, range(201)))).status_code == 422


def test_taxa_search_hides_inactive_ones_and_ids_do_not(server: LookAlikeServer) -> None:
    names = [row["name"] for row in get(server, "/taxa", q="leo").json()["results"]]
    assert names == ["Panthera leo"]
    row = get(server, "/taxa/7").json()["results"][0]
    assert (row["is_active"], row["current_synonymous_taxon_ids"]) == (False, [41964])
    ranked = [row["name"] for row in get(server, "/taxa", q="panthera").json()["results"]]
    assert ranked == ["Panthera", "Panthera leo", "Panthera onca"]
    match = get(server, "/taxa/autocomplete", q="lion").json()["results"][0]
    assert (match["id"], match["matched_term"]) == (41964, "Lion")
    assert get(server, "/taxa/autocomplete").json()["results"] == []
    assert get(server, "/taxa/" + ",".join(map(str, range(31)))).status_code == 422


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("square", (75, 75)),
        ("thumb", (100, 56)),
        ("small", (240, 135)),
        ("medium", (500, 281)),
        ("large", (1024, 576)),
        ("original", (1600, 900)),
    ],
)
def test_photo_sizes(server: LookAlikeServer, size: str, expected: tuple[int, int]) -> None:
    answer = requests.get(f"{server.photo_url}/photos/10/{size}.jpg", timeout=10)
    assert Image.open(io.BytesIO(answer.content)).size == expected
    assert answer.headers["Content-Type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("path", "status"), [("1/medium.jpg", 403), ("4/medium.jpg", 404), ("3/medium.jpg", 403), ("99/medium.jpg", 403)]
)
def test_photos_that_are_not_there_are_xml(server: LookAlikeServer, path: str, status: int) -> None:
    answer = requests.get(f"{server.photo_url}/photos/{path}", timeout=10)
    assert answer.status_code == status
    assert answer.content.startswith(b"<?xml")


def test_spoilt_photos_pass_through_unchanged() -> None:
    faults = {10: PhotoFault.TRUNCATED, 20: PhotoFault.HTML, 30: PhotoFault.BOMB, 40: PhotoFault.HUGE}
    small = Catalog(TAXA, catalog(4).observations, lambda photo_id: jpeg(300, 200))
    with serve(with_photo_faults(small, faults)) as running:
        files = {
            photo_id: requests.get(f"{running.url}/photos/{photo_id}/medium.jpg", timeout=20).content
            for photo_id in faults
        }
    assert files[10] == jpeg(300, 200)[: len(jpeg(300, 200)) // 2]
    assert files[20].startswith(b"<!doctype html>")
    assert len(files[30]) < 100_000
    assert files[40].startswith(jpeg(300, 200)) and len(files[40]) > 30_000_000


def test_faults_come_at_their_requests() -> None:
    kinds = (
        FaultKind.THROTTLED,
        FaultKind.THROTTLED_SECONDS,
        FaultKind.MAINTENANCE,
        FaultKind.SERVER_ERROR,
        FaultKind.TRUNCATED,
        FaultKind.BROKEN,
        FaultKind.SHORT_PAGE,
        FaultKind.VANISH,
    )
    with serve(catalog(40), faults=[Fault(kind, number) for number, kind in enumerate(kinds, 1)]) as running:
        ask = {"order_by": "id", "order": "asc"}
        answers: list[requests.Response] = []
        for number in range(1, 10):
            if number == 6:
                with pytest.raises(requests.exceptions.ChunkedEncodingError):
                    get(running, "/observations", **ask)
                continue
            answers.append(get(running, "/observations", **ask))
    throttled, seconds, maintenance, failed, truncated, short, vanishing, after = answers
    assert throttled.status_code == 429 and "Retry-After" not in throttled.headers
    assert seconds.headers["Retry-After"] == "1"
    assert parsedate_to_datetime(maintenance.headers["Retry-After"]) > datetime.now(UTC) - timedelta(seconds=5)
    assert (maintenance.status_code, failed.status_code, truncated.status_code) == (503, 500, 200)
    with pytest.raises(requests.exceptions.JSONDecodeError):
        truncated.json()
    assert (len(short.json()["results"]), short.json()["total_results"]) == (15, 40)
    assert vanishing.json()["results"][0]["id"] == 1
    assert (after.json()["results"][0]["id"], after.json()["total_results"]) == (2, 39)


def test_a_client_that_goes_away_is_not_told_of(server: LookAlikeServer, capfd: pytest.CaptureFixture[str]) -> None:
    """Cut off while answers are on their way, at the head or the body of one."""
    for _ in range(20):
        client = socket.create_connection(server.server_address)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by reset
        client.sendall(b"GET /v1/observations?per_page=200 HTTP/1.1\r\nHost: here\r\n\r\n" * 20)
        client.recv(1)
        client.close()
    assert requests.get(f"{server.api_url}/observations", timeout=10).status_code == 200
    time.sleep(0.5)
    assert capfd.readouterr().err == ""


def test_the_log_tells_every_request() -> None:
    with serve(catalog(3)) as running:
        requests.get(f"{running.api_url}/taxa/7", headers={"User-Agent": "tester/1"}, timeout=10)
        requests.get(f"{running.url}/photos/99/medium.jpg", timeout=10)
        records = running.requests
    assert [(record.path, record.status) for record in records] == [("/v1/taxa/7", 200), ("/photos/99/medium.jpg", 403)]
    assert records[0].user_agent == "tester/1"
    assert all(record.num_bytes > 0 for record in records)
