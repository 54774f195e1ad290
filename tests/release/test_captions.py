"""Captions hold no personal data, and stay useful."""

from __future__ import annotations

import time

import pytest

from counterset.release.captions import (
    MAX_CHARACTERS,
    caption_object,
    caption_object_background,
    clean_tags,
    clean_text,
    guess_language,
)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Seen by @some.one_else near a lake", "Seen by near a lake"),
        ("mail me: jane.doe+x@mail.example.org please", "mail me: please"),
        ("mail me: jane (at) example.org please", "mail me: please"),
        ("see https://example.org/a?b=c#d and www.site.net/x for more", "see and for more"),
        ("on flickr.com/photos/123 too", "on too"),
        ("at 48.85820, 2.29450 in the morning", "at in the morning"),
        ("at -33.8688 151.2093 today", "at today"),
        ("""at 48°51'29.6"N 2°17'40.2"E today""", "at today"),
        ("at 48.8582° N, 2.2945° E today", "at , today"),
        ("N 48.8582 E 2.2945", None),
        ("Lat: 48.85 Long: 2.29 here", "here"),
        ("a long 3 m snake, 3.5 cm wide", "a long 3 m snake, 3.5 cm wide"),
        ("my blog fotos.example.de/x has more", "my blog has more"),
        ("grid 31U 448252 5411933 here", "grid here"),
        ("call +33 1 23 45 67 89 now", "call now"),
        ("<b>bold</b> &amp; <script>alert(1)</script>", "bold & alert(1"),
        ("a\u202eb\u200fc\x00d", "a b c d"),
        ("two\n\n lines\tand  blanks", "two lines and blanks"),
        ("   ", None),
        ("", None),
        (None, None),
        ("Ursus maritimus, 2 adults at 3 m, about 1.5 kg", "Ursus maritimus, 2 adults at 3 m, about 1.5 kg"),
        ("Größe 10 cm; Fluß. Was für ein Vogel!", "Größe 10 cm; Fluß. Was für ein Vogel!"),
        ("seen 2024-05-17 at 10:30, e.g. on rocks", "seen 2024-05-17 at 10:30, e.g. on rocks"),
    ],
)
def test_clean_text(text: str | None, cleaned: str | None) -> None:
    assert clean_text(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "a" * 100_000,
        "@" * 100_000,
        "<" * 100_000,
        "1.2345 " * 20_000,
        "a.b-c+d@" * 12_000,
        "48°" * 30_000,
        "+1 " * 40_000,
    ],
)
def test_hostile_length_stays_cheap(text: str) -> None:
    started = time.perf_counter()
    cleaned = clean_text(text)
    assert time.perf_counter() - started < 2.0
    assert len(cleaned or "") <= MAX_CHARACTERS


def test_tags() -> None:
    assert clean_tags(["wild", "@me", None, "wild", "", " snow "]) == ["wild", "snow"]
    assert clean_tags(None) == []


def test_templates() -> None:
    assert caption_object("ostrich") == "a photo of an ostrich."
    assert caption_object_background(
        "ice bear", "snow"
    ) == "a photo of a ice bear, with snow in the background.".replace("a ice", "an ice")
    assert caption_object_background("ice bear", None) is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A young bear was seen in the snow near the river", "en"),
        ("Ein junger Bär auf dem Eis und im Wasser", "de"),
        ("Un ours sur la neige avec le petit dans les bois", "fr"),
        ("El oso en la nieve con los dos cachorros", "es"),
        ("O urso na neve com os filhotes em uma pedra", "pt"),
        ("Медведь на снегу", "ru"),
        ("雪の中のクマ", "ja"),
        ("Ursus maritimus", None),
        ("12345", None),
        (None, None),
    ],
)
def test_language(text: str | None, language: str | None) -> None:
    assert guess_language(text) == language
