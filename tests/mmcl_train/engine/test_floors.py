"""Floors are counted as stated, whatever the formulation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones import create_backbone
from mmcl_train.backbones.plain_ctrgcn import PlainCTRGCN
from mmcl_train.engine import floors
from mmcl_train.engine.floors import Layer, Peaks, count_distinct, count_layers, measure_peaks, total_of


def small_ctrgcn() -> nn.Module:
    backbone = create_backbone("ctrgcn", layout=LAYOUTS["ntu25"], num_bodies=1, clip_length=16, width=0.25)
    return nn.Sequential(backbone, backbone.create_classifier(5))


def test_linear_layer_has_the_operations_and_bytes_of_its_definition() -> None:
    """Forward, two gradients in the second layer but one in the first, whose input is data."""
    layers = count_layers(nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 5)), (4, 10))
    first, second = layers
    assert first.flops == 2 * (2 * 4 * 10 * 20) and second.flops == 3 * (2 * 4 * 20 * 5)
    assert first.bytes == 2 * 4 * (4 * 10) + 7 * 4 * (10 * 20 + 20)
    assert second.bytes == 2 * 4 * (4 * 20) + 7 * 4 * (20 * 5 + 5)


def test_input_that_two_layers_share_is_counted_once() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.one(x) + self.other(x)

    one, other = count_layers(Two(), (4, 8))
    assert one.bytes - other.bytes == 2 * 4 * (4 * 8)


def test_half_as_wide_activations_halve_their_traffic_but_not_the_weights() -> None:
    wide, narrow = (
        count_layers(nn.Sequential(nn.Linear(8, 8)), (100, 8), item_bytes=size) for size in (4, 2)
    )
    assert wide[0].bytes - narrow[0].bytes == 2 * 2 * (100 * 8)


def test_inference_counts_one_forward_pass_and_keeps_nothing() -> None:
    (layer,) = count_layers(nn.Sequential(nn.Linear(8, 8)), (4, 8), training=False)
    assert layer.flops == 2 * 4 * 8 * 8 and layer.bytes == 4 * (8 * 8 + 8)


def test_every_block_of_a_backbone_is_a_layer_and_grows_with_the_batch() -> None:
    one, two = (count_layers(small_ctrgcn(), (batch, 3, 16, 25, 1)) for batch in (1, 2))
    assert sum("blocks." in layer.name for layer in one) == 10
    assert total_of(two).flops == 2 * total_of(one).flops
    assert total_of(one).bytes < total_of(two).bytes < 2 * total_of(one).bytes


def test_floor_is_not_above_that_of_the_plain_formulation() -> None:
    """At the size that the figures are for; ours has the mean over time before the relations."""
    backbone = create_backbone("ctrgcn", layout=LAYOUTS["ntu25"])
    ours = count_layers(nn.Sequential(backbone, backbone.create_classifier(120)), (1, 3, 64, 25, 2))
    plain = count_layers(PlainCTRGCN(120), (1, 3, 64, 25, 2))
    assert total_of(ours).flops < total_of(plain).flops and total_of(ours).bytes < total_of(plain).bytes


def test_absent_bodies_are_one_body_and_cost_as_much() -> None:
    joints = torch.ones(4, 3, 8, 5, 2)
    assert count_distinct(joints) == 1
    joints[:3, ..., 1] = 0
    assert count_distinct(joints) == (5 + 1) / 8
    whole, part = (count_layers(nn.Sequential(nn.Linear(8, 8)), (4, 8), share=share) for share in (1.0, 0.75))
    weights = 7 * 4 * (8 * 8 + 8)
    assert part[0].flops == 0.75 * whole[0].flops
    assert part[0].bytes - weights == 0.75 * (whole[0].bytes - weights)


def test_floor_is_the_slower_of_arithmetic_and_memory() -> None:
    peaks = Peaks("a machine", flops=10.0, bytes=2.0)
    assert Layer("a", flops=20.0, bytes=1.0).seconds(peaks) == 2.0
    assert Layer("b", flops=20.0, bytes=8.0).seconds(peaks) == 4.0


def test_peaks_of_this_machine_are_plausible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(floors.MATRIX, "cpu", 128)
    monkeypatch.setitem(floors.COPIED, "cpu", 1 << 20)
    peaks = measure_peaks(torch.device("cpu"), torch.float32, 2)
    assert 1e8 < peaks.flops < 1e14 and 1e7 < peaks.bytes < 1e13
