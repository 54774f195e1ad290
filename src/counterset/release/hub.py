"""Releases on the Hugging Face hub: one data set per name, each version a commit with the version as its tag.

A release is one commit, so it appears whole or not at all. What an interrupted push has uploaded lies in the hub's
store, which knows files by their content: the next push uploads only the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import quote

from counterset.errors import ReleaseError
from counterset.release.checksums import METADATA, SUMS, verify_files
from counterset.release.versions.order import HUB, LATEST

_ADDRESS = re.compile(r"hf:(?://)?(?:datasets/)?([\w.-]+/[\w.-]+)(?:@([^\s?#@]+))?")
_HUB = "https://huggingface.co"
_OWN = {".gitattributes", "README.md"}
"""Files that the hub makes itself."""


class Pushed(NamedTuple):
    """Where a release lies on the hub, and whether it was not there before."""

    address: str
    is_new: bool


def is_hub(text: str) -> bool:
    """Whether a text is an address of the hub."""
    return text.startswith(HUB)


def parse_address(text: str) -> tuple[str, str]:
    """Data set and revision of `hf://user/name@revision`; "" = no revision.

    Raises:
        ReleaseError: it is written otherwise.
    """
    match = _ADDRESS.fullmatch(text)
    if not match:
        raise ReleaseError(f"{text!r} is no address of the hub; write it as hf://user/name or hf://user/name@1.0.0")
    return match[1], match[2] or ""


def files_at(text: str, version: str | None) -> str:
    """The https address of a release's files on the hub.

    Args:
        text: `hf://user/name`, with or without `@revision`: a version, a branch or a commit.
        version: the release's; None or "latest" = the revision, or what was pushed last.

    Raises:
        ReleaseError: it is no address, or names another version.
    """
    repo, revision = parse_address(text)
    version = None if version == LATEST else version
    if version and revision and version != revision:
        raise ReleaseError(f"{text} names the revision {revision}, not {version}; leave one of them out")
    endpoint = os.environ.get("HF_ENDPOINT", _HUB).rstrip("/")
    return f"{endpoint}/datasets/{repo}/resolve/{quote(version or revision or 'main', safe='')}"


def credentials() -> dict[str, str]:
    """The headers by which the hub knows who asks: of $HF_TOKEN, or of `hf auth login`; none without."""
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def refusal(text: str, status: int) -> str | None:
    """What the hub means by refusing to give a release's file, in a sentence with the remedy; None = nothing special.

    Args:
        text: `hf://user/name`, as it was asked for.
        status: of the hub's answer.
    """
    if status == 401:
        return f"the hub shows {text} to nobody it does not know; log in with `hf auth login`, or set HF_TOKEN"
    if status == 403:
        return f"the hub does not let you read {text}; ask its owner for access, or use a token that may read it"
    if status == 404:
        return (
            f"the hub has no release {text} that you may see; check name and revision, and that your token may read it"
        )
    return None


def push(folder: Path, where: str, *, is_private: bool = False, endpoint: str | None = None) -> Pushed:
    """Put a release onto the hub, as the newest commit of a data set that is made where it is missing.

    Args:
        folder: of the release; every file is checked before anything is sent.
        where: `hf://user/name`.
        is_private: of a data set that is made.
        endpoint: the hub's address; None = that of huggingface_hub ($HF_ENDPOINT).

    Raises:
        ReleaseError: the release is damaged, its version lies there with other content, the data set holds something
            else, or the hub refuses or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    from counterset.release.stated import read_stated  # brings pyarrow

    repo, revision = parse_address(where)
    if revision:
        raise ReleaseError(f"{where} names a revision; a release is pushed under its own version, so leave it out")
    said = read_stated(folder)
    verify_files(folder, said.digests)
    version = str(said.metadata["version"])
    api = HfApi(endpoint=endpoint)
    pushed = Pushed(f"hf://{repo}@{version}", is_new=True)
    with _told(repo):
        api.create_repo(repo, repo_type="dataset", private=is_private, exist_ok=True)
        tags = {tag.name for tag in api.list_repo_refs(repo, repo_type="dataset").tags}
        if version in tags:
            if _has_content(api, repo, version, (folder / SUMS).read_bytes()):
                return pushed._replace(is_new=False)
            raise ReleaseError(f"{pushed.address} is there with other content; give the release a new version")
        head = api.repo_info(repo, repo_type="dataset").sha
        there = set(api.list_repo_files(repo, repo_type="dataset", revision=head))
        if there - _OWN and METADATA not in there:
            raise ReleaseError(f"the data set {repo} holds files of something else; push to another name")
        files = {*said.digests, SUMS}
        operations: list[Any] = [CommitOperationAdd(path, str(folder / path)) for path in sorted(files)]
        operations += [CommitOperationDelete(path) for path in sorted(there - files - {".gitattributes"})]
        message = f"{said.metadata['name']} {version}"
        commit = api.create_commit(repo, operations, commit_message=message, repo_type="dataset", parent_commit=head)
        api.create_tag(repo, tag=version, revision=commit.oid, repo_type="dataset")
    return pushed


def _has_content(api: Any, repo: str, revision: str, content: bytes) -> bool:
    """Whether a revision's SHA256SUMS, which says all other content, is this one."""
    for listed in api.get_paths_info(repo, [SUMS], repo_type="dataset", revision=revision):
        if listed.lfs is not None:
            return bool(listed.lfs.sha256 == hashlib.sha256(content).hexdigest())
        return bool(listed.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())
    return False


@contextlib.contextmanager
def _told(repo: str) -> Iterator[None]:
    """What the hub refuses, in one sentence with the remedy."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    # Its bases are the errors of the HTTP library that this version of the hub's package uses.
    failures = cast("tuple[type[Exception], ...]", (*HfHubHTTPError.__bases__, RuntimeError, ValueError))
    try:
        yield
    except HFValidationError as error:
        raise ReleaseError(f"the hub takes no data set called {repo!r}; write it as user/name") from error
    except LocalTokenNotFoundError as error:
        raise ReleaseError(_remedy(repo, 401, "")) from error
    except failures as error:
        said = next((each for each in (error, error.__cause__) if isinstance(each, HfHubHTTPError)), None)
        is_refused = isinstance(error, ValueError)
        status = said.response.status_code if said is not None else 400 if is_refused else 0
        raise ReleaseError(_remedy(repo, status, str(said or error))) from error


def _remedy(repo: str, status: int, text: str) -> str:
    if status == 401:
        return f"the hub does not know who pushes to {repo}; log in with `hf auth login`, or set HF_TOKEN"
    if status == 403:
        return f"the hub does not let you write to {repo}; use a token that may write there, or another name"
    if status == 404:
        return f"the hub has no {repo} that you may see; check the name, and that your token may write there"
    if status in (409, 412):
        return f"{repo} was changed while it was pushed to; push again"
    if 400 <= status < 500:
        return f"the hub refuses what is pushed to {repo}: {' '.join(text.split())[:300]}"
    what = f"answers with {status}" if status else "cannot be reached"
    return f"the hub {what}; push again later: what was uploaded is not uploaded again"
