"""A run or an exported folder as something that computes logits, with torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mmcl_train.engine.model_file import read_model

from .model_input import ModelInput, read_input


class TorchModel:
    """The skeleton model of a folder with model.json and model.safetensors, on the host or a GPU.

    Raises:
        UserError: no model there, or a damaged one.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.input: ModelInput = read_input(folder)
        self.device = torch.device(device)
        self.model = read_model(folder)[0].to(self.device)

    @torch.inference_mode()
    def compute_logits(self, joints_NCTVM: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, C, T, V, M) → (N, classes)."""
        logits = self.model(torch.from_numpy(joints_NCTVM).to(self.device))
        found: NDArray[np.float32] = logits.float().cpu().numpy()
        return found
