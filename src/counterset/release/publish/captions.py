"""Captions: the source's own words without personal data, and two templated ones.

Handles, e-mail and web addresses, telephone numbers and coordinates are taken out in their
common forms, and so are control and bidirectional-override characters; no place field is
ever read. What no pattern can know, such as a name or a village, stays.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterset.backgrounds import BACKGROUND

MAX_CHARACTERS = 5_000
"""A longer text is cut; observers' notes are rarely longer, hostile ones are."""

# Lengths are bounded and words begin where none can have begun before, so that the time
# grows with the length of the text and not with its square.
_PLAIN_TLDS = (
    "com|org|net|edu|gov|mil|info|biz|app|dev|gl|ly|io|ai|tv|cc|fm|gg|eu|uk|de|fr|es|nl|be|ch|pt|pl|cz|sk|si|hr|hu|ro|"
    "bg|gr|fi|dk|lv|lt|ee|ie|ru|ua|tr|jp|kr|cn|tw|hk|sg|au|nz|ca|br|ar|cl|mx|pe|ec|cr|za|ke|il|me|co|xyz|online|site|"
    "blog|photo|photos|photography|pictures|wiki|page|link|club|shop|earth|world|eco"
)
_WORD_TLDS = "it|at|in|to|is|no|so|am|my|do|as|la|se|us|id|bio|art"
"""Words as well: they end an address only before a slash."""

_LABEL = r"[\w-]{1,63}"
_AT = r"(?:\s?[(\[{]\s?(?:at|@)\s?[)\]}]\s?|\s?@\s?|\s+at\s+)"
_DOT = r"(?:\s?[(\[{]\s?(?:dot|punkt|\.)\s?[)\]}]\s?|\s+dot\s+|\s?\.\s?)"
_LOCAL = r"(?<![\w.+'-])[\w.+'-]{1,64}"
_EMAIL = (
    rf"{_LOCAL}(?:@|\s?[(\[{{]\s?at\s?[)\]}}]\s?){_LABEL}(?:\.{_LABEL}){{1,5}}|"
    rf"(?i:{_LOCAL}{_AT}{_LABEL}(?:{_DOT}{_LABEL}){{0,2}}{_DOT}(?:{_PLAIN_TLDS})\b)"
)
_URL = (
    r"(?i:\b(?:[a-z][a-z0-9+.-]{1,14}://|mailto:|geo:|www\.)\S+)|"
    rf"(?<![\w.-])(?:{_LABEL}\.){{1,5}}(?i:(?:{_PLAIN_TLDS})\b(?:/\S*)?|(?:{_WORD_TLDS})/\S*)"
)
_NETWORK = (
    r"(?i:\b(?:ig|insta|instagram|twitter|tiktok|telegram|skype|snapchat|whatsapp|facebook|fb|discord|bluesky)\b)"
)
_HANDLE = rf"(?<!\w)@[\w.\-]+|{_NETWORK}(?:\s?[:=]\s?[\w.\-]+|\s(?=[\w.]{{0,30}}[_\d])[\w.]{{2,40}})"

