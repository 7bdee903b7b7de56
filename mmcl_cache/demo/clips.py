"""Which clips the demo has, and how one of them is put together from its seed and its id."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmcl_cache.demo.actions import CLASSES, perform
from mmcl_cache.demo.camera import draw_camera
from mmcl_cache.demo.figure import draw_build, solve_joints
from mmcl_cache.demo.motions import draw_style
from mmcl_cache.demo.objects import track_object
from mmcl_cache.demo.render import Actor, Stage
from mmcl_cache.demo.scene import SUPERSAMPLE, draw_light, draw_object_colours, draw_wardrobe, paint_room
from mmcl_cache.demo.sensor import Reading, sense

__all__ = ["CAMERAS", "FPS", "SUBJECTS", "TEST_SUBJECTS", "Clip", "ClipId", "compose_clip", "plan_clips"]

FPS = 30
SUBJECTS = 12
TEST_SUBJECTS = (3, 6, 9, 12)  # cross-subject: a third of the people is only tested
CAMERAS = 3


@dataclass(frozen=True, order=True)
class ClipId:
    """NTU's numbers, 1-based."""

    setup: int
    camera: int
    subject: int
    replication: int
    action: int

    def __str__(self) -> str:
        return f"S{self.setup:03}C{self.camera:03}P{self.subject:03}R{self.replication:03}A{self.action:03}"

    @property
    def label(self) -> int:
        return self.action - 1


@dataclass(frozen=True)
class Clip:
    """One composed clip: what to draw, what the sensor says, and what was truly held."""

    id: ClipId
    stage: Stage
    reading: Reading
    length: int
    held: str  # kind of the object, or "none"
    people: int


def plan_clips(clips: int) -> tuple[ClipId, ...]:
    """The first `clips` ids, sorted: classes in turn, and within a class subjects and cameras in turn."""
    chosen = []
    for index in range(clips):
        label, turn = index % len(CLASSES), index // len(CLASSES)
        subject = (turn + 5 * label) % SUBJECTS + 1
        camera = (turn + turn // SUBJECTS + label) % CAMERAS + 1
        replication = turn // (SUBJECTS * CAMERAS) + 1
        chosen.append(ClipId((subject - 1) // 3 + 1, camera, subject, replication, label + 1))
    return tuple(sorted(chosen))


def compose_clip(clip: ClipId, seed: int) -> Clip:
    """Put one clip together. It depends on the seed and the id alone, not on the other clips."""
    numbers = (clip.setup, clip.camera, clip.subject, clip.replication, clip.action)
    rng = np.random.default_rng((seed, 1, *numbers))
    person = np.random.default_rng((seed, 2, clip.subject))
    builds = [draw_build(person)]
    right_handed = bool(person.random() < 0.8)
    builds.append(draw_build(rng))

    style = draw_style(rng, right_handed)
    length = int(np.clip(58 / style.tempo * rng.uniform(0.85, 1.15), 40, 84))
    performance = perform(clip.label, rng, style, length)
    bodies = [solve_joints(build, pose) for build, pose in zip(builds, performance.poses, strict=False)]
    tracks = tuple(track_object(held, bodies, FPS) for held in performance.held)

    camera = draw_camera(rng, clip.camera)
    light = draw_light(rng)
    # A subject wears one of two outfits, and so may be told by the clothes in part only.
    outfits = [draw_wardrobe(person), draw_wardrobe(person)]
    wardrobes = [outfits[int(rng.integers(2))], draw_wardrobe(rng)]
    room = paint_room(np.random.default_rng((seed, 3, clip.setup, clip.camera)), light)
    stage = Stage(
        actors=tuple(Actor(j, b.girth, w) for j, b, w in zip(bodies, builds, wardrobes, strict=False)),
        tracks=tracks,
        colours=draw_object_colours(rng),
        camera=camera,
        light=light,
        room=room,
        backdrop=room.reduce(SUPERSAMPLE),
    )
    reading = sense(rng, camera.see(np.stack(bodies, 1)))
    held_kind = performance.held[0].kind if performance.held else "none"
    return Clip(clip, stage, reading, length, held_kind, len(bodies))
