"""A model behind an endpoint: asked once about every photo, whatever the endpoint does."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import counterset
from counterset.classes import ClassSpec
from counterset.cli import main
from counterset.errors import ConfigError, ModelError, WorkspaceError
from counterset.evaluation import asking
from counterset.evaluation.answers import Answered
from counterset.evaluation.asking import ask_each
from counterset.evaluation.label_spaces import all_labels
from counterset.evaluation.photos import pair_photos
from counterset.evaluation.points import read_figure
from counterset.evaluation.questions import OPEN_QUESTION
from counterset.evaluation.reply_store import ReplyStore
from counterset.evaluation.vectors import no_progress
from counterset.fetching import gate
from counterset.models import chat_completions
from counterset.models.chat_completions import KEY_VARIABLE, ChatModel
from counterset.models.door import NoReply, Reply, open_model, open_text_model
from counterset.models.labels import label_space

from .endpoint_server import Endpoint, bright, completion, send, serving

KEY = "sk-SECRETSECRET"
NUM_PHOTOS = 24
"""That `ask` asks about."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "FIRST_WAIT_S", 0.0)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as found:
        yield found


def evaluate(release: Any, endpoint: Endpoint, output: Path) -> Any:
    return counterset.evaluate(release, [f"openai:{endpoint.url}#eyes"], label_space="classes", output=output)


def ask(small: Any, endpoint: Endpoint, folder: Path, **settings: Any) -> Answered:
    """Of some photos of each class, without the rest of an evaluation."""
    release = small.load()
    photos = pair_photos(release)
    number = np.arange(len(photos.photo_id))
    photos = photos.only((number % 4 == 0) & (number < 4 * NUM_PHOTOS))
    specs = [ClassSpec(row["class_id"], row["name"], row["imagenet_index"]) for row in release.metadata["classes"]]
    candidates = all_labels(label_space("classes", specs), "classes", sorted(set(photos.class_id.tolist())))
    model = ChatModel(f"{settings.pop('prefix', 'openai')}:{endpoint.url}#eyes", is_open=settings.pop("is_open", False))
    parallel, progress = settings.pop("parallel", 4), settings.pop("progress", no_progress)
    return ask_each(release, photos, candidates, model, folder, parallel, progress)


def jpeg() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "JPEG")
    return content.getvalue()


def rows(found: Any) -> list[dict[str, Any]]:
    return list(found.predictions.drop_columns(["model", "margin"]).to_pylist())


