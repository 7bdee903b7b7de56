"""The picture of docs/transfer.md: a Kinect v1 skeleton, the NTU skeleton made of it, and a real NTU one.

python -m pipelines.joint_map_picture KINECT.mat NTU.skeleton --out docs/images/joint-map.png
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mmcl_cache.skeletons.denoise import denoise_ntu
from mmcl_cache.skeletons.matlab import read_kinect_mat
from mmcl_cache.skeletons.ntu import read_ntu_skeleton
from mmcl_cache.store import LAYOUTS, Layout
from mmcl_train.deploy.joint_map import TO_NTU, find_matrix, map_joints

WIDTH, HEIGHT, TOP = 420, 700, 60
PAPER, INK, BONE, COPIED, MADE = (255, 255, 255), (30, 34, 40), (150, 158, 170), (40, 105, 200), (214, 96, 30)


def draw_skeleton(
    pen: ImageDraw.ImageDraw,
    joints: NDArray[np.float32],
    layout: Layout,
    left: int,
    title: str,
    made: set[str],
) -> None:
    """One skeleton from the front, joints numbered from 1; those made of several others in another colour."""
    places = joints[:, :2] - joints[:, :2].min(axis=0)
    scale = min((WIDTH - 90) / np.ptp(places[:, 0]), (HEIGHT - TOP - 60) / np.ptp(places[:, 1]))
    x = left + (WIDTH - np.ptp(places[:, 0]) * scale) / 2 + places[:, 0] * scale
    y = HEIGHT - 30 - places[:, 1] * scale
    pen.text((left + 16, 14), title, INK, ImageFont.load_default(18))
    for child, parent in layout.bones:
        pen.line((x[child], y[child], x[parent], y[parent]), BONE, 3)
    for v, name in enumerate(layout.joints):
        colour = MADE if name in made else COPIED
        pen.ellipse((x[v] - 5, y[v] - 5, x[v] + 5, y[v] + 5), colour)
        # Tips and thumbs lie within a few pixels of the hand: their numbers stand apart from it.
        down = {"tip": 12, "thumb": -22}.get(name.rpartition("_")[2], -7)
        pen.text((x[v] + 8, y[v] + down), str(v + 1), colour, ImageFont.load_default(13))


@click.command()
@click.argument("kinect", type=click.Path(path_type=Path, exists=True))
@click.argument("ntu", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(kinect: Path, ntu: Path, out: Path) -> None:
    """Draw the first frames."""
    source, target = LAYOUTS["utd-mhad20"], LAYOUTS["ntu25"]
    joints = read_kinect_mat(kinect, "d_skel").joints
    mapped = map_joints(joints, find_matrix(source, target), target)
    real = denoise_ntu(read_ntu_skeleton(ntu)).joints
    made = {name for name, parts in TO_NTU.items() if len(parts) > 1 or name.endswith("thumb")}
    page = Image.new("RGB", (3 * WIDTH, HEIGHT), PAPER)
    pen = ImageDraw.Draw(page)
    draw_skeleton(pen, joints[0, 0], source, 0, "UTD-MHAD, 20 joints", {"spine"})
    draw_skeleton(pen, mapped[0, 0], target, WIDTH, "the same as 25 joints", made)
    draw_skeleton(pen, real[0, 0], target, 2 * WIDTH, "a real NTU skeleton", set())
    out.parent.mkdir(parents=True, exist_ok=True)
    page.save(out, optimize=True)


if __name__ == "__main__":
    main()
