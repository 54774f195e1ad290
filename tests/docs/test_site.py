"""The documentation builds as a site without a warning, and the site loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LOADING = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "link": ("href",),
}
"""Elements that load something, and the attributes that say from where."""

ELSEWHERE = re.compile(r"\s*(https?:)?//", re.IGNORECASE)


class Loaded(HTMLParser):
    """What a page loads by itself, styles included."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.addresses += [values[name] or "" for name in LOADING.get(tag, ()) if name in values]
        self.addresses += styles(values.get("style") or "")

    def handle_data(self, text: str) -> None:
        if self.get_starttag_text() and (self.get_starttag_text() or "").startswith("<style"):
            self.addresses += styles(text)


def styles(text: str) -> list[str]:
    """The addresses that a style sheet loads."""
    return re.findall(r"url\(\s*['\"]?([^'\")]+)", text) + re.findall(r"@import\s+['\"]([^'\"]+)", text)


def loaded(html: str) -> list[str]:
    page = Loaded()
    page.feed(html)
    return page.addresses


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def files(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [file for part in (nav.values() if isinstance(nav, dict) else nav) for file in files(part)]


def test_every_page_of_the_navigation_is_built(site: Path) -> None:
    nav = files(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    missing = [name for name in nav if not (site / name).with_suffix(".html").is_file()]
    assert not missing
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert written <= set(nav), "pages that no menu leads to"


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages, sheets = list(site.rglob("*.html")), list(site.rglob("*.css"))
    assert len(pages) > 15 and sheets
    addresses = {(page.name, address) for page in pages for address in loaded(page.read_text(encoding="utf-8"))}
    addresses |= {(sheet.name, address) for sheet in sheets for address in styles(sheet.read_text(encoding="utf-8"))}
    assert any(address.endswith(".css") for _, address in addresses)
    assert not [found for found in addresses if ELSEWHERE.match(found[1])]


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<img src="HTTP://photos.example/1.jpg">',
        '<p style="background: url(https://photos.example/1.jpg)">x</p>',
        "<style>@import 'https://fonts.example/css';</style>",
    ],
)
def test_what_comes_from_elsewhere_is_noticed(html: str) -> None:
    assert any(map(ELSEWHERE.match, loaded(html)))
