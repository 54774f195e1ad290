"""The demo's animals: body plans as polygons, coats as colours.

A body is drawn in its own units: x to the right (the head's side), y upwards, feet at
y = 0, the back of a quadruped near y = 1. Pairs of classes share a plan and differ in
coat, so that light and distance make them look alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from counterset.demo.world.drawing import Color, Mat, ellipse, jitter, mix, tube

Part = tuple[Mat, Color]


@dataclass
class Body:
    """An animal's parts, back to front, and its marks (drawn on the parts only)."""

    parts: list[Part] = field(default_factory=list)
    marks: list[Part] = field(default_factory=list)
    coat: Color = (0, 0, 0)
    fur: float = 1.0
    """How ragged the edge is: 1 for fur, less for feathers."""

    def add(self, outline: Mat, color: Color) -> None:
        """Add one part in front of the others."""
        self.parts.append((outline, color))


@dataclass(frozen=True)
class Plan:
    """Proportions of a quadruped, in units of its height at the shoulder."""

    length: float
    chest: float
    rump: float
    leg: float
    leg_r: float
    head: float
    muzzle: float
    ear: float
    ear_is_round: bool
    neck: float
    tail: float
    tail_r: float


_BEAR = Plan(1.15, 0.36, 0.37, 0.42, 0.125, 0.2, 0.17, 0.07, True, 0.34, 0.06, 0.06)
_FOX = Plan(1.1, 0.25, 0.23, 0.5, 0.055, 0.165, 0.2, 0.13, False, 0.26, 0.75, 0.12)
_CAT = Plan(1.35, 0.27, 0.25, 0.52, 0.075, 0.17, 0.1, 0.065, True, 0.32, 0.8, 0.04)


def _quadruped(rng: np.random.Generator, plan: Plan, coat: Color, belly: Color, sock: Color, tail_tip: Color) -> Body:
    """A four-legged animal in a random pose: walking or standing, now and then lying; head up, level or down."""
    body = Body(coat=coat)
    lies = rng.random() < 0.1
    leg = plan.leg * (0.3 if lies else rng.uniform(0.92, 1.05))
    stride = rng.uniform(-0.32, 0.32)
    half = plan.length / 2
    plump = rng.uniform(0.92, 1.12)
    hip = (-half, leg + plan.rump * 0.85)
    shoulder = (half, leg + plan.chest * 0.9)
    dark = mix(coat, (20, 18, 18), 0.28)
    for x, swing, is_far in (
        (-half, -stride, True),
        (half * 0.95, stride, True),
        (-half - 0.02, stride, False),
        (half, -stride, False),
    ):
        color, top = (dark if is_far else coat), leg + plan.rump * 0.55
        knee = (x + swing * 0.45 + (0.06 if x < 0 else -0.02), leg * 0.5)
        foot = (x + swing * 0.8, plan.leg_r * 0.5)
        r = plan.leg_r
        body.add(tube([(x, top), knee, foot], [r * 1.7, r * 1.05, r * 0.85]), color)
        if sock != coat:
            tone = mix(sock, color, 0.25 if is_far else 0.0)
            body.add(tube([(knee[0], knee[1] * 0.8), foot], [r * 0.95, r * 0.9]), tone)
        body.add(ellipse(foot[0] + r * 0.5, r * 0.5, r * 1.35, r * 0.6), mix(sock, dark, 0.3))
    if plan.tail:
        droop = rng.uniform(-0.9, 0.35)
        root = (hip[0] - plan.rump * 0.75, hip[1] + plan.rump * 0.3)
        mid = (root[0] - plan.tail * 0.5, root[1] + plan.tail * 0.4 * droop)
        tip = (root[0] - plan.tail * 0.85, root[1] + plan.tail * 0.9 * droop)
        body.add(tube([root, mid, tip], [plan.tail_r * 0.6, plan.tail_r, plan.tail_r * 0.6]), coat)
        body.add(ellipse(tip[0], tip[1], plan.tail_r * 0.95, plan.tail_r * 0.75), tail_tip)
    chest, rump = plan.chest * plump, plan.rump * plump
    body.add(ellipse(hip[0], hip[1], rump * 1.02, rump), coat)
    middle = (0, (hip[1] + shoulder[1]) / 2 - 0.01)
    body.add(tube([hip, middle, shoulder], [rump * 0.98, (rump + chest) * 0.47, chest]), coat)
    body.add(ellipse(shoulder[0], shoulder[1], chest * 1.02, chest * 1.05), coat)
    body.add(ellipse(0, leg + plan.rump * 0.14, half * 0.8, plan.rump * 0.2), mix(coat, belly, 0.4))
    return _head(rng, body, plan, coat, belly, shoulder)


