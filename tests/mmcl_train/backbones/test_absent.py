"""Absent bodies are computed once for all, and nothing else changes."""

from __future__ import annotations

import copy

import pytest
import torch

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones import BACKBONES, create_backbone
from mmcl_train.backbones.absent import find_body_rows
from mmcl_train.backbones.blocks import TenBlockBackbone
from mmcl_train.engine.parallel import use_global_batchnorm

MERGING = sorted(name for name, kind in BACKBONES.items() if getattr(kind, "merges_absent_bodies", False))


def draw_joints(bodies: int, absent: list[tuple[int, int]], clips: int = 6) -> torch.Tensor:
    joints = torch.randn(clips, 3, 16, 25, bodies, dtype=torch.float64)
    for clip, body in absent:
        joints[clip, ..., body] = 0
    return joints


def create_twins(name: str, bodies: int) -> tuple[TenBlockBackbone, TenBlockBackbone]:
    """The same backbone twice, the second of which computes every body."""
    merging = create_backbone(
        name, layout=LAYOUTS["ntu25"], num_bodies=bodies, clip_length=16, width=0.25
    ).double()
    assert isinstance(merging, TenBlockBackbone)
    for parameter in merging.parameters():
        if parameter.dim() <= 1:  # norms that begin at 1e-6 would hide what stands behind them
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    plain = copy.deepcopy(merging)
    plain.find_rows = lambda joints: None  # type: ignore[method-assign]
    return merging, plain


@pytest.mark.parametrize("name", MERGING)
@pytest.mark.parametrize(
    ("bodies", "absent"),
    [(2, [(0, 1), (2, 1), (3, 1), (5, 1)]), (3, [(0, 1), (0, 2), (1, 2), (4, 1), (5, 2)])],
)
def test_training_is_the_same_as_with_every_body(
    name: str, bodies: int, absent: list[tuple[int, int]]
) -> None:
    torch.manual_seed(0)
    merging, plain = create_twins(name, bodies)
    joints = draw_joints(bodies, absent)
    rows = find_body_rows(joints)
    assert rows is not None and len(rows.kept) < joints.shape[0] * bodies
    features = []
    for backbone in (merging, plain):
        y = backbone(joints)
        (y.sin() * torch.arange(y.numel()).view_as(y)).sum().backward()
        features.append(y.detach())
    torch.testing.assert_close(*features, rtol=1e-10, atol=1e-12)
    for (key, mine), wanted in zip(merging.named_parameters(), plain.parameters(), strict=True):
        assert mine.grad is not None and wanted.grad is not None
        largest = float(wanted.grad.abs().max())
        assert float((mine.grad - wanted.grad).abs().max()) <= 1e-9 * max(largest, 1.0), key
    for (key, kept), statistic in zip(merging.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(kept, statistic, rtol=1e-10, atol=1e-12, msg=key)


@pytest.mark.parametrize("name", MERGING)
def test_evaluation_is_the_same_as_with_every_body(name: str) -> None:
    torch.manual_seed(0)
    merging, plain = create_twins(name, 2)
    joints = draw_joints(2, [(0, 1), (2, 1), (3, 1)])
    with torch.no_grad():
        torch.testing.assert_close(merging.eval()(joints), plain.eval()(joints), rtol=1e-10, atol=1e-12)


def test_ctr_gcn_merges() -> None:
    assert "ctrgcn" in MERGING


def test_rows_are_computed_once_and_found_again() -> None:
    joints = draw_joints(2, [(1, 1), (4, 1), (5, 1)])
    rows = find_body_rows(joints)
    assert rows is not None
    assert rows.counts.tolist() == [1] * 9 + [3]
    assert int(rows.counts.sum()) == 12
    spread = joints.permute(0, 4, 1, 2, 3).flatten(0, 1)
    assert torch.equal(spread[rows.kept][rows.source], spread)


def test_nothing_is_merged_where_every_body_is_there_or_one_alone_is_not() -> None:
    assert find_body_rows(draw_joints(2, [])) is None
    assert find_body_rows(draw_joints(2, [(3, 1)])) is None


def test_one_zero_joint_is_a_body() -> None:
    joints = draw_joints(2, [(1, 1), (4, 1), (5, 1)])
    joints[4, 0, 3, 7, 1] = 1e-9
    rows = find_body_rows(joints)
    assert rows is not None and rows.counts.tolist() == [1] * 10 + [2]


def test_every_body_is_computed_where_the_norms_cannot_count_rows() -> None:
    """Norms over several processes, half precision: merged rows would count once there."""
    joints = draw_joints(2, [(0, 1), (2, 1), (3, 1)])
    backbone, _ = create_twins("ctrgcn", 2)
    assert backbone.find_rows(joints) is not None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert backbone.find_rows(joints) is None
    use_global_batchnorm(backbone)
    assert backbone.find_rows(joints) is None
