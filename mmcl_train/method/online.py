"""θ trained in the loop from the cached strips, as the released code does, for the ablation (`method.rgb=online`).

The one place of stage 2 that knows an image model. timm or torchvision is opened when Inception-v3 is asked
for, never before.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from mmcl_cache.store import UserError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALL_CHANNELS = (16, 32, 64, 128)


class OnlineCNN(nn.Module):
    """uint8 strips → rgb feature.

    Args:
        network: (N, 3, S, S) float → (N, D).
        num_features: D.
        mean, std: of the input that the network was trained on, for values in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        num_features: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.network = network
        self.num_features = num_features
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) uint8 sRGB → (N, D)."""
        scaled = (images.to(self.mean.dtype) / 255 - self.mean) / self.std
        features: Tensor = self.network(scaled)
        return features


def create_small() -> OnlineCNN:
    """Four strided convolutions and a mean, from scratch: needs no library and no weights; D = 128."""
    layers: list[nn.Module] = []
    before = 3
    for channels in SMALL_CHANNELS:
        layers += [
            nn.Conv2d(before, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]
        before = channels
    return OnlineCNN(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), before)


def create_inception_v3() -> OnlineCNN:
    """Inception-v3 with its ImageNet weights, D = 1000 logits, from timm or torchvision, whichever is there.

    The released code trains torchvision's and ignores its auxiliary head; so the head is not built here. Both
    libraries hold the same weights (timm's `tv_in1k`) and expect the input each in its own scale, which is
    taken from it.

    Raises:
        UserError: neither library can be used, or the weights cannot be had.
    """
    reasons = []
    for name, make in (("timm", _inception_of_timm), ("torchvision", _inception_of_torchvision)):
        try:
            library = importlib.import_module(name if name == "timm" else "torchvision.models")
        except (
            ImportError,
            RuntimeError,
        ) as error:  # torchvision raises RuntimeError beside a torch it was not built for
            reasons.append(f"{name}: {str(error).splitlines()[0]}")
            continue
        try:
            return make(library)
        except (OSError, RuntimeError) as error:
            why = str(error).splitlines()[0]
            raise UserError(
                f"method.rgb=online: the weights of Inception-v3 cannot be had through {name} ({why}); "
                "fetch them once on a machine with a network, or set method.rgb=cached"
            ) from error
    raise UserError(
        f"method.rgb=online needs timm or torchvision ({'; '.join(reasons)}); `pip install timm`, "
        "or set method.rgb=cached"
    )


def _inception_of_timm(timm: ModuleType) -> OnlineCNN:
    network = timm.create_model("inception_v3.tv_in1k", pretrained=True)
    own: dict[str, Any] = network.pretrained_cfg
    return OnlineCNN(network, network.num_classes, own["mean"], own["std"])


def _inception_of_torchvision(models: ModuleType) -> OnlineCNN:
    network = models.inception_v3(weights="IMAGENET1K_V1")  # turns ImageNet's scale into its own by itself
    network.aux_logits, network.AuxLogits = False, None
    return OnlineCNN(network, network.fc.out_features)


ONLINE_CNNS: dict[str, Callable[[], OnlineCNN]] = {
    "inception_v3": create_inception_v3,
    "small": create_small,
}


def create_online_cnn(name: str = "inception_v3") -> OnlineCNN:
    """The CNN of that name, ready to be trained.

    Raises:
        ValueError: unknown name.
        UserError: its library or weights are not there.
    """
    if name not in ONLINE_CNNS:
        raise ValueError(f"unknown CNN {name!r}; known: {', '.join(ONLINE_CNNS)}")
    return ONLINE_CNNS[name]()
