"""Each licence, and each word, version, place and address that licences are written with."""

from __future__ import annotations

import pytest

from counterset.licenses import (
    LICENSES,
    license_code,
    license_title,
    license_url,
    may_adapt,
    may_share,
    needs_credit,
)

HOME = "https://creativecommons.org"


@pytest.mark.parametrize(
    ("code", "title", "path", "hub_id", "adapt", "credit"),
    [
        ("cc0", "CC0 1.0", "publicdomain/zero/1.0/", "cc0-1.0", True, False),
        ("pd", "public domain", "publicdomain/mark/1.0/", "other", True, False),
        ("cc-by", "CC BY 4.0", "licenses/by/4.0/", "cc-by-4.0", True, True),
        ("cc-by-sa", "CC BY-SA 4.0", "licenses/by-sa/4.0/", "cc-by-sa-4.0", True, True),
        ("cc-by-nc", "CC BY-NC 4.0", "licenses/by-nc/4.0/", "cc-by-nc-4.0", True, True),
        ("cc-by-nc-sa", "CC BY-NC-SA 4.0", "licenses/by-nc-sa/4.0/", "cc-by-nc-sa-4.0", True, True),
        ("cc-by-nd", "CC BY-ND 4.0", "licenses/by-nd/4.0/", "cc-by-nd-4.0", False, True),
        ("cc-by-nc-nd", "CC BY-NC-ND 4.0", "licenses/by-nc-nd/4.0/", "cc-by-nc-nd-4.0", False, True),
    ],
)
def test_what_each_licence_is_and_allows(
    code: str, title: str, path: str, hub_id: str, adapt: bool, credit: bool
) -> None:
    assert len(LICENSES) == 8 and LICENSES[code].code == code and LICENSES[code].hub_id == hub_id
    assert (license_title(code), license_url(code)) == (title, f"{HOME}/{path}")
    assert (may_adapt(code), needs_credit(code)) == (adapt, credit)
    assert may_share(code, "(c) Ann") and may_share(code, None) == (not credit) == may_share(code, "")


@pytest.mark.parametrize("text", [None, "", "some licence", "all rights reserved"])
def test_an_unknown_licence_allows_nothing(text: str | None) -> None:
    assert license_code(text) is None and license_url(text) is None
    assert not (may_adapt(text) or may_share(text, "Ann") or needs_credit(text))
    assert license_title(text) == (text or "all rights reserved")


FILLERS = (
    "a an the this work image photo is licensed under license licence deed version v international intl unported "
    "generic universal"
)
VERSIONS = "1 2 3 4 1.0 2.0 2.1 2.5 3.0 4.0"
PLACES = (
    "am ar at au az be bg br ca ch cl cn co cr cy cz de dk ec ee eg es est fi fr ge gr gt hk hr hu ie igo il in it jo "
    "jp ke kr kz lb lk lt lu lv mk mt mx my ng nl no nz pe ph pk pl pr pt py ro rs scotland se sg si th tr tw tz ua ug "
    "uk us ve vn za"
)


@pytest.mark.parametrize("word", FILLERS.split())
def test_words_of_a_sentence_say_nothing(word: str) -> None:
    assert license_code(f"CC BY {word}") == license_code(f"{word} CC BY") == "cc-by"
    assert license_code(f"CC BY {word}x") is None


@pytest.mark.parametrize("version", VERSIONS.split())
def test_versions(version: str) -> None:
    assert license_code(f"CC BY-SA {version}") == license_code(f"CC BY-SA v{version}") == "cc-by-sa"
    assert license_code(f"CC BY-SA {version}.7") is None
    if "." in version:
        assert license_code(f"{HOME}/licenses/by-sa/{version}/") == "cc-by-sa"


