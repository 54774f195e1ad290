"""Debian's chromium, told what to do through its own protocol: pages that ask for a password want more than a dump."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from websockets.sync.client import ClientConnection, connect

BROWSER = shutil.which("chromium")


def text_of(url: str, before: str, folder: Path, is_complete: Callable[[str], bool], seconds: float = 90) -> str:
    """What a page says once it is complete, or when the time is over.

    Args:
        url: the page.
        before: JavaScript that is run on it first; it is loaded again then.
        folder: an empty one for the browser.
        is_complete: looks at the text.
        seconds: how long to wait for that.
    """
    command = [
        *[str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
        *["--disable-sync", "--disable-background-networking", "--disable-component-update"],
        *["--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"],
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            port = _port(folder / "DevToolsActivePort")
            [page] = [one for one in _pages(port) if one["type"] == "page"]
            with connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
                _call(socket, "Page.navigate", url=url)
                _evaluate(socket, before)
                _call(socket, "Page.navigate", url=url)
                end = time.monotonic() + seconds
                text = ""
                while not is_complete(text) and time.monotonic() < end:
                    time.sleep(0.5)
                    text = _evaluate(socket, "document.body ? document.body.innerText : ''")
                return text
        finally:
            browser.terminate()


def _port(path: Path) -> int:
    end = time.monotonic() + 60
    while not path.exists() or not path.read_text().strip():
        assert time.monotonic() < end, "the browser does not start"
        time.sleep(0.1)
    return int(path.read_text().split()[0])


def _pages(port: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = requests.get(f"http://127.0.0.1:{port}/json", timeout=30).json()
    return found


def _call(socket: ClientConnection, method: str, **parameters: Any) -> dict[str, Any]:
    socket.send(json.dumps({"id": 1, "method": method, "params": parameters}))
    while True:
        answer = json.loads(socket.recv(timeout=60))
        if answer.get("id") == 1:
            result: dict[str, Any] = answer["result"]
            return result


def _evaluate(socket: ClientConnection, expression: str) -> str:
    return str(_call(socket, "Runtime.evaluate", expression=expression)["result"].get("value", ""))
