"""Draw pictures of bears for the starter set."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from bear_classifier.collect.starter import scenery
from bear_classifier.collect.starter.bears import FURS, TOYS, WILD, portrait
from bear_classifier.collect.starter.pen import Pen, Random, fit_pen
from bear_classifier.collect.starter.scenery import noise

LABELS = ("grizzly", "black", "teddy")

_LIGHTS = [  # tint and contrast
    ((1, 1, 1), 1.0),  # day
    ((1, 1, 0.97), 1.12),  # sun
    ((1, 0.82, 0.7), 0.95),  # dusk
    ((0.7, 0.76, 0.9), 0.9),  # night
    ((1.14, 1.18, 1.26), 0.85),  # snow glare
    ((1.04, 0.9, 0.68), 1.0),  # lamp
]


def draw_bear(label: str, rng: Random) -> Image.Image:
    """One picture of a bear of this class: RGB, 180 to 900 pixels on its longer side.

    Light, sharpness, size and most backgrounds are drawn alike for every class, and the colours of
    fur overlap, so that the shape decides: the grizzly's hump, dished face and long pale claws; the
    black bear's straight profile, tall ears and tan muzzle; the teddy's round head, button eyes and
    seams."""
    longer = np.exp(rng.uniform(np.log(180), np.log(900)))
    aspect = rng.choice([0.67, 0.75, 1, 1.33, 1.5])
    final = round(longer * min(aspect, 1)), round(longer / max(aspect, 1))
    enlarge = max(520, min(1.5 * longer, 1000)) / longer
    size = round(final[0] * enlarge), round(final[1] * enlarge)

    inside = rng.random() < (0.5 if label == "teddy" else 0.25)
    room = scenery.indoors if inside else scenery.outdoors
    paint = scenery.plain_background if rng.random() < 0.2 else room
    scene = paint(rng, (size[0] // 2, size[1] // 2))
    scene = scene.filter(ImageFilter.GaussianBlur(size[0] * rng.uniform(0.0, 0.004))).resize(size)
    poses = TOYS if label == "teddy" else WILD
    pose, box = poses[rng.integers(len(poses))]
    fur = np.array(FURS[label][rng.integers(len(FURS[label]))]) * rng.uniform(0.94, 1.06, 3)
    pen = fit_pen(rng, size, box, fur, rng.uniform(0.003, 0.006) if label == "teddy" else 0.008)
    pose(pen, label)
    _put(scene, pen, shadow=pose is not portrait)
    if rng.random() < 0.35:
        scenery.draw_foreground(scene, rng, inside)
    return _photograph(scene.resize(final, Image.Resampling.BOX), rng)


def _put(scene: Image.Image, pen: Pen, shadow: bool) -> None:
    """Soften and comb the fur, add the details and a shadow, and lay the bear over the scene."""
    (w, h), scale = scene.size, float(np.hypot(*pen.matrix[:, 0]))
    soft = pen.image.reduce(2).filter(ImageFilter.GaussianBlur(scale * 0.0045)).resize((w, h))
    comb = noise(pen.rng, (w, h), (w // 4, h // 16)) * np.float32(pen.rng.uniform(0.1, 0.2))
    comb += noise(pen.rng, (w, h), (9, 9)) * np.float32(pen.rng.uniform(0.04, 0.14))
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


def _photograph(scene: Image.Image, rng: Random) -> Image.Image:
    """Light, a vignette, the lens and the sensor."""
    (w, h), (tint, contrast) = scene.size, _LIGHTS[rng.integers(len(_LIGHTS))]
    if rng.random() < 0.3:
        scene = scene.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.0025 * max(w, h) + 0.4)))
    x, y = (np.linspace(-1, 1, n).astype(np.float32) for n in (w, h))
    y = y[:, None]
    side, dark, gain, grain = rng.uniform([-0.18, 0, 0.85, 0.5], [0.18, 0.16, 1.15, 7]).tolist()
    light = (1 + side * x - dark * (x * x + y * y))[..., None] * np.array(tint, np.float32) * gain
    pixels = ((np.asarray(scene, np.float32) - 118) * contrast + 118) * light
    pixels += grain * rng.standard_normal((h, w, 1), np.float32)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