_SIGN = r"[-+\u2212\u2013]?"
_SIDE = r"(?:[NSEWO]\b|(?i:north|south|east|west)\b)"
_DEGREE = r"(?:[\u00b0\u00ba\u02da]|\s?(?i:deg(?:rees?)?)\b\.?)"
_MINUTE = r"(?:['\u2032\u2019]|\s?(?i:m(?:in)?)\b\.?)"
_SECOND = r"(?:[\"\u2033\u201d]|''|\s?(?i:s(?:ec)?)\b\.?)"
_NUMBER = r"\d{1,3}(?:[.,]\d{1,12})?"
_NO_UNIT = r"(?!\d|[.,]\d|\s?(?i:[cdk]?m|mm|\u00b5m|ft|yd|mi|k?g|mg|lbs?|oz|[mc]?l|ha|%|h|hrs?|min|s|secs?|x)\b|\s?%)"
_COORDINATES = (
    # 40.44, -79.98 and 40.44N 79.98W; the same with decimal commas: 40,4461 -79,9822 and 48,85; 2,29
    rf"(?<![\w.,]){_SIGN}\d{{1,3}}\.\d{{4,12}}\s?[,;/|\s]\s?{_SIGN}\d{{1,3}}\.\d{{4,12}}",
    rf"(?<![\w.,]){_SIGN}\d{{1,3}}\.\d{{2,12}}\s?\u00b0?\s?[NS]?\s?[,;/|\s]\s?{_SIGN}\d{{1,3}}\.\d{{2,12}}{_NO_UNIT}"
    rf"\s?\u00b0?(?:\s?[EWO]\b)?",
    rf"(?<![\w.,]){_SIGN}\d{{1,3}},\d{{4,12}}\s?[;/|,\s]\s?{_SIGN}\d{{1,3}},\d{{3,12}}{_NO_UNIT}",
    rf"(?<![\w.,]){_SIGN}\d{{1,3}},\d{{2,12}}(?:\s?;\s?{_SIGN}|\s?[,/|\s]\s?[-\u2212])\d{{1,3}},\d{{2,12}}{_NO_UNIT}",
    # Lat 48.85 Long 2.29; Latitude: 48.85
    rf"(?i:\blat(?:itude)?\b[.:=\s]{{0,3}}{_SIGN}{_NUMBER}\s?[NS]?\s?[,;/|]?\s?"
    rf"\bl(?:on|ng|ong)(?:itude)?\b[.:=\s]{{0,3}}{_SIGN}{_NUMBER}(?:\s?[EWO]\b)?)",
    rf"(?i:\b(?:lat|latitude|latitud|lon|lng|longitude|longitud)\b[.:=\s]{{0,3}}{_SIGN}\d{{1,3}}(?:[.,]\d{{1,12}})?"
    rf"|\blong\s?[.:=]\s?{_SIGN}\d{{1,3}}[.,]\d{{1,12}})",
    # 40° 26' 46" N, N 40° 26.767', 40d26m46s N, 40 degrees north, 40.4461°
    rf"(?:\b[NSEW]\s?|(?<![\w.,])){_SIGN}{_NUMBER}\s?{_DEGREE}\s?\d{{1,2}}(?:[.,]\d{{1,12}})?\s?{_MINUTE}\s?"
    rf"(?:\d{{1,2}}(?:[.,]\d{{1,12}})?\s?{_SECOND}\s?)?(?:{_SIDE}|\b[nsew]\b)?",
    rf"(?:\b[NSEW]\s?|(?<![\w.,])){_NUMBER}\s?d\s?\d{{1,2}}(?:[.,]\d{{1,12}})?\s?(?:m(?:in)?|')\s?"
    rf"(?:\d{{1,2}}(?:[.,]\d{{1,12}})?\s?{_SECOND}\s?(?:{_SIDE})?|{_SIDE})",
    rf"\b[NSEW]\s?{_NUMBER}\s?[\u00b0\u00ba\u02da]",
    rf"(?<![\w.,]){_SIGN}{_NUMBER}\s?{_DEGREE}\s?(?:{_SIDE}|[nsew]\b)",
    rf"(?<![\w.,]){_SIGN}\d{{1,3}}[.,]\d{{2,12}}\s?[\u00b0\u00ba\u02da](?!\s?[CFK]\b)",
    # 40 26 46 N, 40:26:46 N, 40 26.767 N, N40 26.767, N 40 26 46, 48.8582 N, N 48.8582, 48.85 north
    r"(?<![\w.,])\d{1,3}[\s:]\s?\d{1,2}[\s:]\s?\d{1,2}(?:[.,]\d{1,12})?\s?[NSEWO]\b",
    r"(?<![\w.,])\d{1,3}\s\d{1,2}[.,]\d{1,12}\s?[NSEWO]\b",
    r"\b[NSEW]\s?\d{1,3}[\s:]\s?\d{1,2}(?:[.,]\d{1,12}|[\s:]\s?\d{1,2}(?:[.,]\d{1,12})?)\b",
    rf"(?<![\w.,])\d{{1,3}}[.,]\d{{2,12}}\s?{_SIDE}|\b[NSEW]\s?\d{{1,3}}[.,]\d{{2,12}}\b",
    # UTM, MGRS, British grid, plus codes, what3words
    r"\b\d{1,2}\s?[C-HJ-NP-X]\s?\d{6}(?:\.\d{1,3})?\s?m?\s?E?,?\s?\d{6,7}(?:\.\d{1,3})?\s?m?\s?N?\b",
    r"\b(?:(?i:mgrs)[:\s]\s?)?\d{1,2}\s?[C-HJ-NP-X]\s?[A-HJ-NP-Z]{2}\s?(?:\d{2,5}\s\d{2,5}|\d{4,10})\b",
    r"\b[HNOST][A-HJ-Z]\s?(?:\d{3,5}\s\d{3,5}|\d{6}|\d{8}|\d{10})\b",
    r"(?<![\w+])(?=[2-9+]{0,11}[CFGHJMPQRVWXcfghjmpqrvwx])[2-9CFGHJMPQRVWXcfghjmpqrvwx]{4,8}\+"
    r"[2-9CFGHJMPQRVWXcfghjmpqrvwx]{2,3}(?!\w)",
    r"///\s?[^\W\d_]{2,30}\.[^\W\d_]{2,30}\.[^\W\d_]{2,30}",
)
_PHONE = (
    r"(?<!\w)(?:\+|00)\d[\d\s().\-/]{7,24}\d",
    r"(?<![\w.,+-])(?:1[\s.-])?(?:\(\d{3}\)\s?|[2-9]\d\d[\s.-])[2-9]?\d{2,3}[\s.-]\d{4}\b(?![.,-]?\d)",
    r"(?<![\w.,+-])\(0?\d{2,4}\)\s?\d{3,5}[\s.-]?\d{3,5}\b",
    r"(?<![\w.,+-])0\d(?:[\s.-]?\d\d){4}\b(?![.,-]?\d)",
    r"(?<![\w.,+-])0\d{2,4}\s?[\s/.-]\s?\d{3,8}(?:[\s.-]\d{3,5}){0,2}\b(?![.,-]?\d)",
    r"(?i:\b(?:tel|telephone|phone|ph|mobile|cell|whatsapp|t\u00e9l|telefon|tel\u00e9fono|handy|fon)\b)"
    r"[.:\s]{0,3}(?:\d[\s().\-/]{0,2}){6,15}",
)
_PERSONAL = re.compile("|".join((_EMAIL, _URL, *_PHONE, _HANDLE, *_COORDINATES)))
_TAG = re.compile(r"<[^<>]{0,500}>")
_SPACE = re.compile(r"\s+")
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0xFE6B: ord("@")}
"""Letters and signs as wide as ideographs, which hide an address from the patterns above."""


