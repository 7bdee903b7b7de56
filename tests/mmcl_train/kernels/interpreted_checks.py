"""The fused kernels under Triton's interpreter; `test_interpreted.py` runs this in a process of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from mmcl_cache.store import LAYOUTS, UserError
from mmcl_train.backbones import create_backbone
from mmcl_train.kernels import (
    choice,
    describe_kernels,
    fused,
    graph_product,
    runs_fused,
    runs_fused_norm,
    set_kernels,
)
from mmcl_train.kernels.plain import plain_graph_product, plain_norm
from tests.mmcl_train.kernels.cases import draw_weights, make_inputs, relative_errors, run

# channels, relation, frames, joints: NW-UCLA's and MediaPipe's joints, clips that fill no tile, relations of two tiles.
SIZES = [(16, 8, 13, 17), (64, 8, 52, 20), (16, 20, 64, 25), (16, 8, 16, 33)]
# bfloat16 keeps 8 bits; alpha's gradient is a sum that cancels, so its share of error is the largest.
TOLERANCE = {torch.float32: 2e-5, torch.float16: 1e-2, torch.bfloat16: 6e-2}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_fused_product_and_all_gradients_equal_the_plain_ones(sizes: tuple[int, int, int, int]) -> None:
    inputs = make_inputs(1, *sizes)
    weights = draw_weights(inputs)
    single = [value.float() for value in inputs]
    assert runs_fused(single[-1])
    errors = relative_errors(run(graph_product, single, weights), run(plain_graph_product, inputs, weights))
    assert max(errors.values()) < TOLERANCE[torch.float32], errors


@pytest.fixture
def dot_of_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter holds bfloat16 as bits and multiplies these as if they were whole numbers: widen them first."""
    whole = InterpreterBuilder.create_dot

    def widen(handle: TensorHandle) -> TensorHandle:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        return TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def dot(self: InterpreterBuilder, a: TensorHandle, b: TensorHandle, *others: Any) -> TensorHandle:
        return whole(self, widen(a), widen(b), *others)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", dot)


@pytest.mark.usefixtures("dot_of_bfloat16")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_values_and_relations_with_float32_parameters(dtype: torch.dtype) -> None:
    """As under autocast: activations are narrow, parameters wide, and every gradient has its own's type."""
    inputs = make_inputs(1, 16, 8, 16, 17)
    weights = draw_weights(inputs)
    narrow = [value.to(dtype if n in (0, 1, 6) else torch.float32) for n, value in enumerate(inputs)]
    exact = [value.double() for value in narrow]
    found = run(graph_product, narrow, weights)
    errors = relative_errors(found, run(plain_graph_product, exact, weights))
    assert max(errors.values()) < TOLERANCE[dtype], errors
    leaves = [value.clone().requires_grad_() for value in narrow]
    graph_product(*leaves).sum().backward()
    assert all(leaf.grad is not None and leaf.grad.dtype == leaf.dtype for leaf in leaves)


@pytest.mark.parametrize("layout", ["channels last", "sliced in time", "sliced in channels"])
def test_values_that_are_not_contiguous(layout: str) -> None:
    inputs = [value.float() for value in make_inputs(2, 16, 8, 16, 17)]
    if layout == "channels last":
        inputs[-1] = inputs[-1].to(memory_format=torch.channels_last)
    elif layout == "sliced in time":
        inputs[-1] = inputs[-1].repeat_interleave(2, dim=2)[:, :, ::2]
    else:
        inputs[-1] = torch.cat([inputs[-1], inputs[-1]], dim=1)[:, : inputs[-1].shape[1]]
    assert not inputs[-1].is_contiguous()
    found, expected = graph_product(*inputs), plain_graph_product(*inputs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last) == (layout == "channels last")


