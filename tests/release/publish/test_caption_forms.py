"""Each form of personal data that captions lose, and what is like it and stays, one by one."""

from __future__ import annotations

import pytest

from counterset.release.publish.captions import (
    MAX_CHARACTERS,
    caption_object,
    caption_object_background,
    clean_text,
    guess_language,
)

AT = ("@", " @ ", " @", "@ ", " at ", "(at)", " (at) ", " ( at ) ", "(at )", "( at)", "[at]", "{at}", "(@)", " [ @ ] ")
DOT = (".", " . ", "(dot)", " ( dot ) ", "(dot )", "( dot)", " dot ", "[punkt]", "(.)")
TLDS = (
    "com org net edu gov mil info biz app dev gl ly io ai tv cc fm gg eu uk de fr es nl be ch pt pl cz sk si hr hu ro "
    "bg gr fi dk lv lt ee ie ru ua tr jp kr cn tw hk sg au nz ca br ar cl mx pe ec cr za ke il me co xyz online site "
    "blog photo photos photography pictures wiki page link club shop earth world eco"
)
WORD_TLDS = "it at in to is no so am my do as la se us id bio art"
NETWORKS = "ig insta instagram twitter tiktok telegram skype snapchat whatsapp facebook fb discord bluesky"
UNITS = "m cm dm km mm \u00b5m ft yd mi g kg mg lb lbs oz l ml cl ha % h hr hrs min s sec secs x"
TELEPHONES = "tel telephone phone ph mobile cell whatsapp t\u00e9l telefon tel\u00e9fono handy fon"


def is_taken_out(text: str) -> bool:
    return clean_text(text) is None and clean_text(f"a fox {text} seen here") == "a fox seen here"


def stays(text: str) -> bool:
    return clean_text(text) == text and clean_text(f"a fox {text} seen here") == f"a fox {text} seen here"


@pytest.mark.parametrize("at", AT)
@pytest.mark.parametrize("dot", DOT)
def test_mail_addresses_however_they_are_hidden(at: str, dot: str) -> None:
    for name, host in (("john.doe", "my-mail"), ("j", "x")):
        assert is_taken_out(f"{name}{at}{host}{dot}de"), (name, at, dot)


@pytest.mark.parametrize("tld", TLDS.split())
def test_pages_of_every_kind(tld: str) -> None:
    assert is_taken_out(f"fox-pics.{tld}") and is_taken_out(f"a.b.{tld}/x?y=1") and is_taken_out(f"FOX.{tld.upper()}")


@pytest.mark.parametrize("tld", WORD_TLDS.split())
def test_endings_that_are_words_make_a_page_before_a_slash_alone(tld: str) -> None:
    assert is_taken_out(f"foxes.{tld}/x")
    assert stays(f"foxes.{tld} now")


@pytest.mark.parametrize("network", NETWORKS.split())
def test_names_on_networks(network: str) -> None:
    for name in (": bob", ":bob", " : bob", "=bob", " bob_1", " b1", " bob.the.birder7"):
        assert is_taken_out(f"{network}{name}"), name
    assert stays(f"{network} photos") and stays(f"{network}x 12 photos") and stays(f"x{network}: photos")


@pytest.mark.parametrize("unit", UNITS.split())
def test_measures_are_no_coordinates(unit: str) -> None:
    for text in ("12.50, 13.25", "12,50; 13,25", "12,5000, 13,250"):
        assert stays(f"{text} {unit}") and stays(f"{text}{unit}"), text
    assert is_taken_out("12.50, 13.25") and is_taken_out("12,50; -13,25") and is_taken_out("12,5000, 13,250")


@pytest.mark.parametrize("word", TELEPHONES.split())
def test_numbers_after_a_word_for_telephone(word: str) -> None:
    for number in (" 612345", ": 612345", ".612 345 678", " 612-345", " 612 345-678-910"):
        assert is_taken_out(word + number), number
    assert stays(f"{word} 61234") or word == "whatsapp", "five digits are none, but may be a name there"
    assert stays(f"{word}612345") and stays(f"x{word} 612345") and stays(f"{word}s 612345")


