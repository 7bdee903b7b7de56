"""A Kinect-like camera: where it stands, and how its colour and depth pictures see a point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["HEIGHT", "WIDTH", "Camera", "draw_camera"]

WIDTH, HEIGHT = 640, 360  # of the colour video, a third of the real one in each direction
COLOUR_FOCAL = 1081.4 * WIDTH / 1920  # px
DEPTH_FOCAL, DEPTH_CENTRE = 365.6, (256.0, 212.0)  # px of the 512 x 424 depth picture

YAWS = {1: -0.6, 2: 0.0, 3: 0.6}  # rad; camera 2 looks from the front, as in NTU's set-up


@dataclass(frozen=True)
class Camera:
    """It stands `distance` m from the actors' place, `height` m above the floor, turned about them by `yaw`.

    Its own frame is Kinect's: x to the right of the picture, y up, z away from the camera, metres.
    """

    yaw: float
    distance: float
    height: float
    pitch: float

    def see(self, points: np.ndarray) -> np.ndarray:
        """World to camera coordinates, (..., 3) to (..., 3), metres."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        x = c * points[..., 0] - s * points[..., 2]
        z = s * points[..., 0] + c * points[..., 2] + self.distance
        y = points[..., 1] - self.height
        c, s = np.cos(self.pitch), np.sin(self.pitch)
        return np.stack([x, c * y + s * z, c * z - s * y], -1)

    def colour(self, seen: np.ndarray) -> np.ndarray:
        """Camera coordinates (..., 3) to colour pixels (..., 2), x right and y down."""
        depth = np.maximum(seen[..., 2], 0.1)
        x = WIDTH / 2 + COLOUR_FOCAL * seen[..., 0] / depth
        y = HEIGHT / 2 - COLOUR_FOCAL * seen[..., 1] / depth
        return np.stack([x, y], -1)

    def pixels_per_metre(self, seen: np.ndarray) -> np.ndarray:
        """How large a metre at these camera coordinates (..., 3) is in the colour picture, (...) px."""
        return COLOUR_FOCAL / np.maximum(seen[..., 2], 0.1)

    def depth(self, seen: np.ndarray) -> np.ndarray:
        """Camera coordinates (..., 3) to depth pixels (..., 2)."""
        depth = np.maximum(seen[..., 2], 0.1)
        x = DEPTH_CENTRE[0] + DEPTH_FOCAL * seen[..., 0] / depth
        y = DEPTH_CENTRE[1] - DEPTH_FOCAL * seen[..., 1] / depth
        return np.stack([x, y], -1)


def draw_camera(rng: np.random.Generator, number: int) -> Camera:
    """Camera 1, 2 or 3 of a recording, with the slack of a real set-up."""
    return Camera(
        yaw=YAWS[number] + float(rng.uniform(-0.2, 0.2)),
        distance=float(rng.uniform(2.75, 3.5)),
        height=float(rng.uniform(0.95, 1.3)),
        pitch=float(rng.uniform(0.0, 0.05)),
    )
