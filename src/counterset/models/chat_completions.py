"""A model behind an endpoint that speaks OpenAI's chat completions, as vLLM, Ollama and LM Studio do.

One request holds one photo and one question. The client is the house's gate (`counterset.fetching.gate`): it retries
what may pass, and all threads keep a Retry-After. The key is read from the environment, sent in a header, and stands
nowhere else.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from counterset.errors import ModelError
from counterset.fetching.addresses import AddressRefused, HostRules, is_loopback, netloc, parse, shown
from counterset.fetching.gate import MAX_SAID_BYTES, FetchFailed, Gate, user_agent
from counterset.models.door import NoReply, Reply
from counterset.schemas import RejectReason
from counterset.workspace import digest

KEY_VARIABLE = "COUNTERSET_API_KEY"
"""Ours, and not OPENAI_API_KEY, for a key must not reach an address that it was not set for."""
TEMPERATURE = 0
MAX_TOKENS = 1_024
"""Of an answer, its reasoning included."""
TIMEOUT_S = 120.0
TRIES = 6
CONNECTIONS = 32
MAX_ANSWER_BYTES = 1_000_000
MOST_TOKENS = 2**31
"""That are believed of one answer."""
MAX_SAID = 200
"""Characters of what an endpoint says that a message quotes."""
FILTERED = ("content_filter", "content_policy_violation")
"""What endpoints say where a filter stops a question or an answer."""
HOPELESS = (401, 402, 403, 404, 405, 501, 505)
"""Statuses that no other photo would change."""


def _if_told(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """What stands beside an answer, or None where it is of another form: no answer is lost for it."""
    try:
        return read(value)
    except ValidationError:
        return None


_Text = Annotated[str | None, WrapValidator(_if_told)]
_Count = Annotated[Annotated[int, Field(ge=0, lt=MOST_TOKENS)] | None, WrapValidator(_if_told)]


class _Part(BaseModel):
    text: _Text = None


class _Message(BaseModel):
    content: str | list[_Part | str] | None = None
    refusal: _Text = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: _Text = None


class _Usage(BaseModel):
    prompt_tokens: _Count = None
    completion_tokens: _Count = None


class _Completion(BaseModel):
    """What is read of an answer; more may stand in it."""

    choices: list[_Choice] = Field(min_length=1)
    usage: Annotated[_Usage | None, WrapValidator(_if_told)] = None
    model: _Text = None


class ChatModel:
    """A `counterset.models.door.Answerer` behind an endpoint.

    Args:
        name: `PREFIX:BASE_URL#MODEL`.
        is_open: it is asked without options.
        gate: fetches; None = one of its own.

    Raises:
        ModelError: the name has another form, or its address may not be given the key.
    """

    family = "other"

    def __init__(self, name: str, *, is_open: bool, gate: Gate | None = None) -> None:
        self.name = name
        self.is_open = is_open
        prefix, _, rest = name.partition(":")
        address, _, self._model = rest.partition("#")
        base = address.rstrip("/")
        try:
            has_query = "?" in parse(base).target
        except AddressRefused as error:
            raise ModelError(
                f"the address of the model {prefix}:{shown(address)} cannot be used: {error}; write "
                f"{prefix}:http://localhost:8000/v1#NAME"
            ) from None
        if has_query or not self._model:
            raise ModelError(
                f"the model {prefix}:{shown(address)} needs an address without a query and a name behind it; write "
                f"{prefix}:http://localhost:8000/v1#NAME"
            )
        self._url = f"{base}/chat/completions"
        self._key = os.environ.get(KEY_VARIABLE, "")
        if self._key and base.lower().startswith("http:") and not is_loopback(base):
            raise ModelError(
                f"{KEY_VARIABLE} would be sent to {shown(base)} in clear; give an https address, or unset the variable"
            )
        if not (self._key.isascii() and self._key.isprintable()):
            raise ModelError(f"{KEY_VARIABLE} has characters that no key has; set it anew")
        self._gate = gate or Gate(
            HostRules((netloc(base),)),
            user_agent(),
            timeout_s=TIMEOUT_S,
            tries=TRIES,
            is_patient=True,
            connections=CONNECTIONS,
        )
        self._limits: Mapping[str, int] = {"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS}

    @property
    def answers_id(self) -> str:
        """Of the model's name and of the limits on its answers."""
        return digest("chat-completions", self.name, TEMPERATURE, MAX_TOKENS)

    def ask(self, question: str, jpeg: bytes | None) -> Reply:
        """What the model says to a question about a photo, or to the same without one.

        Raises:
            NoReply: nothing, after all tries.
        """
        parts: list[dict[str, Any]] = [{"type": "text", "text": question}]
        if jpeg is not None:
            url = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
            parts.insert(0, {"type": "image_url", "image_url": {"url": url}})
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        while True:
            limits = self._limits
            messages = [{"role": "user", "content": parts}]
            asked = {"model": self._model, "messages": messages, "stream": False, **limits}
            try:
                return self._gate.post(self._url, json.dumps(asked).encode(), headers, MAX_ANSWER_BYTES, _reply)
            except FetchFailed as failure:
                error = _error(failure.said)
                code, parameter = str(error.get("code") or ""), str(error.get("param") or "")
                if failure.status == 400 and code.startswith("unsupported") and parameter in limits:
                    self._limits = _without(limits, parameter)
                    continue
                if 400 <= failure.status < 500 and code in FILTERED:
                    return Reply("", is_refusal=True)
                raise self._no_reply(failure, str(error.get("message") or "")) from None

    def _no_reply(self, failure: FetchFailed, message: str) -> NoReply:
        said = "".join(letter for letter in " ".join(message.split()) if letter.isprintable())
        if self._key:
            said = said.replace(self._key, "...")
        why = f"{failure}: {said[:MAX_SAID]}" if said else str(failure)
        if failure.reason == RejectReason.TIMEOUT:
            why += "; a server that answers one question after the other needs --parallel 1"
        is_of_all = failure.status in HOPELESS or 300 <= failure.status < 400
        is_of_all = is_of_all or failure.reason == RejectReason.URL_REFUSED
        # A server that fails at a photo says so, says nothing that can be read, or breaks off.
        may_be_photo = failure.reason == RejectReason.SERVER_ERROR and failure.status in (0, 500)
        may_be_photo = may_be_photo and failure.may_pass and not failure.is_silent
        return NoReply(why, is_of_all=is_of_all, may_pass=failure.may_pass, may_be_photo=may_be_photo)


