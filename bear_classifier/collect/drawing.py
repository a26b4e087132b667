"""Pictures of bears drawn by code, for the starter set: a beginning where there is no network.

A scene is painted, a bear put into it, something in front of the bear, and the whole photographed.
Light, sharpness, size and most backgrounds come from the same dice for every class, and the colours
of fur overlap, so that the shape of the animal decides: the grizzly's hump, dished face and long
pale claws; the black bear's straight profile, tall ears and tan muzzle; the teddy's round head,
button eyes and seams.

Bears are described in their own units: paws at y = 0, y grows downwards, a bear is about 1 long and
faces right. Heads have their own frame: the centre at (0, 0), about 1 wide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

LABELS = ("grizzly", "black", "teddy")

Dice = np.random.Generator
Size = tuple[int, int]
Place = tuple[float, float]
Colour = np.ndarray | tuple[float, float, float]

# fmt: off
_FURS = {
    "grizzly": [(206, 172, 118), (176, 132, 82), (150, 108, 66), (138, 96, 58), (112, 76, 48),
                (76, 54, 42)],
    "black": [(30, 28, 32), (34, 32, 36), (40, 36, 38), (52, 44, 42), (80, 58, 44), (116, 76, 48)],
    "teddy": [(172, 124, 76), (212, 166, 98), (128, 90, 60), (88, 62, 46), (134, 130, 128),
              (44, 42, 46), (220, 160, 170), (228, 222, 210)],
}
_TAN, _INK, _GLINT = (190, 148, 102), (22, 18, 20), (236, 236, 236)
_BOWS = [(176, 34, 44), (40, 70, 150), (40, 120, 74), (210, 170, 50), (120, 50, 120)]
_LIGHTS = [  # tint and contrast: day, sun, dusk, night, snow glare, lamp
    ((1, 1, 1), 1.0), ((1, 1, 0.97), 1.12), ((1, 0.82, 0.7), 0.95), ((0.7, 0.76, 0.9), 0.9),
    ((1.14, 1.18, 1.26), 0.85), ((1.04, 0.9, 0.68), 1.0)]

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


def draw(label: str, rng: np.random.Generator) -> Image.Image:
    """One picture of a bear of this class: RGB, 180 to 900 pixels on its longer side."""
    longer, aspect = (
        np.exp(rng.uniform(np.log(180), np.log(900))),
        rng.choice([0.67, 0.75, 1, 1.33, 1.5]),
    )
    final = round(longer * min(aspect, 1)), round(longer / max(aspect, 1))
    enlarge = max(520, min(1.5 * longer, 1000)) / longer
    size = round(final[0] * enlarge), round(final[1] * enlarge)

    inside = rng.random() < (0.5 if label == "teddy" else 0.25)
    paint = _plain if rng.random() < 0.2 else _indoors if inside else _outdoors
    scene = paint(rng, (size[0] // 2, size[1] // 2))
    scene = scene.filter(ImageFilter.GaussianBlur(size[0] * rng.uniform(0.0, 0.004))).resize(size)
    poses = _TOYS if label == "teddy" else _WILD
    pose, box = poses[rng.integers(len(poses))]
    fur = np.array(_FURS[label][rng.integers(len(_FURS[label]))]) * rng.uniform(0.94, 1.06, 3)
    pen = _pen(rng, size, box, fur, rng.uniform(0.003, 0.006) if label == "teddy" else 0.008)
    pose(pen, label)
    _put(scene, pen, shadow=pose is not _portrait)
    if rng.random() < 0.35:
        _cover(scene, rng, inside)
    return _photograph(scene.resize(final, Image.Resampling.BOX), rng)


# ---- the pen -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pen:
    """Draws in bear units on two layers, colour and coverage. Details wait for the fur."""

    rng: Dice
    image: Image.Image
    mask: Image.Image
    matrix: np.ndarray  # (2, 3): bear units to pixels
    fur: np.ndarray
    fuzz: float  # how far single hairs stick out, in bear units
    details: list[Callable[[Image.Image], None]] = field(default_factory=list)

    def inside(self, x: float, y: float, size: float, degrees: float) -> _Pen:
        """A pen for a part with a frame of its own."""
        frame = np.column_stack([_turn(degrees) * size, (x, y)])
        matrix = self.matrix[:, :2] @ frame
        matrix[:, 2] += self.matrix[:, 2]
        return replace(self, matrix=matrix, fuzz=self.fuzz / size)

    def pixels(self, points: np.ndarray) -> list[float]:
        flat: list[float] = (points @ self.matrix[:, :2].T + self.matrix[:, 2]).ravel().tolist()
        return flat

    def part(self, points: np.ndarray, tone: float = 1.0, colour: Colour | None = None) -> None:
        """A rounded, furry part: four nested outlines, lighter towards the light above."""
        base = np.array(self.fur if colour is None else colour) * tone
        centre, extent = points.mean(0), np.ptp(points, axis=0)
        hair = self.fuzz / max(extent.min(), 0.05) * self.rng.standard_normal((len(points), 1))
        arms = (points - centre) * (1 + hair)
        ImageDraw.Draw(self.mask).polygon(self.pixels(centre + arms), fill=255)
        for shrink, light in ((1.0, 0.72), (0.86, 0.9), (0.66, 1.03), (0.4, 1.14)):
            shape = centre - (0, 0.16 * extent[1] * (1 - shrink)) + arms * shrink
            ImageDraw.Draw(self.image).polygon(self.pixels(shape), fill=_rgb(base * light))

    def oval(self, x: float, y: float, rx: float, ry: float, degrees: float = 0, tone: float = 1.0,
             colour: Colour | None = None) -> None:  # fmt: skip
        self.part(_oval(x, y, rx, ry, degrees), tone, colour)

    def detail(self, points: np.ndarray, colour: Colour) -> None:
        """A sharp spot: an eye, a nose, a bow."""
        shape, ink = self.pixels(points), _rgb(colour)
        ImageDraw.Draw(self.mask).polygon(shape, fill=255)
        self.details.append(lambda image: ImageDraw.Draw(image).polygon(shape, fill=ink))

    def line(self, points: list[Place] | np.ndarray, colour: Colour, width: float) -> None:
        path, ink = self.pixels(np.array(points)), _rgb(colour)
        wide = max(1, round(width * float(np.hypot(*self.matrix[:, 0]))))
        ImageDraw.Draw(self.mask).line(path, fill=255, width=wide)
        self.details.append(lambda image: ImageDraw.Draw(image).line(path, fill=ink, width=wide))


def _pen(
    rng: Dice, size: Size, box: tuple[float, float, float, float], fur: np.ndarray, fuzz: float
) -> _Pen:
    """A pen that fits the box (left, top, right, bottom in bear units) loosely into the canvas."""
    corner, extent = np.array(box[:2]), np.array(box[2:]) - box[:2]
    scale = float(np.min(np.array(size) / extent)) * rng.uniform(0.8, 1.1)
    flip = rng.choice([-1, 1])
    linear = scale * _turn(rng.normal(0, 3.5)) @ np.diag([flip * rng.uniform(0.93, 1.07), 1.0])
    free = np.maximum(size - scale * extent, 0)
    middle = np.array(size) / 2 + free * rng.uniform([-0.45, -0.1], [0.45, 0.48])
    matrix = np.column_stack([linear, middle - linear @ (corner + extent / 2)])
    image, mask = Image.new("RGB", size, _rgb(fur * 0.8)), Image.new("L", size)
    return _Pen(rng, image, mask, matrix, fur, fuzz)


def _put(scene: Image.Image, pen: _Pen, shadow: bool) -> None:
    """Soften and comb the fur, add the details and a shadow, and lay the bear over the scene."""
    (w, h), scale = scene.size, float(np.hypot(*pen.matrix[:, 0]))
    soft = pen.image.reduce(2).filter(ImageFilter.GaussianBlur(scale * 0.0045)).resize((w, h))
    comb = _noise(pen.rng, (w, h), (w // 4, h // 16)) * np.float32(pen.rng.uniform(0.1, 0.2))
    comb += _noise(pen.rng, (w, h), (9, 9)) * np.float32(pen.rng.uniform(0.04, 0.14))
    pixels = np.asarray(soft) * (1 + comb)[..., None] + 12 * comb[..., None]
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    for detail in pen.details:
        detail(image)
    if shadow:
        flat = pen.mask.resize((w // 4, h // 24)).filter(ImageFilter.GaussianBlur(w / 160))
        at = (0, round(pen.matrix[1, 2] - h / 7))  # paws stand at y = 0
        dim = flat.resize((w, h // 6)).point(lambda v: v * 0.55)
        scene.paste((14, 12, 16), (*at, w, at[1] + h // 6), dim)
    scene.paste(image, mask=pen.mask)


# ---- shapes --------------------------------------------------------------------------------------


def _turn(degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


def _curve(points: list[Place]) -> np.ndarray:
    """A closed, smooth outline through the points (Catmull-Rom)."""
    p = np.array(points, float)[:, None]
    a, b, c = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = np.linspace(0, 1, 9, endpoint=False)[None, :, None]
    square, cube = 2 * a - 5 * p + 4 * b - c, 3 * p - a - 3 * b + c
    return np.reshape(p + (b - a) * t / 2 + square * t**2 / 2 + cube * t**3 / 2, (-1, 2))


def _both(half: list[Place]) -> np.ndarray:
    """A symmetrical outline from its right half."""
    return _curve(half + [(-x, y) for x, y in reversed(half) if x > 0])


def _oval(x: float, y: float, rx: float, ry: float, degrees: float = 0) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 56, endpoint=False)
    return np.asarray(np.column_stack([rx * np.cos(t), ry * np.sin(t)]) @ _turn(degrees).T + (x, y))


def _leg(
    pen: _Pen, label: str, hip: Place, paw: Place, wide: float, tone: float, claws: str = "none"
) -> None:
    """A leg from hip to paw; claws: none, ahead (seen from the side), down (from the front)."""
    (x, y), (u, v), thin, calf = hip, paw, wide * 0.55, wide * 0.8
    m, n = (x + u) / 2 + 0.015, (y + v) / 2
    front = [(x + wide, y), (m + calf, n), (u + thin, v - 0.05), (u + thin * 1.5, v - 0.01)]
    back = [(u, v), (u - thin, v), (m - calf, n), (x - wide, y), (x, y - wide)]
    pen.part(_curve(front + back), tone)
    long, colour = (0.095, (230, 216, 184)) if label == "grizzly" else (0.02, (64, 58, 56))
    for k in range(4 if claws != "none" else 0):
        ahead = claws == "ahead"
        root = np.array(
            [u + 0.025 + 0.03 * k, v - 0.035] if ahead else [u + 0.03 * (k - 1), v - 0.025]
        )
        tip = np.array([long, 0.04] if ahead else [0.006 * (k - 1), long * 0.8])
        pen.line(np.array([root, root + tip * (0.7, 0.3), root + tip]), colour, 0.014)


# ---- heads ---------------------------------------------------------------------------------------


def _profile(pen: _Pen, label: str, x: float, y: float, size: float, degrees: float) -> None:
    pen = pen.inside(x, y, size, degrees)
    round_ears = {"grizzly": _oval(-0.26, -0.47, 0.13, 0.13), "teddy": _oval(-0.12, -0.5, 0.2, 0.2)}
    ear = round_ears.get(label, _curve(_TALL_EAR))
    pen.part(ear + (0.2, -0.01), 0.75)
    pen.part(_curve(_PROFILE[label]), 1.04)
    pen.part(_curve(_MUZZLE[label]), 1.0, _muzzle_colour(pen, label))
    _ear(pen, label, ear)
    u, v = {"grizzly": (0.69, -0.04), "black": (0.79, -0.01), "teddy": (0.68, 0.03)}[label]
    pen.detail(_oval(u, v, 0.075, 0.062, 20), _INK)
    pen.line([(u - 0.05, 0.13), (0.52, 0.13), (0.4, 0.07)], pen.fur * 0.35, 0.022)
    _eye(pen, 0.24, -0.17, label)
    if label == "teddy":
        pen.line(_oval(-0.05, 0.0, 0.1, 0.46)[14:43], pen.fur * 0.55, 0.018)


def _face(pen: _Pen, label: str, x: float, y: float, size: float, degrees: float) -> None:
    pen, look = pen.inside(x, y, size, degrees), pen.rng.uniform(-0.09, 0.09)
    round_ears = {"grizzly": _oval(0.43, -0.39, 0.15, 0.14), "teddy": _oval(0.4, -0.38, 0.2, 0.2)}
    for side in (-1, 1):
        _ear(pen, label, round_ears.get(label, _curve(_TALL_EARS)) * (side, 1))
    pen.part(_both(_FACE[label]), 1.05)
    nose = {"grizzly": 0.2, "black": 0.3, "teddy": 0.08}[label]
    if label == "teddy":
        pen.oval(look, 0.17, 0.25, 0.19, 0, 1.0, _muzzle_colour(pen, label))
        pen.line([(look, 0.0), (look * 0.8, -0.2), (look * 0.4, -0.43)], pen.fur * 0.55, 0.018)
    else:
        snout = _both([(0, -0.06), (0.11, -0.04), (0.21, 0.3), (0, nose + 0.21)])
        pen.part(snout + (look * 1.3, 0), 1.05, _muzzle_colour(pen, label))
    u = look if label == "teddy" else look * 1.4
    pen.detail(_both([(0, -0.05), (0.1, -0.03), (0.04, 0.06)]) + (u, nose), _INK)
    for side in (-1, 1):
        corner = (u + 0.11 * side, nose + (0.12 if label == "teddy" else 0.2))
        pen.line([(u, nose), (u, nose + 0.16), corner], _INK, 0.02)
        _eye(pen, look + side * (0.15 if label == "black" else 0.2), -0.07, label)


def _ear(pen: _Pen, label: str, outline: np.ndarray) -> None:
    middle = outline.mean(0)
    pen.part(outline, 1.1)
    pen.part((outline - middle) * 0.57 + middle + (0, 0.03), 1.25 if label == "teddy" else 0.6)


def _eye(pen: _Pen, x: float, y: float, label: str) -> None:
    r = 0.064 if label == "teddy" else 0.037
    pen.detail(_oval(x, y, r, r), _INK)
    pen.detail(_oval(x + r * 0.3, y - r * 0.35, r * 0.3, r * 0.3), _GLINT)


def _muzzle_colour(pen: _Pen, label: str) -> Colour:
    return {"grizzly": pen.fur * 1.12, "black": np.array(_TAN), "teddy": pen.fur * 0.5 + 112}[label]


# ---- poses ---------------------------------------------------------------------------------------


def _walk(pen: _Pen, label: str) -> None:
    """On four legs, from the side: grizzlies are highest at the shoulder, black bears behind."""
    step, low, belly = pen.rng.uniform([-0.13, -0.04, -0.24], [0.13, 0.22, -0.17])
    _leg(pen, label, (-0.36, -0.32), (-0.31 + step, -0.03), 0.13, 0.62)
    _leg(pen, label, (0.17, -0.32), (0.22 - step, -0.03), 0.13, 0.62)
    belly_line = [(0.0, belly), (-0.25, belly)]
    pen.part(_curve(_BACK[label] + _FRONT + belly_line + _REAR))
    _leg(pen, label, (-0.37, -0.34), (-0.37 - step, 0), 0.15, 1.0, "ahead")
    _leg(pen, label, (0.2, -0.34), (0.2 + step, 0), 0.15, 1.0, "ahead")
    _profile(pen, label, 0.49, -0.54 + low, 0.38, 60 * low + pen.rng.normal(0, 5))


def _sit_aside(pen: _Pen, label: str) -> None:
    _leg(pen, label, (0.12, -0.42), (0.3, -0.02), 0.11, 0.62)
    front = [(0.18, -0.66), (0.22, -0.4), (0.18, -0.1), (0, 0), (-0.3, -0.03), (-0.36, -0.24)]
    pen.part(_curve(_UPRIGHT[label] + front))
    pen.oval(0.06, -0.72, 0.17, 0.2)
    pen.oval(-0.1, -0.18, 0.2, 0.17, 0, 1.06)
    _leg(pen, label, (0.0, -0.1), (0.1, -0.01), 0.08, 1.0, "ahead")
    _leg(pen, label, (0.1, -0.46), (0.22, 0), 0.13, 1.02, "ahead")
    _profile(pen, label, 0.18, -0.86, 0.42, pen.rng.uniform(-8, 14))


def _sit_facing(pen: _Pen, label: str) -> None:
    if label == "grizzly":
        pen.oval(0, -0.72, 0.36, 0.2, 0, 0.75)
    pen.part(_both([(0, -0.74), (0.2, -0.66), (0.3, -0.35), (0.32, -0.1), (0, 0)]), 0.98)
    for side in (-1, 1):
        pen.oval(side * 0.3, -0.16, 0.15, 0.17, side * 20)
        _leg(pen, label, (side * 0.32, -0.1), (side * 0.34, -0.01), 0.08, 1.08, "down")
        _leg(pen, label, (side * 0.14, -0.5), (side * 0.12, -0.01), 0.11, 1.06, "down")
    _face(pen, label, 0, -0.88, pen.rng.uniform(0.46, 0.54), pen.rng.normal(0, 5))


def _come(pen: _Pen, label: str) -> None:
    """Towards us on four legs; the grizzly's hump stands above its head."""
    x, y = pen.rng.uniform([-0.05, -0.66], [0.05, -0.5])
    pen.oval(0.08, -0.5, 0.34, 0.3, 0, 0.78)
    if label == "grizzly":
        pen.oval(0, -0.68, 0.3, 0.2, 0, 0.72)
    pen.oval(0, -0.44, 0.3, 0.3, 0, 0.88)
    for side in (-1, 1):
        paw = side * pen.rng.uniform(0.15, 0.24)
        _leg(pen, label, (side * 0.17, -0.42), (paw, 0), 0.14, 1.0, "down")
    _face(pen, label, x, y, 0.48, pen.rng.normal(0, 5))


