"""Pushing to the hub and loading from it, against a local server that answers as the hub's API does."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub.utils._http as hub_http
import pytest

from counterset.cli import main
from counterset.errors import ReleaseError
from counterset.fetching.addresses import HostRules, netloc
from counterset.fetching.gate import Gate
from counterset.load import load
from counterset.manifests import manifest_path
from counterset.release.hub import files_at, parse_address, push

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
"""huggingface_hub's own, of how it gives its HTTP library a file."""

REPO = "user/name"
WHERE = f"hf://{REPO}"
API = f"/api/datasets/{REPO}"


class Hub(http.server.ThreadingHTTPServer):
    """A hub with one data set: its commits (path -> content), tags, stored large files, and what goes wrong."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.commits: list[dict[str, bytes]] = []
        self.tags: dict[str, str] = {}
        self.stored: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.token = ""
        """Who reads has to give it; "" = anybody may read."""
        self.seen: list[str | None] = []
        """What readers of files gave."""
        self.redirects_to = ""
        """Where files lie; "" = here."""
        self.faults: dict[str, list[int]] = {}
        """What to answer with, by the kind of request, until none is left."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def files(self, revision: str) -> dict[str, bytes] | None:
        name = self.tags.get(revision, revision)
        if name == "main":
            return self.commits[-1]
        return self.commits[int(name, 16)] if len(name) == 40 and int(name, 16) < len(self.commits) else None

    @property
    def head(self) -> str:
        return f"{len(self.commits) - 1:040x}"


