"""Absent bodies are computed once for all, and nothing else changes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones import BACKBONES, create_backbone
from mmcl_train.backbones.absent import BodyRows, find_absent, merge_absent
from mmcl_train.backbones.blocks import TenBlockBackbone
from mmcl_train.backbones.ctrgcn import CTRGCN
from mmcl_train.engine.parallel import use_global_batchnorm

MERGING = sorted(name for name, kind in BACKBONES.items() if getattr(kind, "merges_absent_bodies", False))


def draw_joints(bodies: int, absent: list[tuple[int, int]], clips: int = 6) -> torch.Tensor:
    joints = torch.randn(clips, 3, 16, 25, bodies, dtype=torch.float64)
    for clip, body in absent:
        joints[clip, ..., body] = 0
    return joints


def merge(joints: torch.Tensor) -> BodyRows | None:
    return merge_absent(find_absent(joints))


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
    plain.choose_bodies = lambda joints, known: None  # type: ignore[method-assign]
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
    rows = merge(joints)
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
    rows = merge(joints)
    assert rows is not None
    assert rows.counts.tolist() == [1, 1, 1, 3, 1, 1, 1, 1, 1, 1]
    assert int(rows.counts.sum()) == 12
    spread = joints.permute(0, 4, 1, 2, 3).flatten(0, 1)
    assert torch.equal(spread[rows.kept][rows.source], spread)


def test_nothing_is_merged_where_every_body_is_there_or_one_alone_is_not() -> None:
    assert merge(draw_joints(2, [])) is None
    assert merge(draw_joints(2, [(3, 1)])) is None


def test_one_zero_joint_is_a_body() -> None:
    joints = draw_joints(2, [(1, 1), (4, 1), (5, 1)])
    joints[4, 0, 3, 7, 1] = 1e-9
    rows = merge(joints)
    assert rows is not None and rows.counts.tolist() == [1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1]


def test_every_body_is_computed_where_norms_go_over_several_processes() -> None:
    """Their rows would count once there."""
    joints = draw_joints(2, [(0, 1), (2, 1), (3, 1)])
    backbone, _ = create_twins("ctrgcn", 2)
    assert backbone.choose_bodies(joints, None) is not None
    use_global_batchnorm(backbone)
    assert backbone.choose_bodies(joints, merge(joints)) is None


@pytest.mark.parametrize("absent", range(2, 13))
def test_rows_come_in_multiples(absent: int) -> None:
    joints = draw_joints(2, [(clip, 1) for clip in range(absent)], clips=12)
    rows = merge_absent(find_absent(joints), multiple=4)
    whole = -(-(24 - absent + 1) // 4) * 4
    if whole == 24:
        assert rows is None
        return
    assert rows is not None
    assert len(rows.kept) == len(rows.counts) == whole and int(rows.counts.sum()) == 24
    spread = joints.permute(0, 4, 1, 2, 3).flatten(0, 1)
    assert torch.equal(spread[rows.kept][rows.source], spread)
    assert torch.equal(torch.bincount(rows.source).float(), rows.counts)


def test_half_precision_with_known_bodies_stays_as_near_as_with_every_body() -> None:
    torch.manual_seed(0)
    merging, plain = create_twins("ctrgcn", 2)
    joints = draw_joints(2, [(clip, 1) for clip in range(1, 12)], clips=12)
    bodies = merge(joints)
    every = copy.deepcopy(plain)
    exact = train_step(plain, joints)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        in_half = (
            train_step(merging.float(), joints.float(), bodies),
            train_step(every.float(), joints.float()),
        )
    shares = [
        [float((found[key] - wanted).norm() / wanted.norm()) for found in in_half]
        for key, wanted in exact.items()
        if wanted.norm()
        > 1e-6 * exact["features"].norm()  # a bias before a norm has no gradient but rounding
    ]
    merged, every = torch.tensor(shares).median(dim=0).values.tolist()
    assert merged <= 1.2 * every, (merged, every)


def test_a_compiled_step_with_known_bodies_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CTRGCN, "plan", ((64, 1), (128, 2)))  # ten blocks are traced for a dozen seconds
    torch.manual_seed(0)
    merging, plain = create_twins("ctrgcn", 2)
    joints = draw_joints(2, [(0, 1), (2, 1), (3, 1)])
    exact = train_step(plain, joints)
    compiled = torch.compile(merging, backend="aot_eager")
    found = train_step(compiled, joints, merge(joints))
    for key, wanted in exact.items():
        torch.testing.assert_close(
            found[key.removeprefix("_orig_mod.")], wanted, rtol=1e-8, atol=1e-8, msg=key
        )


def test_a_step_with_known_bodies_looks_at_no_value() -> None:
    joints = draw_joints(2, [(0, 1), (2, 1), (3, 1)])
    bodies = merge(joints)
    assert bodies is not None
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:  # .item() or nonzero would raise
        backbone = create_backbone("ctrgcn", layout=LAYOUTS["ntu25"], clip_length=16, width=0.25)
        known = BodyRows(*map(mode.from_tensor, bodies))
        backbone(mode.from_tensor(joints.float()), known).sum().backward()


def train_step(
    backbone: torch.nn.Module, joints: torch.Tensor, bodies: BodyRows | None = None
) -> dict[str, torch.Tensor]:
    """Features, running statistics and gradients of one step."""
    y = backbone(joints) if bodies is None else backbone(joints, bodies)
    y = y.to(joints.dtype)
    (y.sin() * torch.arange(y.numel(), dtype=joints.dtype).view_as(y)).sum().backward()
    made = {key: parameter.grad for key, parameter in backbone.named_parameters()}
    made.update({key: value for key, value in backbone.named_buffers() if value.is_floating_point()})
    return {key.removeprefix("_orig_mod."): value for key, value in made.items() if value is not None} | {
        "features": y.detach()
    }