@pytest.mark.parametrize("place", PLACES.split())
def test_places_come_after_a_version(place: str) -> None:
    assert license_code(f"CC BY 3.0 {place}") == license_code(f"{HOME}/licenses/by/3.0/{place}/") == "cc-by"
    assert license_code(f"CC BY {place}") is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Creative Commons Zero", "cc0"),
        ("CreativeCommonsZero", "cc0"),
        ("CC Zero", "cc0"),
        ("CC 0", "cc0"),
        ("CC0", "cc0"),
        ("public domain dedication", "cc0"),
        ("publicdomaindedication", "cc0"),
        ("public domain", "pd"),
        ("publicdomain", "pd"),
        ("Public Domain Mark", "pd"),
        ("PDM", "pd"),
        ("PD", "pd"),
        ("CreativeCommons BY", "cc-by"),
        ("CC BY non commercial", "cc-by-nc"),
        ("CC BY non commercial use", "cc-by-nc"),
        ("CC BY noncommercial", "cc-by-nc"),
        ("CC BY no deriv", "cc-by-nd"),
        ("CC BY no derivs", "cc-by-nd"),
        ("CC BY noderivative", "cc-by-nd"),
        ("CC BY no derivatives", "cc-by-nd"),
        ("CC BY no derivative works", "cc-by-nd"),
        ("CC BY no derivs work", "cc-by-nd"),
        ("CC BY share alike", "cc-by-sa"),
        ("CC BY ShareAlike", "cc-by-sa"),
        ("CC BY, some rights reserved", "cc-by"),
        ("(CC BY)", "cc-by"),
        ("'CC BY'", "cc-by"),
        ('"CC BY"', "cc-by"),
        (" CC BY\n", "cc-by"),
        ("cc:by", "cc-by"),
        ("ccby", "cc-by"),
        ("bync", "cc-by-nc"),
        ("byncnd", "cc-by-nc-nd"),
        ("by-sa", "cc-by-sa"),
        ("by nc nd", "cc-by-nc-nd"),
        ("Attribution 4.0", "cc-by"),
        ("Attribution ShareAlike", "cc-by-sa"),
        ("CC Attribution", "cc-by"),
        ("CC BY CC BY", "cc-by"),
        ("CC BY-NC 4.0 (by-nc)", "cc-by-nc"),
        ("CC\u200bBY", "cc-by"),
        ("c\u200bc by", "cc-by"),
        ("by photo", None),
        ("by nc photo", None),
        ("Attribution", None),
        ("CC BY CC0", None),
        ("cc0 by", None),
        ("pd nc", None),
        ("cc by by-nc", None),
        ("cc nc nd", None),
        ("CC BY 4_0", None),
        ("CC BY 4_0_1", None),
        ("CC_BY_NC_SA_3_0", "cc-by-nc-sa"),
    ],
)
def test_spellings(text: str, code: str | None) -> None:
    assert license_code(text) == code


@pytest.mark.parametrize(
    ("address", "code"),
    [
        (f"{HOME}/publicdomain/zero/1.0/", "cc0"),
        (f"{HOME}/publicdomain/mark/1.0", "pd"),
        (f"{HOME}/licenses/by", "cc-by"),
        (f"{HOME}/licenses/by-nc-sa/4.0/deed", "cc-by-nc-sa"),
        (f"{HOME}/licenses/by/4.0/deed.en", "cc-by"),
        (f"{HOME}/licenses/by/4.0/deed.zh_TW", "cc-by"),
        (f"{HOME}/licenses/by/4.0/deed.zh-hant", "cc-by"),
        (f"{HOME}/licenses/by/4.0/legalcode", "cc-by"),
        (f"{HOME}/licenses/by/4.0/legalcode.fr/", "cc-by"),
        (f"{HOME}/licenses/by/2.5/ca/deed.fr", "cc-by"),
        (f"{HOME}/licenses/by/4.0/#top", "cc-by"),
        (f"{HOME}/licenses/by/4.0/?ref=a-b_c#top-1", "cc-by"),
        ("http://www.creativecommons.org/licenses/by/4.0/", "cc-by"),
        ("creativecommons.org/licenses/by/4.0/", "cc-by"),
        (f"[CC BY]({HOME}/licenses/by/4.0/)", None),
        (f"({HOME}/licenses/by/4.0/)", "cc-by"),
        (f"{HOME}/licenses/by/4.0/, CC BY", "cc-by"),
        (f"{HOME}/licenses/by/4.0/; x", None),
        (f"{HOME}/licenses/by-nc/4.0/ {HOME}/licenses/by-nc/2.0/", "cc-by-nc"),
        (f"{HOME}/licenses/nc/4.0/", None),
        (f"{HOME}/licenses/by/4.0/deed.english", None),
        (f"{HOME}/licenses/by/40/", None),
        (f"{HOME}/licenses/by/4.0/?utm=1", None),
        (f"{HOME}/publicdomain/other/1.0/", None),
        (f"{HOME}/licenses/by/4.0/zz/", None),
        (f"{HOME}/licenses/by/7.0/", None),
        (f"{HOME}/licenses/by/4.0/x/y", None),
        (f"ftp://{HOME[8:]}/licenses/by/4.0/", None),
    ],
)
def test_addresses(address: str, code: str | None) -> None:
    assert license_code(address) == code
