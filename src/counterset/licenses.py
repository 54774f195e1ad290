"""What each licence is called, where its text lies, what it lets a release do, and how its many spellings are read.

A text is read to its end: every word of it must be one that licences are written with,
and all that it names must be one and the same licence. What is not understood whole is
unknown, and an unknown licence is no licence.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import NamedTuple


class License(NamedTuple):
    """One licence. `hub_id` is the Hugging Face hub's name of it."""

    code: str
    title: str
    url: str
    hub_id: str
    may_adapt: bool
    """May be scaled down into a thumbnail."""
    may_share: bool
    """May be passed on unchanged."""
    needs_credit: bool
    """May be passed on only with a line that names its author."""


def _cc(code: str, title: str, may_adapt: bool = True) -> License:
    url = f"https://creativecommons.org/licenses/{code.removeprefix('cc-')}/4.0/"
    return License(code, title, url, f"{code}-4.0", may_adapt, may_share=True, needs_credit=True)


_CC0 = "https://creativecommons.org/publicdomain/zero/1.0/"
_MARK = "https://creativecommons.org/publicdomain/mark/1.0/"

LICENSES: dict[str, License] = {
    license.code: license
    for license in (
        License("cc0", "CC0 1.0", _CC0, "cc0-1.0", may_adapt=True, may_share=True, needs_credit=False),
        License("pd", "public domain", _MARK, "other", may_adapt=True, may_share=True, needs_credit=False),
        _cc("cc-by", "CC BY 4.0"),
        _cc("cc-by-sa", "CC BY-SA 4.0"),
        _cc("cc-by-nc", "CC BY-NC 4.0"),
        _cc("cc-by-nc-sa", "CC BY-NC-SA 4.0"),
        _cc("cc-by-nd", "CC BY-ND 4.0", may_adapt=False),
        _cc("cc-by-nc-nd", "CC BY-NC-ND 4.0", may_adapt=False),
    )
}

RESERVED = "all rights reserved"

OWN = "own"
"""Of photos that belong to whoever builds, by `source.license`; no list or source may say it of its own."""
_OWN = License(OWN, "own photos", "", "other", may_adapt=True, may_share=True, needs_credit=False)

VERSIONS = frozenset({"1", "2", "3", "4", "1.0", "2.0", "2.1", "2.5", "3.0", "4.0"})
_PORTED = (
    "am ar at au az be bg br ca ch cl cn co cr cy cz de dk ec ee eg es est fi fr ge gr gt hk hr hu ie igo il in it jo "
    "jp ke kr kz lb lk lt lu lv mk mt mx my ng nl no nz pe ph pk pl pr pt py ro rs scotland se sg si th tr tw tz ua ug "
    "uk us ve vn za"
)
JURISDICTIONS = frozenset(_PORTED.split())
"""That Creative Commons ported its licences to; read only after a version, as in `CC BY 3.0 DE`."""

_URL = re.compile(
    r"(?:https?://)?(?:www\.)?creativecommons\.org/"
    r"(?:licenses/(?P<terms>by(?:-(?:nc|nd|sa))*)|publicdomain/(?P<public>zero|mark))"
    r"(?:/(?P<version>\d\.\d))?(?:/(?P<port>(?!deed|legalcode)[a-z]+))?(?:/(?:deed|legalcode)(?:\.[a-z]{2,3}(?:[_-][a-z]+)?)?)?/?"
    r"(?:\?ref=[\w-]+)?(?:#[\w-]*)?(?=[\s)\],;]|$)"
)
_PHRASES = (
    (r"creative ?commons ?zero|cc ?zero|cc ?0", " cc0 "),
    (r"creative ?commons", " cc "),
    (r"public ?domain ?dedication", " cc0 "),
    (r"public ?domain(?: ?mark)?|pdm", " pd "),
    (r"non ?commercial(?: use)?", " nc "),
    (r"no ?deriv(?:ative)?s?(?: works?)?", " nd "),
    (r"share ?alike", " sa "),
    (r"some rights reserved", " "),
)
_SENTENCE = (
    "a an the this work image photo is licensed under license licence deed version v international intl unported "
    "generic universal"
)
_FILLERS = frozenset(_SENTENCE.split())
_GLUED = re.compile(r"(cc)?(by)((?:nc|nd|sa)*)")