def _head(
    rng: np.random.Generator, body: Body, plan: Plan, coat: Color, belly: Color, shoulder: tuple[float, float]
) -> Body:
    """Neck, ears, head and muzzle, held high, level or low."""
    size = plan.head
    pitch = rng.choice([0.75, 0.3, -0.35, -0.9], p=[0.35, 0.35, 0.2, 0.1]) + rng.normal(0, 0.12)
    reach = plan.neck + plan.chest * 0.7
    x, y = shoulder[0] + reach * np.cos(pitch), max(plan.head * 0.8, shoulder[1] + reach * np.sin(pitch) + 0.08)
    nape = ((shoulder[0] + x) / 2, (shoulder[1] + y) / 2)
    body.add(tube([shoulder, nape, (x, y)], [plan.chest * 0.8, size * 1.1, size * 0.8]), coat)
    tilt = float(np.clip(pitch * 0.3, -0.6, 0.15)) - 0.15
    for offset, shade in ((-0.25, 0.35), (0.45, 0.05)):
        ex, ey = x - plan.head * offset, y + plan.head * 0.75
        tip_of_ear = [ex - plan.ear * 0.1, ey + plan.ear * 1.2]
        ear = (
            ellipse(ex, ey + plan.ear * 0.3, plan.ear, plan.ear)
            if plan.ear_is_round
            else np.array([[ex - plan.ear * 0.55, ey - 0.03], tip_of_ear, [ex + plan.ear * 0.6, ey - 0.04]])
        )
        body.add(ear, mix(coat, (25, 20, 20), shade))
    body.add(ellipse(x, y, size * 1.05, size * 0.95, tilt), coat)
    long = size * 0.8 + plan.muzzle
    mid_long = size * 0.8 + plan.muzzle * 0.5
    mid = (x + mid_long * np.cos(tilt), y + (size + plan.muzzle * 0.5) * np.sin(tilt) - 0.02)
    tip = (x + long * np.cos(tilt), y + (size * 0.9 + plan.muzzle) * np.sin(tilt) - 0.04)
    root = (x + size * 0.4, y - size * 0.15)
    body.add(tube([root, mid, tip], [size * 0.62, size * 0.42, size * 0.3]), mix(coat, belly, 0.35))
    body.add(ellipse(tip[0] + size * 0.1, tip[1] + 0.02, size * 0.17, size * 0.14), (28, 24, 24))
    eye = ellipse(x + size * 0.42, y + size * 0.25, size * 0.12, size * 0.12)
    body.marks.append((eye, (22, 18, 16)))
    return body


def _ice_bear(rng: np.random.Generator) -> Body:
    coat: Color = (236, 228, 208)
    coat = jitter(rng, mix(coat, (165, 140, 105), rng.beta(1.2, 2.2)), 0.07)
    return _quadruped(rng, _BEAR, coat, mix(coat, (200, 190, 170), 0.4), coat, coat)


