"""Bears by class: fur, outlines, heads and poses."""

from __future__ import annotations

import numpy as np

from bear_classifier.collect.starter.pen import (
    Colour,
    Pen,
    Point,
    mirrored_outline,
    oval,
    smooth_outline,
)

# Bears are described in their own units: paws at y = 0, y grows downwards, a bear is about 1 long
# and faces right. Heads have their own frame: the centre at (0, 0), about 1 wide.

# fmt: off
FURS = {
    "grizzly": [(206, 172, 118), (176, 132, 82), (150, 108, 66), (138, 96, 58), (112, 76, 48),
                (76, 54, 42)],
    "black": [(30, 28, 32), (34, 32, 36), (40, 36, 38), (52, 44, 42), (80, 58, 44), (116, 76, 48)],
    "teddy": [(172, 124, 76), (212, 166, 98), (128, 90, 60), (88, 62, 46), (134, 130, 128),
              (44, 42, 46), (220, 160, 170), (228, 222, 210)],
}
_TAN, _INK, _GLINT = (190, 148, 102), (22, 18, 20), (236, 236, 236)
_BOWS = [(176, 34, 44), (40, 70, 150), (40, 120, 74), (210, 170, 50), (120, 50, 120)]

_PROFILE = {
    "grizzly": [(-0.5, -0.2), (-0.2, -0.5), (0.1, -0.46), (0.24, -0.2), (0.36, -0.05),
                (0.62, -0.12), (0.72, -0.02), (0.66, 0.13), (0.42, 0.22), (0.12, 0.36),
                (-0.2, 0.46), (-0.5, 0.3)],
    "black": [(-0.5, -0.16), (-0.22, -0.4), (0.06, -0.4), (0.34, -0.3), (0.6, -0.17), (0.8, -0.04),
              (0.8, 0.08), (0.7, 0.15), (0.4, 0.2), (0.1, 0.28), (-0.2, 0.36), (-0.5, 0.26)],
    "teddy": [(-0.5, 0.0), (-0.36, -0.36), (0.0, -0.52), (0.34, -0.34), (0.46, -0.08),
              (0.66, -0.02), (0.7, 0.16), (0.5, 0.28), (0.3, 0.4), (0.0, 0.5), (-0.36, 0.36)],
}
_MUZZLE = {"grizzly": [(0.42, -0.06), (0.68, -0.09), (0.68, 0.08), (0.46, 0.17)],
           "black": [(0.36, -0.27), (0.6, -0.17), (0.8, -0.03), (0.7, 0.15), (0.42, 0.19)],
           "teddy": [(0.42, -0.04), (0.66, -0.02), (0.7, 0.14), (0.48, 0.24)]}
_FACE = {  # the right half, from the top to the chin
    "grizzly": [(0, -0.42), (0.26, -0.42), (0.47, -0.2), (0.55, 0.08), (0.44, 0.32), (0.2, 0.48),
                (0, 0.52)],
    "black": [(0, -0.44), (0.2, -0.42), (0.34, -0.2), (0.38, 0.06), (0.27, 0.32), (0.16, 0.52),
              (0, 0.58)],
    "teddy": [(0, -0.46), (0.3, -0.4), (0.5, -0.16), (0.54, 0.1), (0.4, 0.36), (0.16, 0.46),
              (0, 0.47)],
}
_TALL_EAR = [(-0.4, -0.3), (-0.37, -0.56), (-0.27, -0.68), (-0.15, -0.58), (-0.1, -0.3)]
_TALL_EARS = [(0.12, -0.36), (0.2, -0.6), (0.31, -0.66), (0.4, -0.54), (0.37, -0.2)]
_BACK = {"grizzly": [(-0.4, -0.51), (-0.18, -0.54), (-0.02, -0.6), (0.12, -0.72), (0.24, -0.71),
                     (0.34, -0.6)],
         "black": [(-0.4, -0.58), (-0.18, -0.63), (0.0, -0.6), (0.16, -0.575), (0.3, -0.55)]}
_FRONT = [(0.42, -0.5), (0.4, -0.36), (0.3, -0.24)]
_REAR = [(-0.46, -0.2), (-0.53, -0.36)]
_UPRIGHT = {"grizzly": [(-0.26, -0.56), (-0.14, -0.82), (0.04, -0.88)],
            "black": [(-0.28, -0.52), (-0.18, -0.7), (0.0, -0.8)]}
