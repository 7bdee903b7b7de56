"""A finished run as one ONNX file, or as a folder of safetensors with a card."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mmcl_cache.store import UserError
from mmcl_train.engine.checkpoint import write_atomically
from mmcl_train.engine.model_file import ModelAbout, read_model
from mmcl_train.method.model import SkeletonModel

from .card import describe_card

TOLERANCE = 1e-4  # of the logits, against the largest of them where that is above 1
OPSET = 18
METADATA = "mmcl"
BATCHES = (1, 3)


def export_safetensors(run: Path, out: Path) -> Iterator[str]:
    """Write model.safetensors, model.json and README.md (the card) to a folder.

    Raises:
        UserError: no finished run, or the folder holds something else.
    """
    _, about = read_model(run)
    check_new(out, ("model.safetensors", "model.json", "README.md"))
    for name in ("model.json", "model.safetensors"):
        write_atomically(out / name, (run / name).read_bytes())
    write_atomically(out / "README.md", describe_card(run, about, out.name).encode())
    yield from (f"written: {file} ({file.stat().st_size:,} bytes)" for file in sorted(out.iterdir()))


def convert(model: SkeletonModel, about: ModelAbout) -> bytes:
    """The .onnx bytes of a model in eval mode, with model.json in its metadata."""
    joints = draw_joints(model, 2)
    with warnings.catch_warnings(), silence_logs():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (joints,),
            input_names=["joints"],
            output_names=["logits"],
            dynamic_shapes={"joints": {0: torch.export.Dim("batch", min=1)}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise UserError(f"{about.backbone}: PyTorch's exporter gave nothing back")
    program.model.metadata_props[METADATA] = json.dumps(about.to_json(), sort_keys=True)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "model.onnx"
        program.save(file)
        return file.read_bytes()


@contextmanager
def silence_logs() -> Iterator[None]:
    """No warnings from exporters: they speak of what a user of ours cannot change."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def draw_joints(model: SkeletonModel, count: int) -> torch.Tensor:
    """(count, C, T, V, M) that the backbone takes: standard normal, half of the last bodies absent."""
    backbone = model.backbone
    shape = (backbone.in_channels, backbone.clip_length, backbone.layout.num_joints, backbone.num_bodies)
    joints = torch.randn((count, *shape), generator=torch.Generator().manual_seed(count))
    if backbone.num_bodies > 1:
        joints[::2, ..., -1] = 0
    return joints


def check_new(folder: Path, ours: tuple[str, ...]) -> None:
    """UserError where a folder holds other files than those about to be written."""
    if folder.is_file():
        raise UserError(f"{folder} is a file; name a folder with --out")
    strangers = [p.name for p in folder.iterdir() if p.name not in ours] if folder.is_dir() else []
    if strangers:
        raise UserError(f"{folder} holds {strangers[0]!r}; name a new folder with --out")


def compare_logits(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Largest difference, relative to the largest logit where that is above 1."""
    return float(np.abs(ours - theirs).max() / max(1.0, float(np.abs(ours).max())))