@functools.lru_cache(maxsize=10_000)
def license_code(text: str | None) -> str | None:
    """A licence's code from its code, name, GBIF code or Creative Commons address; None = not understood whole."""
    plain = _plain(text or "")
    found: set[str | None] = set()

    def take(match: re.Match[str]) -> str:
        found.add(_code_of_url(match))
        return " "

    plain = _URL.sub(take, plain)
    plain = re.sub(r"_(\d)_(\d)(?!\d)", r" \1.\2", plain).replace("_", " ")  # GBIF's CC_BY_4_0
    if re.search(r"[^a-z0-9\s./(),:-]", plain):
        return None
    plain = re.sub(r"\s+", " ", re.sub(r"[\s/(),:-]|\.(?!\d)", " ", plain)).strip()
    for pattern, code in _PHRASES:
        plain = re.sub(rf"\b(?:{pattern})\b", code, plain)
    if plain.strip():
        found |= _codes_of_words(plain.split())
    return next(iter(found)) if len(found) == 1 else None


def _plain(text: str) -> str:
    """Lower case, with one kind of dash and space, without quotes around it."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = "".join("-" if _is_dash(char) else char for char in text if _is_dash(char) or not _is_invisible(char))
    return text.strip().strip("\"'")


def _is_dash(char: str) -> bool:
    return unicodedata.category(char) == "Pd" or char in "\u00ad\u2212"


def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) == "Cf"


def _code_of_url(match: re.Match[str]) -> str | None:
    if not ({match["port"]} <= JURISDICTIONS | {None} and {match["version"]} <= VERSIONS | {None}):
        return None
    if match["public"]:
        return "cc0" if match["public"] == "zero" else "pd"
    return _code(set(match["terms"].split("-")))


def _code(terms: set[str]) -> str | None:
    code = "-".join(["cc", *(term for term in ("by", "nc", "nd", "sa") if term in terms)])
    return code if "by" in terms and code in LICENSES else None


def _codes_of_words(words: list[str]) -> set[str | None]:
    """The licences that the words name, one a mention; None among them where a word is none of a licence's."""
    mentions: list[set[str]] = [set()]
    num_terms = num_others = 0
    is_versioned = False
    for word in words:
        glued = _GLUED.fullmatch(word)
        for part in [*(["cc"] if glued[1] else []), "by", *re.findall("nc|nd|sa", glued[3])] if glued else [word]:
            term = "by" if part == "attribution" else part
            if term in ("cc", "cc0", "pd") or (term == "by" and "by" in mentions[-1]):
                mentions.append(set())
            if term in ("cc", "cc0", "pd", "by", "nc", "nd", "sa"):
                mentions[-1].add(term)
                num_terms += 1
            elif part.removeprefix("v") in VERSIONS:
                is_versioned = True
            elif part in _FILLERS or (is_versioned and part in JURISDICTIONS):
                num_others += 1
            else:
                return {None}
    # Without the words Creative Commons, only a title (`Attribution 4.0 International`) or a code (`by-nc`) is one.
    is_marked = bool({"cc", "cc0", "pd"} & set().union(*mentions))
    is_title = "attribution" in words and (is_versioned or num_terms > 1)
    if not (is_marked or is_title or (num_terms > 1 and not num_others)):
        return {None}
    return {_code_of(terms) for terms in mentions if terms - {"cc"}} or {None}


def _code_of(terms: set[str]) -> str | None:
    if terms in ({"cc0"}, {"pd"}):
        return next(iter(terms))
    return _code(terms - {"cc"}) if not terms & {"cc0", "pd"} else None


def _license(text: str | None) -> License | None:
    return _OWN if text == OWN else LICENSES.get(license_code(text) or "")


def may_adapt(text: str | None) -> bool:
    """Whether a photo under a licence may be shown as a thumbnail in the report."""
    found = _license(text)
    return found is not None and found.may_adapt


def may_share(text: str | None, credit: str | None) -> bool:
    """Whether a photo under a licence may be bundled with the release beside its credit line."""
    found = _license(text)
    return found is not None and found.may_share and (bool(credit) or not found.needs_credit)


def needs_credit(text: str | None) -> bool:
    """Whether a photo under a licence may be passed on only with its author named."""
    found = _license(text)
    return found is not None and found.needs_credit


def license_url(text: str | None) -> str | None:
    """The address of the licence's text, or None."""
    found = _license(text)
    return None if found is None else found.url or None


def license_title(text: str | None) -> str:
    """The licence's name for people."""
    found = _license(text)
    return (text or RESERVED) if found is None else found.title
