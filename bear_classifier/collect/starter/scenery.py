"""Backgrounds and foregrounds of drawn bears."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from bear_classifier.collect.starter.pen import Colour, Random, Size, rgb


def noise(rng: Random, size: Size, cells: Size) -> np.ndarray:
    """(height, width) of smooth noise with so many cells across and down, mean 0."""
    grid = rng.standard_normal((max(cells[1], 2), max(cells[0], 2)), np.float32)
    return np.array(Image.fromarray(grid).resize(size, Image.Resampling.BILINEAR))


def _gradient(
    rng: Random, size: Size, stops: Sequence[tuple[float, Colour]], rough: float
) -> Image.Image:
    """Colours from top to bottom, with clouds."""
    w, h = size[0] // 2, size[1] // 2
    colours, y = np.array([colour for _, colour in stops], float), np.linspace(0, 1, h)
    column = [np.interp(y, [place for place, _ in stops], colours[:, c]) for c in range(3)]
    cloud = 1 + rough * (noise(rng, (w, h), (6, 6)) + noise(rng, (w, h), (w // 9, h // 9)))
    pixels = np.stack(column, -1)[:, None] * cloud[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize(size)


def plain_background(rng: Random, size: Size) -> Image.Image:
    tint = rng.uniform(60, 245) + rng.uniform(-25, 25, 3)
    return _gradient(rng, size, [(0, tint), (0.7, tint * 1.06), (1, tint * 0.85)], 0.015)


def outdoors(rng: Random, size: Size) -> Image.Image:
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
        pencil.polygon([*ridge, (w, h), (0, h)], fill=rgb(colour))
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


def _trees(pencil: ImageDraw.ImageDraw, rng: Random, size: Size, far: float) -> None:
    w, h = size
    for depth in np.sort(rng.uniform(0.2, 1, rng.integers(10, 24))):
        x, base, dark = rng.uniform(0, w), h * (far + 0.04 + 0.14 * depth), 1.35 - 0.6 * depth
        half = w * 0.018 * depth
        pencil.rectangle((x - half, 0, x + half, base), fill=rgb(np.array([70, 58, 46]) * dark))
        for k in range(6 if rng.random() < 0.5 else 0):
            wide, top = half * (k + 2), base * (k - 0.6) / 6.5
            green = rgb(np.array([46, 70, 46]) * (dark + 0.04 * k))
            low = top + base / 4
            pencil.polygon([(x, top), (x - wide, low), (x + wide, low)], fill=green)


def indoors(rng: Random, size: Size) -> Image.Image:
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
            pencil.rectangle((x, top, x + w * 0.04, h * edge), fill=rgb(rng.uniform(30, 210, 3)))
        return scene
    x, y, wide = rng.uniform([0.05, 0.02, 0.15], [0.7, 0.2, 0.3]) * (w, h, w)
    art = rgb(rng.uniform(140, 230, 3))
    cloth = rgb(rng.uniform(60, 170) + rng.uniform(-40, 40, 3))
    pencil.rectangle((x, y, x + wide, y + h * 0.3), art, (90, 70, 54), w // 60)
    x = w * rng.uniform(-0.1, 0.6)
    pencil.rounded_rectangle((x, h * (edge - 0.3), x + w * 0.55, h * (edge + 0.05)), w // 30, cloth)
    return scene


def _blades(
    scene: Image.Image, rng: Random, n: int, top: float, bottom: float, tall: float
) -> None:
    (w, h), pencil = scene.size, ImageDraw.Draw(scene)
    for y in np.sort(rng.uniform(top, bottom, n)) * h:
        x, lean, long = rng.uniform(0, w), rng.normal(0, 0.3), h * tall * rng.uniform(0.5, 1.3)
        green = rgb(np.array([104, 124, 52]) * rng.uniform(0.55, 1.3) * rng.uniform(0.9, 1.1, 3))
        pencil.polygon([(x, y), (x + w * 0.008, y), (x + lean * long, y - long)], fill=green)


def draw_foreground(scene: Image.Image, rng: Random, inside: bool) -> None:
    """Something in front of the bear: grass, a branch, or a cushion."""
    (w, h), pencil = scene.size, ImageDraw.Draw(scene)
    if inside:
        x, r = w * rng.random(), w * rng.uniform(0.1, 0.22)
        pencil.ellipse((x - r, h - r * 0.7, x + r, h + r), fill=rgb(rng.uniform(40, 210, 3)))
    elif rng.random() < 0.6:
        _blades(scene, rng, int(rng.integers(60, 200)), 0.95, 1.15, rng.uniform(0.15, 0.35))
    else:
        a, b = np.array([-0.05 * w, h * rng.random()]), rng.uniform([0.4, 0.1], [1.0, 0.9]) * (w, h)
        pencil.line((*a, *b), fill=(66, 52, 40), width=w // 90)
        for x, y in a + (b - a) * rng.random((24, 1)) + rng.normal(0, h * 0.02, (24, 2)):
            pencil.ellipse((x, y, x + w * 0.035, y + w * 0.02), fill=(74, 100, 50))