def _brown_bear(rng: np.random.Generator) -> Body:
    coat: Color = (92, 62, 40)
    coat = jitter(rng, mix(coat, (196, 164, 122), rng.beta(1.3, 1.9)), 0.12)
    body = _quadruped(rng, _BEAR, coat, mix(coat, (60, 40, 28), 0.4), mix(coat, (50, 36, 28), 0.5), coat)
    hump = ellipse(_BEAR.length * 0.36, _BEAR.leg + _BEAR.chest * 1.5, 0.24, 0.18)
    body.parts.insert(len(body.parts) - 7, (hump, coat))
    return body


def _arctic_fox(rng: np.random.Generator) -> Body:
    summer = rng.beta(0.7, 1.1)
    coat = jitter(rng, mix((234, 234, 232), (142, 118, 96), summer), 0.08)
    belly = mix((240, 240, 240), (205, 190, 170), summer)
    plan = Plan(1.0, 0.28, 0.26, 0.42, 0.06, 0.165, 0.15, 0.085, True, 0.2, 0.7, 0.13)
    return _quadruped(rng, plan, coat, belly, mix(coat, (90, 80, 72), 0.3 * summer), mix(coat, (245, 245, 245), 0.5))


def _red_fox(rng: np.random.Generator) -> Body:
    pale = rng.beta(1.0, 2.0)
    coat = jitter(rng, mix((196, 98, 42), (186, 152, 118), pale), 0.1)
    sock = mix((48, 36, 32), coat, rng.uniform(0.0, 0.7))
    return _quadruped(rng, _FOX, coat, (232, 220, 205), sock, mix((240, 236, 230), coat, rng.uniform(0, 0.6)))


def _lion(rng: np.random.Generator) -> Body:
    coat = jitter(rng, (196, 156, 104), 0.12)
    body = _quadruped(rng, _CAT, coat, (224, 200, 165), coat, (70, 50, 36))
    if rng.random() < 0.4:
        mane = jitter(rng, mix((150, 100, 55), (62, 42, 30), rng.random()), 0.12)
        x, y = np.mean(body.parts[-3][0], 0)
        body.parts.insert(len(body.parts) - 5, (ellipse(x - 0.12, y - 0.06, 0.33, 0.36), mane))
    return body


def _cheetah(rng: np.random.Generator) -> Body:
    coat = jitter(rng, (208, 168, 112), 0.12)
    plan = Plan(1.3, 0.235, 0.205, 0.58, 0.062, 0.14, 0.08, 0.055, True, 0.3, 0.85, 0.038)
    body = _quadruped(rng, plan, coat, (232, 214, 185), coat, (60, 46, 38))
    spot = mix((46, 34, 26), coat, rng.uniform(0.1, 0.6))
    for _ in range(70):
        x, y = rng.uniform(-0.95, 1.0), rng.uniform(0.35, 1.05)
        body.marks.append((ellipse(x, y, 0.03, 0.026), spot))
    return body


