"""A folder data set of many tiny samples: what a build costs beside decoding and models."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CLASSES, FRAMES, JOINTS = 20, 8, 25
FAULTY = 100  # every so many samples one that cannot be read, as in any real data set


def write_samples(folder: Path, count: int) -> None:
    """`count` clips `<class>/<clip>.npy` of (T, V, 3) joints; one in `FAULTY` is cut short."""
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class{label:02d}").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"class{number % CLASSES:02d}" / f"clip{number:06d}.npy"
        np.save(path, rng.standard_normal((FRAMES, JOINTS, 3)).astype(np.float32))
        if number % FAULTY == FAULTY - 1:
            path.write_bytes(path.read_bytes()[:-100])