@pytest.mark.parametrize(
    "text",
    [
        # decimal degrees
        "4.4461,7.9822", "40.4461;-179.9822", "-4.4461 / -7.9822", "140.4461|7.9822", "40.4461 79.9822", "4.44, 7.98",
        "40.44 N, 79.98 W", "40.44N,79.98W", "40.44\u00b0 N, 79.98\u00b0 W", "40.44\u00b0N 79.98\u00b0 E",
        "4.44;7.98",
        "4,4461 7,982", "4,4461/-7,982", "4,4461 , 7,9822", "4,44;7,98", "4,44 ; -7,98", "4,44 -7,98", "40,44/-79,98",
        # named
        "lat 4", "lat: 4.4", "Latitude=40,44", "lon 4.4", "lng:-79.98", "longitude 79", "latitud 4.4",
        "longitud: 4.4",
        "long: 4.4", "long=79,98", "long : 4.4", "lat 4 lon 7", "lat 40.44N lon 79.98W", "lat 40.44 N, lng 79.98 W",
        "LAT:40.44,LON:79.98", "latitude 40.44 / longitude 79.98", "lat 40.44, long 79.98 E",
        # degrees, minutes, seconds
        "40\u00b026'46\"N", "4\u00b0 6' 6\" N", "40 \u00b0 26 ' 46 \" N", "40\u00ba26\u201946\u201dS",
        "40\u00b026'46.5''W",
        "40\u00b0 26.55' N", "N 40\u00b0 26.55'", "N40\u00b026'46\"", "40\u00b026'", "-40\u00b0 26' 46\"",
        "40d26m46s N", "40d 26m 46s N",
        "4d6'N", "40d26'46\"N", "40d26.5'N", "40d26min N", "40 deg 26 min 46 sec N", "40 degrees 26 m. 46 s. N",
        "40\u00b0N", "40 \u00b0 n", "4 deg west", "4 degree south", "40 degrees N", "40deg. E", "N40\u00b0",
        "N 4 \u00b0",
        "40\u00b0 26.5' N", "N 40 26 46.5", "N 40 26 6", "N 40d26'N", "N40d26'N", "lat 40 lon-79.98", "lat 40,lon:79",
        "40.44\u00b0", "4.44\u00ba", "140.4461\u00b0", "40.44\u00b0 north", "40\u02da East",
        "40 26 46 N", "4 6 6N", "40:26:46 N", "40: 26: 46.5 W", "40 26.55 N", "4 6.5O", "N 40 26 46", "N40:26:46",
        "S 4 6.5",
        "N40 26.55", "40.44N", "4.44 S", "40,44 W", "N4.44", "W 40,4461", "4.44 north", "4.44 South", "40.44 EAST",
        "4.44west",
        # grids and codes
        "17T 630084 4833438", "17T630084 4833438", "1T 630084 483343", "17 T 630084.1 4833438.12",
        "17T 630084mE 4833438mN",
        "17T 630084 m E, 4833438 m N", "17T 630084E 4833438N", "17T 630084,4833438",
        "18TWL8565011369", "18T WL 85650 11369", "8TWL 85 11", "18 T WL 8511", "MGRS 18TWL8565011369",
        "mgrs:18TWL8511",
        "MGRS: 18TWL 85650 11369",
        "TQ 123 456", "TQ12345 67890", "SU123456", "HY 12345678", "TQ1234567890",
        "8FVC9G8F+6X", "9G8F+6XX", "8fvc9g8f+6x", "22C2+22", "///filled.count.soap", "/// ab.cd.ef",
        # telephones
        "+49 171 1234567", "+491711234", "0049 171 1234567", "+49 (0)171/123-4567", "(415) 555-2671", "(415)555-2671",
        "415-555-2671", "415 55 2671", "415.555.2671", "1 415 555 2671", "1-(415) 555-2671", "(11) 91234-5678",
        "(11)912345678",
        "(0171) 123456", "(011) 123 456", "06 12 34 56 78", "0612345678", "06.12.34.56.78", "06-12-34-56-78",
        "0171/1234567", "0171 / 1234567", "0171 123", "012 123", "0171-1234 567", "0171 1234 567 890",
        "0171 12345678",
    ],
)  # fmt: skip
def test_places_and_telephones(text: str) -> None:
    assert is_taken_out(text)


