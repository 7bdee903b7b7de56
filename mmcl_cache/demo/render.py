"""Draw one frame of a clip: people and objects as flat shapes, far ones first, over the room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from mmcl_cache.demo.camera import HEIGHT, WIDTH, Camera
from mmcl_cache.demo.figure import JOINTS
from mmcl_cache.demo.objects import KINDS, Track
from mmcl_cache.demo.scene import SUPERSAMPLE, Colour, Light, Wardrobe

__all__ = ["Actor", "Stage", "render_frame"]

J = {name: index for index, name in enumerate(JOINTS)}
Shape = tuple[float, Callable[[ImageDraw.ImageDraw], None]]


@dataclass(frozen=True)
class Actor:
    """One person on the stage: true joints (T, 25, 3) in world metres, thickness of limbs, clothes."""

    joints: np.ndarray
    girth: float
    wardrobe: Wardrobe


@dataclass(frozen=True)
class Stage:
    """All that is needed to draw any frame of a clip."""

    actors: tuple[Actor, ...]
    tracks: tuple[Track, ...]
    colours: dict[str, Colour]
    camera: Camera
    light: Light
    room: Image.Image  # at SUPERSAMPLE times the video's size
    backdrop: Image.Image  # the room at the video's size


class Pen:
    """Projects world points to supersampled pixels and draws round limbs, shifted by the corner of its canvas."""

    def __init__(self, camera: Camera, light: Light) -> None:
        self.camera, self.light = camera, light
        self.corner = np.zeros(2)

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(..., 3) world metres to pixels (..., 2), and pixels a metre (...)."""
        seen = self.camera.see(points)
        return self.camera.colour(seen) * SUPERSAMPLE, SUPERSAMPLE * self.camera.pixels_per_metre(seen)

    def limb(
        self, draw: ImageDraw.ImageDraw, a: np.ndarray, b: np.ndarray, ra: float, rb: float, colour: Colour
    ) -> None:
        """A tapered capsule from a to b (pixels) with a dark rim, and a bright streak on the lit side."""
        aside = np.array([self.light.side, -0.4])
        self._capsule(draw, a, b, ra + 1.5, rb + 1.5, self.light.on(colour, 0.55))
        self._capsule(draw, a, b, ra, rb, self.light.on(colour, 0.85))
        self._capsule(
            draw, a + 0.28 * ra * aside, b + 0.28 * rb * aside, 0.62 * ra, 0.62 * rb, self.light.on(colour)
        )

    def _capsule(
        self, draw: ImageDraw.ImageDraw, a: np.ndarray, b: np.ndarray, ra: float, rb: float, colour: Colour
    ) -> None:
        a, b = a - self.corner, b - self.corner
        way = b - a
        normal = np.array([-way[1], way[0]]) / max(float(np.hypot(*way)), 1e-6)
        corners = [a + ra * normal, b + rb * normal, b - rb * normal, a - ra * normal]
        draw.polygon([(float(x), float(y)) for x, y in corners], fill=colour)
        for (x, y), r in ((a, ra), (b, rb)):
            draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def polygon(
        self, draw: ImageDraw.ImageDraw, points: np.ndarray, colour: Colour, rim: Colour | None = None
    ) -> None:
        """A filled polygon, points (K, 2) in pixels."""
        draw.polygon(
            [(float(x), float(y)) for x, y in points - self.corner], fill=colour, outline=rim, width=2
        )

    def disc(
        self, draw: ImageDraw.ImageDraw, centre: np.ndarray, rx: float, ry: float, colour: Colour
    ) -> None:
        """A filled ellipse with upright axes, in pixels."""
        x, y = centre - self.corner
        draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=colour)


