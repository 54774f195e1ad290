"""Refused URLs."""

from __future__ import annotations

import pytest

from counterset.sources.hosts import HostRules, is_loopback, is_private

KNOWN = ("static.inaturalist.org",)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://static.inaturalist.org/photos/1/medium.jpg",
        "file:///etc/passwd",
        "//static.inaturalist.org/a.jpg",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "https:///a.jpg",
        "",
        "https://static.inaturalist.org@evil.example/a.jpg",
        "https://user:word@static.inaturalist.org/a.jpg",
        "https://evil.example\\@static.inaturalist.org/a.jpg",
        "https://static.inaturalist.org/a b.jpg",
        "https://static.inaturalist.org/a\r\nHost: x",
        "https://static.inaturalist.org.evil.example/a.jpg",
        "https://xstatic.inaturalist.org/a.jpg",
        "https://[::1/a.jpg",
        "https://static.inaturalist.org:99999/a.jpg",
        "http://169.254.169.254/latest/meta-data",
    ],
)
def test_known_hosts_are_the_only_ones(url: str) -> None:
    assert HostRules(KNOWN).refusal(url)


def test_known_and_named_hosts_are_taken() -> None:
    rules = HostRules(KNOWN, ("Mirror.example", "127.0.0.1:8080"))
    for url in (
        "https://static.inaturalist.org/photos/1/medium.jpg?1",
        "http://STATIC.inaturalist.org./a.jpg",
        "https://mirror.example:444/a.jpg",
        "http://127.0.0.1:8080/a.jpg",
    ):
        assert rules.refusal(url) == ""
    assert "name it in source.allowed_hosts" in rules.refusal("http://127.0.0.1:8081/a.jpg")


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "a.localhost", "printer", "nas.local", "db.internal", "127.0.0.1", "127.1", "2130706433",
        "0x7f000001", "0", "10.1.2.3",
        "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "::1", "::",
        "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "2002:7f00:1::", "0177.0.0.1",
    ],
)  # fmt: skip
def test_private_hosts(host: str) -> None:
    assert is_private(host)
    url = f"http://[{host}]/a.jpg" if ":" in host else f"http://{host}/a.jpg"
    assert HostRules((), ("*",), lambda name: ()).refusal(url)


@pytest.mark.parametrize("host", ["example.org", "8.8.8.8", "2606:4700::1111", "photos.example.co.uk"])
def test_public_hosts(host: str) -> None:
    assert not is_private(host)
    assert HostRules(()).refusal(f"http://{host}/a.jpg" if ":" not in host else f"http://[{host}]/a.jpg")


def test_a_star_allows_public_hosts_and_still_no_private_ones() -> None:
    asked: list[str] = []

    def resolver(name: str) -> tuple[str, ...]:
        asked.append(name)
        return {"inside.example": ("93.184.216.34", "10.0.0.7"), "outside.example": ("93.184.216.34",)}.get(name, ())

    rules = HostRules((), ("*", "10.0.0.9"), resolver)
    assert rules.refusal("https://outside.example/1.jpg") == ""
    assert rules.refusal("https://outside.example/2.jpg") == ""
    assert rules.refusal("https://unknown.example/1.jpg") == ""
    assert rules.refusal("https://inside.example/1.jpg") == "inside.example has the private address 10.0.0.7"
    assert rules.refusal("https://10.0.0.8/1.jpg")
    assert rules.refusal("https://10.0.0.9/1.jpg") == ""
    assert asked == ["outside.example", "unknown.example", "inside.example"]


def test_loopback() -> None:
    assert is_loopback("http://127.0.0.1:80/v1") and is_loopback("http://localhost") and is_loopback("http://[::1]:3/")
    assert not is_loopback("https://api.inaturalist.org/v1") and not is_loopback("http://10.0.0.1/")