def _toy_aside(pen: _Pen, label: str) -> None:
    back = [(-0.3, -0.03), (-0.36, -0.24), (-0.25, -0.45), (-0.12, -0.6)]
    pen.part(_curve([*back, (0.16, -0.6), (0.22, -0.3), (0.1, 0)]))
    pen.oval(0.2, -0.1, 0.26, 0.11, 0, 1.04)
    pen.oval(0.45, -0.13, 0.075, 0.13, 8, 1.1)
    pen.oval(0.5, -0.13, 0.035, 0.09, 8, 1.0, _muzzle_colour(pen, label))
    pen.oval(0.06, -0.4, 0.21, 0.085, pen.rng.uniform(-30, 50), 1.06)
    _profile(pen, label, 0.02, -0.8, pen.rng.uniform(0.5, 0.62), pen.rng.normal(0, 7))
    _bow(pen, 0.1, -0.55)


def _toy_facing(pen: _Pen, label: str) -> None:
    """Sitting with the soles towards us, or standing."""
    sits, up = pen.rng.random() < 0.7, pen.rng.choice([-35, 20, 55])
    spread = pen.rng.uniform(0.24, 0.36)
    pen.oval(0, -0.36, 0.29, 0.38, 0, 0.98)
    if pen.rng.random() < 0.5:
        pen.oval(0, -0.32, 0.17, 0.22, 0, 1.0, pen.fur * 0.6 + 85)
    pen.line([(0, -0.6), (0.012, -0.3), (0, -0.04)], pen.fur * 0.55, 0.009)
    for side in (-1, 1):
        pen.oval(side * 0.32, -0.46, 0.19, 0.085, side * up, 1.06)
        if not sits:
            pen.oval(side * 0.16, 0.02, 0.13, 0.22, 0, 1.0)
            continue
        pen.oval(side * spread, -0.13, 0.19, 0.13, side * 25)
        pen.oval(side * (spread + 0.1), -0.12, 0.125, 0.14, 0, 1.08)
        pen.oval(side * (spread + 0.11), -0.12, 0.08, 0.095, 0, 1.0, _muzzle_colour(pen, label))
    _face(pen, label, 0, -0.9, pen.rng.uniform(0.56, 0.7), pen.rng.normal(0, 7))
    _bow(pen, 0, -0.63)