def clean_text(text: str | None) -> str | None:
    """One text without personal data, markup or invisible characters; None when nothing is left."""
    if not text:
        return None
    # Cut first: patterns over a hostile 100 kB text must stay cheap.
    text = html.unescape(html.unescape(text[: 4 * MAX_CHARACTERS])).translate(_FULL_WIDTH)
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", text)
        text = "".join(" " if unicodedata.category(char) in _INVISIBLE else char for char in text)
    text = _TAG.sub(" ", text)
    text = _SPACE.sub(" ", _PERSONAL.sub(" ", text)).strip(" ,;:-|/()[]")
    return text[:MAX_CHARACTERS].rstrip() or None


_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}

_PLAIN = r"^[A-Za-z](?:(?:,? |[,'-])?[A-Za-z])*(?: [0-9]{1,8})?$"
_SUSPECT = (
    r"[A-Z]{2} [0-9]|(?i:\b(?:dot|lat|latitude?|lon|lng|longitude?|tel|telephone|phone|ph|mobile|cell|whatsapp|telefon|"
    r"handy|fon|ig|insta|instagram|twitter|tiktok|telegram|skype|snapchat|facebook|fb|discord|bluesky)\b)"
)
"""For RE2. A text that is plain and not suspect holds nothing that the patterns above take out: it has none of their
signs, one number at its end at most, and no word before which a number alone is enough."""


def clean_texts(texts: pa.Array) -> pa.Array:
    """(N,) `clean_text` of each of N texts; of plain ones, as most titles are, without looking at each by itself."""
    is_plain = pc.and_(
        pc.and_(pc.match_substring_regex(texts, _PLAIN), pc.less_equal(pc.binary_length(texts), MAX_CHARACTERS)),
        pc.invert(pc.match_substring_regex(texts, _SUSPECT)),
    )
    is_other = pc.invert(pc.fill_null(is_plain, True))
    others = texts.filter(is_other).dictionary_encode()
    cleaned = pa.array([clean_text(text) for text in others.dictionary.to_pylist()], pa.string())
    return pc.replace_with_mask(texts, is_other, cleaned.take(others.indices))


def clean_tags(tags: Sequence[str | None] | None) -> list[str]:
    """The tags that have something left, each once, in order."""
    cleaned = (clean_text(tag) for tag in tags or ())
    return list(dict.fromkeys(tag for tag in cleaned if tag))


def clean_tag_lists(lists: pa.ListArray) -> pa.ListArray:
    """(N,) `clean_tags` of each of N lists."""
    parent, cleaned = pc.list_parent_indices(lists).to_numpy(), clean_texts(pc.list_flatten(lists)).dictionary_encode()
    code = pc.fill_null(cleaned.indices, -1).to_numpy()
    _, first = np.unique(parent * (len(cleaned.dictionary) + 1) + code, return_index=True)
    kept = np.sort(first[code[first] >= 0])
    ends = np.concatenate([[0], np.cumsum(np.bincount(parent[kept], minlength=len(lists)))]).astype(np.int32)
    return pa.ListArray.from_arrays(ends, cleaned.dictionary.take(pa.array(code[kept])))


