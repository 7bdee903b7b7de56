"""A model as an ONNX graph: written by PyTorch's exporter, without tables and notes that a file need not carry."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from onnxscript import optimizer

from mmcl_cache.store import UserError
from mmcl_train.engine.model_file import ModelAbout
from mmcl_train.method.model import SkeletonModel

from .onnx_model import METADATA

OPSET = 18
# Numbers in a table that is stored instead of computed; runtimes fold larger ones when they load the file.
LARGEST_TABLE = 8192


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
            optimize=False,
        )
        if program is None:
            raise UserError(f"{about.backbone}: PyTorch's exporter gave nothing back")
        # As the exporter does it, but that it would store up to 262,144 numbers where a sum of two short rows is meant.
        optimizer.optimize(program.model, output_size_limit=LARGEST_TABLE)
    clear_notes(program)
    program.model.metadata_props[METADATA] = json.dumps(about.to_json(), sort_keys=True)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "model.onnx"
        program.save(file)
        return file.read_bytes()


def clear_notes(program: torch.onnx.ONNXProgram) -> None:
    """Take out what the exporter writes to each node: the stack with the paths of this machine's source files."""
    graph = program.model.graph
    graph.metadata_props.clear()
    for value in graph.inputs:
        value.metadata_props.clear()
    for node in graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()


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
