"""How a clip looks apart from its motion: clothes, hair, skin, object colours, the room and its light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from mmcl_cache.demo.camera import HEIGHT, WIDTH

__all__ = [
    "SUPERSAMPLE",
    "Colour",
    "Light",
    "Wardrobe",
    "draw_light",
    "draw_object_colours",
    "draw_wardrobe",
    "paint_room",
]

SUPERSAMPLE = 2  # figures are drawn this much larger and scaled down: edges without steps

Colour = tuple[int, int, int]

SKINS = ((255, 219, 190), (236, 188, 150), (200, 145, 105), (150, 100, 70), (105, 70, 50))
HAIRS = ((35, 28, 25), (85, 55, 35), (150, 110, 60), (200, 170, 110), (130, 130, 130), (120, 50, 30))
# One family of hues a kind, so that a kind can be told where its shape is a few pixels wide.
OBJECT_COLOURS: dict[str, tuple[Colour, ...]] = {
    "bottle": ((30, 190, 100), (40, 205, 130), (20, 175, 85)),
    "phone": ((15, 15, 20), (25, 25, 35)),
    "book": ((215, 30, 40), (190, 25, 45), (225, 50, 45)),
    "ball": ((250, 190, 20), (245, 160, 20), (250, 205, 60)),
    "bag": ((120, 40, 180), (100, 50, 190), (140, 45, 165)),
}


@dataclass(frozen=True)
class Wardrobe:
    """One person's colours; sleeves and trousers are long or short."""

    skin: Colour
    hair: Colour
    top: Colour
    bottom: Colour
    shoes: Colour
    long_sleeves: bool
    long_trousers: bool
    long_hair: bool


@dataclass(frozen=True)
class Light:
    """Gain of each colour channel, and the side (-1 left, 1 right) the light comes from."""

    gain: tuple[float, float, float]
    side: float

    def on(self, colour: Colour, shade: float = 1.0) -> Colour:
        """The colour under this light; shade < 1 darkens."""
        r, g, b = (int(min(max(c * k * shade, 0), 255)) for c, k in zip(colour, self.gain, strict=True))
        return r, g, b


def draw_wardrobe(rng: np.random.Generator) -> Wardrobe:
    """Clothes and looks of one person for one day."""
    return Wardrobe(
        skin=SKINS[int(rng.integers(len(SKINS)))],
        hair=HAIRS[int(rng.integers(len(HAIRS)))],
        top=_cloth(rng, 0.25, 0.95),
        bottom=_cloth(rng, 0.15, 0.7),
        shoes=_cloth(rng, 0.1, 0.9),
        long_sleeves=bool(rng.random() < 0.5),
        long_trousers=bool(rng.random() < 0.75),
        long_hair=bool(rng.random() < 0.4),
    )


def draw_light(rng: np.random.Generator) -> Light:
    """Between dim and bright, between warm and cold."""
    level, warmth = float(rng.uniform(0.72, 1.08)), float(rng.uniform(-0.06, 0.06))
    return Light((level * (1 + warmth), level, level * (1 - warmth)), float(rng.choice([-1.0, 1.0])))


def draw_object_colours(rng: np.random.Generator) -> dict[str, Colour]:
    """The colour of each kind of object in one clip."""
    chosen = {}
    for kind, colours in OBJECT_COLOURS.items():
        base = np.asarray(colours[int(rng.integers(len(colours)))]) + rng.integers(-15, 16, 3)
        r, g, b = (int(c) for c in np.clip(base, 0, 255))
        chosen[kind] = (r, g, b)
    return chosen


def _cloth(rng: np.random.Generator, dark: float, bright: float) -> Colour:
    """A colour of random hue, muted: what people hold stands out from what they wear and where they are."""
    hue, value, strength = rng.random(), rng.uniform(dark, bright), 0.45 * rng.beta(1.3, 2.0)
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (hue + np.array([0, 1 / 3, 2 / 3])))
    r, g, b = (int(c) for c in 255 * value * (1 - strength + strength * wheel))
    return r, g, b


def paint_room(rng: np.random.Generator, light: Light) -> Image.Image:
    """The empty room, RGB at SUPERSAMPLE times the video's size: wall, floor, things on the wall, uneven light."""
    width, height = WIDTH * SUPERSAMPLE, HEIGHT * SUPERSAMPLE
    wall, floor = _cloth(rng, 0.55, 0.95), _cloth(rng, 0.3, 0.7)
    image = Image.new("RGB", (width, height), light.on(wall))
    draw = ImageDraw.Draw(image)
    edge = int(height * rng.uniform(0.66, 0.78))
    for _ in range(int(rng.integers(2, 6))):  # pictures, windows, cupboards
        w, h = rng.uniform(0.06, 0.22) * width, rng.uniform(0.12, 0.5) * height
        x, y = rng.uniform(-0.1, 1) * width, rng.uniform(0, 0.75) * height - h / 2
        frame, inside = _cloth(rng, 0.2, 0.8), _cloth(rng, 0.3, 0.95)
        draw.rectangle((x, y, x + w, min(y + h, edge + 20)), fill=light.on(frame))
        rim = rng.uniform(4, 12)
        draw.rectangle((x + rim, y + rim, x + w - rim, min(y + h - rim, edge + 10)), fill=light.on(inside))
    draw.rectangle((0, edge, width, height), fill=light.on(floor))
    draw.rectangle((0, edge - 8, width, edge), fill=light.on(floor, 0.7))
    if rng.random() < 0.6:  # boards of the floor run to a vanishing point
        vanish = rng.uniform(0.3, 0.7) * width
        for x in np.arange(-1.5, 2.5, rng.uniform(0.08, 0.2)) * width:
            top = vanish + (x - vanish) * 0.45
            draw.line((top, edge, x, height), fill=light.on(floor, 0.88), width=3)
    cloud = Image.fromarray(rng.integers(90, 166, (5, 9), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    uneven = 0.75 + np.asarray(cloud, np.float32)[..., None] / 512
    lit = np.clip(np.asarray(image, np.float32) * uneven, 0, 255).astype(np.uint8)
    return Image.fromarray(lit)