def caption_object(name: str) -> str:
    """The animal alone: `a photo of an ostrich.`"""
    return f"a photo of {_article(name)} {name}."


def caption_object_background(name: str, background: str | None, cue: str = BACKGROUND) -> str | None:
    """The animal and its background: `a photo of an ostrich, with water in the background.`

    Of another cue: `a photo of an ostrich; light: dusk.`
    """
    if background is None:
        return None
    if cue != BACKGROUND:
        return f"a photo of {_article(name)} {name}; {cue}: {background}."
    return f"a photo of {_article(name)} {name}, with {background} in the background."


def _article(name: str) -> str:
    return "an" if name[:1].lower() in "aeiou" else "a"


_SCRIPTS = {
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


_NOT_LETTER = "[^A-Za-z]"
_SMALL = "(?:" + "|".join(word for word in _CODES if word.isascii()) + ")"
_ONE_SMALL = rf"(?is)(?:^|{_NOT_LETTER}){_SMALL}(?:{_NOT_LETTER}|$)"
_TWO_SMALL = rf"(?is)(?:^|{_NOT_LETTER}){_SMALL}(?:{_NOT_LETTER}.*)?{_NOT_LETTER}{_SMALL}(?:{_NOT_LETTER}|$)"
"""For RE2: a text of ASCII letters that has a frequent small word, and one of which a language may be guessed."""
_GUESSED = 2_000
"""Characters by which a language is guessed."""


def guess_language(*texts: str | None) -> str | None:
    """A guess at the language, by script and then by frequent small words; None when unsure.

    A guess needs two small words and more of them than any other language has, so
    scientific names and one-word titles get none.
    """
    text = " ".join(part for part in texts if part)[:_GUESSED]
    if not text.isascii():
        by_script = _by_script(text)
        if by_script:
            return by_script
    votes = Counter(_votes(text))
    ranked = [*votes.most_common(2), ("", 0), ("", 0)]
    (code, first), (_, second) = ranked[0], ranked[1]
    return code if first >= 2 and first > second else None


def _votes(text: str) -> Iterator[str]:
    """Each small word's languages."""
    for match in _WORD.findall(text):
        yield from _CODES.get(match.lower(), ())


def guess_languages(titles: pa.Array, descriptions: pa.Array) -> pa.Array:
    """(N,) `guess_language` of each title with its description."""
    # Not null_handling="skip", which gives no row at all where both are null
    texts = pc.coalesce(pc.binary_join_element_wise(titles, descriptions, " "), titles, descriptions)
    may_guess = pc.or_(pc.invert(pc.string_is_ascii(texts)), pc.match_substring_regex(texts, _TWO_SMALL))
    # A title may be written below a thousand photos, and a description too: their words are counted once
    is_counted = pc.and_(pc.string_is_ascii(texts), pc.less_equal(pc.utf8_length(texts), _GUESSED))
    guesses = _by_words([pc.if_else(pc.and_(may_guess, is_counted), text, None) for text in (titles, descriptions)])
    others = pc.if_else(pc.and_(may_guess, pc.invert(is_counted)), texts, None).dictionary_encode()
    guessed = pa.array([*map(guess_language, others.dictionary.to_pylist())], pa.string())
    return pc.coalesce(guesses, guessed.take(others.indices))


def _by_words(columns: Sequence[pa.Array]) -> pa.Array:
    """(N,) the guess of each row by the small words of N rows of texts."""
    codes = list(_WORDS)
    # (N, L) votes of a row for each language
    votes = np.zeros((len(columns[0]), len(codes)), np.int64)
    for column in columns:
        encoded = column.dictionary_encode()
        has_small = np.flatnonzero(np.asarray(pc.match_substring_regex(encoded.dictionary, _ONE_SMALL)))
        counted = np.zeros((len(encoded.dictionary) + 1, len(codes)), np.int64)  # the last is that of null
        for place, text in zip(
            has_small.tolist(), encoded.dictionary.take(pa.array(has_small)).to_pylist(), strict=True
        ):
            found = Counter(_votes(text))
            counted[place] = [found[code] for code in codes]
        votes += counted[pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy()]
    *_, second, first = np.sort(votes, axis=1).T
    best = pa.array(votes.argmax(axis=1), mask=(first < 2) | (first == second))
    return pa.array(codes, pa.string()).take(best)


def _by_script(text: str) -> str | None:
    """The language that most letters' script stands for; None for Latin letters."""
    scripts = Counter(unicodedata.name(char, "").split(" ")[0].split("-")[0] for char in text if char.isalpha())
    if scripts["HIRAGANA"] or scripts["KATAKANA"]:
        return "ja"
    return next((code for script, code in _SCRIPTS.items() if scripts[script] * 2 > scripts.total()), None)
