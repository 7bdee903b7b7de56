"""Batch norm with what follows it on the GPU, y = relu(norm(x) + residual): what one block of threads does.

A program looks at one row and channel, L = T · V values that lie one after the other. Sums are in float32 and in a
fixed order. Triton reads annotations, so every argument that is no constant is a `tl.tensor` here, scalars too.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def moments_program(
    x: tl.tensor,
    means: tl.tensor,
    squares: tl.tensor,
    C: tl.tensor,
    L: tl.tensor,
    x_n: tl.tensor,
    x_c: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """m = mean of x and Σ (x − m)² of a row and channel, written to (N, C); grid (channels, rows).

    Pieces longer than a block are put together as Chan, Golub and LeVeque (1979) do, which loses no digits.
    """
    c = tl.program_id(0)
    n = tl.program_id(1).to(tl.int64)
    mean = 0.0
    square = 0.0
    for start in range(0, L, BLOCK):
        at = start + tl.arange(0, BLOCK)
        value = tl.load(x + n * x_n + c * x_c + at, mask=at < L, other=0.0).to(tl.float32)
        size = tl.minimum(L - start, BLOCK).to(tl.float32)
        whole = size + start
        part = tl.sum(value) / size
        centred = tl.where(at < L, value - part, 0.0)
        change = part - mean
        square += tl.sum(centred * centred) + change * change * (start * size / whole)
        mean += change * (size / whole)
    tl.store(means + n * C + c, mean)
    tl.store(squares + n * C + c, square)


@triton.jit
def combine_program(
    means: tl.tensor,
    squares: tl.tensor,
    counts: tl.tensor,
    mean: tl.tensor,
    variance: tl.tensor,
    N: tl.tensor,
    C: tl.tensor,
    L: tl.tensor,
    total: tl.tensor,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
    COUNTED: tl.constexpr,
) -> None:
    """Mean and variance of some channels over rows that count `counts` times, `total` together; grid (channels)."""
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    rows = total.to(tl.float32)
    sums = tl.zeros((BLOCK_N, BLOCK_C), dtype=tl.float32)
    for first in range(0, N, BLOCK_N):
        n = first + tl.arange(0, BLOCK_N)[:, None]
        inside = (n < N) & (c < C)
        part = tl.load(means + n * C + c, mask=inside, other=0.0)
        if COUNTED:
            part *= tl.load(counts + n, mask=n < N, other=0.0).to(tl.float32)
        sums += part
    whole = tl.sum(sums, axis=0)[None, :] / rows
    sums = tl.zeros((BLOCK_N, BLOCK_C), dtype=tl.float32)
    for first in range(0, N, BLOCK_N):
        n = first + tl.arange(0, BLOCK_N)[:, None]
        inside = (n < N) & (c < C)
        apart = tl.load(means + n * C + c, mask=inside, other=0.0) - whole
        part = tl.load(squares + n * C + c, mask=inside, other=0.0) / L + apart * apart
        if COUNTED:
            part *= tl.load(counts + n, mask=n < N, other=0.0).to(tl.float32)
        sums += tl.where(inside, part, 0.0)
    spread = tl.sum(sums, axis=0)[None, :] / rows
    tl.store(mean + c, whole, mask=c < C)
    tl.store(variance + c, spread, mask=c < C)


@triton.jit
def apply_program(
    x: tl.tensor,
    residual: tl.tensor,
    mean: tl.tensor,
    variance: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    y: tl.tensor,
    C: tl.tensor,
    L: tl.tensor,
    eps: tl.tensor,
    x_n: tl.tensor,
    x_c: tl.tensor,
    residual_n: tl.tensor,
    residual_c: tl.tensor,
    BLOCK: tl.constexpr,
    RESIDUAL: tl.constexpr,
    RELU: tl.constexpr,
) -> None:
    """weight · (x − mean) / √(variance + eps) + bias + residual, not below 0 with RELU; grid (channels, rows)."""
    c = tl.program_id(0)
    n = tl.program_id(1).to(tl.int64)
    scale = tl.load(weight + c).to(tl.float32) / tl.sqrt(tl.load(variance + c) + eps)
    centre = tl.load(mean + c)
    shift = tl.load(bias + c).to(tl.float32)
    for start in range(0, L, BLOCK):
        at = start + tl.arange(0, BLOCK)
        value = tl.load(x + n * x_n + c * x_c + at, mask=at < L, other=0.0).to(tl.float32)
        made = (value - centre) * scale + shift
        if RESIDUAL:
            place = residual + n * residual_n + c * residual_c + at
            made += tl.load(place, mask=at < L, other=0.0).to(tl.float32)
        if RELU:
            made = tl.maximum(made, 0.0)
        tl.store(y + (n * C + c) * L + at, made.to(y.dtype.element_ty), mask=at < L)


@triton.jit
def load_passed(gradient: tl.tensor, y: tl.tensor, inside: tl.tensor, RELU: tl.constexpr) -> tl.tensor:
    """The gradient of the output as float32, zero where the ReLU cut the output off."""
    g = tl.load(gradient, mask=inside, other=0.0).to(tl.float32)
    if RELU:
        g = tl.where(tl.load(y, mask=inside, other=0.0) > 0.0, g, 0.0)
    return g


@triton.jit
def gradient_sums_program(
    gradient: tl.tensor,
    y: tl.tensor,
    x: tl.tensor,
    mean: tl.tensor,
    variance: tl.tensor,
    sums: tl.tensor,
    residual_made: tl.tensor,
    N: tl.tensor,
    C: tl.tensor,
    L: tl.tensor,
    eps: tl.tensor,
    gradient_n: tl.tensor,
    gradient_c: tl.tensor,
    x_n: tl.tensor,
    x_c: tl.tensor,
    BLOCK: tl.constexpr,
    RESIDUAL: tl.constexpr,
    RELU: tl.constexpr,
) -> None:
    """Σ g and Σ g · (x − mean) / √(variance + eps) of a row and channel, g the gradient where y is not cut off,
    written to (2, N, C), and g itself with RESIDUAL, whose gradient it is; grid (channels, rows)."""
    c = tl.program_id(0)
    n = tl.program_id(1).to(tl.int64)
    scale = 1.0 / tl.sqrt(tl.load(variance + c) + eps)
    centre = tl.load(mean + c)
    plain = tl.zeros((BLOCK,), dtype=tl.float32)
    scaled = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, L, BLOCK):
        at = start + tl.arange(0, BLOCK)
        place = (n * C + c) * L + at
        g = load_passed(gradient + n * gradient_n + c * gradient_c + at, y + place, at < L, RELU)
        if RESIDUAL:
            tl.store(residual_made + place, g.to(residual_made.dtype.element_ty), mask=at < L)
        value = tl.load(x + n * x_n + c * x_c + at, mask=at < L, other=0.0).to(tl.float32)
        plain += g
        scaled += g * (value - centre)
    tl.store(sums + n * C + c, tl.sum(plain))
    tl.store(sums + (N + n) * C + c, tl.sum(scaled) * scale)


@triton.jit
def gradient_program(
    gradient: tl.tensor,
    y: tl.tensor,
    x: tl.tensor,
    mean: tl.tensor,
    variance: tl.tensor,
    weight: tl.tensor,
    totals: tl.tensor,
    counts: tl.tensor,
    made: tl.tensor,
    C: tl.tensor,
    L: tl.tensor,
    total: tl.tensor,
    eps: tl.tensor,
    gradient_n: tl.tensor,
    gradient_c: tl.tensor,
    x_n: tl.tensor,
    x_c: tl.tensor,
    BLOCK: tl.constexpr,
    COUNTED: tl.constexpr,
    RELU: tl.constexpr,
) -> None:
    """Of x: scale · (g − count · (Σ g + x̂ · Σ g x̂) / (total · L)), g as above; grid (channels, rows).

    g is already the sum over what a row stands for, so only the terms that pass through the statistics are counted.
    """
    c = tl.program_id(0)
    n = tl.program_id(1).to(tl.int64)
    scale = 1.0 / tl.sqrt(tl.load(variance + c) + eps)
    centre = tl.load(mean + c)
    share = 1.0 / (total.to(tl.float32) * L)
    if COUNTED:
        share *= tl.load(counts + n).to(tl.float32)
    plain = tl.load(totals + c) * share
    scaled = tl.load(totals + C + c) * share * scale
    scale *= tl.load(weight + c).to(tl.float32)
    for start in range(0, L, BLOCK):
        at = start + tl.arange(0, BLOCK)
        place = (n * C + c) * L + at
        g = load_passed(gradient + n * gradient_n + c * gradient_c + at, y + place, at < L, RELU)
        value = tl.load(x + n * x_n + c * x_c + at, mask=at < L, other=0.0).to(tl.float32)
        change = scale * (g - plain - (value - centre) * scaled)
        tl.store(made + place, change.to(made.dtype.element_ty), mask=at < L)