# fmt: on


def _profile(pen: Pen, label: str, x: float, y: float, size: float, degrees: float) -> None:
    pen = pen.inside(x, y, size, degrees)
    round_ears = {"grizzly": oval(-0.26, -0.47, 0.13, 0.13), "teddy": oval(-0.12, -0.5, 0.2, 0.2)}
    ear = round_ears.get(label, smooth_outline(_TALL_EAR))
    pen.part(ear + (0.2, -0.01), 0.75)
    pen.part(smooth_outline(_PROFILE[label]), 1.04)
    pen.part(smooth_outline(_MUZZLE[label]), 1.0, _muzzle_colour(pen, label))
    _ear(pen, label, ear)
    u, v = {"grizzly": (0.69, -0.04), "black": (0.79, -0.01), "teddy": (0.68, 0.03)}[label]
    pen.detail(oval(u, v, 0.075, 0.062, 20), _INK)
    pen.line([(u - 0.05, 0.13), (0.52, 0.13), (0.4, 0.07)], pen.fur * 0.35, 0.022)
    _eye(pen, 0.24, -0.17, label)
    if label == "teddy":
        pen.line(oval(-0.05, 0.0, 0.1, 0.46)[14:43], pen.fur * 0.55, 0.018)


def _face(pen: Pen, label: str, x: float, y: float, size: float, degrees: float) -> None:
    pen, look = pen.inside(x, y, size, degrees), pen.rng.uniform(-0.09, 0.09)
    round_ears = {"grizzly": oval(0.43, -0.39, 0.15, 0.14), "teddy": oval(0.4, -0.38, 0.2, 0.2)}
    for side in (-1, 1):
        _ear(pen, label, round_ears.get(label, smooth_outline(_TALL_EARS)) * (side, 1))
    pen.part(mirrored_outline(_FACE[label]), 1.05)
    nose = {"grizzly": 0.2, "black": 0.3, "teddy": 0.08}[label]
    if label == "teddy":
        pen.part(oval(look, 0.17, 0.25, 0.19), 1.0, _muzzle_colour(pen, label))
        pen.line([(look, 0.0), (look * 0.8, -0.2), (look * 0.4, -0.43)], pen.fur * 0.55, 0.018)
    else:
        snout = mirrored_outline([(0, -0.06), (0.11, -0.04), (0.21, 0.3), (0, nose + 0.21)])
        pen.part(snout + (look * 1.3, 0), 1.05, _muzzle_colour(pen, label))
    u = look if label == "teddy" else look * 1.4
    pen.detail(mirrored_outline([(0, -0.05), (0.1, -0.03), (0.04, 0.06)]) + (u, nose), _INK)
    for side in (-1, 1):
        corner = (u + 0.11 * side, nose + (0.12 if label == "teddy" else 0.2))
        pen.line([(u, nose), (u, nose + 0.16), corner], _INK, 0.02)
        _eye(pen, look + side * (0.15 if label == "black" else 0.2), -0.07, label)


def _ear(pen: Pen, label: str, outline: np.ndarray) -> None:
    middle = outline.mean(0)
    pen.part(outline, 1.1)
    pen.part((outline - middle) * 0.57 + middle + (0, 0.03), 1.25 if label == "teddy" else 0.6)


def _eye(pen: Pen, x: float, y: float, label: str) -> None:
    r = 0.064 if label == "teddy" else 0.037
    pen.detail(oval(x, y, r, r), _INK)
    pen.detail(oval(x + r * 0.3, y - r * 0.35, r * 0.3, r * 0.3), _GLINT)


def _muzzle_colour(pen: Pen, label: str) -> Colour:
    return {"grizzly": pen.fur * 1.12, "black": np.array(_TAN), "teddy": pen.fur * 0.5 + 112}[label]


