"""A CNN in the loop: built when asked for, a clear line where its library is absent."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from mmcl_cache.store import UserError
from mmcl_train.method.online import OnlineCNN, create_online_cnn


def test_small_cnn_turns_strips_into_features_and_learns() -> None:
    cnn = create_online_cnn("small")
    images = torch.randint(0, 256, (4, 3, 33, 33), dtype=torch.uint8)
    features = cnn(images)
    features.square().mean().backward()
    assert features.shape == (4, cnn.num_features)
    assert all(parameter.grad is not None for parameter in cnn.parameters())


def test_images_are_scaled_and_normalised_as_the_network_was_trained() -> None:
    cnn = OnlineCNN(nn.Identity(), 1, mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0))
    seen = cnn(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).flatten()
    assert seen.tolist() == [2.0, 1.0, 0.5]


def test_unknown_cnn_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="known: inception_v3, small"):
        create_online_cnn("vgg")


def missing(name: str) -> None:
    raise ImportError(f"No module named {name!r}")


def test_without_its_libraries_inception_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"needs timm or torchvision .*pip install timm"):
        create_online_cnn("inception_v3")


def test_weights_that_cannot_be_had_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network\nand more")

    monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace(create_model=offline))
    with pytest.raises(UserError, match=r"through timm \(no network\)"):
        create_online_cnn("inception_v3")


class FakeInception(nn.Module):
    """What the two libraries' networks have in common with the code here."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 7)
        self.AuxLogits: nn.Module | None = nn.Linear(3, 7)
        self.aux_logits = True
        self.num_classes = 7
        self.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3}

    def forward(self, images: Tensor) -> Tensor:
        assert not self.aux_logits or self.AuxLogits is not None
        return self.fc(images.mean(dim=(2, 3)))


def test_inception_of_timm_brings_its_own_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    library = SimpleNamespace(create_model=lambda name, pretrained: FakeInception())
    monkeypatch.setattr(importlib, "import_module", lambda name: library)
    cnn = create_online_cnn("inception_v3")
    assert cnn.num_features == 7 and cnn.mean.flatten().tolist() == [0.5] * 3
    assert cnn(torch.zeros(2, 3, 4, 4, dtype=torch.uint8)).shape == (2, 7)


def test_inception_of_torchvision_loses_its_auxiliary_head(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> SimpleNamespace:
        if name == "timm":
            missing(name)
        return SimpleNamespace(inception_v3=lambda weights: FakeInception())

    monkeypatch.setattr(importlib, "import_module", find)
    cnn = create_online_cnn("inception_v3")
    assert not any("AuxLogits" in name for name, _ in cnn.named_parameters())
    assert cnn.num_features == 7