def _portrait(pen: _Pen, label: str) -> None:
    """The head and some shoulder; behind a grizzly's head stands its hump."""
    if label == "grizzly":
        pen.oval(-0.12, 0.1, 0.62, 0.58, 0, 0.8)
    pen.oval(0 if label == "teddy" else -0.1, 0.6, 0.5, 0.55, 0, 0.9)
    head = _face if pen.rng.random() < 0.6 else _profile
    head(pen, label, 0.05, 0.0, 0.85, pen.rng.normal(0, 6))
    if label == "teddy":
        _bow(pen, 0.02, 0.44)


def _bow(pen: _Pen, x: float, y: float) -> None:
    if pen.rng.random() < 0.5:
        return
    colour = np.array(_BOWS[pen.rng.integers(len(_BOWS))])
    for side in (-1, 1):
        wing = [(x, y), (x + side * 0.12, y - 0.07), (x + side * 0.14, y + 0.06)]
        pen.detail(_curve(wing), colour)
    pen.detail(_oval(x, y, 0.03, 0.035), 0.7 * colour)


# The pose, and the box that it fills: left, top, right, bottom.
_FOURS, _ERECT, _HEAD = (
    (-0.58, -0.85, 0.82, 0.06),
    (-0.5, -1.2, 0.5, 0.06),
    (-0.62, -0.72, 0.72, 0.62),
)
_ASIDE, _TOY = (-0.42, -1.2, 0.58, 0.06), (-0.52, -1.25, 0.52, 0.2)
_WILD = [(_walk, _FOURS)] * 2 + [(_sit_aside, _ASIDE), (_sit_facing, _ERECT), (_come, _ERECT)]
_WILD += [(_portrait, _HEAD)]
_TOYS = [(_toy_aside, _ASIDE), (_toy_facing, _TOY), (_toy_facing, _TOY), (_portrait, _HEAD)]


