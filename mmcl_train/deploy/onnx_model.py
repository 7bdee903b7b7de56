"""An exported .onnx file as something that computes logits, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NotImplemented,
)

from mmcl_cache.store import UserError
from mmcl_cache.store.json_text import parse_json
from mmcl_cache.store.regular import read_regular

from .model_input import ModelInput, parse_input

# What onnxruntime raises for a file it cannot run; they have no public base class.
UNREADABLE = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NotImplemented, RuntimeError, ValueError)
LARGEST_BYTES = 1 << 31  # protobuf's own limit
EXTERNAL = b"\n\x08location\x12"  # a tensor's key for another file, as ONNX writes it
METADATA = "mmcl"  # key of model.json in the file's own metadata


class OnnxModel:
    """A file of `mmcl-train export --format onnx`.

    Args:
        path: of the file.
        threads: cores to use; 0 for all.

    Raises:
        UserError: no such file, not ONNX, or not one of ours.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        try:
            content = read_regular(path, LARGEST_BYTES)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        if EXTERNAL in content:
            raise UserError(
                f"{path}: takes weights from other files, which is never followed; export it as one file"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except UNREADABLE as error:
            raise UserError(f"{path}: onnxruntime cannot read it ({str(error)[:200]})") from None
        about = self.session.get_modelmeta().custom_metadata_map.get(METADATA)
        if about is None:
            raise UserError(
                f"{path}: not made by `mmcl-train export`: it does not say its layout and classes"
            )
        try:
            self.input: ModelInput = parse_input(parse_json(about.encode()), str(path))
        except ValueError as error:
            raise UserError(f"{path}: not a model description ({error})") from None
        entry, *others = self.session.get_inputs()
        if others or tuple(entry.shape[1:]) != self.input.shape:
            raise UserError(
                f"{path}: takes {tuple(entry.shape[1:])}, but says {self.input.shape}; export it again"
            )
        self._name = entry.name

    def compute_logits(self, joints_NCTVM: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, C, T, V, M) → (N, classes)."""
        logits: NDArray[np.float32] = self.session.run(None, {self._name: joints_NCTVM})[0]
        return logits
