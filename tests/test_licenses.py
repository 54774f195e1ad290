"""A licence is read to its end or it is unknown."""

from __future__ import annotations

import itertools

import pytest

from counterset.licenses import LICENSES, license_code, license_title, may_adapt, may_share, needs_credit


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("CC BY  NC ND", "cc-by-nc-nd"),
        ("CC-BY-NoDerivs 2.0", "cc-by-nd"),
        ("CC BY\u2011NC\u2011ND 4.0", "cc-by-nc-nd"),
        ("CC BY\u2013NC\u2212ND", "cc-by-nc-nd"),
        ("CC\u00a0BY\u2009NC", "cc-by-nc"),
        ("CC\u00adBY\u00adNC", "cc-by-nc"),
        ("\uff23\uff23\u3000\uff22\uff39-\uff2e\uff23", "cc-by-nc"),
        ("CC_BY_NC_4_0", "cc-by-nc"),
        ("CC_BY_4_0", "cc-by"),
        ("CC0_1_0", "cc0"),
        ("CC BY, NC, ND", "cc-by-nc-nd"),
        ("CC BY (NC-ND)", "cc-by-nc-nd"),
        ("CC BY-NC - ND", "cc-by-nc-nd"),
        ("CC BY-SA-NC 3.0", "cc-by-nc-sa"),
        ("CC BY-ND-NC 1.0", "cc-by-nc-nd"),
        ("CC BY NonCommercial-NoDerivatives 4.0", "cc-by-nc-nd"),
        ("CC BY-NC/4.0", "cc-by-nc"),
        ("cc by . nc", "cc-by-nc"),
        ("CC BY 3.0 DE", "cc-by"),
        ("CC-BY-SA-3.0-AT", "cc-by-sa"),
        ("CC BY 3.0 IGO", "cc-by"),
        ("CC BY 4.0 NC", "cc-by-nc"),
        ("ccbyncsa", "cc-by-nc-sa"),
        ("by-nc 4.0", "cc-by-nc"),
        ("Attribution-NonCommercial 4.0 International", "cc-by-nc"),
        ("Creative Commons Attribution Non-Commercial (CC BY-NC)", "cc-by-nc"),
        ("Creative Commons Attribution-ShareAlike 3.0 Unported (CC BY-SA 3.0)", "cc-by-sa"),
        ("Creative Commons Attribution - No Derivative Works", "cc-by-nd"),
        ("This work is licensed under a Creative Commons Attribution 4.0 International License.", "cc-by"),
        ("CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", "cc0"),
        ("Creative Commons Zero", "cc0"),
        ("Public Domain Mark 1.0", "pd"),
        ("https://creativecommons.org/licenses/by-nc-nd/4.0/", "cc-by-nc-nd"),
        ("http://creativecommons.org/licenses/by-nd-nc/1.0/", "cc-by-nc-nd"),
        ("HTTP://CreativeCommons.org/licenses/by/3.0/igo/", "cc-by"),
        ("https://creativecommons.org/licenses/by-sa/2.0/de/deed.de", "cc-by-sa"),
        ("https://creativecommons.org/licenses/by/4.0/legalcode.pt-br", "cc-by"),
        ("https://creativecommons.org/licenses/by/4.0/?ref=chooser-v1", "cc-by"),
        ("//creativecommons.org/licenses/by/4.0", "cc-by"),
        ("CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)", "cc-by"),
    ],
)
def test_what_is_understood_to_its_end(text: str, code: str) -> None:
    assert license_code(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "CC BY?", "not CC BY", "CC BY or CC BY-NC", "CC BY, CC BY-NC", "CC BY+", "CC BY 4.0 with exceptions",
        "CC BY, all rights reserved", "CC BY 4.0 but not for sale", "CC BY-NC-ND-SA", "CC BY-SA-ND", "CC-NC",
        "CC BY 5.0", "CC DE BY", "CC0 or PD", "cc", "CC 4.0", "by", "by Ann", "Attribution", "credit me", "nan",
        "CC \u0412Y", "\u00a9 Ann, CC BY", "CC BY<br>NC", "CC BY|NC",
        "https://creativecommons.org/licenses/by-foo/4.0/", "https://creativecommons.org/licenses/by/4.0/zz/",
        "https://creativecommons.org/licenses/by/9.9/", "https://creativecommons.org/licenses/",
        "https://creativecommons.org/licenses/by/4.0/ and https://creativecommons.org/licenses/by-nc/4.0/",
        "https://creativecommons.org/licenses/by/4.0/ not for models",
        "https://example.org/creativecommons.org/licenses/by/4.0/", "https://creativecommons.org.example.org/licenses/by/4.0/",
        "CC BY (https://creativecommons.org/licenses/by-nc/4.0/)",
    ],
)  # fmt: skip
def test_what_is_not_understood_whole_is_unknown(text: str) -> None:
    assert license_code(text) is None
    assert not may_share(text, "Ann") and not may_adapt(text)


@pytest.mark.parametrize("order", [*itertools.permutations(["nc", "nd"]), ("nc", "sa"), ("sa", "nc"), ("sa",)])
@pytest.mark.parametrize("dash", ["-", " ", "_", "\u2010", "\u2011", "\u2014", ", ", " / "])
def test_terms_in_any_order_and_between_any_dashes(order: tuple[str, ...], dash: str) -> None:
    expected = {"nc", "nd"} & set(order)
    code = license_code(dash.join(["CC", "BY", *order]) + " 4.0")
    assert code is not None and set(code.split("-")) == {"cc", "by", *order} >= expected


def test_every_code_title_and_address_is_read_as_itself() -> None:
    for code, known in LICENSES.items():
        assert {license_code(code), license_code(known.title), license_code(known.url)} == {code}
        assert license_title(known.url) == known.title


def test_attribution_licences_are_not_shared_without_a_credit_line() -> None:
    assert may_share("cc-by", "(c) Ann") and may_share("cc0", None) and may_share("CC_BY_NC_4_0", "Ann")
    assert not may_share("cc-by", None) and not may_share("cc-by-sa", "")
    assert {code for code in LICENSES if not needs_credit(code)} == {"cc0", "pd"}
    assert not may_share(None, "Ann")