def render_frame(stage: Stage, frame: int) -> Image.Image:
    """One frame, RGB, WIDTH x HEIGHT."""
    pen = Pen(stage.camera, stage.light)
    shapes: list[Shape] = []
    points = []
    for actor in stage.actors:
        joints = actor.joints[frame]
        shapes += _person(pen, joints, actor)
        points.append(joints)
    for track in stage.tracks:
        shapes.append(_object(pen, track, frame, stage.colours[track.kind]))
        points.append(track.centre[frame][None] + np.array([[0, 0.25, 0], [0, -0.25, 0]]))
    pixels, _ = pen.at(np.concatenate(points))
    left, top = np.maximum(np.floor(pixels.min(0)) - 70, 0).astype(int) // 2 * 2
    right = min(int(pixels[:, 0].max()) + 70, WIDTH * SUPERSAMPLE) // 2 * 2
    bottom = min(int(pixels[:, 1].max()) + 70, HEIGHT * SUPERSAMPLE) // 2 * 2
    image = stage.backdrop.copy()
    if right - left < 4 or bottom - top < 4:
        return image
    pen.corner = np.array([left, top], np.float64)
    canvas = stage.room.crop((left, top, right, bottom))
    draw = ImageDraw.Draw(canvas)
    for actor in stage.actors:
        _shadow(pen, draw, actor.joints[frame])
    for _, paint in sorted(shapes, key=lambda shape: -shape[0]):
        paint(draw)
    image.paste(canvas.reduce(SUPERSAMPLE), (left // SUPERSAMPLE, top // SUPERSAMPLE))
    return image


def _shadow(pen: Pen, draw: ImageDraw.ImageDraw, joints: np.ndarray) -> None:
    feet = joints[[J["l_foot"], J["r_foot"]]].mean(0) * np.array([1, 0, 1])
    centre, scale = pen.at(feet)
    pen.disc(draw, centre, 0.30 * float(scale), 0.05 * float(scale), pen.light.on((70, 66, 62)))


def _person(pen: Pen, joints: np.ndarray, actor: Actor) -> list[Shape]:
    """The shapes of one person, each with its depth in metres."""
    pixels, scale = pen.at(joints)
    depth = pen.camera.see(joints)[:, 2]
    look, girth = actor.wardrobe, actor.girth
    shapes: list[Shape] = []

    def add_limb(a: str, b: str, ra: float, rb: float, colour: Colour, nearer: float = 0.0) -> None:
        i, k = J[a], J[b]

        def paint(draw: ImageDraw.ImageDraw) -> None:
            pen.limb(
                draw, pixels[i], pixels[k], girth * ra * float(scale[i]), girth * rb * float(scale[k]), colour
            )

        shapes.append((float(depth[i] + depth[k]) / 2 - nearer, paint))

    for side in "lr":
        shin = look.bottom if look.long_trousers else look.skin
        add_limb(f"{side}_hip", f"{side}_knee", 0.085, 0.062, look.bottom)
        add_limb(f"{side}_knee", f"{side}_ankle", 0.056, 0.04, shin)
        add_limb(f"{side}_ankle", f"{side}_foot", 0.042, 0.036, look.shoes)
        add_limb(f"{side}_shoulder", f"{side}_elbow", 0.052, 0.044, look.top, 0.02)
        add_limb(
            f"{side}_elbow", f"{side}_wrist", 0.042, 0.032, look.top if look.long_sleeves else look.skin, 0.04
        )
        add_limb(f"{side}_wrist", f"{side}_tip", 0.036, 0.03, look.skin, 0.03)

    def paint_torso(draw: ImageDraw.ImageDraw) -> None:
        pen.limb(
            draw,
            pixels[J["spine_base"]],
            pixels[J["spine_mid"]],
            *_radii(0.125, 0.125, girth, scale[1]),
            look.bottom,
        )
        pen.limb(
            draw,
            pixels[J["spine_mid"]],
            pixels[J["spine_shoulder"]],
            *_radii(0.125, 0.14, girth, scale[1]),
            look.top,
        )
        pen.limb(
            draw,
            pixels[J["l_shoulder"]],
            pixels[J["r_shoulder"]],
            *_radii(0.06, 0.06, girth, scale[1]),
            look.top,
        )

    def paint_head(draw: ImageDraw.ImageDraw) -> None:
        _head(pen, draw, pixels, float(scale[J["head"]]), joints, look)

    shapes.append((float(depth[[J["spine_base"], J["spine_shoulder"]]].mean()), paint_torso))
    shapes.append((float(depth[J["head"]]), paint_head))
    return shapes


def _radii(a: float, b: float, girth: float, scale: float) -> tuple[float, float]:
    return a * girth * float(scale), b * girth * float(scale)


def _head(
    pen: Pen, draw: ImageDraw.ImageDraw, pixels: np.ndarray, scale: float, joints: np.ndarray, look: Wardrobe
) -> None:
    head, neck = pixels[J["head"]], pixels[J["spine_shoulder"]]
    pen.limb(draw, neck, head, 0.05 * scale, 0.05 * scale, look.skin)
    across = joints[J["r_shoulder"]] - joints[J["l_shoulder"]]
    ahead = np.cross(across, [0.0, 1.0, 0.0])
    ahead = ahead / max(float(np.linalg.norm(ahead)), 1e-6)
    # The face looks where the chest does: mirrored axes, so across x up points away from it.
    face, _ = pen.at(joints[J["head"]] - 0.09 * ahead)
    turned = np.clip((face - head) / (0.09 * scale), -1, 1)
    to_camera = float(pen.camera.see(joints[J["head"]] - ahead)[2] < pen.camera.see(joints[J["head"]])[2])
    hair, skin = pen.light.on(look.hair), pen.light.on(look.skin)
    if look.long_hair:
        pen.disc(draw, head + np.array([-0.02 * turned[0], 0.05]) * scale, 0.125 * scale, 0.17 * scale, hair)
    pen.disc(draw, head, 0.105 * scale, 0.135 * scale, pen.light.on(look.skin, 0.6))
    pen.disc(draw, head, 0.1 * scale, 0.13 * scale, skin if to_camera else hair)
    top = head + np.array([-0.035 * turned[0], -0.055]) * scale
    pen.disc(draw, top, 0.1 * scale, 0.085 * scale, hair)
    if to_camera:
        middle = head + np.array([0.06 * turned[0], 0.03]) * scale
        pen.disc(draw, middle + np.array([0.0, 0.01]) * scale, 0.07 * scale, 0.075 * scale, skin)
        for eye in (-0.035, 0.035):
            pen.disc(
                draw, middle + np.array([eye, -0.02]) * scale, 0.012 * scale, 0.014 * scale, (25, 20, 20)
            )


def _object(pen: Pen, track: Track, frame: int, colour: Colour) -> Shape:
    """The object as a flat shape that faces the camera, turned along its axis."""
    centre, scale = pen.at(track.centre[frame])
    tip, _ = pen.at(track.centre[frame] + 0.1 * track.axis[frame])
    up = (tip - centre) / max(float(np.hypot(*(tip - centre))), 1e-6)
    right = np.array([-up[1], up[0]])
    width, height = (extent * float(scale) for extent in KINDS[track.kind])
    light = pen.light

    def corners(*local: tuple[float, float]) -> np.ndarray:
        """Points in halves of the object's width and height, x right and y up, as pixels."""
        return np.array([centre + x * width / 2 * right + y * height / 2 * up for x, y in local])

    def box(x: float, y: float, w: float, h: float) -> np.ndarray:
        return corners((x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h))

    def paint(draw: ImageDraw.ImageDraw) -> None:
        dark, plain = light.on(colour, 0.5), light.on(colour)
        if track.kind == "bottle":
            pen.polygon(draw, box(0, -0.25, 1, 0.75), plain, dark)
            pen.polygon(draw, box(0, -0.2, 1, 0.25), light.on((245, 245, 245)))
            pen.polygon(draw, corners((-1, 0.5), (1, 0.5), (0.4, 0.8), (-0.4, 0.8)), plain, dark)
            pen.polygon(draw, box(0, 0.88, 0.45, 0.14), light.on((230, 235, 240)), dark)
        elif track.kind == "phone":
            pen.polygon(draw, box(0, 0, 1, 1), light.on(colour), (10, 10, 12))
            pen.polygon(
                draw, box(0, 0.04, 0.72, 0.76), (150, 235, 255)
            )  # the screen glows whatever the light
        elif track.kind == "book":
            pen.polygon(
                draw,
                corners((-1, 1), (0, 0.8), (1, 1), (1, -0.9), (0, -1), (-1, -0.9)),
                light.on((250, 248, 240)),
                dark,
            )
            pen.polygon(draw, corners((-1, 0.75), (0, 0.6), (0, -1), (-1, -0.9)), plain, dark)
            pen.polygon(draw, corners((1, 0.75), (0, 0.6), (0, -1), (1, -0.9)), light.on(colour, 0.85), dark)
        elif track.kind == "ball":
            pen.disc(draw, centre, width / 2 + 1.5, width / 2 + 1.5, dark)
            pen.disc(draw, centre, width / 2, width / 2, plain)
            pen.limb(
                draw,
                centre - 0.42 * width * right,
                centre + 0.42 * width * right,
                0.03 * width,
                0.03 * width,
                (40, 30, 30),
            )
            pen.disc(
                draw,
                centre + np.array([0.15 * light.side, -0.18]) * width,
                0.09 * width,
                0.09 * width,
                (255, 250, 240),
            )
        else:
            for x in (-0.45, 0.45):
                low, high = corners((x, 0.85), (0.15 * x, 1.35))
                pen.limb(draw, low, high, 0.05 * width, 0.05 * width, dark)
            pen.polygon(draw, corners((-0.8, 0.9), (0.8, 0.9), (1, -1), (-1, -1)), plain, dark)
            pen.polygon(draw, box(0, -0.25, 0.5, 0.35), light.on(colour, 0.75), dark)

    return float(pen.camera.see(track.centre[frame])[2]) - 0.08, paint