@pytest.mark.parametrize(
    "text",
    [
        "1040.4461,7.9822", "40.4461,1179.9822", "40.446 79.9", "1040,4461,7,9822", "4,4461/1179,982",
        "x40.4461,79.9822",
        "12.50, 13.25.5", "12.5, 13.2", "12,50, 13,25", "12,50 13,25", "12.50, 113.255 m",
        "latex 4.4", "xlat 4.4", "longer 4.4", "a long 4 m", "xlong: 4.4", "lat x 4.4",
        "4.44\u00b0C", "4.44 \u00b0 F", "4.44\u00b0 K", "40\u00b0", "40 degrees", "40\u00b0 x", "xN4.44", "NE4.44",
        "N1040.44", "1040.44N",
        "40 26.55 NE", "40 26.55 Nest", "1040.44\u00b0", "N4.44x", "N 1040 26 46", "xN40\u00b026'", "xN40d26'N",
        "(011) 123 456x",
        "4.4N", "4.44NE", "4.44 northern", "NE 40\u00b0", "40 deg Celsius", "1 040\u00b026",
        "40 126 46 N", "40 26 146 N", "1040 26 46 N", "40 26 46 NE", "N 40 126 46", "4 926.5 O", "40 26 N",
        "xN 40 26 46",
        "317T 630084 4833438", "17I 630084 4833438", "17T 63008 4833438", "17T 6300841 48334", "17T 630084 48334",
        "118TWL8511", "18TWL851", "18TIL8511", "18TWL85650113691", "18TWL 8 1", "x18TWL8511", "18TWL8511x",
        "TQ 12 34", "TQ 1234567", "TQ123456789", "TQ 12345678901", "TI123456", "XQ 123456", "xTQ123456", "TQ123456x",
        "22222222+22", "A8FVC9G8F+6X", "9G8+6X", "8FVC9G8F+6", "9G8F+6XXXX", "///filled.count",
        "///fil1ed.count.soap", "///a.b.c",
        "+49 17112", "415-155-26", "415-555-26712", "415-555-2671-1", "415-555-2671.5", "115-555-2671", "(415) 55-26",
        "(1) 912345", "(11) 91 345", "06 12 34 56", "06 12 34 56 78,5", "06 12 34 56 789", "01 123", "0171 12",
        "0171 123456789", "0171-123456x", "01711 23", "0171-1234.5",
        "a bird @ polkadot com", "flat stones.", "in catalog no. 5",
    ],
)  # fmt: skip
def test_what_is_like_a_place_or_a_telephone_and_is_none(text: str) -> None:
    left = clean_text(f"a fox {text} seen here")
    assert left == f"a fox {text} seen here"


def test_words_beside_an_address_stay() -> None:
    assert clean_text("a flat example.com here") == "a flat here"
    assert clean_text("a fox atexample.com here") == "a fox here"
    assert clean_text("at 40.44, 79.98 Wood") == "at Wood"
    for text in ("40.4461, 79.9822", "4.4461,7.9822", "4.4461 ; 7.9822"):
        assert clean_text(f"at {text} m") == "at m", "four decimals are a place, whatever follows"
    assert clean_text("at 40.44\u00b0 Cool") == "at Cool"
    assert clean_text("at 17T 630084 4833438 Nest") == "at Nest"