def _wader(
    rng: np.random.Generator,
    coat: Color,
    wing: Color,
    wing_share: float,
    leg: Color,
    bill: Color,
    tip: Color,
    is_bent: bool,
) -> Body:
    """A long-legged bird: standing or walking, neck raised, curved or lowered."""
    body = Body(coat=coat, fur=0.45)
    high = rng.uniform(0.52, 0.6) * (1.12 if is_bent else 1.0)
    stride = rng.uniform(-0.14, 0.14)
    one_leg = rng.random() < 0.12
    for x, swing in ((0.0, -stride), (0.04, stride)):
        lifted = one_leg and x > 0
        foot = (x + 0.22, high * 0.62) if lifted else (x + swing, 0.01)
        knee = (x + swing * 0.4 - 0.04, high * 0.52)
        body.add(tube([(x, high + 0.05), knee, foot], [0.028, 0.02, 0.016]), leg)
        if not lifted:
            body.add(tube([(foot[0] - 0.03, 0.012), (foot[0] + 0.09, 0.012)], [0.014, 0.012]), leg)
    tilt = rng.uniform(-0.1, 0.3)
    cx, cy = 0.0, high + 0.18
    body.add(ellipse(cx, cy, 0.36, 0.185, tilt), coat)
    body.add(ellipse(cx - 0.3, cy - 0.06 - tilt * 0.25, 0.15, 0.075, 0.35 + tilt), mix(coat, wing, wing_share))
    body.add(ellipse(cx - 0.1, cy + 0.0, 0.28, 0.12, tilt + 0.15), mix(coat, mix(coat, wing, 0.25), 0.8))
    body.add(ellipse(cx - 0.2, cy - 0.055, 0.2, 0.065, tilt + 0.25), mix(coat, wing, wing_share))
    base = (cx + 0.28, cy + 0.08 + tilt * 0.2)
    pose = rng.random()
    if pose < 0.18:
        neck = [base, (base[0] + 0.2, base[1] - 0.05), (base[0] + 0.34, base[1] - 0.3), (base[0] + 0.4, base[1] - 0.52)]
        aim = -1.2
    else:
        bend = rng.uniform(0.06, 0.2) if is_bent else rng.uniform(-0.02, 0.1)
        low, high_up = (base[0] + 0.14 + bend, base[1] + 0.14), (base[0] + 0.1 - bend, base[1] + 0.36)
        neck = [base, low, high_up, (base[0] + 0.16, base[1] + 0.55)]
        aim = rng.uniform(-0.45, 0.05)
    slim = 0.8 if is_bent else 1.0
    body.add(tube(neck, [0.1 * slim, 0.062 * slim, 0.05 * slim, 0.05 * slim]), coat)
    hx, hy = neck[-1]
    body.add(ellipse(hx + 0.03, hy, 0.085, 0.062, aim * 0.5), coat)
    long = 0.17 if is_bent else rng.uniform(0.26, 0.32)
    ex, ey = hx + 0.08 + long * np.cos(aim), hy + long * np.sin(aim) - (0.1 if is_bent else 0)
    mid = ((hx + 0.08 + ex) / 2, (hy + ey) / 2 + (0.035 if is_bent else 0.0))
    body.add(tube([(hx + 0.07, hy), mid, (ex, ey)], [0.034, 0.03 if is_bent else 0.022, 0.012]), bill)
    if is_bent:
        body.add(tube([mid, (ex, ey)], [0.026, 0.014]), tip)
    body.marks.append((ellipse(hx + 0.05, hy + 0.015, 0.012, 0.012), (25, 20, 18)))
    return body


def _white_stork(rng: np.random.Generator) -> Body:
    coat = jitter(rng, mix((238, 236, 230), (216, 200, 182), rng.beta(1.2, 2.5)), 0.05)
    red = mix((205, 80, 50), (150, 110, 90), rng.beta(1.2, 2))
    return _wader(rng, coat, (38, 34, 36), rng.uniform(0.7, 1.0), red, red, red, False)


def _flamingo(rng: np.random.Generator) -> Body:
    coat = jitter(rng, mix((240, 148, 140), (232, 214, 206), rng.beta(1.1, 1.7)), 0.06)
    pink = mix((226, 130, 130), (160, 130, 125), rng.beta(1.2, 2))
    wing = mix((215, 70, 75), (60, 45, 48), rng.random() * 0.7)
    return _wader(rng, coat, wing, rng.uniform(0.2, 0.7), pink, pink, (36, 32, 34), True)


ANIMALS: dict[str, Callable[[np.random.Generator], Body]] = {
    "ice_bear": _ice_bear,
    "brown_bear": _brown_bear,
    "arctic_fox": _arctic_fox,
    "red_fox": _red_fox,
    "lion": _lion,
    "cheetah": _cheetah,
    "white_stork": _white_stork,
    "flamingo": _flamingo,
}
"""class_id -> a body in a random pose and coat."""

SIZES: dict[str, float] = {"ice_bear": 0.92, "brown_bear": 0.92, "white_stork": 0.76, "flamingo": 0.72}
"""Height drawn for body height 1, against the other classes."""
