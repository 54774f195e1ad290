"""Which URLs are refused, however they are spelt."""

from __future__ import annotations

import pytest

from counterset.fetching.addresses import (
    AddressRefused,
    HostRules,
    clean,
    is_loopback,
    is_private,
    netloc,
    parse,
    redirected,
    shown,
)

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
        "https://static.inaturalist.org:0/a.jpg",
        "https://static%2einaturalist.org/a.jpg",
        "https://static..inaturalist.org/a.jpg",
        f"https://{'a' * 64}.org/a.jpg",
        "http://169.254.169.254/latest/meta-data",
    ],
)
def test_known_hosts_are_the_only_ones(url: str) -> None:
    assert HostRules(KNOWN).refusal(url)


def test_known_and_named_hosts_are_taken() -> None:
    rules = HostRules(KNOWN, ("Mirror.example", "127.0.0.1:8080", "[::1]:9000", "fd00::5"))
    for url in (
        "https://static.inaturalist.org/photos/1/medium.jpg?1",
        "http://STATIC.inaturalist.org./a.jpg",
        "https://mirror.example:444/a.jpg",
        "http://127.0.0.1:8080/a.jpg",
        "http://0x7f.1:8080/a.jpg",
        "http://[::1]:9000/a.jpg",
        "http://[FD00:0::5]:1/a.jpg",
    ):
        assert rules.refusal(url) == ""
    assert "name it in allowed_hosts" in rules.refusal("http://127.0.0.1:8081/a.jpg")
    assert rules.refusal("http://[::1]:9001/a.jpg")


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "a.localhost", "printer", "nas.local", "db.internal", "127.0.0.1", "127.1", "2130706433",
        "0x7f000001", "0", "10.1.2.3",
        "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "::1", "::",
        "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "2002:7f00:1::", "0177.0.0.1", "192.0.0.1", "198.18.0.1",
        "240.0.0.1", "255.255.255.255", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1",
        "::ffff:0:127.0.0.1", "2001:0:7f00:1::", "2001:db8::1", "3fff::1", "ff02::1", "fec0::1", "100::1",
        "2606:4700::5efe:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:a00:1::1",
    ],
)  # fmt: skip
def test_private_hosts(host: str) -> None:
    assert is_private(host)
    url = f"http://[{host}]/a.jpg" if ":" in host else f"http://{host}/a.jpg"
    assert HostRules((), ("*",), lambda name: ()).refusal(url)


@pytest.mark.parametrize(
    "host", ["example.org", "8.8.8.8", "2606:4700::1111", "photos.example.co.uk", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_public_hosts(host: str) -> None:
    assert not is_private(host)
    url = f"http://{host}/a.jpg" if ":" not in host else f"http://[{host}]/a.jpg"
    assert HostRules(()).refusal(url) and not HostRules((), ("*",)).refusal(url)


@pytest.mark.parametrize(
    "host",
    [
        "127%2e0%2e0%2e1", "127.0.0%2e1", "%31%32%37.0.0.1", "169.254.169%2e254", "x%2elocalhost", "%6cocalhost.",
        "localhost%2e", "127.0.0.1%2f.example.com", "１２７.0.0.1", "127。0。0。1", "ｌocalhost", "LOCALHOST.",
        "①27.0.0.1", "127.0.0.1..", "0x7f.0x0.1", "127.0.0.256", "1.2.3.4.5", "127.0.0.1%00.example.com", "%",
    ],
)  # fmt: skip
def test_no_spelling_of_a_private_host_is_taken(host: str) -> None:
    assert HostRules((), ("*",)).refusal(f"http://{host}/a.jpg")
    assert HostRules((), ("*",)).refusal(f"HTTPS://{host}:8080/a.jpg")


def test_a_url_is_fetched_in_the_form_that_was_judged() -> None:
    assert parse("HTTP://EXAMPLE.org.:80/a/../b?c=%20d#e").url == "http://example.org/a/../b?c=%20d"
    assert parse("https://bücher.example/ä.jpg?ß").url == "https://xn--bcher-kva.example/%C3%A4.jpg?%C3%9F"
    assert parse("http://134744072:81").url == "http://8.8.8.8:81/"
    assert parse("http://[2606:4700:0::1111]/a").url == "http://[2606:4700::1111]/a"


def test_a_star_allows_public_hosts_and_still_no_private_ones() -> None:
    asked: list[str] = []

    def resolver(name: str) -> tuple[str, ...]:
        asked.append(name)
        return {"inside.example": ("93.184.216.34", "10.0.0.7"), "outside.example": ("93.184.216.34",)}.get(name, ())

    rules = HostRules((), ("*", "10.0.0.9", "inside.example:81"), resolver)
    for host in ("outside.example", "inside.example", "unknown.example"):
        assert rules.refusal(f"https://{host}/1.jpg") == ""
    assert not asked  # a name is resolved once, to be connected to
    assert rules.addresses("outside.example", 443) == ("93.184.216.34",)
    assert rules.addresses("unknown.example", 443) == ()
    with pytest.raises(AddressRefused, match=r"inside\.example has the private address 10\.0\.0\.7"):
        rules.addresses("inside.example", 443)
    assert rules.addresses("inside.example", 81) == ("93.184.216.34", "10.0.0.7")
    assert asked == ["outside.example", "unknown.example", "inside.example", "inside.example"]
    assert rules.refusal("https://10.0.0.8/1.jpg")
    assert rules.refusal("https://10.0.0.9/1.jpg") == ""
    with pytest.raises(AddressRefused):
        rules.addresses("10.0.0.8", 443)


def test_loopback() -> None:
    assert is_loopback("http://127.0.0.1:80/v1") and is_loopback("http://localhost") and is_loopback("http://[::1]:3/")
    assert not is_loopback("https://api.inaturalist.org/v1") and not is_loopback("http://10.0.0.1/")
    assert not is_loopback("http://[::1")


def test_listed_urls_and_redirects_are_read_as_they_were_meant() -> None:
    assert clean(" https://a.example/x?a=1&amp;b=2\n") == "https://a.example/x?a=1&b=2"
    assert redirected("https://a.example/x/y", "z 1.jpg?a&amp;b") == "https://a.example/x/z%201.jpg?a&b"
    assert redirected("https://a.example/x/y", "//b.example/ö".encode().decode("latin-1")) == "https://b.example/%C3%B6"
    assert HostRules((), ("*",)).refusal(redirected("https://a.example/", "file:///etc/passwd"))
    with pytest.raises(AddressRefused):
        redirected("https://a.example/", "http://[::1")


def test_what_is_shown_of_a_url_is_no_secret() -> None:
    assert shown("https://ann:SECRET@a.example/x?token=SECRET#SECRET") == "https://a.example/x?..."
    assert shown("s3://KEY:SECRET@bucket/x") == "s3://bucket/x"
    assert shown("https://a.example/@x") == "https://a.example/@x"
    assert shown("/folder/of@mine/x") == "/folder/of@mine/x"
    assert shown("https://a.example?SECRET") == "https://a.example?..."
    assert netloc("https://ann:SECRET@A.example./x") == "a.example:443" and netloc("http://[::1") == ""
