"""The optimiser of the embedded question answerer: Muon for matrices, AdamW for the rest.

Measured on the vision tower, 160 px, 150 steps of 32: AdamW names 45 % of held-out objects right (43 % is chance), with
whitened patches and Muon 55 %; AdamW at three times the rate, or Muon at 0.05, less.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipelines.train_embedded_batches import learning_rate


class Optimiser:
    """Muon for the matrices of transformer layers, AdamW for all else.

    Args:
        groups: (module, peak learning rate of Muon, of AdamW).
    """

    def __init__(self, groups: list[tuple[nn.Module, float, float]]) -> None:
        self._parts: list[tuple[torch.optim.Optimizer, float]] = []
        self._parameters = [p for module, _, _ in groups for p in module.parameters()]
        for module, fast, slow in groups:
            matrices = [p for name, p in module.named_parameters() if p.ndim == 2 and ".layer" in name]
            known = {id(p) for p in matrices}
            if matrices:
                self._parts.append((torch.optim.Muon(matrices, lr=fast, weight_decay=0.01), fast))
            others = [p for p in module.parameters() if id(p) not in known]
            self._parts.append((torch.optim.AdamW(others, lr=slow, weight_decay=0.02), slow))

    def advance(self, loss: Tensor, step: int, steps: int) -> None:
        """One step down the loss, at this step's learning rates."""
        for part, peak in self._parts:
            part.zero_grad(set_to_none=True)
            for group in part.param_groups:
                group["lr"] = learning_rate(step, steps, peak)
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for part, _ in self._parts:
            part.step()
