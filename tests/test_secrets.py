"""What lets others in (passwords in addresses, webhooks, tokens) is in no sentence, log, record or cause."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from counterset_flows import notify

import counterset
from counterset.config import load_config
from counterset.errors import ConfigError, ReleaseError, UserError
from counterset.fetching import gate
from counterset.fetching import webhook as sending
from counterset.release.photo_store import PhotoStore
from counterset.sources.budget import MEDIA_LIMITS, Budget, Limit
from counterset.sources.inaturalist.client import ApiClient, RetryPolicy
from counterset.storage import place
from counterset.workspace import Workspace

SECRET = "SECRETSECRET"
MINE = """
name = "mine"
{before}
[classes]
list = "demo"
[models]
annotator = "demo:a"
selectors = ["{selector}"]
{after}
"""


def whole(error: BaseException) -> str:
    """The error with all its causes, as a traceback or a Prefect log would show it, without our own lines of code."""
    lines = traceback.format_exception(error)
    return "\n".join(line for line in "".join(lines).splitlines() if not line.startswith("    ")) + str(error)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[notify]\nwebhook = "hooks.example.org/services/{}"'),
        ("", '[notify]\nwebhook = ["https://hooks.example.org/{}"]'),
        ("", '[notify]\nwebhook = "http://[::1/{}"'),
        ("", '[notify]\nwebhok = "https://hooks.example.org/{}"'),
        ("", '[notify]\nreleases_url = "ftp://x.org/{}"'),
        ('notify = "https://hooks.example.org/{}"\n', ""),
        ('workspace = "s3://KEY:{}@bucket/x"\n', ""),
        ('releases = "S3://KEY:{}@bucket/x"\n', ""),
        ("", '[source]\napi_url = "https://ann:{}@api.example.org/v1"'),
        ("", '[source]\nphoto_url = "http://{}@mirror.example.org"'),
        ("", '[source]\nphoto_url = ["{}@mirror.example.org"]'),
        ("", '[source]\npath = "https://ann:{}@tables.example.org"'),
        ("", '[source]\nkind = "https://ann:{}@x.org"'),
        ("", '[source]\nallowed_hosts = ["http://ann:{}@x.org/"]'),
        ("", '[source]\nallowed_hosts = "http://ann:{}@x.org/"'),
    ],
)
def test_no_config_is_quoted_with_its_secret(before: str, after: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE.format(before=before.format(SECRET), after=after.format(SECRET), selector="demo:b"))
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert SECRET not in whole(error.value) and "\n" not in str(error.value)


def test_another_mistake_does_not_quote_the_webhook(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    after = f'[notify]\nwebhook = "https://ann:{SECRET}@hooks.example.org/{SECRET}"'
    path.write_text(MINE.format(before="", after=after, selector="demo:a"))
    with pytest.raises(ConfigError, match="is also a selector") as error:
        load_config(path)
    assert SECRET not in whole(error.value)


@pytest.mark.parametrize(
    "address",
    [
        "s3://KEY:{}@bucket/work",
        "s3://KEY:{}@bucket/work?scheme=http",
        "s3://bucket/work?secret_key={}",
        "s3://bucket/work?endpoint_override=KEY:{}@127.0.0.1:9000",
        "ftp://ann:{}@x.org/work",
    ],
)
def test_an_address_that_holds_keys_is_refused_without_them(address: str, tmp_path: Path) -> None:
    attempts: list[Callable[[str], object]] = [place, Workspace]
    if address.startswith("s3"):
        attempts.append(lambda text: counterset.load(text, cache=tmp_path))
    for attempt in attempts:
        with pytest.raises(UserError) as error:
            attempt(address.format(SECRET))
        assert SECRET not in whole(error.value)


def test_options_of_an_s3_address_are_kept() -> None:
    found = place("s3://bucket/releases?endpoint_override=127.0.0.1:9000&scheme=http&region=us-east-1")
    assert str(found) == "s3://bucket/releases?endpoint_override=127.0.0.1:9000&scheme=http&region=us-east-1"


@pytest.mark.parametrize(
    "webhook",
    [
        "http://[::1/{}",
        "https://example.org:port/{}",
        "{}-no-scheme",
        "http://127.0.0.1:9/{}",
        "http://a:{}@127.0.0.1:9/x",
    ],
)
def test_a_webhook_that_is_not_reached_is_not_told(
    webhook: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "WAITS_S", (0.0,))
    monkeypatch.setenv(notify.VARIABLE, webhook.format(SECRET))
    with caplog.at_level(logging.INFO):
        assert not sending.send(notify.webhook_of(""), {"text": "x"})
    assert caplog.records and SECRET not in caplog.text


@pytest.fixture
def refusing() -> Iterator[str]:
    """A host that answers 503 to everything, with the request's path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_token_in_a_query_is_in_no_sentence_cause_or_log(
    refusing: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "WAITS_S", (0.0,))
    monkeypatch.setattr(gate, "FIRST_WAIT_S", 0.0)
    budget = Budget(tmp_path / "b", {"requests": (Limit(1000, 0.1),), "media_bytes": MEDIA_LIMITS})
    retry = RetryPolicy(first_wait_s=0.0, max_tries=2)

    def asked(address: str) -> Any:
        return ApiClient(address, contact="", budget=budget, retry=retry).get("/observations")

    def fetched(url: str) -> Any:
        return PhotoStore({"p": (url, "0" * 64, 9, b"")}, tmp_path, allowed_hosts=(url.split("/")[2],)).get("p")

    with caplog.at_level(logging.INFO):
        for host in (refusing, "http://127.0.0.1:9"):
            for attempt in (asked, fetched, lambda url: counterset.load(url, cache=tmp_path)):
                with pytest.raises(UserError) as error:
                    attempt(f"{host}/x?X-Amz-Signature={SECRET}")  # type: ignore[operator]
                assert SECRET not in whole(error.value)
                with pytest.raises(UserError) as error:
                    attempt(f"{host.replace('//', f'//ann:{SECRET}@')}/x")  # type: ignore[operator]
                assert SECRET not in whole(error.value)
            assert not sending.send(f"{host}/{SECRET}", {"text": "x"})
    assert SECRET not in caplog.text


def test_a_list_of_what_failed_has_no_tokens(tmp_path: Path) -> None:
    store = PhotoStore({"p": (f"https://localhost/x?sig={SECRET}", "0" * 64, 9, b"")}, tmp_path)
    assert list(store.fetch(["p"], 1)) == ["p"]
    assert SECRET not in str(store.fetch(["p"], 1))
    with pytest.raises(ReleaseError, match="private address"):
        store.get("p")
