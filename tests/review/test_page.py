"""What the page's server answers, whom, and what it keeps."""

from __future__ import annotations

import concurrent.futures
import io
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from counterset.errors import ReviewError
from counterset.review import log
from counterset.review.desk import Desk
from counterset.review.gallery import Use
from counterset.review.serving import serving
from counterset.workspace import Workspace

from .looked_at import HOSTILE, gallery


class Page:
    """The page as a script would use it."""

    def __init__(self, url: str, workspace: Workspace) -> None:
        self.url = url
        self.workspace = workspace

    def get(self, path: str, **parameters: object) -> Any:
        answer = requests.get(self.url + path, params=parameters, timeout=30)  # type: ignore[arg-type]
        assert answer.ok, answer.text
        return answer.json()

    def say(self, reviewer: str, *decisions: dict[str, object]) -> requests.Response:
        return requests.post(
            self.url + "api/decisions", json={"reviewer": reviewer, "decisions": decisions}, timeout=30
        )

    def kept(self) -> list[tuple[str, str, str]]:
        rows = log.last_words(log.read(self.workspace)).to_pylist()
        return [(row["reviewer"], row["photo_id"], row["answer"]) for row in rows]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    workspace = Workspace(tmp_path)
    shown = gallery()
    with serving(shown, Desk(shown, workspace)) as url:
        yield Page(url, workspace)


def said(number: int, answer: str, **parts: object) -> dict[str, object]:
    return {"number": number, "answer": answer, "decision_id": uuid.uuid4().hex, **parts}


def test_sheets_are_groups_with_the_least_sure_first(page: Page) -> None:
    start = page.get("api/start")
    assert start["use"] == "review" and start["names"] == ["grass", "snow", "water"]
    assert [(sheet["kind"], sheet["name"], sheet["count"]) for sheet in start["classes"][1]["sheets"]] == [
        ("group", "grass", 3),
        ("group", "snow", 3),
        ("group", "water", 2),
        ("none", "", 1),
        ("left", "", 9),
    ]
    assert page.get("api/sheet", class_id="c1", kind="group", name="snow")["numbers"] == [10, 13, 16]
    assert page.get("api/sheet", class_id="c1", kind="none", name="") == {"numbers": [17], "names": [None]}
    assert page.get("api/sheet", class_id="nothing", kind="group", name="snow")["numbers"] == []


def test_a_decision_is_in_the_log_when_the_page_is_told(page: Page) -> None:
    answer = page.say("ada", said(0, "right"), said(1, "other", said_name="water"), said(2, "reject", reason="clarity"))
    assert answer.json() == {"kept": 3, "progress": {"c0": [3, 9], "c1": [0, 9]}}
    rows = log.read(page.workspace).to_pylist()
    assert [(row["photo_id"], row["shown_name"], row["answer"], row["said_name"], row["reason"]) for row in rows] == [
        ("c0-0", "grass", "right", None, None),
        ("c0-1", "snow", "other", "water", None),
        ("c0-2", "water", "reject", None, "clarity"),
    ]
    assert {(row["class_id"], row["mode"], row["origin"], row["reviewer"]) for row in rows} == {
        ("c0", "review", "page", "ada")
    }
    words = page.get("api/words", reviewer="ada", class_id="c0")["words"]
    assert {number: word[:2] for number, word in words.items()} == {
        "0": ["right", None],
        "1": ["other", "water"],
        "2": ["reject", "clarity"],
    }


def test_what_is_sent_twice_is_kept_once(page: Page) -> None:
    decision = said(0, "right")
    assert page.say("ada", decision).json()["kept"] == 1
    assert page.say("ada", decision, said(1, "none")).json()["kept"] == 1
    assert len(page.kept()) == 2