@pytest.mark.parametrize("at", ["@", "(at)", " (at) ", "( at )", "(at )", "( at)", "[at]", "{at}", " { at } "])
def test_mail_addresses_at_hosts_of_any_ending(at: str) -> None:
    assert is_taken_out(f"jane.doe{at}mail.example.wien")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("\uff41\uff42\uff43 \uff01\uff5e", "abc !~"),
        ("fox\uff20ab\uff0ecom", None),
        ("fox\ufe6bab.com", None),
        ("a\u3000b", "a b"),
        ("a\ue000b\u0378c\u00add", "a b c d"),
        ("e\u0301te\u0301", "\u00e9t\u00e9"),
        ("a\tb\nc", "a b c"),
        ("a\x07b", "a b"),
        ("a\ud800b", "a b"),
        ("\uff5fa\uff60", "\uff5fa\uff60"),
        ("&amp;amp; &amp;lt;b&amp;gt;x", "& x"),
        ("<>a<b c=d>e", "a e"),
        ("a < b", "a < b"),
        ("<" + "b" * 500 + ">a", "a"),
        ("<" + "b" * 501 + ">a", "<" + "b" * 501 + ">a"),
        ("-(a fox);|/", "a fox"),
    ],
)
def test_signs_and_marks(text: str, cleaned: str | None) -> None:
    assert clean_text(text) == cleaned


def test_long_texts_are_cut_at_a_word_or_a_letter() -> None:
    assert MAX_CHARACTERS == 5_000, "as docs and schema say"
    assert clean_text("a" * 5_001) == "a" * 5_000
    assert clean_text("a" * 4_999 + " b") == "a" * 4_999
    assert clean_text(" " * 19_999 + "ab") == "a", "four times as much is looked at"
    assert clean_text(" " * 20_000 + "ab") is None


def test_articles() -> None:
    for name in ("ant", "elk", "ibis", "ostrich", "urial", "Ibis"):
        assert caption_object(name) == f"a photo of an {name}."
    for name in ("bear", "yak", "Lion"):
        assert caption_object(name) == f"a photo of a {name}."
    assert caption_object("") == "a photo of an ." or caption_object("") == "a photo of a ."
    assert caption_object_background("bear", "snow") == "a photo of a bear, with snow in the background."


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("\u30ad\u30c4\u30cd", "ja"),
        ("\u304d\u3064\u306d", "ja"),
        ("\uc5ec\uc6b0\uac00 \ub208\uc5d0", "ko"),
        ("\u72d0\u72f8\u5728\u96ea\u5730", "zh"),
        ("\u0391\u03bb\u03b5\u03c0\u03bf\u03cd", "el"),
        ("\u062b\u0639\u0644\u0628", "ar"),
        ("\u05e9\u05dc\u05d5\u05dd", "he"),
        ("\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "th"),
        ("\u0932\u094b\u092e\u095c", "hi"),
        ("\u043b\u0438\u0441\u0430 123456789!!", "ru"),
        ("\u043b\u0438\u0441\u0430 fox", "ru"),
        ("\u043b\u0438\u0441\u0430 foxy", None),  # half of the letters
        ("\u72d0 in \u96ea", None),
        ("il lo gli", "it"),
        ("het een voor", "nl"),
        ("och ett med", "sv"),
        ("si\u0119 jest przy", "pl"),
        ("se je p\u0159i", "cs"),
        ("the of", "en"),
        ("THE AND OF", "en"),
        ("the", None),
        ("the and der die", None),
        ("the and of der die", "en"),
        ("1 2 the 3 of", "en"),
    ],
)
def test_languages(text: str, language: str | None) -> None:
    assert guess_language(text) == language
    assert guess_language(None, text, "") == language
    assert guess_language(" " * 2_000 + text) is None, "a long text is judged by its beginning"
