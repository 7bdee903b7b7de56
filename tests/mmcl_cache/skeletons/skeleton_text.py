"""`.skeleton` text made for tests: chosen bodies in chosen frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def make_joint_lines(rng: np.random.Generator) -> list[str]:
    """25 lines of 12 values: a standing figure, colour pixels inside 1920 × 1080."""
    lines = []
    for _ in range(25):
        x, y, z = rng.normal(0, 0.2), rng.normal(0, 0.6), 3.0 + rng.normal(0, 0.1)
        numbers = [x, y, z, 256 + x, 212 - y, 960 + 300 * x, 540 - 300 * y, 0.1, 0.2, 0.3, 0.4]
        lines.append(" ".join(f"{value:.7g}" for value in numbers) + " 2")
    return lines


def make_text(frames: Sequence[Sequence[int]], seed: int = 0) -> str:
    """A whole file.

    Args:
        frames: for each frame the ids of the bodies in it.
    """
    rng = np.random.default_rng(seed)
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for body in bodies:
            lines += [f"{body} 0 1 1 0 0 0 0.01 -0.02 2", "25", *make_joint_lines(rng)]
    return "\n".join(lines) + "\n"