def test_a_killed_run_resumes_to_the_same_table_and_asks_nothing_twice(
    small: Any, endpoint: Endpoint, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(small, endpoint, tmp_path / "a", progress=stop)
    asked_before = endpoint.asked.total()
    assert 8 <= asked_before <= 16, "what is under way is waited for, and nothing else is begun"
    resumed = ask(small, endpoint, tmp_path / "a")
    assert endpoint.asked.total() == NUM_PHOTOS and set(endpoint.asked.values()) == {1}
    assert resumed.num_asked == NUM_PHOTOS - asked_before
    whole = ask(small, endpoint, tmp_path / "b", parallel=1)
    assert rows(whole) == rows(resumed) and whole.facts == resumed.facts
    assert ask(small, endpoint, tmp_path / "a").num_asked == 0 and endpoint.asked.total() == 2 * NUM_PHOTOS


def test_an_evaluation_killed_outright_asks_again_what_was_under_way_and_nothing_else(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of its own, killed by SIGKILL at a moment drawn anew each time, and resumed by the same command."""
    processes = []
    moments = [random.randint(1, 100)]  # the question that is the last, of 112

    def slow(image: Image.Image, options: dict[str, str]) -> str:
        if moments and endpoint.asked.total() >= moments[0]:
            moments.clear()
            time.sleep(random.random() * 0.01)
            os.kill(processes[0].pid, signal.SIGKILL)
        time.sleep(random.random() * 0.01)
        return bright(image, options)

    monkeypatch.setenv("COUNTERSET_CACHE", str(small.cache))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with serving(slow) as endpoint:
        command = ["evaluate", str(small.path), "--mirror", small.mirror, "--label-space", "classes", "--parallel", "4"]
        command += ["--model", f"openai:{endpoint.url}#eyes", "--output"]
        processes.append(subprocess.Popen([sys.executable, "-m", "counterset.cli", *command, str(killed)]))
        assert processes[0].wait(120) == -signal.SIGKILL
        time.sleep(0.2)  # for the server to count what it was still sent
        [answers] = shutil.copytree(killed / "answers", tmp_path / "copy").glob("*.sqlite")
        with contextlib.closing(sqlite3.connect(answers)) as file:
            [num_kept] = file.execute("SELECT COUNT(*) FROM replies WHERE photo_id != ''").fetchone()
        left = killed / "small-1.0.0" / "classes-paper" / ".metrics.parquet.1.part"  # as by a kill at the very end
        left.parent.mkdir(parents=True)
        left.touch()
        asked = endpoint.asked.copy()
        assert 0 <= asked.total() - num_kept <= 4, "no reply is lost but of questions that were under way"
        assert main([*command, str(killed)]) == 0
        again = endpoint.asked - asked
        assert again.total() == len(endpoint.asked) - num_kept, "each question without a kept reply, once"
        assert main([*command, str(whole)]) == 0
    tables, resumed = (
        {path.name: path.read_bytes() for path in folder.glob("small-1.0.0/classes-paper/*") if path.is_file()}
        for folder in (whole, killed)
    )
    assert len(tables) > 3 and tables == resumed


def test_its_table_is_that_of_every_other_model(small: Any, endpoint: Endpoint, tmp_path: Path) -> None:
    counterset.evaluate(small.load(), ["demo:weak"], label_space="classes", output=tmp_path)
    found = evaluate(small.load(), endpoint, tmp_path)
    name = f"openai:{endpoint.url}#eyes"
    weak, eyes = found.metrics.sort_by("model").to_pylist()
    assert (weak["model"], eyes["model"]) == ("demo:weak", name)
    assert eyes["family"] == "other" and eyes["top5_common"] is None and eyes["num_photos"] == weak["num_photos"]
    own = [one["is_correct"] for one in found.predictions.to_pylist() if one["model"] == name]
    assert found.num_computed == {name: len(own)} and 0 < sum(own) < len(own) == endpoint.asked.total()
    said = found.record["models"][name]["asked"]
    assert said["tokens_in"] == 100 * len(own) and said["tokens_out"] == 2 * len(own)
    assert said["served"] == ["served-1"] and said["num_refused"] == 0
    assert found.record["models"]["demo:weak"]["asked"] is None
    assert len(read_figure(found.folder).points) == 2


def test_an_endpoint_that_misbehaves_gives_the_table_of_one_that_does_not(
    small: Any, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_completions, "TIMEOUT_S", 0.5)
    whole = ask(small, endpoint, tmp_path / "whole")

    def drop(handler: Any, asked: Any) -> None:
        handler.close_connection = True
        handler.connection.shutdown(2)

    def cut(handler: Any, asked: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"choices": [')
        drop(handler, asked)

    faults = [
        lambda handler, asked: send(handler, {"error": {"message": "slow down"}}, 429, Retry_After="1"),
        lambda handler, asked: send(handler, {"error": "no"}, 500),
        lambda handler, asked: send(handler, b"<html>", 503),
        lambda handler, asked: send(handler, b'{"choices": [{"message": {"content": "'),
        lambda handler, asked: send(handler, {"error": {"message": "overloaded"}}),
        lambda handler, asked: send(handler, {"choices": []}),
        lambda handler, asked: time.sleep(0.7),
        drop,
        cut,
    ]
    endpoint.faults = [None, *faults]
    start = time.monotonic()
    before = endpoint.asked.total()
    found = ask(small, endpoint, tmp_path / "faulty")
    assert rows(found) == rows(whole)
    assert endpoint.asked.total() - before == whole.predictions.num_rows + len(faults), "one more question per fault"
    assert time.monotonic() - start >= 1.0, "the pause was kept"
    assert found.facts == whole.facts and found.num_asked == 24


@pytest.mark.parametrize("said", [completion(""), completion(None, finish_reason="length"), completion(" \n")])
def test_a_model_that_says_nothing_is_left_after_twenty_photos(
    small: Any, tmp_path: Path, said: dict[str, Any]
) -> None:
    """As one does whose server takes photos for text that is too long, or whose thoughts use up all tokens."""
    with serving(lambda image, options: said) as endpoint:
        for number in (asking.NUM_ESTIMATED, NUM_PHOTOS):
            with pytest.raises(ModelError, match=rf"gave {number} empty answers and no other .* away, and run again"):
                ask(small, endpoint, tmp_path, parallel=1)
            assert endpoint.asked.total() == number


def test_one_word_is_enough(small: Any, tmp_path: Path) -> None:
    said = ["lion"]
    with serving(lambda image, options: said.pop() if said else "") as endpoint:
        assert ask(small, endpoint, tmp_path).facts["num_unknown"] == NUM_PHOTOS - 1


def test_what_tokens_cost_is_estimated_early_and_kept(
    small: Any,
    endpoint: Endpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("COUNTERSET_CACHE", str(small.cache))
    command = ["evaluate", str(small.path), "--mirror", small.mirror, "--label-space", "classes", "--model"]
    command += [f"openai:{endpoint.url}#eyes", "--output", str(tmp_path), "--price"]
    for wrong in ("1", "1,2,3", "cheap,1", "1,-2", "nan,1"):
        assert main([*command, wrong]) == 2
    assert not endpoint.asked
    assert main([*command, "150,1000"]) == 0
    num = endpoint.asked.total()
    # a question of 100 tokens and an answer of 2, per million
    cost = num * (100 * 150 + 2 * 1000) / 1e6
    assert f"which cost {cost:.3g}; answered by" in capsys.readouterr().out
    record = json.loads((tmp_path / "small-1.0.0/classes-paper/evaluation.json").read_text())
    asked = record["models"][f"openai:{endpoint.url}#eyes"]["asked"]
    assert asked["cost"] == pytest.approx(cost) and asked["price"] == [150, 1000]
    said = [one.getMessage() for one in caplog.records if "at this price" in one.getMessage()]
    assert len(said) == 1 and f"so all {num} will cost about {cost:.3g}" in said[0]
    untold = [Reply("A", tokens_in=1, tokens_out=1), Reply("B", tokens_in=1)]
    assert asking._cost(untold[:1], (3, 4)) == 7e-6 and asking._cost(untold, (3, 4)) is None


def test_a_server_that_drops_photos_is_noticed(
    small: Any, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a server of a text-only model does: the question has as many tokens without its photo."""
    sees = ask(small, endpoint, tmp_path / "sees")
    assert sees.facts["asked"].tokens_photo == 64 and sees.facts["asked"].tokens_in == 100 * NUM_PHOTOS
    assert ask(small, endpoint, tmp_path / "sees").facts == sees.facts and len(endpoint.unseen) == 1
    endpoint.tokens_photo = 0
    monkeypatch.setenv("COUNTERSET_CACHE", str(small.cache))
    model = f"openai:{endpoint.url}#eyes"
    command = ["evaluate", str(small.path), "--mirror", small.mirror, "--label-space", "classes", "--model", model]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    assert "counted no tokens for the photos that it was sent: its server may drop them" in capsys.readouterr().out


def test_refusals_and_answers_out_of_the_options_are_counted(small: Any, tmp_path: Path) -> None:
    said: list[Any] = [
        "I'm sorry, I can't help with that.",
        {"role": "assistant", "content": None, "refusal": "no"},
        completion("B", finish_reason="content_filter"),
        "Z",
        "a stoat",
        completion("The animal that this photo shows seems", finish_reason="length"),
        completion([{"type": "text", "text": ""}]),
    ]

    def answer(image: Image.Image, options: dict[str, str]) -> Any:
        return said.pop(0) if said else bright(image, options)

    with serving(answer) as endpoint:
        endpoint.faults = [
            None,
            lambda handler, asked: send(handler, {"error": {"code": "content_filter", "message": "no"}}, 400),
            lambda handler, asked: send(handler, {"error": {"message": "the photo is odd"}}, 400),
        ]
        said[1] = completion(said[1])
        found = ask(small, endpoint, tmp_path, parallel=1)
        asked = endpoint.asked.total()
        again = ask(small, endpoint, tmp_path, parallel=1)
        assert endpoint.asked.total() == asked + 1, "only the photo that was not taken is asked about again"
    counted = found.facts["asked"]
    assert found.facts["num_unknown"] == 9
    assert (counted.num_refused, counted.num_cut, counted.num_turned_away) == (4, 1, 1)
    assert {"Z", "a stoat"} <= set(found.facts["unknown_answers"])
    wrong = [one for one in rows(found) if one["predicted"] not in small.load().class_names.values()]
    assert len(wrong) == 9 and not any(one["is_correct"] for one in wrong)
    assert found.predictions.num_rows == again.predictions.num_rows == 24, "no photo is left out"
    assert again.facts["num_unknown"] == 8


def test_photos_go_small_and_without_metadata(small: Any, endpoint: Endpoint, tmp_path: Path) -> None:
    ask(small, endpoint, tmp_path)
    assert len(endpoint.photos) == 24
    assert all(max(photo.size) <= asking.MAX_SIDE_PX and photo.format == "JPEG" for photo in endpoint.photos)
    assert not any(photo.getexif() or "comment" in photo.info for photo in endpoint.photos)
    body = endpoint.bodies[0]
    assert body["temperature"] == 0 and body["max_tokens"] == 1024 and body["model"] == "eyes"
    questions = {one["messages"][0]["content"][1]["text"] for one in endpoint.bodies}
    assert len(questions) > 10, "24 photos meet several of the 24 orders of four options"


def test_open_answers_need_no_options(small: Any, endpoint: Endpoint, tmp_path: Path) -> None:
    found = ask(small, endpoint, tmp_path, prefix="openai-open", is_open=True)
    assert {one["messages"][0]["content"][1]["text"] for one in endpoint.bodies} == {OPEN_QUESTION}
    assert rows(found) == rows(ask(small, endpoint, tmp_path)), "this model sees the same either way"
    assert endpoint.asked.total() == 48


def test_nearest_twenty_are_the_options_where_labels_are_many(small: Any, endpoint: Endpoint, tmp_path: Path) -> None:
    name = f"openai:{endpoint.url}#eyes"
    found = counterset.evaluate(small.load(), [name], selector="demo:weak", output=tmp_path)
    assert found.record["label_space"] == "top20" and endpoint.bodies
    options = endpoint.bodies[0]["messages"][0]["content"][1]["text"].count("\n") - 1
    assert options == 20
    before = endpoint.asked.total()
    with pytest.raises(ConfigError, match="at most 26 options and not among 1000 labels"):
        counterset.evaluate(small.load(), [name], label_space="imagenet1k", output=tmp_path)
    assert endpoint.asked.total() == before


def test_a_wrong_name_ends_at_the_first_photo(small: Any, endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.faults = [lambda handler, asked: send(handler, {"error": {"message": "no model \x1b[2Jeyes"}}, 404)]
    with pytest.raises(ModelError, match=r"gives no answers: status 404: no model \[2Jeyes; see that"):
        ask(small, endpoint, tmp_path)
    assert endpoint.asked.total() == 1


@pytest.mark.parametrize(
    "said",
    [{"error": {"message": "text only"}}, {"error": "text only"}, {"message": "text only"}, {"detail": "text only"}],
)
def test_a_question_that_no_photo_makes_right_ends_after_three(
    small: Any, endpoint: Endpoint, tmp_path: Path, said: dict[str, Any]
) -> None:
    endpoint.faults = [lambda handler, asked: send(handler, said, 400)] * 9
    with pytest.raises(ModelError, match="status 400: text only"):
        ask(small, endpoint, tmp_path)
    assert endpoint.asked.total() == asking.PROBED


def test_an_endpoint_that_dies_is_left_after_ten_photos_and_asked_the_rest_later(
    small: Any, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_completions, "TRIES", 2)
    endpoint.faults = [None] * 6 + [lambda handler, asked: send(handler, b"", 500)] * 90
    with pytest.raises(ModelError, match=r"gives no answers: status 500"):
        ask(small, endpoint, tmp_path, parallel=1)
    assert endpoint.answered.total() == 6
    assert endpoint.asked.total() == 6 + 2 * 10
    endpoint.faults = []
    assert ask(small, endpoint, tmp_path).num_asked == 18
    assert endpoint.answered.total() == 24 and set(endpoint.answered.values()) == {1}


def test_a_server_that_is_too_slow_for_so_many_questions_at_once_is_said(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_completions, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(chat_completions, "TRIES", 1)
    endpoint.faults = [lambda handler, asked: time.sleep(0.3)]
    with pytest.raises(NoReply, match=r"timed out; a server .* needs --parallel 1") as error:
        ChatModel(f"openai:{endpoint.url}#eyes", is_open=False).ask("?", jpeg())
    assert error.value.may_pass


def test_a_few_photos_without_an_answer_are_asked_about_in_the_next_run(
    small: Any, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_completions, "TRIES", 1)
    endpoint.faults = [None, lambda handler, asked: send(handler, b"", 503), None]
    with pytest.raises(ModelError, match=r"did not answer about 1 of 24 photos \(status 503\); run again"):
        ask(small, endpoint, tmp_path)
    assert ask(small, endpoint, tmp_path).num_asked == 1
    assert endpoint.asked.total() == 25


def test_photos_at_which_the_server_fails_each_time_are_not_taken(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the first one; no other photo waits for them, and the next run asks about them again."""
    monkeypatch.setattr(chat_completions, "TRIES", 2)
    odd: list[str] = []

    def answer(image: Image.Image, options: dict[str, str]) -> Any:
        shown = str(np.asarray(image).sum())
        if not odd or (len(odd) == 1 and endpoint.answered.total() == 9):
            odd.append(shown)
        return ["not a completion"] if shown in odd else bright(image, options)

    with serving(answer) as endpoint:
        found = ask(small, endpoint, tmp_path, parallel=1)
        asked = endpoint.asked.total()
        assert len(odd) == 2 and asked == NUM_PHOTOS + 2 * 3, "each twice, and twice alone"
        counted = found.facts["asked"]
        assert (counted.num_turned_away, found.facts["num_unknown"], found.predictions.num_rows) == (2, 2, NUM_PHOTOS)
        odd[:] = ["none"]
        assert ask(small, endpoint, tmp_path, parallel=1).num_asked == 2
        assert endpoint.asked.total() == asked + 2


def test_a_server_that_fails_without_a_photo_is_asked_with_it(
    small: Any, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_completions, "TRIES", 1)
    endpoint.without_photo = 500
    assert ask(small, endpoint, tmp_path).facts["asked"].tokens_photo is None


@pytest.mark.parametrize(
    "odd",
    [
        {"usage": "none"},
        {"usage": {"prompt_tokens": -1, "completion_tokens": "many"}},
        {"usage": {"prompt_tokens": 10**400, "completion_tokens": 2**63}},
        {"usage": {"prompt_tokens": 1.5, "completion_tokens": None}},
        {"model": 7},
        {"model": None},
    ],
)
def test_no_answer_is_lost_for_what_stands_beside_it(endpoint: Endpoint, odd: dict[str, Any]) -> None:
    endpoint.faults = [lambda handler, asked: send(handler, completion("lion") | odd)]
    said = ChatModel(f"openai:{endpoint.url}#eyes", is_open=False).ask("?", jpeg())
    assert said.text == "lion" and ("usage" not in odd or said.tokens_in is said.tokens_out is None)
    assert endpoint.bodies[0]["stream"] is False
    endpoint.faults = [
        lambda handler, asked: send(handler, completion([{"type": "text", "text": None}, "ox"], finish_reason=1))
    ]
    assert ChatModel(f"openai:{endpoint.url}#eyes", is_open=False).ask("?", jpeg()).text == "ox"


def test_an_error_within_a_good_answer_is_said(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_completions, "TRIES", 1)
    endpoint.faults = [lambda handler, asked: send(handler, {"error": {"message": "quota exceeded"}})]
    with pytest.raises(NoReply, match="no whole completion: quota exceeded"):
        ChatModel(f"openai:{endpoint.url}#eyes", is_open=False).ask("?", jpeg())


@pytest.mark.parametrize("status", [520, 524, 529, 599])
def test_what_a_proxy_says_of_a_server_may_pass(endpoint: Endpoint, status: int) -> None:
    endpoint.faults = [lambda handler, asked: send(handler, b"", status)]
    assert ChatModel(f"openai:{endpoint.url}#eyes", is_open=False).ask("?", jpeg()).text == "lion"


def test_many_photos_that_are_not_taken_give_no_table(small: Any, endpoint: Endpoint, tmp_path: Path) -> None:
    odd = [lambda handler, asked: send(handler, {"error": {"message": "odd"}}, 400)]
    endpoint.faults = [None, *odd, None, *odd, None, *odd]
    with pytest.raises(ModelError, match=r"would not take 3 of 24 photos \(status 400: odd\)"):
        ask(small, endpoint, tmp_path)


def test_parameters_that_a_model_does_not_know_are_left_out(endpoint: Endpoint) -> None:
    def refuse(name: str) -> Any:
        error = {"code": "unsupported_parameter", "param": name, "message": "no"}
        return lambda handler, asked: send(handler, {"error": error}, 400)

    endpoint.faults = [refuse("max_tokens"), refuse("temperature")]
    model = ChatModel(f"openai:{endpoint.url}#eyes", is_open=False)
    assert model.ask("?", jpeg()) == Reply("lion", tokens_in=100, tokens_out=2, served="served-1")
    sent = [set(body) - {"model", "messages", "stream"} for body in endpoint.bodies]
    assert sent == [{"temperature", "max_tokens"}, {"temperature", "max_completion_tokens"}, {"max_completion_tokens"}]
    endpoint.faults = [refuse("messages")]
    with pytest.raises(NoReply, match="status 400: no"):
        model.ask("?", jpeg())


def test_the_key_goes_to_the_endpoint_and_nowhere_else(
    small: Any, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    with caplog.at_level(logging.DEBUG):
        endpoint.faults = [lambda handler, asked: send(handler, {"error": {"message": f"bad key {KEY}"}}, 401)]
        with pytest.raises(ModelError, match=r"status 401: bad key \.\.\.;") as error:
            ask(small, endpoint, tmp_path)
        ask(small, endpoint, tmp_path)
    assert {headers["Authorization"] for headers in endpoint.headers} == {f"Bearer {KEY}"}
    assert KEY not in caplog.text and KEY not in str(error.value)
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for address, why in [("http://example.org/v1", "in clear"), ("https://u:p@example.org", "user name")]:
        with pytest.raises(ModelError, match=why) as error:
            ChatModel(f"openai:{address}#x", is_open=False)
        assert KEY not in str(error.value) and "u:p" not in str(error.value)
    assert ChatModel("openai:https://example.org/v1#x", is_open=False).name
    monkeypatch.setenv(KEY_VARIABLE, "a\nb")
    with pytest.raises(ModelError, match="characters that no key has"):
        ChatModel("openai:https://example.org/v1#x", is_open=False)


@pytest.mark.parametrize(
    "name",
    ["openai:", "openai:http://localhost:8000/v1", "openai:http://h/v1?x=1#m", "openai:x#m"],
)
def test_a_name_of_another_form_is_refused_with_one_that_works(name: str) -> None:
    with pytest.raises(ModelError, match="address"):
        ChatModel(name, is_open=False)


def test_a_redirect_is_not_followed(endpoint: Endpoint) -> None:
    endpoint.faults = [lambda handler, asked: send(handler, b"", 307, Location="http://127.0.0.1:9/v1")]
    with pytest.raises(NoReply, match="status 307") as error:
        ChatModel(f"openai:{endpoint.url}#eyes", is_open=False).ask("?", jpeg())
    assert error.value.is_of_all


def test_a_model_without_vectors_makes_no_release(tmp_path: Path) -> None:
    for door in (open_model, open_text_model):
        with pytest.raises(ModelError, match="answers questions and has no vectors"):
            door("openai:http://127.0.0.1:9/v1#eyes")


def test_of_two_replies_the_first_is_kept_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    with contextlib.closing(ReplyStore(path)) as one, contextlib.closing(ReplyStore(path)) as two:
        one.keep("k", "p", "?", Reply("A", tokens_in=1))
        two.keep("k", "p", "?", Reply("B"))
        assert one.read() == two.read() == {"k": Reply("A", tokens_in=1)}
    path.write_bytes(b"no database at all, but longer than a header" * 9)
    with pytest.raises(WorkspaceError, match=r"cannot be used .* move it away"):
        ReplyStore(path)
    newer = tmp_path / "newer.sqlite"
    with contextlib.closing(sqlite3.connect(newer)) as file:
        file.execute("PRAGMA user_version = 9")
    with pytest.raises(WorkspaceError, match="another version"):
        ReplyStore(newer)
