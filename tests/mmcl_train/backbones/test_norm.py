"""RowNorm: torch's batch norm, and rows that count more than once as if they were there so often."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmcl_train.backbones.norm import RowNorm, row_moments


def create_pair(channels: int, dtype: torch.dtype) -> tuple[RowNorm, nn.BatchNorm2d]:
    ours, theirs = RowNorm(channels).to(dtype), nn.BatchNorm2d(channels).to(dtype)
    nn.init.normal_(ours.weight, 1.0, 0.3)
    nn.init.normal_(ours.bias, 0.0, 0.3)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 5e-5)])
def test_training_output_gradients_and_running_averages_are_those_of_torch(
    dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    ours, theirs = create_pair(5, dtype)
    x = (30 + 3 * torch.randn(4, 5, 7, 3)).to(dtype)  # far from zero: E[x²] − mean² would lose digits
    found = []
    for norm in (ours, theirs):
        seen = x.clone().requires_grad_()
        y = norm(seen)
        (y.sin() * torch.arange(y.numel()).view_as(y)).sum().backward()
        found.append((y.detach(), seen.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()))
    for mine, wanted in zip(*found, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=tolerance, atol=tolerance * 100)


def test_a_row_that_counts_three_times_is_three_rows() -> None:
    torch.manual_seed(1)
    merged, spread = create_pair(4, torch.float64)
    x = torch.randn(3, 4, 5, 2, dtype=torch.float64)
    counts = torch.tensor([1, 1, 3])
    short, long = x.clone().requires_grad_(), x.repeat_interleave(counts, dim=0).requires_grad_()

    merged.row_counts, merged.row_total = counts, 5
    (merged(short).sin() * counts.view(-1, 1, 1, 1)).sum().backward()
    spread(long).sin().sum().backward()

    assert short.grad is not None and long.grad is not None
    expected = torch.stack([long.grad[0], long.grad[1], long.grad[2:].sum(dim=0)])
    torch.testing.assert_close(short.grad, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(merged.weight.grad, spread.weight.grad)
    torch.testing.assert_close(merged.bias.grad, spread.bias.grad)
    for mine, wanted in zip(merged.buffers(), spread.buffers(), strict=True):
        torch.testing.assert_close(mine, wanted)


def test_evaluation_uses_the_running_averages() -> None:
    ours, theirs = create_pair(3, torch.float32)
    x = torch.randn(2, 3, 4, 5)
    ours.eval(), theirs.eval()
    assert torch.equal(ours(x), theirs(x))


def test_a_half_precision_region_takes_torchs_norm() -> None:
    norm = RowNorm(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert norm(torch.randn(2, 3, 4, 5, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_moments_of_a_row_are_those_of_its_values(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x = (3 * torch.randn(2, 4, 16, 25, dtype=torch.float64) + 5).to(dtype)
    variance, mean = torch.var_mean(x.double(), dim=(2, 3), correction=0)
    found = row_moments(x)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found[0].double(), mean, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found[1].double(), variance, rtol=tolerance, atol=tolerance)


def test_counted_rows_of_half_precision_are_normed_in_single() -> None:
    torch.manual_seed(1)
    norm, exact = create_pair(4, torch.float32)
    x = torch.randn(3, 4, 5, 2).bfloat16()
    norm.row_counts, norm.row_total = torch.tensor([1.0, 1.0, 300.0]), 302
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = norm(x)
    wanted = exact(x.float().repeat_interleave(torch.tensor([1, 1, 300]), dim=0))[:3]
    assert y.dtype == torch.bfloat16 and norm.running_var is not None and exact.running_var is not None
    torch.testing.assert_close(y.float(), wanted, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(norm.running_var, exact.running_var, rtol=1e-5, atol=1e-6)