class Answers(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path, hub = unquote(urlsplit(self.path).path), self.server
        if path == f"{API}/refs":
            refs = [{"name": name, "ref": f"refs/tags/{name}", "targetCommit": to} for name, to in hub.tags.items()]
            main = {"name": "main", "ref": "refs/heads/main", "targetCommit": hub.head}
            self.say("refs", {"branches": [main], "converts": [], "tags": refs})
        elif path == API and not hub.commits:
            self.say(path, {}, 404)
        elif path in (API, f"{API}/revision/main"):
            self.say("info", {"id": REPO, "sha": hub.head, "siblings": []})
        elif path.startswith(f"{API}/tree/"):
            files = hub.files(path.rpartition("/")[2]) or {}
            self.say("tree", [_entry(name, content) for name, content in files.items()])
        elif path.startswith(f"/datasets/{REPO}/resolve/"):
            hub.seen.append(self.headers["Authorization"])
            if hub.token and hub.seen[-1] != f"Bearer {hub.token}":
                return self.say("refused", {}, 401)
            if hub.redirects_to:
                self.send_response(302)
                self.send_header("Location", hub.redirects_to)
                return self.end_headers()
            revision, _, name = path.removeprefix(f"/datasets/{REPO}/resolve/").partition("/")
            content = (hub.files(revision) or {}).get(name)
            self.say("resolve", b"" if content is None else content, 404 if content is None else 200)
        else:
            self.say(path, {}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path, hub = urlsplit(self.path).path, self.server
        if path == "/api/repos/create":
            if not self.say_fault("create"):
                hub.commits = hub.commits or [{".gitattributes": b"*.parquet filter=lfs"}]
                self.say("created", {"url": f"{hub.address}/datasets/{REPO}"})
        elif path == "/api/validate-yaml":
            self.say("validate", {"warnings": [], "errors": []})
        elif path.startswith(f"{API}/preupload/"):
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".parquet") else "regular",
                    "shouldIgnore": False,
                    "oid": _oid_before(file["path"], hub.commits[-1].get(file["path"])),
                }
                for file in json.loads(body)["files"]
            ]
            self.say("preupload", {"files": files})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = []
            for asked in json.loads(body)["objects"]:
                href = {"upload": {"href": f"{hub.address}/store/{asked['oid']}"}}
                objects.append(asked if asked["oid"] in hub.stored else asked | {"actions": href})
            self.say("batch", {"transfer": "basic", "objects": objects})
        elif path.startswith(f"{API}/commit/"):
            if self.say_fault("commit"):
                return
            self.commit([json.loads(line) for line in body.splitlines()])
        elif path.startswith(f"{API}/tag/"):
            if not self.say_fault("tag"):
                hub.tags[json.loads(body)["tag"]] = path.rpartition("/")[2]
                self.say("tagged", {})
        elif path.startswith(f"{API}/paths-info/"):
            files = hub.files(unquote(path.rpartition("/")[2])) or {}
            (name,) = json.loads(body)["paths"] if body[:1] == b"{" else [body.decode().partition("=")[2].split("&")[0]]
            self.say("paths", [_entry(name, files[name])])
        else:
            self.say(path, {}, 404)

    def do_PUT(self) -> None:
        content = b"".join(self.parts())
        if not self.say_fault("store"):
            self.server.stored[self.path.rpartition("/")[2]] = content
            self.say("stored", {})

    def parts(self) -> Iterator[bytes]:
        """The body, whose length was told or comes with each part."""
        if "Content-Length" in self.headers:
            yield self.rfile.read(int(self.headers["Content-Length"]))
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def commit(self, lines: list[dict[str, Any]]) -> None:
        hub = self.server
        (header,) = (line["value"] for line in lines if line["key"] == "header")
        if header["parentCommit"] != hub.head:
            return self.say("commit", {"error": "the branch has moved"}, 412)
        files = dict(hub.commits[-1])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = hub.stored[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        hub.commits.append(files)
        self.say(
            "committed",
            {"success": True, "commitOid": hub.head, "commitUrl": f"{hub.address}/datasets/{REPO}/commit/{hub.head}"},
        )

    def say_fault(self, kind: str) -> bool:
        if self.server.faults.get(kind):
            status = self.server.faults[kind].pop(0)
            if status:
                self.say(kind, {"error": "no"}, status)
            else:
                self.close_connection = True  # without an answer
            return True
        return False

    def say(self, kind: str, value: Any, status: int = 200) -> None:
        if status == 200 and self.say_fault(kind):
            return
        self.server.asked[kind] += 1
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(content)


def _entry(name: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(content), "oid": _oid(content)}


def _oid_before(name: str, content: bytes | None) -> str | None:
    """What the hub says of a file that is there: of a large one, its SHA-256."""
    if content is None:
        return None
    return hashlib.sha256(content).hexdigest() if name.endswith(".parquet") else _oid(content)


def _oid(content: bytes) -> str:
    """A file's id in git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.address)  # where releases are loaded from
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub._commit_api.is_xet_available", lambda: False)  # the store is a plain one
    monkeypatch.setattr(hub_http, "time", SimpleNamespace(**{**vars(time), "sleep": lambda _: None}))
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setenv("COUNTERSET_CACHE", str(tmp_path / "cache"))
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (packaged,) = manifest_path("releases").glob("*/1.0.0")
    return Path(shutil.copytree(packaged, tmp_path / "1.0.0"))


def test_a_release_is_pushed_whole_and_loaded_again(hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(folder), WHERE]) == 0
    assert capsys.readouterr().out == f"{WHERE}@1.0.0\n"
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {name: text for name, text in hub.commits[-1].items() if name != ".gitattributes"} == files
    assert hub.tags == {"1.0.0": hub.head} and len(hub.commits) == 2
    for address, version in ((WHERE, None), (WHERE, "latest"), (WHERE, "1.0.0"), (f"{WHERE}@{hub.head}", None)):
        release = load(address, version)
        assert (release.path / "release.json").read_bytes() == files["release.json"]
    assert main(["push", str(folder), f"hf:{REPO}"]) == 0
    assert capsys.readouterr().out == f"{WHERE}@1.0.0 was there already\n" and len(hub.commits) == 2


def test_a_private_release_is_loaded_with_the_token(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    push(folder, WHERE, endpoint=hub.address, is_private=True)
    hub.token = "hf_test"
    assert load(f"{WHERE}@1.0.0").version == "1.0.0"
    assert set(hub.seen) == {"Bearer hf_test"}
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-login"))
    for token, message in (
        ("hf_other", "log in with `hf auth login`, or set HF_TOKEN"),
        ("", "to nobody it does not know"),
    ):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(ReleaseError, match=message) as refused:
            load(f"{WHERE}@1.0.0", cache=tmp_path / "none")
        assert "hf_" not in str(refused.value) and "\n" not in str(refused.value)
    assert hub.seen[-1] is None
    hub.token = ""
    for kind, status, message in (
        ("resolve", 403, "does not let you read hf://user/name"),
        ("none", 404, "has no release"),
    ):
        hub.faults[kind] = [status]
        with pytest.raises(ReleaseError, match=message):
            load(WHERE if kind == "resolve" else f"{WHERE}@9.0.0", cache=tmp_path / "none")


def test_the_token_is_shown_to_the_hub_alone(hub: Hub) -> None:
    """Large files lie with other hosts, to which the hub redirects."""
    store = Hub()
    thread = threading.Thread(target=store.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        store.commits = hub.commits = [{"a": b"text"}]
        hub.redirects_to = f"{store.address}/datasets/{REPO}/resolve/main/a"
        rules = HostRules(tuple(netloc(one.address) for one in (hub, store)), ())
        secret = {"Authorization": "Bearer hf_test"}
        content = b"".join(Gate(rules, "test").stream(f"{hub.address}/datasets/{REPO}/resolve/main/a", 9, secret))
    finally:
        store.shutdown()
        store.server_close()
        thread.join()
    assert content == b"text" and (hub.seen, store.seen) == (["Bearer hf_test"], [None])


def test_what_an_interrupted_push_uploaded_is_not_uploaded_again(hub: Hub, folder: Path) -> None:
    hub.faults["store"] = [403]
    with pytest.raises(ReleaseError, match="does not let you write"):
        push(folder, WHERE, endpoint=hub.address)
    assert len(hub.commits) == 1, "nothing of it is to be seen"
    hub.faults["commit"] = [500] * 20
    with pytest.raises(ReleaseError, match="answers with 500; push again later"):
        push(folder, WHERE, endpoint=hub.address)
    sent = hub.asked["stored"]
    assert sent == len(list(folder.rglob("*.parquet")))
    hub.faults["commit"], hub.faults["tag"] = [], [503] * 20
    with pytest.raises(ReleaseError, match="answers with 503"):
        push(folder, WHERE, endpoint=hub.address)
    assert len(hub.commits) == 2 and not hub.tags, "killed between the commit and its tag"
    hub.faults["tag"] = []
    assert push(folder, WHERE, endpoint=hub.address).is_new
    assert hub.tags == {"1.0.0": hub.head} and len(hub.commits) == 2 and hub.asked["stored"] == sent


@pytest.mark.parametrize(
    ("kind", "status", "message"),
    [
        ("create", 401, "log in with `hf auth login`"),
        ("create", 403, "does not let you write to user/name"),
        ("refs", 404, "the hub has no user/name"),
        ("commit", 409, "was changed while it was pushed to; push again"),
        ("commit", 412, "was changed while it was pushed to; push again"),
        ("info", 502, "answers with 502; push again later"),
        ("store", 500, "push again later"),
    ],
)
def test_a_refusal_is_one_sentence(kind: str, status: int, message: str, hub: Hub, folder: Path) -> None:
    hub.faults[kind] = [status] * 50
    with pytest.raises(ReleaseError, match=message):
        push(folder, WHERE, endpoint=hub.address)
    assert not hub.tags


def test_nothing_of_others_is_written_over(hub: Hub, folder: Path) -> None:
    hub.commits.append({"data.csv": b"mine"})
    with pytest.raises(ReleaseError, match="holds files of something else; push to another name"):
        push(folder, WHERE, endpoint=hub.address)
    hub.commits.append({"release.json": b"{}", "SHA256SUMS": b"other"})
    hub.tags["1.0.0"] = hub.head
    with pytest.raises(ReleaseError, match=r"hf://user/name@1\.0\.0 is there with other content"):
        push(folder, WHERE, endpoint=hub.address)
    del hub.tags["1.0.0"]
    hub.commits[-1]["old.parquet"] = b"x"
    push(folder, WHERE, endpoint=hub.address)
    assert "old.parquet" not in hub.commits[-1]


def test_a_damaged_release_is_not_sent(hub: Hub, folder: Path) -> None:
    (folder / "pairs.parquet").write_bytes(b"x")
    with pytest.raises(ReleaseError, match="altered"):
        push(folder, WHERE, endpoint=hub.address)
    assert not hub.asked


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert parse_address("hf:a/b") == ("a/b", "") and parse_address("hf://datasets/a.b/c-d@main") == ("a.b/c-d", "main")
    assert files_at("hf://a/b@refs/pr/1", None) == "https://huggingface.co/datasets/a/b/resolve/refs%2Fpr%2F1"
    assert files_at("hf://a/b", "1.0.0") == "https://huggingface.co/datasets/a/b/resolve/1.0.0"
    for text in ("hf://a", "hf://a/b/c", "hf://a/b@", "hf://a/b?x", "hf:///b"):
        with pytest.raises(ReleaseError, match="is no address of the hub"):
            files_at(text, None)
    with pytest.raises(ReleaseError, match=r"names the revision 1\.0\.0, not 2\.0\.0"):
        files_at("hf://a/b@1.0.0", "2.0.0")
    with pytest.raises(ReleaseError, match="names a revision"):
        push(Path("nowhere"), "hf://a/b@1.0.0")
