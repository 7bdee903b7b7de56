"""ONNX files: exported, compared with PyTorch in onnxruntime, made smaller, measured."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

from mmcl_cache.store import UserError, open_cache
from mmcl_train.engine.checkpoint import write_atomically
from mmcl_train.engine.model_file import read_model
from mmcl_train.method.model import SkeletonModel
from mmcl_train.scores.metrics import Accuracy, measure_accuracy

from .onnx_graph import convert, draw_joints, silence_logs
from .onnx_model import OnnxModel
from .prediction import predict_cache

TOLERANCE = 1e-4  # of the logits, against the largest of them where that is above 1
BATCHES = (1, 3)
INT8_OPERATORS = ["MatMul", "Gemm", "Conv"]


def export_onnx(
    run: Path, out: Path, int8: bool, cache: Path | None, protocol: str, threads: int = 0
) -> Iterator[str]:
    """Write an .onnx file with a free batch axis, compared with PyTorch before it gets its name.

    model.json is in the file's metadata, so that `predict` needs no other file.

    Args:
        int8: weights as 8-bit numbers, activations quantised while running.
        cache: to measure on its test split; with int8 both, so that the cost is seen.
        protocol: of the cache; "" for the model's own.

    Raises:
        UserError: no finished run, a file whose logits are not the model's, or a cache that does not fit.
    """
    model, about = read_model(run)
    with tempfile.TemporaryDirectory() as temporary:
        plain = Path(temporary) / "plain.onnx"
        plain.write_bytes(convert(model, about))
        difference = compare(model, OnnxModel(plain, threads))
        if difference > TOLERANCE:
            raise UserError(
                f"{about.backbone}: the ONNX logits differ from PyTorch's by {difference:.1e}, more than "
                f"{TOLERANCE:.0e}; nothing was written"
            )
        yield f"ONNX against PyTorch: largest difference {difference:.1e}"
        chosen = plain
        if int8:
            chosen = Path(temporary) / "int8.onnx"
            quantise(plain, chosen)
            difference = compare(model, OnnxModel(chosen, threads))
            yield f"int8 against PyTorch: largest difference {difference:.1e}"
        write_atomically(out, chosen.read_bytes())
        sizes = f"{plain.stat().st_size / 1e6:.2f} MB"
        yield f"written: {out} ({f'{out.stat().st_size / 1e6:.2f} MB, as fp32 {sizes}' if int8 else sizes})"
        if cache is not None:
            wanted = protocol or about.protocol
            full = measure(OnnxModel(plain, threads), cache, wanted)
            yield f"fp32 on {cache} {wanted} test: {_format(full)}"
            if int8:
                small = measure(OnnxModel(chosen, threads), cache, wanted)
                cost = 100 * (full.top1 - small.top1)
                yield f"int8 on {cache} {wanted} test: {_format(small)}, cost {cost:+.2f} points"
        elif int8:
            yield "accuracy of int8 not measured: give --cache to see what it costs"


def quantise(source: Path, out: Path) -> None:
    """Weights of convolutions and products as 8-bit numbers; the metadata is kept."""
    plain = onnx.load(str(source))
    # Shapes of values in between are of no use here, and the quantiser trips over its own turned weights by them.
    del plain.graph.value_info[:]
    weights = {tensor.name for tensor in plain.graph.initializer}
    computed = [  # kernels that the model computes from its input, and products of two activations
        node.name
        for node in plain.graph.node
        if node.op_type in INT8_OPERATORS and node.input[1] not in weights
    ]
    with silence_logs():
        # Unsigned weights: onnxruntime has integer convolutions on the CPU for these alone.
        quantize_dynamic(
            plain,
            str(out),
            op_types_to_quantize=INT8_OPERATORS,
            nodes_to_exclude=computed,
            weight_type=QuantType.QUInt8,
        )
    made = onnx.load(str(out))
    if not made.metadata_props:
        made.metadata_props.extend(plain.metadata_props)
        onnx.save(made, str(out))


@torch.no_grad()
def compare(model: SkeletonModel, exported: OnnxModel) -> float:
    """Largest difference of the logits over batches of several sizes, see `compare_logits`."""
    worst = 0.0
    for count in BATCHES:
        joints = draw_joints(model, count)
        worst = max(worst, compare_logits(model(joints).numpy(), exported.compute_logits(joints.numpy())))
    return worst


def compare_logits(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Largest difference, relative to the largest logit where that is above 1."""
    return float(np.abs(ours - theirs).max() / max(1.0, float(np.abs(ours).max())))


def measure(model: OnnxModel, cache: Path, protocol: str) -> Accuracy:
    """Accuracy on the test split of a cache; samples without a usable skeleton are left out."""
    samples = open_cache(cache).samples
    found = [p for p in predict_cache(model, cache, "default", protocol, "test", 0, 1)]
    kept = [p for p in found if p.logits is not None]
    if not kept:
        raise UserError(f"{cache}: no test sample has a usable skeleton")
    labels = samples.labels[samples.positions(np.array([p.name for p in kept]))]
    return measure_accuracy(np.stack([p.logits for p in kept if p.logits is not None]), labels)


def _format(accuracy: Accuracy) -> str:
    return f"{accuracy.count} samples, top-1 {100 * accuracy.top1:.2f}, top-5 {100 * accuracy.top5:.2f}"
