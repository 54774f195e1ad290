"""Captions: the source's own words without personal data, and two templated ones.

Handles, e-mail addresses, web addresses and coordinates are taken out, and so are
control and bidirectional-override characters; no place field is ever read.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

MAX_CHARACTERS = 5_000
"""A longer text is cut; observers' notes are rarely longer, hostile ones are."""

# Lengths are bounded and words begin where none can have begun before, so that the time
# grows with the length of the text and not with its square.
_EMAIL = r"(?<![\w.+'-])[\w.+'-]{1,64}(?:@|\s?[(\[]at[)\]]\s?)[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}"
_DOMAINS = "com|org|net|edu|gov|io|info|app|gl|be|de|fr|uk|es|nl|ch|au|ca|nz|eu|dev|co|ru|jp|br|me"
_URL = (
    r"(?:https?|ftp)://\S+|\bwww\.\S+|"
    rf"(?<![\w.-])[\w-]{{1,63}}(?:\.[\w-]{{1,63}}){{0,4}}\.(?:{_DOMAINS})\b(?:/\S*)?"
)
_HANDLE = r"(?<!\w)@[\w.\-]+"
_DEGREES = (
    r"[NSEWnsew]?\s?[-+]?\d{1,3}(?:[.,]\d+)?\s*°(?:\s*\d{1,2}(?:[.,]\d+)?\s*['′’])?"
    r"(?:\s*\d{1,2}(?:[.,]\d+)?\s*(?:[\"″”]|''))?\s*[NSEWnsew]?\b"
)
_LETTERED = r"\b\d{1,3}[.,]\d{2,}\s*[NSEW]\b|\b[NSEW]\s*\d{1,3}[.,]\d{2,}\b"
_DECIMAL_PAIR = r"[-+]?\b\d{1,3}\.\d{3,}\s*[,;/ ]\s*[-+]?\d{1,3}\.\d{3,}\b"
_NAMED = r"(?i:\b(?:lat|latitude|lon|lng|long|longitude)\b[.:=\s]{0,3}[-+]?\d{1,3}[.,]\d+)"
_UTM = r"\b\d{1,2}[C-HJ-NP-X]\s*\d{6}\s*[mE]?\s*\d{6,7}\s*[mN]?\b"
_PHONE = r"(?<!\w)\+\d[\d\s().-]{7,}\d"
_PERSONAL = re.compile("|".join((_EMAIL, _URL, _HANDLE, _DECIMAL_PAIR, _NAMED, _DEGREES, _LETTERED, _UTM, _PHONE)))
_TAG = re.compile(r"<[^<>]{0,500}>")
_SPACE = re.compile(r"\s+")


def clean_text(text: str | None) -> str | None:
    """One text without personal data, markup or invisible characters; None when nothing is left."""
    if not text:
        return None
    # Cut first: patterns over a hostile 100 kB text must stay cheap.
    text = html.unescape(text[: 4 * MAX_CHARACTERS])
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", text)
        text = "".join(" " if unicodedata.category(char) in _INVISIBLE else char for char in text)
    text = _TAG.sub(" ", text)
    text = _SPACE.sub(" ", _PERSONAL.sub(" ", text)).strip(" ,;:-|/()[]")
    return text[:MAX_CHARACTERS].rstrip() or None


_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}


def clean_tags(tags: Sequence[str | None] | None) -> list[str]:
    """The tags that have something left, each once, in order."""
    cleaned = (clean_text(tag) for tag in tags or ())
    return list(dict.fromkeys(tag for tag in cleaned if tag))


def caption_object(name: str) -> str:
    """The animal alone: `a photo of an ostrich.`"""
    return f"a photo of {_article(name)} {name}."


def caption_object_background(name: str, background: str | None) -> str | None:
    """The animal and its background: `a photo of an ostrich, with water in the background.`"""
    if background is None:
        return None
    return f"a photo of {_article(name)} {name}, with {background} in the background."


def _article(name: str) -> str:
    return "an" if name[:1].lower() in "aeiou" else "a"


_SCRIPTS = {
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CJK": "zh",
    "CYRILLIC": "ru",
    "GREEK": "el",
    "ARABIC": "ar",
    "HEBREW": "he",
    "THAI": "th",
    "DEVANAGARI": "hi",
}

_WORDS = {
    "en": "the of and in on a to is was with at from this it by for near seen found one my i two adult",
    "es": "el la los las de del en y un una con por que se al para es su observado encontrado",
    "fr": "le la les des du de et un une dans sur avec au aux est pour qui par en vu près",
    "de": "der die das und ein eine im in am auf mit von den dem ist zu bei an war nicht",
    "pt": "o os as da do das dos em um uma no na com e para que por ao foi não",
    "it": "il lo gli la le di del della un una e in con su nel per che è al sul",
    "nl": "de het een van en in op met is bij te aan voor dat niet was er",
    "sv": "och en ett i på av med som är det till för den från",
    "pl": "w na z i się nie do jest to przy nad od po",
    "cs": "v na a se je s u při z do od po",
}
_CODES: dict[str, tuple[str, ...]] = {
    word: tuple(code for code, words in _WORDS.items() if word in words.split())
    for words in _WORDS.values()
    for word in words.split()
}
_WORD = re.compile(r"[^\W\d_]+")


def guess_language(*texts: str | None) -> str | None:
    """A guess at the language, by script and then by frequent small words; None when unsure.

    A guess needs two small words and more of them than any other language has, so
    scientific names and one-word titles get none.
    """
    text = " ".join(part for part in texts if part)[:2_000]
    if not text.isascii():
        by_script = _by_script(text)
        if by_script:
            return by_script
    words = [match.lower() for match in _WORD.findall(text)]
    votes = Counter(code for word in words for code in _CODES.get(word, ()))
    ranked = [*votes.most_common(2), ("", 0), ("", 0)]
    (code, first), (_, second) = ranked[0], ranked[1]
    return code if first >= 2 and first > second else None


def _by_script(text: str) -> str | None:
    """The language that most letters' script stands for; None for Latin letters."""
    scripts = Counter(unicodedata.name(char, "").split(" ")[0].split("-")[0] for char in text if char.isalpha())
    if scripts["HIRAGANA"] or scripts["KATAKANA"]:
        return "ja"
    return next((code for script, code in _SCRIPTS.items() if scripts[script] * 2 > scripts.total()), None)
