"""The fused norm under Triton's interpreter; `test_interpreted.py` runs this in a process of its own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones.absent import find_absent, merge_absent
from mmcl_train.backbones.ctrgcn import CTRGCN
from mmcl_train.backbones.norm import RowNorm, normed_conv, takes_bias
from mmcl_train.kernels import fused_norm, normalise, runs_fused_norm, set_kernels
from mmcl_train.kernels.plain import plain_norm
from tests.mmcl_train.kernels.norm_cases import FOLLOWED, check_norm, draw, run

# rows, channels, frames, joints: a row within a block, over several with a rest, and of one value.
SIZES = [(3, 5, 13, 17), (2, 3, 64, 40), (70, 2, 1, 1)]
CASES = [*((torch.float32, size) for size in SIZES), (torch.float16, SIZES[0]), (torch.bfloat16, SIZES[0])]


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize(("residual", "relu"), FOLLOWED)
@pytest.mark.parametrize(("dtype", "size"), CASES, ids=str)
def test_fused_norm_and_all_gradients_equal_the_plain_ones(
    dtype: torch.dtype, size: tuple[int, int, int, int], residual: bool, relu: bool, counted: bool
) -> None:
    check_norm(size, dtype, "cpu", residual=residual, relu=relu, counted=counted)


def test_a_slice_of_channels_and_its_gradient_stay_where_they_are() -> None:
    torch.manual_seed(0)
    whole = torch.randn(3, 8, 5, 7)
    weight, bias = torch.randn(2, 6)
    sliced = run(
        lambda x, *rest: normalise(x[:, 1:7], *rest), [whole, weight, bias, None], None, 3, 1e-5, True
    )
    wanted = run(
        lambda x, *rest: plain_norm(x[:, 1:7], *rest), [whole, weight, bias, None], None, 3, 1e-5, True
    )
    for one, other in zip(sliced, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_result_kept_in_another_memory_order_gives_the_same_gradients() -> None:
    torch.manual_seed(0)
    gradient, x = torch.randn(2, 3, 8, 4, 5)
    weight, bias = torch.randn(2, 8)
    y, mean, variance = fused_norm.fused_norm(x, weight, bias, None, None, 3, 1e-5, True)
    turned = y.to(memory_format=torch.channels_last)
    rest = (x, weight, mean, variance, None, 3, 1e-5, True)
    for own in (False, True):
        made, wanted = (fused_norm.fused_norm_backward(gradient, kept, *rest, own) for kept in (turned, y))
        assert all(torch.equal(one, other) for one, other in zip(made, wanted, strict=True))


def test_the_same_inputs_give_the_same_bits() -> None:
    inputs = [None if v is None else v.float() for v in draw(SIZES[1], torch.float32, True)]
    for one, other in zip(*(run(normalise, inputs, None, 2, 1e-5, True) for _ in range(2)), strict=True):
        assert torch.equal(one, other)


def test_channels_innermost_are_left_to_the_plain_norm() -> None:
    x = torch.randn(2, 8, 4, 5)
    assert runs_fused_norm(x)
    assert not runs_fused_norm(x.to(memory_format=torch.channels_last))


def test_compile_traces_through_the_norm_without_a_break() -> None:
    norm = RowNorm(4)

    def step(x: Tensor, residual: Tensor) -> Tensor:
        made: Tensor = norm(2 * x, residual, relu=True)
        return made

    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    x, residual = torch.randn(2, 2, 4, 3, 5)
    gradients = []
    for function in (step, compiled):
        seen = x.clone().requires_grad_()
        function(seen, residual).square().sum().backward()
        gradients.append(seen.grad)
    torch.testing.assert_close(*gradients)


def test_a_bias_that_is_left_out_is_in_the_running_mean_and_has_a_gradient_of_zero() -> None:
    torch.manual_seed(0)
    conv, norm = torch.nn.Conv2d(4, 6, 1), RowNorm(6)
    x = torch.randn(3, 4, 5, 7)
    found = []
    try:
        for name, dtype in (("triton", torch.float32), ("plain", torch.float64)):
            set_kernels(name)
            pair = copy.deepcopy(torch.nn.ModuleList([conv, norm])).to(dtype)
            assert takes_bias(pair[1], x.to(dtype)) == (name == "triton")
            y = normed_conv(pair[0], pair[1], x.to(dtype), relu=True)
            y.square().sum().backward()
            found.append([y.detach(), pair[0].weight.grad, pair[1].running_mean, pair[1].running_var])
            assert pair[0].bias.grad is not None and float(pair[0].bias.grad.abs().max()) < 1e-12
    finally:
        set_kernels("auto")
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


def test_registration_with_torch_is_sound() -> None:
    x, weight, bias, residual = (
        v.float().requires_grad_() for v in draw(SIZES[0], torch.float32, True) if v is not None
    )
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    for relu in (False, True):
        torch.library.opcheck(
            fused_norm.fused_norm,
            (x, weight, bias, residual, torch.ones(3), 3, 1e-5, relu),
            test_utils=checks,
        )


class Shallow(CTRGCN):
    """Two blocks, of which the second has every layer: interpreted, ten take a minute."""

    plan = ((64, 1), (128, 2))


def test_a_training_step_of_ctr_gcn_is_the_plain_one() -> None:
    torch.manual_seed(0)
    backbone = Shallow(layout=LAYOUTS["nw-ucla20"], num_bodies=2, clip_length=8, width=0.125)
    for parameter in backbone.parameters():
        if parameter.dim() <= 1:  # norms that begin at 1e-6 would hide what stands before them
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    joints = torch.randn(3, 3, 8, 20, 2)
    joints[1:, ..., 1:] = 0
    known = merge_absent(find_absent(joints))
    found = []
    try:
        for name, dtype in (("triton", torch.float32), ("plain", torch.float64)):
            set_kernels(name)
            model = copy.deepcopy(backbone).to(dtype)
            features = model(joints.to(dtype), known)
            (features * torch.arange(features.numel()).view_as(features).cos()).sum().backward()
            gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
            statistics = torch.cat([buffer.flatten().to(dtype) for buffer in model.buffers()])
            found.append((features.detach(), gradients, statistics))
    finally:
        set_kernels("auto")
    for one, other in zip(*found, strict=True):
        assert float((one - other).norm() / other.norm()) < 1e-5