# ---- scenes --------------------------------------------------------------------------------------


def _noise(rng: Dice, size: Size, cells: Size) -> np.ndarray:
    """(height, width) of smooth noise with so many cells across and down, mean 0."""
    grid = rng.standard_normal((max(cells[1], 2), max(cells[0], 2)), np.float32)
    return np.array(Image.fromarray(grid).resize(size, Image.Resampling.BILINEAR))


def _gradient(
    rng: Dice, size: Size, stops: Sequence[tuple[float, Colour]], rough: float
) -> Image.Image:
    """Colours from top to bottom, with clouds."""
    w, h = size[0] // 2, size[1] // 2
    colours, y = np.array([colour for _, colour in stops], float), np.linspace(0, 1, h)
    column = [np.interp(y, [place for place, _ in stops], colours[:, c]) for c in range(3)]
    cloud = 1 + rough * (_noise(rng, (w, h), (6, 6)) + _noise(rng, (w, h), (w // 9, h // 9)))
    pixels = np.stack(column, -1)[:, None] * cloud[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize(size)


def _plain(rng: Dice, size: Size) -> Image.Image:
    tint = rng.uniform(60, 245) + rng.uniform(-25, 25, 3)
    return _gradient(rng, size, [(0, tint), (0.7, tint * 1.06), (1, tint * 0.85)], 0.015)


def _outdoors(rng: Dice, size: Size) -> Image.Image:
    """Forest, meadow, river or snow below a sky and mountains."""
    (w, h), far = size, rng.uniform(0.25, 0.55)
    place = rng.choice(["forest", "meadow", "river", "snow"])
    sky = np.array([(150, 180, 215), (190, 196, 200), (216, 178, 150)][rng.integers(3)])
    green = [(110, 140, 60), (150, 140, 76), (84, 110, 50)][rng.integers(3)]
    ground = np.array((238, 240, 246) if place == "snow" else green) * rng.uniform(0.85, 1.05)
    scene = _gradient(rng, size, [(0, sky), (far, (222, 224, 224)), (1, sky)], 0.05)
    pencil = ImageDraw.Draw(scene)
    for y, rough, colour in ((far - 0.07, 0.035, (128, 142, 156)), (far, 0.014, (74, 92, 72))):
        ridge = [(w * k / 24, h * (y + rough * rng.standard_normal())) for k in range(25)]
        pencil.polygon([*ridge, (w, h), (0, h)], fill=_rgb(colour))
    rough = 0.03 if place == "snow" else 0.12
    low = _gradient(rng, size, [(0, ground * 1.1), (1, ground * 0.75)], rough)
    scene.paste(low, (0, round(h * (far + 0.04))))
    if place == "forest":
        _trees(pencil, rng, size, far)
    elif place == "meadow":
        _blades(scene, rng, 220, far + 0.1, 1.1, 0.04)
    elif place == "river":
        shore = round(h * rng.uniform(0.55, 0.75))
        water = _gradient(rng, size, [(0, (130, 158, 170)), (1, (58, 88, 104))], 0.14)
        scene.paste(water, (0, shore))
        for x, y, wide in rng.uniform([0, shore, w * 0.02], [w, h, w * 0.1], (70, 3)):
            pencil.line((x, y, x + wide, y), fill=(196, 212, 218))
    return scene


def _trees(pencil: ImageDraw.ImageDraw, rng: Dice, size: Size, far: float) -> None:
    w, h = size
    for depth in np.sort(rng.uniform(0.2, 1, rng.integers(10, 24))):
        x, base, dark = rng.uniform(0, w), h * (far + 0.04 + 0.14 * depth), 1.35 - 0.6 * depth
        half = w * 0.018 * depth
        pencil.rectangle((x - half, 0, x + half, base), fill=_rgb(np.array([70, 58, 46]) * dark))
        for k in range(6 if rng.random() < 0.5 else 0):
            wide, top = half * (k + 2), base * (k - 0.6) / 6.5
            green = _rgb(np.array([46, 70, 46]) * (dark + 0.04 * k))
            low = top + base / 4
            pencil.polygon([(x, top), (x - wide, low), (x + wide, low)], fill=green)


def _indoors(rng: Dice, size: Size) -> Image.Image:
    """A shelf of books, or a room with a picture on the wall and a sofa."""
    (w, h), edge = size, rng.uniform(0.6, 0.9)
    wall = rng.uniform(90, 215) + rng.uniform(-30, 30, 3)
    wood = np.array([150, 106, 70]) * rng.uniform(0.5, 1.25)
    stops = [(0, wall), (edge - 0.01, wall * 0.9), (edge, wood), (1, wood * 0.8)]
    scene = _gradient(rng, size, stops, 0.03)
    pencil = ImageDraw.Draw(scene)
    if rng.random() < 0.5:
        for x in np.cumsum(rng.uniform(0.03, 0.09, 24)) * w:
            top = h * (edge - rng.uniform(0.2, 0.6))
            pencil.rectangle((x, top, x + w * 0.04, h * edge), fill=_rgb(rng.uniform(30, 210, 3)))
        return scene
    x, y, wide = rng.uniform([0.05, 0.02, 0.15], [0.7, 0.2, 0.3]) * (w, h, w)
    art, cloth = (
        _rgb(rng.uniform(140, 230, 3)),
        _rgb(rng.uniform(60, 170) + rng.uniform(-40, 40, 3)),
    )
    pencil.rectangle((x, y, x + wide, y + h * 0.3), art, (90, 70, 54), w // 60)
    x = w * rng.uniform(-0.1, 0.6)
    pencil.rounded_rectangle((x, h * (edge - 0.3), x + w * 0.55, h * (edge + 0.05)), w // 30, cloth)
    return scene


def _blades(scene: Image.Image, rng: Dice, n: int, top: float, bottom: float, tall: float) -> None:
    (w, h), pencil = scene.size, ImageDraw.Draw(scene)
    for y in np.sort(rng.uniform(top, bottom, n)) * h:
        x, lean, long = rng.uniform(0, w), rng.normal(0, 0.3), h * tall * rng.uniform(0.5, 1.3)
        green = _rgb(np.array([104, 124, 52]) * rng.uniform(0.55, 1.3) * rng.uniform(0.9, 1.1, 3))
        pencil.polygon([(x, y), (x + w * 0.008, y), (x + lean * long, y - long)], fill=green)


def _cover(scene: Image.Image, rng: Dice, inside: bool) -> None:
    """Something in front of the bear: grass, a branch, or a cushion."""
    (w, h), pencil = scene.size, ImageDraw.Draw(scene)
    if inside:
        x, r = w * rng.random(), w * rng.uniform(0.1, 0.22)
        pencil.ellipse((x - r, h - r * 0.7, x + r, h + r), fill=_rgb(rng.uniform(40, 210, 3)))
    elif rng.random() < 0.6:
        _blades(scene, rng, int(rng.integers(60, 200)), 0.95, 1.15, rng.uniform(0.15, 0.35))
    else:
        a, b = np.array([-0.05 * w, h * rng.random()]), rng.uniform([0.4, 0.1], [1.0, 0.9]) * (w, h)
        pencil.line((*a, *b), fill=(66, 52, 40), width=w // 90)
        for x, y in a + (b - a) * rng.random((24, 1)) + rng.normal(0, h * 0.02, (24, 2)):
            pencil.ellipse((x, y, x + w * 0.035, y + w * 0.02), fill=(74, 100, 50))


def _photograph(scene: Image.Image, rng: Dice) -> Image.Image:
    """Light, a vignette, the lens and the sensor."""
    (w, h), (tint, contrast) = scene.size, _LIGHTS[rng.integers(len(_LIGHTS))]
    if rng.random() < 0.3:
        scene = scene.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.0025 * max(w, h) + 0.4)))
    x, y = np.float32(np.linspace(-1, 1, w)), np.float32(np.linspace(-1, 1, h))[:, None]
    side, dark, gain, grain = rng.uniform([-0.18, 0, 0.85, 0.5], [0.18, 0.16, 1.15, 7]).tolist()
    light = (1 + side * x - dark * (x * x + y * y))[..., None] * np.array(tint, np.float32) * gain
    pixels = ((np.asarray(scene, np.float32) - 118) * contrast + 118) * light
    pixels += grain * rng.standard_normal((h, w, 1), np.float32)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _rgb(colour: Colour) -> tuple[int, int, int]:
    r, g, b = (min(255, max(0, int(c))) for c in colour)
    return r, g, b
