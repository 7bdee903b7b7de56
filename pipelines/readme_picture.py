"""The picture of the README: stored strips of a cache with question, answer and skeleton.

python -m pipelines.readme_picture --cache demo-out/cache --out docs/images/demo.png [--sample ID]…
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmcl_cache.store import Cache, Layout, open_cache

STRIP, SKELETON, MARGIN, LINE = 360, 220, 16, 26
PAPER, INK, SOFT = (255, 255, 255), (30, 34, 40), (120, 128, 140)
POSES = 5


def draw_rows(cache: Cache, sample_ids: list[str]) -> Image.Image:
    """One row a sample: the strip, what was asked and answered, the skeleton over time."""
    strips, texts, skeletons = (cache.field(f).load(sample_ids) for f in ("strip", "text", "skeleton"))
    questions = cache.field("text").settings["questions"]
    labels = cache.samples.labels[cache.samples.positions(sample_ids)]
    height = STRIP + 2 * MARGIN
    page = Image.new("RGB", (STRIP + 3 * SKELETON + 4 * MARGIN, height * len(sample_ids)), PAPER)
    pen = ImageDraw.Draw(page)
    for n in range(len(sample_ids)):
        top = n * height + MARGIN
        strip = Image.open(io.BytesIO(strips["jpeg"][n].tobytes())).resize(
            (STRIP, STRIP), Image.Resampling.LANCZOS
        )
        page.paste(strip, (MARGIN, top))
        left = STRIP + 2 * MARGIN
        pen.text((left, top), cache.description.classes[int(labels[n])], INK, ImageFont.load_default(20))
        answers = json.loads(texts["answer"][n])
        for q, (question, answer) in enumerate(zip(questions, answers, strict=True)):
            line = top + LINE * (q + 1) + 6
            pen.text((left, line), f"{question}  {answer}", SOFT, ImageFont.load_default(15))
        space = (left, top + 90, page.width - MARGIN, top + STRIP)
        _draw_skeleton(
            pen, skeletons["joints"][n], int(skeletons["bodies"][n]), cache.description.layout, space
        )
    return page


def _draw_skeleton(
    pen: ImageDraw.ImageDraw,
    joints: np.ndarray,
    bodies: int,
    layout: Layout,
    space: tuple[int, int, int, int],
) -> None:
    """POSES moments of a clip side by side, as seen from the front."""
    poses = joints.reshape(-1, bodies, *joints.shape[1:])[:, :, :, :2]
    poses = poses[np.linspace(0, len(poses) - 1, POSES).astype(int)]
    present = poses.any(axis=(2, 3))
    low, high = poses[present].min(axis=(0, 1)), poses[present].max(axis=(0, 1))
    width = (space[2] - space[0]) / POSES
    scale = min(width * 0.9 / (high[0] - low[0]), (space[3] - space[1]) / (high[1] - low[1]))
    middle = (low + high) / 2
    for k, pose in enumerate(poses):
        centre = np.asarray([space[0] + (k + 0.5) * width, (space[1] + space[3]) / 2])
        for body, colour in zip(pose, ((26, 115, 232), (217, 48, 37)), strict=False):
            if not body.any():
                continue
            points = centre + (body - middle) * (scale, -scale)
            for child, parent in layout.bones:
                pen.line([tuple(points[child]), tuple(points[parent])], colour, 3)
            for x, y in points:
                pen.ellipse((x - 3, y - 3, x + 3, y + 3), INK)


@click.command()
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("docs/images/demo.png"), show_default=True
)
@click.option(
    "--sample", "samples", multiple=True, help="Sample id; the first two of the cache where none is given."
)
def main(cache: Path, out: Path, samples: tuple[str, ...]) -> None:
    """Draw stored strips of a cache with question, answer and skeleton."""
    opened = open_cache(cache)
    chosen = list(samples) or opened.samples.sample_ids[:2].tolist()
    out.parent.mkdir(parents=True, exist_ok=True)
    draw_rows(opened, chosen).quantize(128).save(out, optimize=True)
    click.echo(f"{out}: {out.stat().st_size / 1000:.0f} kB, {', '.join(chosen)}")


if __name__ == "__main__":
    main()
