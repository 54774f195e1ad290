"""What a page of another site, open in the user's browser, can ask of a Prefect server on this machine."""

from __future__ import annotations

import json
from typing import Any

import requests
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

ORIGINS = ("https://evil.example", "http://127.0.0.1:1", "null")
"""Another site, another program's page of this machine, and a page in a sandboxed frame."""


def attack(url: str) -> list[str]:
    """Ask as a browser would, for each origin; what was answered that should not have been."""
    found: list[str] = []
    for origin in ORIGINS:
        found += [f"{origin}: {one}" for one in _preflights(url, origin) + _posts(url, origin) + _sockets(url, origin)]
    return found


def _preflights(url: str, origin: str) -> list[str]:
    found = []
    for path in ("flows/filter", "work_pools/", "deployments/"):
        for wanted in ("content-type", "authorization,content-type"):
            headers = {
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": wanted,
            }
            answer = requests.options(f"{url}/{path}", headers=headers, timeout=30)
            if answer.ok or "Access-Control-Allow-Origin" in answer.headers:
                found.append(f"preflight of {path} with {wanted}: {answer.status_code}")
    return found


def _posts(url: str, origin: str) -> list[str]:
    """Requests that a browser sends without asking first, and those of a name that was bound to this machine."""
    pool: dict[str, Any] = {"name": f"pool{abs(hash(origin))}", "type": "process"}
    bodies: dict[str, dict[str, Any]] = {"work_pools/": pool, "flows/": {"name": "x"}, "flows/filter": {}}
    found = []
    for path, body in bodies.items():
        for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded", None):
            for host in (None, "rebind.evil.example"):
                headers = {"Origin": origin, "Content-Type": kind, "Host": host}
                answer = requests.post(f"{url}/{path}", data=json.dumps(body), headers=headers, timeout=30)
                if answer.status_code != 401 or "Access-Control-Allow-Origin" in answer.headers:
                    found.append(f"{path} as {kind} at {host}: {answer.status_code} {answer.text[:80]}")
    reading = requests.get(f"{url}/admin/version", headers={"Origin": origin}, timeout=30)
    if reading.status_code != 401 or "Access-Control-Allow-Origin" in reading.headers:
        found.append(f"admin/version: {reading.status_code}")
    return found


def _sockets(url: str, origin: str) -> list[str]:
    """Sockets know no preflight: any page may open one."""
    found = []
    for path in ("events/in", "events/out", "logs/out"):
        for protocols in (None, [Subprotocol("prefect")]):
            address = f"{url.replace('http', 'ws', 1)}/{path}"
            try:
                with connect(address, subprotocols=protocols, additional_headers={"Origin": origin}) as socket:
                    socket.send(json.dumps({"type": "auth", "token": "counterset:guess"}))
                    found.append(f"{path} with {protocols}: {socket.recv(timeout=10)!r}")
            except WebSocketException:
                pass  # refused, or closed without an answer
    return found