def _leg(
    pen: Pen, label: str, hip: Point, paw: Point, wide: float, tone: float, claws: str = "none"
) -> None:
    """A leg from hip to paw; claws: none, ahead (seen from the side), down (from the front)."""
    (x, y), (u, v), thin, calf = hip, paw, wide * 0.55, wide * 0.8
    m, n = (x + u) / 2 + 0.015, (y + v) / 2
    front = [(x + wide, y), (m + calf, n), (u + thin, v - 0.05), (u + thin * 1.5, v - 0.01)]
    back = [(u, v), (u - thin, v), (m - calf, n), (x - wide, y), (x, y - wide)]
    pen.part(smooth_outline(front + back), tone)
    long, colour = (0.095, (230, 216, 184)) if label == "grizzly" else (0.02, (64, 58, 56))
    for k in range(4 if claws != "none" else 0):
        ahead = claws == "ahead"
        root = np.array(
            [u + 0.025 + 0.03 * k, v - 0.035] if ahead else [u + 0.03 * (k - 1), v - 0.025]
        )
        tip = np.array([long, 0.04] if ahead else [0.006 * (k - 1), long * 0.8])
        pen.line(np.array([root, root + tip * (0.7, 0.3), root + tip]), colour, 0.014)


def _walk(pen: Pen, label: str) -> None:
    """On four legs, from the side: grizzlies are highest at the shoulder, black bears behind."""
    step, low, belly = pen.rng.uniform([-0.13, -0.04, -0.24], [0.13, 0.22, -0.17])
    _leg(pen, label, (-0.36, -0.32), (-0.31 + step, -0.03), 0.13, 0.62)
    _leg(pen, label, (0.17, -0.32), (0.22 - step, -0.03), 0.13, 0.62)
    belly_line = [(0.0, belly), (-0.25, belly)]
    pen.part(smooth_outline(_BACK[label] + _FRONT + belly_line + _REAR))
    _leg(pen, label, (-0.37, -0.34), (-0.37 - step, 0), 0.15, 1.0, "ahead")
    _leg(pen, label, (0.2, -0.34), (0.2 + step, 0), 0.15, 1.0, "ahead")
    _profile(pen, label, 0.49, -0.54 + low, 0.38, 60 * low + pen.rng.normal(0, 5))


def _sit_aside(pen: Pen, label: str) -> None:
    _leg(pen, label, (0.12, -0.42), (0.3, -0.02), 0.11, 0.62)
    front = [(0.18, -0.66), (0.22, -0.4), (0.18, -0.1), (0, 0), (-0.3, -0.03), (-0.36, -0.24)]
    pen.part(smooth_outline(_UPRIGHT[label] + front))
    pen.part(oval(0.06, -0.72, 0.17, 0.2))
    pen.part(oval(-0.1, -0.18, 0.2, 0.17), 1.06)
    _leg(pen, label, (0.0, -0.1), (0.1, -0.01), 0.08, 1.0, "ahead")
    _leg(pen, label, (0.1, -0.46), (0.22, 0), 0.13, 1.02, "ahead")
    _profile(pen, label, 0.18, -0.86, 0.42, pen.rng.uniform(-8, 14))


def _sit_facing(pen: Pen, label: str) -> None:
    if label == "grizzly":
        pen.part(oval(0, -0.72, 0.36, 0.2), 0.75)
    pen.part(mirrored_outline([(0, -0.74), (0.2, -0.66), (0.3, -0.35), (0.32, -0.1), (0, 0)]), 0.98)
    for side in (-1, 1):
        pen.part(oval(side * 0.3, -0.16, 0.15, 0.17, side * 20))
        _leg(pen, label, (side * 0.32, -0.1), (side * 0.34, -0.01), 0.08, 1.08, "down")
        _leg(pen, label, (side * 0.14, -0.5), (side * 0.12, -0.01), 0.11, 1.06, "down")
    _face(pen, label, 0, -0.88, pen.rng.uniform(0.46, 0.54), pen.rng.normal(0, 5))


def _come(pen: Pen, label: str) -> None:
    """Towards us on four legs; the grizzly's hump stands above its head."""
    x, y = pen.rng.uniform([-0.05, -0.66], [0.05, -0.5])
    pen.part(oval(0.08, -0.5, 0.34, 0.3), 0.78)
    if label == "grizzly":
        pen.part(oval(0, -0.68, 0.3, 0.2), 0.72)
    pen.part(oval(0, -0.44, 0.3, 0.3), 0.88)
    for side in (-1, 1):
        paw = side * pen.rng.uniform(0.15, 0.24)
        _leg(pen, label, (side * 0.17, -0.42), (paw, 0), 0.14, 1.0, "down")
    _face(pen, label, x, y, 0.48, pen.rng.normal(0, 5))