@pytest.mark.parametrize("place", range(len(fused.PRODUCT_CONFIGS)))
def test_every_tiling_gives_the_same_product(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips longer than a tile and clips shorter, on a sample of one channel tile and a half."""
    for launcher in (fused.FORWARD, fused.VALUES_GRADIENT):
        monkeypatch.setattr(launcher, "configs", fused.PRODUCT_CONFIGS[place : place + 1])
    inputs = make_inputs(1, 24, 8, 20, 20)
    weights = draw_weights(inputs)
    found = run(graph_product, [value.float() for value in inputs], weights)
    errors = relative_errors(found, run(plain_graph_product, inputs, weights))
    assert max(errors.values()) < TOLERANCE[torch.float32], errors


def test_same_inputs_give_the_same_bits() -> None:
    inputs = [value.float() for value in make_inputs(2, 16, 8, 16, 16)]
    weights = draw_weights(inputs)
    first, second = (run(graph_product, inputs, weights) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_compile_traces_through_the_product_without_a_break() -> None:
    inputs = [value.float() for value in make_inputs(1, 16, 8, 16, 17)]
    weights = draw_weights(inputs)

    def product(*arguments: torch.Tensor) -> torch.Tensor:
        return torch.relu(graph_product(*arguments))

    compiled = torch.compile(product, backend="aot_eager", fullgraph=True)
    for one, other in zip(run(compiled, inputs, weights), run(product, inputs, weights), strict=True):
        torch.testing.assert_close(one, other)


def test_registration_with_torch_is_sound() -> None:
    inputs = [value.float().requires_grad_() for value in make_inputs(1, 16, 8, 16, 16)]
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(fused.fused_graph_product, inputs, test_utils=checks)


def test_choice_says_what_runs() -> None:
    device = torch.device("cpu")
    assert describe_kernels(device) == "graph product: triton; norms: triton"
    set_kernels("plain")
    try:
        assert describe_kernels(device) == "graph product, norms: plain (train.kernels)"
        assert not runs_fused(torch.zeros(1, 3, 4, 5))
    finally:
        set_kernels("auto")


def test_ctr_gcn_uses_the_fused_product_and_computes_the_same() -> None:
    torch.manual_seed(0)
    backbone = create_backbone("ctrgcn", layout=LAYOUTS["nw-ucla20"], num_bodies=1, clip_length=8, width=0.25)
    for parameter in backbone.parameters():
        if parameter.dim() <= 1:  # norms that begin at 1e-6 would hide the graph product
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    backbone.eval()
    joints = torch.randn(1, 3, 8, 20, 1)
    features = {}
    try:
        for name in ("triton", "plain"):
            set_kernels(name)
            with torch.no_grad():
                features[name] = backbone(joints)
    finally:
        set_kernels("auto")
    assert not torch.equal(features["triton"], features["plain"])  # other sums, so other kernels ran
    torch.testing.assert_close(features["triton"], features["plain"], rtol=1e-4, atol=1e-5)


def test_kernels_that_pass_their_trial_are_used() -> None:
    try:
        set_kernels("auto", torch.device("cpu"))
        assert describe_kernels(torch.device("cpu")) == "graph product: triton; norms: triton"
    finally:
        set_kernels("auto")


def fail(*inputs: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("no image for this device")


@pytest.mark.parametrize(
    ("name", "operation", "what", "why"),
    [
        ("fused_graph_product", lambda *i: plain_graph_product(*i) * 1.1, "graph product", "off by"),
        ("fused_graph_product", fail, "graph product", "failed here: RuntimeError: no image"),
        ("fused_norm", lambda *i: tuple(1.1 * y for y in plain_norm(*i)), "norms", "off by"),
        ("fused_norm", fail, "norms", "failed here: RuntimeError: no image"),
    ],
)
def test_kernels_that_fail_their_trial_give_way_to_the_plain_ones(
    monkeypatch: pytest.MonkeyPatch, name: str, operation: Any, what: str, why: str
) -> None:
    monkeypatch.setattr(choice, name, operation)
    try:
        set_kernels("auto", torch.device("cpu"))
        said = dict(part.split(": ", 1) for part in describe_kernels(torch.device("cpu")).split("; "))
        other = {"graph product": "norms", "norms": "graph product"}[what]
        assert why in said[what] and said[other] == "triton"
        x = torch.zeros(1, 3, 4, 5)
        assert (runs_fused(x), runs_fused_norm(x)) == (what != "graph product", what != "norms")
        with pytest.raises(UserError, match=why):
            set_kernels("triton", torch.device("cpu"))
    finally:
        set_kernels("auto")