def test_undo_takes_back_the_reviewers_own_decision_only(page: Page) -> None:
    first, second = said(0, "none"), said(0, "right")
    page.say("ada", first, second)
    assert page.say("bea", said(0, "undo", undoes=second["decision_id"])).status_code == 422
    assert page.say("ada", said(1, "undo", undoes=second["decision_id"])).status_code == 422
    page.say("ada", said(0, "undo", undoes=second["decision_id"]))
    assert page.kept() == [("ada", "c0-0", "none")]
    third = said(3, "right")
    page.say("ada", third, said(3, "undo", undoes=third["decision_id"]))  # faster than the page could send
    assert page.kept() == [("ada", "c0-0", "none")]
    assert page.get("api/words", reviewer="ada", class_id="c0")["words"]["0"][0] == "none"


def test_each_reviewer_goes_on_where_the_last_decision_was_also_after_a_restart(page: Page) -> None:
    page.say("ada", said(0, "right"), said(10, "none"))
    page.say("bea", said(2, "none"))
    assert page.get("api/place", reviewer="ada")["place"]["number"] == 10
    assert page.get("api/place", reviewer="cleo")["place"] is None
    shown = gallery()
    with serving(shown, Desk(shown, page.workspace)) as url:
        again = Page(url, page.workspace)
        place = again.get("api/place", reviewer="ada")
        assert (place["place"]["class_id"], place["place"]["name"]) == ("c1", "snow")
        assert place["progress"] == {"c0": [2, 9], "c1": [1, 9]}
        assert again.get("api/start")["reviewers"] == ["ada", "bea"]
        left = again.get("api/sheet", class_id="c0", kind="left", name="")["numbers"]
        assert left == [1, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("decision", "complaint"),
    [
        (said(99, "right"), "no photo 99"),
        (said(-1, "right"), "no photo -1"),
        (said(0, "other", said_name="fog"), "the vocabulary has no background 'fog'"),
        (said(0, "reject", reason="ugly"), "reason 'ugly'"),
        (said(8, "right"), "nothing was shown"),
        (said(0, "right") | {"decision_id": "../../x"}, "pattern"),
    ],
)
def test_a_batch_with_a_decision_that_makes_no_sense_is_not_kept(
    page: Page, decision: dict[str, object], complaint: str
) -> None:
    answer = page.say("ada", said(1, "right"), decision)
    assert answer.status_code == 422 and complaint in answer.text
    assert page.kept() == []


def test_a_reviewer_has_a_name_that_can_be_cited(page: Page) -> None:
    assert page.say("<b>", said(0, "right")).status_code == 422


def test_two_reviewers_at_once_lose_nothing(page: Page) -> None:
    def review(reviewer: str) -> None:
        for number in range(18):
            assert page.say(reviewer, said(number, "none")).ok

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(review, ["ada", "bea"]))
    assert len(page.kept()) == 36
    assert page.get("api/place", reviewer="ada")["progress"] == {"c0": [9, 9], "c1": [9, 9]}


def test_only_who_knows_the_address_is_answered(page: Page) -> None:
    base, token = page.url.rstrip("/").rsplit("/", 1)
    host = base.removeprefix("http://")
    assert len(token) >= 32
    for path in ("/", "/api/start", f"/{token[:-1]}x/api/start", "/openapi.json", "/docs", f"//{token}/api/start"):
        assert requests.get(base + path, timeout=30).status_code == 404, path
    for wrong in ("evil.example", f"evil.example:{host.partition(':')[2]}", host.partition(":")[0]):
        assert requests.get(page.url, headers={"Host": wrong}, timeout=30).status_code == 421, wrong
    assert requests.get(page.url, headers={"Host": host.replace("127.0.0.1", "localhost")}, timeout=30).ok
    body = json.dumps({"reviewer": "ada", "decisions": [said(0, "right")]})
    for origin in ("https://evil.example", "http://127.0.0.1:1", "null"):
        headers = {"Origin": origin, "Content-Type": "application/json"}
        assert requests.post(page.url + "api/decisions", data=body, headers=headers, timeout=30).status_code == 403
    assert requests.post(page.url + "api/decisions", data=b"x" * 5_000_000, timeout=30).status_code == 413
    assert requests.post(page.url + "api/decisions", data=iter([b"{}"]), timeout=30).status_code == 413  # no length
    assert page.kept() == []