def _toy_aside(pen: Pen, label: str) -> None:
    back = [(-0.3, -0.03), (-0.36, -0.24), (-0.25, -0.45), (-0.12, -0.6)]
    pen.part(smooth_outline([*back, (0.16, -0.6), (0.22, -0.3), (0.1, 0)]))
    pen.part(oval(0.2, -0.1, 0.26, 0.11), 1.04)
    pen.part(oval(0.45, -0.13, 0.075, 0.13, 8), 1.1)
    pen.part(oval(0.5, -0.13, 0.035, 0.09, 8), 1.0, _muzzle_colour(pen, label))
    pen.part(oval(0.06, -0.4, 0.21, 0.085, pen.rng.uniform(-30, 50)), 1.06)
    _profile(pen, label, 0.02, -0.8, pen.rng.uniform(0.5, 0.62), pen.rng.normal(0, 7))
    _bow(pen, 0.1, -0.55)


def _toy_facing(pen: Pen, label: str) -> None:
    """Sitting with the soles towards us, or standing."""
    sits, up = pen.rng.random() < 0.7, pen.rng.choice([-35, 20, 55])
    spread = pen.rng.uniform(0.24, 0.36)
    pen.part(oval(0, -0.36, 0.29, 0.38), 0.98)
    if pen.rng.random() < 0.5:
        pen.part(oval(0, -0.32, 0.17, 0.22), 1.0, pen.fur * 0.6 + 85)
    pen.line([(0, -0.6), (0.012, -0.3), (0, -0.04)], pen.fur * 0.55, 0.009)
    for side in (-1, 1):
        pen.part(oval(side * 0.32, -0.46, 0.19, 0.085, side * up), 1.06)
        if not sits:
            pen.part(oval(side * 0.16, 0.02, 0.13, 0.22))
            continue
        pen.part(oval(side * spread, -0.13, 0.19, 0.13, side * 25))
        pen.part(oval(side * (spread + 0.1), -0.12, 0.125, 0.14), 1.08)
        pen.part(oval(side * (spread + 0.11), -0.12, 0.08, 0.095), 1.0, _muzzle_colour(pen, label))
    _face(pen, label, 0, -0.9, pen.rng.uniform(0.56, 0.7), pen.rng.normal(0, 7))
    _bow(pen, 0, -0.63)


def portrait(pen: Pen, label: str) -> None:
    """The head and some shoulder; behind a grizzly's head stands its hump."""
    if label == "grizzly":
        pen.part(oval(-0.12, 0.1, 0.62, 0.58), 0.8)
    pen.part(oval(0 if label == "teddy" else -0.1, 0.6, 0.5, 0.55), 0.9)
    head = _face if pen.rng.random() < 0.6 else _profile
    head(pen, label, 0.05, 0.0, 0.85, pen.rng.normal(0, 6))
    if label == "teddy":
        _bow(pen, 0.02, 0.44)


def _bow(pen: Pen, x: float, y: float) -> None:
    if pen.rng.random() < 0.5:
        return
    colour = np.array(_BOWS[pen.rng.integers(len(_BOWS))])
    for side in (-1, 1):
        wing = [(x, y), (x + side * 0.12, y - 0.07), (x + side * 0.14, y + 0.06)]
        pen.detail(smooth_outline(wing), colour)
    pen.detail(oval(x, y, 0.03, 0.035), 0.7 * colour)


# The pose, and the box that it fills: left, top, right, bottom.
_FOURS, _ERECT = (-0.58, -0.85, 0.82, 0.06), (-0.5, -1.2, 0.5, 0.06)
_ASIDE, _TOY = (-0.42, -1.2, 0.58, 0.06), (-0.52, -1.25, 0.52, 0.2)
_HEAD = (-0.62, -0.72, 0.72, 0.62)
WILD = [(_walk, _FOURS)] * 2 + [(_sit_aside, _ASIDE), (_sit_facing, _ERECT), (_come, _ERECT)]
WILD += [(portrait, _HEAD)]
TOYS = [(_toy_aside, _ASIDE), (_toy_facing, _TOY), (_toy_facing, _TOY), (portrait, _HEAD)]
