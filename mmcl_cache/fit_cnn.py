"""Fine-tune an image classifier on the strips of the training split, to be cached afterwards.

The published CNN is trained inside the loop; a cached feature is frozen. This is its frozen counterpart: fit first,
then `mmcl-cache build --cnn FOLDER --variant rgb=NAME`. Only ids of the training split are ever asked of the cache.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mmcl_cache.encoders.classifier import ImageClassifier, open_classifier
from mmcl_cache.encoders.loading import choose_device
from mmcl_cache.errors import UserError
from mmcl_cache.store import Cache, Columns, ids_digest
from mmcl_cache.terminal.board import ProgressBoard
from mmcl_cache.video.strip import decode_jpeg

FITTED_ON = "fitted_on.json"


@dataclass(frozen=True)
class FitSettings:
    """How a CNN is fitted. AdamW, cosine schedule after a tenth of warm-up, mirrored strips.

    Args:
        protocol: whose training split is shown.
        cnn: a hub id, a folder, or "embedded".
        epochs: times every strip is shown.
        batch_size: strips a step.
        learning_rate: the highest.
        weight_decay: of AdamW.
        seed: order, mirroring, the new classifier.
        device: auto, cpu, cuda, cuda:N.
        variant: of the field strip.
    """

    protocol: str
    cnn: str = "embedded"
    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 3e-4
    weight_decay: float = 0.05
    seed: int = 1
    device: str = "auto"
    variant: str = "default"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be more than 0")


def fit_cnn(cache: Cache, settings: FitSettings, out: Path, quiet: bool = False) -> dict[str, float]:
    """Fit and save to `out`, a folder that `--cnn` takes.

    Returns:
        {"loss", "accuracy"} of the last epoch on the training strips, as they went by.

    Raises:
        UserError: no such protocol, no strip to fit on, `out` holds something else, or the model cannot be had.
        MissingFieldError: the strips are not built.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: is there and not empty; name a new folder")
    ids = training_ids(cache, settings.protocol)
    strips = cache.field("strip", settings.variant)
    columns = strips.load(ids, ["jpeg"])
    usable = np.flatnonzero(columns.valid)
    if not len(usable):
        raise UserError(f"{cache.path}: no strip of the training split of {settings.protocol} is ok")
    labels = dict(zip(cache.samples.sample_ids.tolist(), cache.samples.labels.tolist(), strict=True))
    targets = torch.tensor([labels[i] for i in ids.tolist()], dtype=torch.long)
    torch.manual_seed(settings.seed)  # the new classifier is drawn from torch's global generator
    tiles = int(strips.settings.get("tiles", 1))
    model = open_classifier(settings.cnn, cache.description.classes, choose_device(settings.device))
    result = _train(model, columns, targets, usable, settings, tiles, quiet)
    model.save(out)
    told = {
        "protocol": settings.protocol,
        "split": "train",
        "samples": len(usable),
        "sample_ids_sha256": ids_digest(ids[usable].tolist()),
        "strip": strips.fingerprint,
        "dataset": cache.description.dataset,
        "settings": {k: v for k, v in asdict(settings).items() if k not in ("device", "cnn")},
        "cnn": model.origin,
    }
    (out / FITTED_ON).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return result


def training_ids(cache: Cache, protocol: str) -> np.ndarray:
    """(N,) ids of the training split.

    Raises:
        UserError: the cache has no such protocol, or nobody is in its training split.
    """
    known = cache.description.protocols
    if protocol not in known:
        raise UserError(f"{cache.path} has no protocol {protocol!r}; it has: {', '.join(known) or 'none'}")
    ids = cache.samples.select(protocol, "train")
    if not len(ids):
        raise UserError(f"{cache.path}: the training split of {protocol} is empty")
    return ids


def _train(
    model: ImageClassifier,
    columns: Columns,
    targets: Tensor,
    usable: np.ndarray,
    settings: FitSettings,
    tiles: int,
    quiet: bool,
) -> dict[str, float]:
    rng = np.random.default_rng(settings.seed)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    per_epoch = -(-len(usable) // settings.batch_size)
    share = _schedule(settings.epochs * per_epoch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
    seen = {"loss": 0.0, "accuracy": 0.0}
    with ProgressBoard({"strips": settings.epochs * len(usable)}, quiet) as board:
        for _ in range(settings.epochs):
            lost, right = 0.0, 0
            for rows in _batches(usable, settings.batch_size, rng):
                logits = model(_open(columns, rows, tiles, rng))
                wanted = targets[rows].to(logits.device)
                loss = F.cross_entropy(logits, wanted)
                if not torch.isfinite(loss):
                    raise UserError("the loss is no longer a number; use a lower --learning-rate")
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                lost += float(loss.detach()) * len(rows)
                right += int((logits.argmax(1) == wanted).sum())
                board.advance("strips", len(rows))
            seen = {"loss": lost / len(usable), "accuracy": right / len(usable)}
    return seen


def _schedule(steps: int) -> Callable[[int], float]:
    """Share of the highest learning rate at each step."""
    warm = max(1, steps // 10)

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return share


def _batches(usable: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    order = rng.permutation(usable)
    # A last batch of one would leave batch norm without a spread.
    stops = [n for n in range(size, len(order), size) if len(order) - n > 1]
    return iter(np.split(order, stops))


def _open(columns: Columns, rows: np.ndarray, tiles: int, rng: np.random.Generator) -> list[Image.Image]:
    """The strips of these rows; half of them mirrored, their tiles still in time order."""
    images = []
    for row in rows.tolist():
        pixels: Any = decode_jpeg(columns["jpeg"][row].tobytes())
        if rng.random() < 0.5:
            pixels = _mirror_tiles(pixels, tiles)
        images.append(Image.fromarray(pixels))
    return images


def _mirror_tiles(strip: np.ndarray, tiles: int) -> np.ndarray:
    """(H, W, 3) with each tile mirrored in its place."""
    height, width, _ = strip.shape
    if width % tiles:
        return strip
    cut = strip.reshape(height, tiles, width // tiles, 3)
    return np.ascontiguousarray(cut[:, :, ::-1]).reshape(strip.shape)
