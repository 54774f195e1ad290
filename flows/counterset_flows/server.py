"""The Prefect server that a command's flows report to: the one of PREFECT_API_URL, or a temporary one.

The temporary server answers nobody but this command and what it starts: its password is made anew for each run and
handed on in the environment. Without one, any page in the user's browser and any user of the machine could drive it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

import httpx
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.exceptions import PrefectException
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_HOME,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)

from counterset.errors import ServerUnavailable

ANSWER_S = 5.0
"""How long a server may take for each answer at the start."""

STOP_S = 5.0
"""How long the temporary server may take to end by itself."""

OWN = "unset PREFECT_API_URL to use a temporary one"

_AWAY = (httpx.HTTPError, httpx.InvalidURL, PrefectException, RuntimeError, ValueError)
"""What a server that is away, old, or no Prefect server makes of a request."""

_temporary: _Temporary | None = None


def is_temporary() -> bool:
    """Whether this command's flows report to a server of their own, which other machines do not reach."""
    return _temporary is not None


@contextlib.contextmanager
def running() -> Iterator[Callable[[], None]]:
    """Have a server for the flows of the block, and of the processes that it starts.

    Yields a function that waits until the server answers. The temporary one starts beside what comes before that
    call: it takes about as long as to import PyTorch.

    Raises:
        ServerUnavailable: the server of PREFECT_API_URL cannot be used, the temporary one does not start, or either
            stopped answering while the flows ran.
    """
    global _temporary
    try:
        url = PREFECT_API_URL.value()
    except ValueError as error:
        raise ServerUnavailable(
            f"Prefect's settings cannot be read ({_one_line(error)}); look at the environment's PREFECT_ variables, "
            "at prefect.toml in this folder, and at profiles.toml in PREFECT_HOME"
        ) from error
    if url:
        check(url)
        with _told(url):
            yield lambda: None
        return
    server = _Temporary()
    _temporary = server
    environment = {"PREFECT_API_URL": server.url, "PREFECT_API_AUTH_STRING": server.password}
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        with (
            temporary_settings({PREFECT_API_URL: server.url, PREFECT_API_AUTH_STRING: server.password}),
            _told(server.url),
        ):
            try:
                yield server.wait
            finally:  # what they still have to say about the run; said at exit, it would wait long for no server
                for worker in (EventsWorker, APILogWorker):
                    worker.drain_all(timeout=STOP_S, at_exit=False)
    finally:
        server.stop()
        _temporary = None
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def check(url: str) -> None:
    """See that the server at `url` answers, takes our password and speaks our version.

    Raises:
        ServerUnavailable: it does not.
    """
    named = f"the Prefect server at {_without_password(url)} (PREFECT_API_URL)"
    try:
        with (
            temporary_settings({PREFECT_API_REQUEST_TIMEOUT: ANSWER_S, PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(sync_client=True) as client,
        ):
            client.raise_for_api_version_mismatch()
            client.read_flows(limit=1)
    except _AWAY as error:
        cause = error.__cause__ if type(error) is RuntimeError and error.__cause__ else error
        raise ServerUnavailable(f"{named} {_complaint(cause)}, or {OWN}") from error


def _complaint(error: BaseException) -> str:
    """What is wrong with a server that made this error, and the remedy."""
    if isinstance(error, httpx.HTTPStatusError):
        code = error.response.status_code
        if code in (401, 403):
            return (
                f"refuses the password ({code}); set PREFECT_API_AUTH_STRING to its own, or PREFECT_PROFILE=counterset "
                "if `counterset server` started it on this machine"
            )
        if code >= 500:
            return f"fails ({code}); look at its log"
        return f"does not answer as one ({code}); check the address, which ends in /api"
    if isinstance(error, httpx.TimeoutException):
        return f"gave no answer in {ANSWER_S:g} s; check the address and start the server"
    if isinstance(error, httpx.HTTPError | OSError):
        return f"does not answer ({_one_line(error)}); check the address and start the server"
    if isinstance(error, RuntimeError) and "incompatible" in str(error):
        return f"is of another version ({_one_line(error)}); install the same version"
    text = "its answer is not understood" if isinstance(error, ValueError) else _one_line(error)
    return f"does not answer as one ({text}); check the address, which ends in /api"


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Say in one sentence that the server went away while the flows of the block ran."""
    try:
        yield
    except httpx.TransportError as error:
        why = _temporary.last_line() if _temporary is not None else ""
        raise ServerUnavailable(
            f"the Prefect server at {_without_password(url)} stopped answering ({why or _one_line(error)}); "
            "run the same command again to resume"
        ) from error


class _Temporary:
    """Prefect's temporary server, started; it ends with this process.

    Attributes:
        url: of its API.
        password: `user:password`, for PREFECT_API_AUTH_STRING.
    """

    def __init__(self) -> None:
        self.password = f"counterset:{secrets.token_urlsafe(32)}"
        home = PREFECT_HOME.value()
        try:
            home.mkdir(parents=True, exist_ok=True)
            self._log: IO[bytes] = tempfile.TemporaryFile(dir=home)  # noqa: SIM115
        except OSError as error:
            raise ServerUnavailable(_cannot_start(f"{home}: {error.strerror}")) from error
        self._process = subprocess.Popen(
            [sys.executable, "-m", "counterset_flows.temporary_server"],
            env=os.environ
            | {
                "PREFECT_SERVER_API_AUTH_STRING": self.password,
                "PREFECT_SERVER_API_BASE_PATH": "/api",
                # No page has a reason to ask it; the least that can be said is the address of none.
                "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "http://127.0.0.1",
                "PREFECT_UI_ENABLED": "0",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C at the terminal is for this process, which ends the server last
        )
        assert self._process.stdout is not None
        with self._process.stdout as said:
            port = said.readline().decode().strip()
        if not port:
            self._process.wait()
            why = self.last_line()
            self.stop()
            raise ServerUnavailable(_cannot_start(why))
        self.url = f"http://127.0.0.1:{port}/api"

    def wait(self) -> None:
        """Wait until the server answers.

        Raises:
            ServerUnavailable: it ended, or takes longer than PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.
        """
        seconds = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
        try:
            # Its port is open from the start: the answer comes when it is ready, an error when it has ended.
            httpx.get(f"{self.url}/health", timeout=seconds, trust_env=False).raise_for_status()
        except httpx.HTTPError as error:
            is_slow = isinstance(error, httpx.TimeoutException)
            if not is_slow:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=STOP_S)
            why = f"it did not answer in {seconds} s" if is_slow else self.last_line() or _one_line(error)
            raise ServerUnavailable(_cannot_start(why)) from error

    def last_line(self) -> str:
        """The last line that the server wrote to stderr, "" if there is none."""
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        # uvicorn ends with what follows from the error; SQLAlchemy with where to read about it
        told = [line for line in lines if not line.startswith(("(Background on this error", "ERROR:", "[SQL:"))]
        return _shortened(told[-1]) if told else ""

    def stop(self) -> None:
        """End the server. Harmless when it has ended."""
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def _cannot_start(why: str) -> str:
    return (
        f"Prefect's temporary server did not start ({why or 'it said nothing'}); set PREFECT_HOME to another folder "
        f"than {PREFECT_HOME.value()}, or PREFECT_API_URL to a running server"
    )


def _one_line(error: BaseException) -> str:
    return _shortened(" ".join(str(error).split()) or type(error).__name__)


def _shortened(text: str) -> str:
    return text[:200]


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)