def test_every_answer_forbids_the_page_all_but_its_own(page: Page) -> None:
    for path in ("", "review.js", "review.css", "api/start", "thumb/0", "thumb/99", "nothing"):
        answer = requests.get(page.url + path, timeout=30)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"], path
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Cache-Control"] == "no-store"


def test_the_page_loads_nothing_from_elsewhere(page: Page) -> None:
    for path in ("", "review.js", "review.css"):
        text = requests.get(page.url + path, timeout=30).text
        assert "//cdn" not in text and 'src="http' not in text and "@import" not in text
        assert "innerHTML" not in text and "insertAdjacentHTML" not in text and " style=" not in text


def test_pictures_are_drawn_anew_and_come_from_known_photos_only(page: Page) -> None:
    answer = requests.get(page.url + "thumb/0", timeout=30)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (64, 64)
    for path in ("thumb/4", "photo/4"):  # a script by the name of a photo
        refused = requests.get(page.url + path, timeout=30)
        assert refused.status_code == 404 and b"<script" not in refused.content
    for path in ("thumb/-1", "thumb/18", "photo/99"):
        assert requests.get(page.url + path, timeout=30).status_code == 404
    for path in ("thumb/..%2f..%2fetc%2fpasswd", "thumb/c0-0"):
        assert requests.get(page.url + path, timeout=30).status_code in (404, 422)


def test_no_outcome_of_a_model_reaches_the_page(page: Page) -> None:
    answers = [page.get("api/start"), page.get("api/sheet", class_id="c0", kind="left", name=""), page.get("about/0")]
    text = json.dumps(answers)
    assert not any(word in text for word in ("is_correct", "predicted", "rank", "common", "counter", "verdict"))
    assert all(not row["note"] for row in answers[0]["classes"])


def test_a_blind_page_names_nothing_and_says_which_sample(tmp_path: Path) -> None:
    shown = gallery(Use.AUDIT, sample_id="s1")
    workspace = Workspace(tmp_path)
    with serving(shown, Desk(shown, workspace)) as url:
        page = Page(url, workspace)
        found = page.get("api/sheet", class_id="c0", kind="sample", name="drawn")
        assert found == {"numbers": list(range(9)), "names": [None] * 9}
        assert page.get("about/0") == {"id": "c0-0"}
        assert page.say("ada", said(0, "right")).status_code == 422
        assert page.say("ada", said(0, "other", said_name="snow")).ok
    [row] = log.read(workspace).to_pylist()
    assert (row["mode"], row["shown_name"], row["sample_id"]) == ("audit", None, "s1")
    review = gallery()
    assert Desk(review, workspace).progress() == {"c0": [0, 9], "c1": [0, 9]}  # blind labels are no review


def test_browsing_shows_what_was_turned_away_and_takes_no_decision(tmp_path: Path) -> None:
    with serving(gallery(Use.BROWSE), None) as url:
        page = Page(url, Workspace(tmp_path))
        sheets = page.get("api/start")["classes"][0]["sheets"]
        assert [sheet["name"] for sheet in sheets if sheet["kind"] == "rejects"] == [HOSTILE[1], "curate: too small"]
        numbers = page.get("api/sheet", class_id="c0", kind="rejects", name="curate: too small")["numbers"]
        assert page.get(f"about/{numbers[0]}") == {"id": "c0-gone"}
        assert page.say("ada", said(0, "right")).status_code == 404


def test_a_port_that_is_taken_is_one_sentence(page: Page) -> None:
    port = int(page.url.split(":")[2].split("/")[0])
    with pytest.raises(ReviewError, match=f"port {port} of 127.0.0.1 cannot be used"), serving(gallery(), None, port):
        pass
