"""The optimiser of a run."""

from __future__ import annotations

from torch import nn
from torch.optim import SGD


def create_optimiser(
    module: nn.Module, *, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> SGD:
    """SGD over every parameter that learns, weight decay on all of them as published (norms and biases too)."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return SGD(
        parameters, lr=lr, momentum=momentum, nesterov=nesterov and momentum > 0, weight_decay=weight_decay
    )


def set_lr(optimiser: SGD, lr: float) -> None:
    """Give every parameter group the same learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = lr
