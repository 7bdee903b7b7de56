"""The graph product is CTR-GCN's, whichever way it runs."""

from __future__ import annotations

import pytest
import torch

from mmcl_cache.store import UserError
from mmcl_train.backbones.plain_ctrgcn import Subset
from mmcl_train.config import CHOICES
from mmcl_train.kernels import KERNELS, describe_kernels, graph_product, runs_fused, set_kernels
from tests.mmcl_train.kernels.cases import draw_weights, make_inputs, relative_errors, run

CPU = torch.device("cpu")


def test_product_is_the_sum_of_the_papers_subsets() -> None:
    """Against the formulation subset by subset, with relations taken before the mean over time."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 16, 6, 5, generator=generator, dtype=torch.float64)
    graphs = torch.randn(3, 5, 5, generator=generator, dtype=torch.float64)
    alpha = torch.tensor([0.7], dtype=torch.float64)
    subsets = [Subset(16, 8).double() for _ in range(3)]
    expected = sum(subset(x, graph, alpha) for subset, graph in zip(subsets, graphs, strict=True))
    found = graph_product(
        torch.stack([subset.conv1(x).mean(dim=2) for subset in subsets], dim=1),
        torch.stack([subset.conv2(x).mean(dim=2) for subset in subsets], dim=1),
        torch.stack([subset.conv4.weight[:, :, 0, 0] for subset in subsets]),
        torch.stack([subset.conv4.bias for subset in subsets]),
        alpha,
        graphs.transpose(1, 2),
        torch.cat([subset.conv3(x) for subset in subsets], dim=1),
    )
    torch.testing.assert_close(found, expected)


def test_plain_runs_where_there_is_no_cuda_device_and_says_so() -> None:
    assert describe_kernels(CPU) == "graph product, norms: plain (no CUDA device)"
    assert not runs_fused(torch.zeros(1, 48, 4, 5))


def test_unknown_kernels_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="auto, plain, triton"):
        set_kernels("fast")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to run them on")
def test_asking_for_triton_without_a_gpu_is_one_clear_line() -> None:
    with pytest.raises(UserError, match=r"no CUDA device.*train\.kernels=auto"):
        set_kernels("triton")
    assert describe_kernels(CPU) == "graph product, norms: plain (no CUDA device)"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("channels", "frames"), [(64, 64), (128, 32), (256, 16)])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 6e-2)])
def test_fused_equals_plain_on_the_gpu(channels: int, frames: int, dtype: torch.dtype, bound: float) -> None:
    """At the three widths of the network, against float64."""
    inputs = [value.cuda() for value in make_inputs(8, channels, max(8, channels // 8), frames, 25)]
    weights = draw_weights(inputs).cuda()
    narrow = [value.to(dtype if n in (0, 1, 6) else torch.float32) for n, value in enumerate(inputs)]
    assert runs_fused(narrow[-1])
    errors = relative_errors(
        run(graph_product, narrow, weights), run(graph_product, [value.double() for value in narrow], weights)
    )
    assert max(errors.values()) < bound, errors


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_fused_product_can_be_captured_in_a_graph() -> None:
    inputs = [value.float().cuda() for value in make_inputs(4, 64, 8, 64, 25)]
    expected = graph_product(*inputs)  # chooses its tiling before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = graph_product(*inputs)
    graph.replay()
    torch.testing.assert_close(captured, expected, rtol=0, atol=0)


def test_the_setting_of_a_run_knows_every_kind() -> None:
    assert CHOICES["train.kernels"] == KERNELS
