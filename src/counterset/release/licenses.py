"""What each licence is called, where its text lies, and what it lets a release do."""

from __future__ import annotations

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


def _cc(code: str, title: str, may_adapt: bool = True) -> License:
    terms = code.removeprefix("cc-")
    return License(
        code, title, f"https://creativecommons.org/licenses/{terms}/4.0/", f"{code}-4.0", may_adapt, may_share=True
    )


_CC0 = "https://creativecommons.org/publicdomain/zero/1.0/"

LICENSES: dict[str, License] = {
    license.code: license
    for license in (
        License("cc0", "CC0 1.0", _CC0, "cc0-1.0", may_adapt=True, may_share=True),
        License(
            "pd", "public domain", "https://creativecommons.org/publicdomain/mark/1.0/", "other", True, may_share=True
        ),
        _cc("cc-by", "CC BY 4.0"),
        _cc("cc-by-sa", "CC BY-SA 4.0"),
        _cc("cc-by-nc", "CC BY-NC 4.0"),
        _cc("cc-by-nc-sa", "CC BY-NC-SA 4.0"),
        _cc("cc-by-nd", "CC BY-ND 4.0", may_adapt=False),
        _cc("cc-by-nc-nd", "CC BY-NC-ND 4.0", may_adapt=False),
    )
}

RESERVED = "all rights reserved"


def may_adapt(code: str | None) -> bool:
    """Whether a photo under `code` may be shown as a thumbnail in the report."""
    return code in LICENSES and LICENSES[code].may_adapt


def may_share(code: str | None) -> bool:
    """Whether a photo under `code` may be bundled with the release."""
    return code in LICENSES and LICENSES[code].may_share


def license_url(code: str | None) -> str | None:
    """The address of the licence's text, or None."""
    return LICENSES[code].url if code in LICENSES else None


def license_title(code: str | None) -> str:
    """The licence's name for people."""
    return LICENSES[code].title if code in LICENSES else (code or RESERVED)