def _without(limits: Mapping[str, int], parameter: str) -> Mapping[str, int]:
    """The limits without one that a model does not know, or under its newer name."""
    rest = {name: value for name, value in limits.items() if name != parameter}
    return rest | {"max_completion_tokens": MAX_TOKENS} if parameter == "max_tokens" else rest


def _reply(content: bytes) -> Reply:
    """What a completion says.

    Raises:
        FetchFailed: it is cut off, or no completion.
    """
    try:
        completion = _Completion.model_validate_json(content)
    except ValidationError:
        # Its text would quote the answer; an error that the endpoint states in a good answer is quoted as any other.
        failure = FetchFailed(RejectReason.SERVER_ERROR, "the answer is no whole completion", may_pass=True)
        failure.said = content[:MAX_SAID_BYTES]
        raise failure from None
    choice, usage = completion.choices[0], completion.usage or _Usage()
    said = choice.message.content or ""
    text = (
        said if isinstance(said, str) else "".join(part if isinstance(part, str) else part.text or "" for part in said)
    )
    return Reply(
        text or choice.message.refusal or "",
        is_refusal=bool(choice.message.refusal) or choice.finish_reason == "content_filter",
        is_cut=choice.finish_reason == "length",
        tokens_in=usage.prompt_tokens,
        tokens_out=usage.completion_tokens,
        served=completion.model or "",
    )


def _error(said: bytes) -> Mapping[str, Any]:
    """The error that an endpoint states, as OpenAI does or as FastAPI; empty where it states none that can be read."""
    try:
        stated = json.loads(said)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(stated, dict):
        return {}
    error = stated.get("error") or stated.get("detail")
    return error if isinstance(error, dict) else stated if error is None else {"message": error}
