"""What the world's observers write: plain notes, personal details, and, in a hostile world, text that breaks pages."""

from __future__ import annotations

import numpy as np

_NOTES = (
    "Seen in the early morning.",
    "A single animal, not shy at all.",
    "Far away, sorry for the quality.",
    "Adult, feeding.",
    "It crossed right in front of us!",
    "Third one this week.",
    "Photographed from the car.",
    "Ein schönes Tier, lange beobachtet.",
    "Vu au lever du jour, très calme.",
    "Observado al atardecer.",
)
_PERSONAL = (
    "More at https://example.org/my-photos or write to observer@example.org.",
    "Thanks @demo_observer_1008 for the help! 68.123, 20.456",
)
_HOSTILE = (
    "<script>document.title='owned'</script> nice one",
    "\"quotes\" and 'more quotes', a, comma; a semicolon\tand a tab\nand a line",
    "right-to-left \u202egnp.exe\u202c mark",
    "<img src=x onerror=alert(1)> & </td></table>",
    "={1+1} | **bold** [link](javascript:alert(1)) {{ 7 * 7 }}",
)
_NAMES = ("", "", "R. Holm", "Mónica Duarte", "A. Petrov", "Li Na", "Jo O'Neill", 'Sam "Bear" Lund')
_HOSTILE_NAMES = ("<b>Bold</b> Name", "Evil \u202eemaN", "</script><script>alert(1)</script>")


def describe(rng: np.random.Generator, is_hostile: bool) -> str | None:
    """An observation's description; none for half of them."""
    luck = rng.random()
    if luck < 0.5:
        return None
    if luck < 0.94 or (luck >= 0.97 and not is_hostile):
        return _NOTES[int(rng.integers(len(_NOTES)))]
    texts = _PERSONAL if luck < 0.97 else _HOSTILE
    return texts[int(rng.integers(len(texts)))]


def tags_for(rng: np.random.Generator, name: str, is_hostile: bool) -> tuple[str, ...]:
    """An observation's tags; none for most."""
    if rng.random() < 0.8:
        return ()
    words = ("wildlife", "morning", "telephoto", "<i>tag</i>", 'comma, "quote"')
    more = words[int(rng.choice(5, p=(0.4, 0.3, 0.26, 0.02, 0.02))) if is_hostile else int(rng.integers(3))]
    return (name.lower(), more)


def user_name(user_id: int, is_hostile: bool) -> str:
    """An observer's real name; often empty, in a hostile world now and then hostile; the same for the same id."""
    rng = np.random.default_rng([5, user_id])
    names = _HOSTILE_NAMES if rng.random() < 0.02 and is_hostile else _NAMES
    return names[int(rng.integers(len(names)))]
