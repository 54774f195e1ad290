"""Debian's chromium, told what to do through its own protocol: some pages want more than a dump."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
from websockets.sync.client import ClientConnection, connect

BROWSER = shutil.which("chromium")


class Tab:
    """One page of the browser."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers to a command of its protocol."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == self._last:
                result: dict[str, Any] = answer["result"]
                return result

    def go(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression, waited for if it is a promise."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = 30) -> Any:
        """The value of an expression once it is true, or when the time is over."""
        end = time.monotonic() + seconds
        value = self.value(expression)
        while not value and time.monotonic() < end:
            time.sleep(0.02)
            value = self.value(expression)
        return value

    def press(self, key: str) -> None:
        """Press and let go a key, as a person does."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = {"Enter": 13, "Escape": 27}.get(key, 0)
        for kind in ("keyDown", "keyUp"):
            written = text if kind == "keyDown" else ""
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=written, windowsVirtualKeyCode=code)

    def picture(self, path: Path) -> None:
        """Save what the page looks like, as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextlib.contextmanager
def opened(folder: Path, width_px: int = 1280, height_px: int = 800) -> Iterator[Tab]:
    """A browser with one empty page; `folder` is an empty one for it."""
    command = [
        *[str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
        *["--disable-sync", "--disable-background-networking", "--disable-component-update"],
        *["--remote-debugging-port=0", f"--window-size={width_px},{height_px}", f"--user-data-dir={folder}"],
        "about:blank",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            port = _port(folder / "DevToolsActivePort")
            [page] = [one for one in _pages(port) if one["type"] == "page"]
            with connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
                yield Tab(socket)
        finally:
            browser.terminate()


def text_of(url: str, before: str, folder: Path, is_complete: Callable[[str], bool], seconds: float = 90) -> str:
    """What a page says once it is complete, or when the time is over.

    Args:
        url: the page.
        before: JavaScript that is run on it first; it is loaded again then.
        folder: an empty one for the browser.
        is_complete: looks at the text.
        seconds: how long to wait for that.
    """
    with opened(folder) as tab:
        tab.go(url)
        tab.value(before)
        tab.go(url)
        end = time.monotonic() + seconds
        text = ""
        while not is_complete(text) and time.monotonic() < end:
            time.sleep(0.5)
            text = str(tab.value("document.body ? document.body.innerText : ''") or "")
        return text


def _port(path: Path) -> int:
    end = time.monotonic() + 60
    while not path.exists() or not path.read_text().strip():
        assert time.monotonic() < end, "the browser does not start"
        time.sleep(0.1)
    return int(path.read_text().split()[0])


def _pages(port: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = requests.get(f"http://127.0.0.1:{port}/json", timeout=30).json()
    return found
