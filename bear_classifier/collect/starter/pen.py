"""A pen that draws furry shapes in units of the bear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image, ImageDraw

Random = np.random.Generator
Size = tuple[int, int]
Point = tuple[float, float]
Colour = np.ndarray | tuple[float, float, float]


@dataclass(frozen=True)
class Pen:
    """Draws in bear units on two layers, colour and coverage. Details wait for the fur."""

    rng: Random
    image: Image.Image
    mask: Image.Image
    matrix: np.ndarray  # (2, 3): bear units to pixels
    fur: np.ndarray
    fuzz: float  # how far single hairs stick out, in bear units
    details: list[Callable[[Image.Image], None]] = field(default_factory=list)

    def inside(self, x: float, y: float, size: float, degrees: float) -> Pen:
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
            ImageDraw.Draw(self.image).polygon(self.pixels(shape), fill=rgb(base * light))

    def detail(self, points: np.ndarray, colour: Colour) -> None:
        """A sharp spot: an eye, a nose, a bow."""
        shape, ink = self.pixels(points), rgb(colour)
        ImageDraw.Draw(self.mask).polygon(shape, fill=255)
        self.details.append(lambda image: ImageDraw.Draw(image).polygon(shape, fill=ink))

    def line(self, points: list[Point] | np.ndarray, colour: Colour, width: float) -> None:
        path, ink = self.pixels(np.array(points)), rgb(colour)
        wide = max(1, round(width * float(np.hypot(*self.matrix[:, 0]))))
        ImageDraw.Draw(self.mask).line(path, fill=255, width=wide)
        self.details.append(lambda image: ImageDraw.Draw(image).line(path, fill=ink, width=wide))


def fit_pen(
    rng: Random, size: Size, box: tuple[float, float, float, float], fur: np.ndarray, fuzz: float
) -> Pen:
    """A pen that fits the box (left, top, right, bottom in bear units) loosely into the canvas."""
    corner, extent = np.array(box[:2]), np.array(box[2:]) - box[:2]
    scale = float(np.min(np.array(size) / extent)) * rng.uniform(0.8, 1.1)
    flip = rng.choice([-1, 1])
    linear = scale * _turn(rng.normal(0, 3.5)) @ np.diag([flip * rng.uniform(0.93, 1.07), 1.0])
    free = np.maximum(size - scale * extent, 0)
    middle = np.array(size) / 2 + free * rng.uniform([-0.45, -0.1], [0.45, 0.48])
    matrix = np.column_stack([linear, middle - linear @ (corner + extent / 2)])
    image, mask = Image.new("RGB", size, rgb(fur * 0.8)), Image.new("L", size)
    return Pen(rng, image, mask, matrix, fur, fuzz)


def _turn(degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


def smooth_outline(points: list[Point]) -> np.ndarray:
    """A closed, smooth outline through the points (Catmull-Rom)."""
    p = np.array(points, float)[:, None]
    a, b, c = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = np.linspace(0, 1, 9, endpoint=False)[None, :, None]
    square, cube = 2 * a - 5 * p + 4 * b - c, 3 * p - a - 3 * b + c
    return np.reshape(p + (b - a) * t / 2 + square * t**2 / 2 + cube * t**3 / 2, (-1, 2))


def mirrored_outline(half: list[Point]) -> np.ndarray:
    """A symmetrical outline from its right half."""
    return smooth_outline(half + [(-x, y) for x, y in reversed(half) if x > 0])


def oval(x: float, y: float, rx: float, ry: float, degrees: float = 0) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 56, endpoint=False)
    return np.asarray(np.column_stack([rx * np.cos(t), ry * np.sin(t)]) @ _turn(degrees).T + (x, y))


def rgb(colour: Colour) -> tuple[int, int, int]:
    r, g, b = (min(255, max(0, int(c))) for c in colour)
    return r, g, b
