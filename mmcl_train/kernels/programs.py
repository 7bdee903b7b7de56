"""The graph product on the GPU: what one block of threads does, forward and backward.

Each makes tiles of the channel-wise topology, or of its gradient, uses them and forgets them. Sums are in float32;
operands of matrix products have the type of the values.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .tiles import load_relation, load_weight, make_topology


@triton.jit
def forward_program(
    values: tl.tensor,
    query: tl.tensor,
    key: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    alpha: tl.tensor,
    adjacency: tl.tensor,
    out: tl.tensor,
    C: tl.tensor,
    T: tl.tensor,
    V: tl.tensor,
    R: tl.tensor,
    values_n: tl.tensor,
    values_c: tl.tensor,
    values_t: tl.tensor,
    values_v: tl.tensor,
    out_n: tl.tensor,
    out_c: tl.tensor,
    out_t: tl.tensor,
    out_v: tl.tensor,
    query_n: tl.tensor,
    key_n: tl.tensor,
    graph_k: tl.tensor,
    graph_v: tl.tensor,
    graph_u: tl.tensor,
    SUBSETS: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_U: tl.constexpr,
    BLOCK_R: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """y of some channels, to-joints and frames; grid (to-joint and channel blocks, frame blocks, samples)."""
    to_blocks = tl.cdiv(V, BLOCK_U)
    first_to = (tl.program_id(0) % to_blocks) * BLOCK_U
    first_channel = (tl.program_id(0) // to_blocks) * BLOCK_C
    n = tl.program_id(2).to(tl.int64)
    c = first_channel + tl.arange(0, BLOCK_C)[:, None, None]
    t = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)[None, :, None]
    inside = (c < C) & (t < T)
    scale = tl.load(alpha).to(tl.float32)
    dtype: tl.constexpr = values.dtype.element_ty
    total = tl.zeros((BLOCK_C, BLOCK_T, BLOCK_U), dtype=tl.float32)
    for subset in range(SUBSETS):
        for first_from in range(0, V, BLOCK_V):
            topology = make_topology(
                query + n * query_n + subset * R * V,
                key + n * key_n + subset * R * V,
                weight + subset * C * R,
                bias + subset * C,
                scale,
                adjacency + subset * graph_k,
                first_channel,
                first_from,
                first_to,
                C,
                R,
                V,
                graph_v,
                graph_u,
                BLOCK_C,
                BLOCK_V,
                BLOCK_U,
                BLOCK_R,
                dtype,
                PRECISION,
            )
            v = first_from + tl.arange(0, BLOCK_V)[None, None, :]
            place = c * values_c + t * values_t + v * values_v
            x = tl.load(
                values + n * values_n + subset * C * values_c + place, mask=inside & (v < V), other=0.0
            )
            total = tl.dot(x, topology, total, input_precision=PRECISION)
    u = first_to + tl.arange(0, BLOCK_U)[None, None, :]
    place = c * out_c + t * out_t + u * out_v
    tl.store(out + n * out_n + place, total.to(dtype), mask=inside & (u < V))


@triton.jit
def values_gradient_program(
    gradient: tl.tensor,
    query: tl.tensor,
    key: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    alpha: tl.tensor,
    adjacency: tl.tensor,
    made: tl.tensor,
    C: tl.tensor,
    T: tl.tensor,
    V: tl.tensor,
    R: tl.tensor,
    gradient_n: tl.tensor,
    gradient_c: tl.tensor,
    gradient_t: tl.tensor,
    gradient_v: tl.tensor,
    made_n: tl.tensor,
    made_c: tl.tensor,
    made_t: tl.tensor,
    made_v: tl.tensor,
    query_n: tl.tensor,
    key_n: tl.tensor,
    graph_k: tl.tensor,
    graph_v: tl.tensor,
    graph_u: tl.tensor,
    SUBSETS: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_U: tl.constexpr,
    BLOCK_R: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """Σ_u gradient[c, t, u] · topology[c, v, u]; grid of blocks (from-joints · subsets · channels, frames, samples)."""
    from_blocks = tl.cdiv(V, BLOCK_V)
    first_from = (tl.program_id(0) % from_blocks) * BLOCK_V
    rest = tl.program_id(0) // from_blocks
    subset = rest % SUBSETS
    first_channel = (rest // SUBSETS) * BLOCK_C
    n = tl.program_id(2).to(tl.int64)
    c = first_channel + tl.arange(0, BLOCK_C)[:, None, None]
    t = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)[None, :, None]
    inside = (c < C) & (t < T)
    scale = tl.load(alpha).to(tl.float32)
    dtype: tl.constexpr = made.dtype.element_ty
    total = tl.zeros((BLOCK_C, BLOCK_T, BLOCK_V), dtype=tl.float32)
    for first_to in range(0, V, BLOCK_U):
        topology = make_topology(
            query + n * query_n + subset * R * V,
            key + n * key_n + subset * R * V,
            weight + subset * C * R,
            bias + subset * C,
            scale,
            adjacency + subset * graph_k,
            first_channel,
            first_from,
            first_to,
            C,
            R,
            V,
            graph_v,
            graph_u,
            BLOCK_C,
            BLOCK_V,
            BLOCK_U,
            BLOCK_R,
            dtype,
            PRECISION,
        )
        u = first_to + tl.arange(0, BLOCK_U)[None, None, :]
        place = c * gradient_c + t * gradient_t + u * gradient_v
        g = tl.load(gradient + n * gradient_n + place, mask=inside & (u < V), other=0.0).to(dtype)
        total = tl.dot(g, tl.permute(topology, (0, 2, 1)), total, input_precision=PRECISION)
    v = first_from + tl.arange(0, BLOCK_V)[None, None, :]
    place = c * made_c + t * made_t + v * made_v
    tl.store(made + n * made_n + subset * C * made_c + place, total.to(dtype), mask=inside & (v < V))


@triton.jit
def topology_gradient_program(
    gradient: tl.tensor,
    values: tl.tensor,
    query: tl.tensor,
    key: tl.tensor,
    weight: tl.tensor,
    alpha: tl.tensor,
    query_parts: tl.tensor,
    key_gradient: tl.tensor,
    weight_parts: tl.tensor,
    bias_parts: tl.tensor,
    graph_parts: tl.tensor,
    C: tl.tensor,
    T: tl.tensor,
    V: tl.tensor,
    R: tl.tensor,
    gradient_n: tl.tensor,
    gradient_c: tl.tensor,
    gradient_t: tl.tensor,
    gradient_v: tl.tensor,
    values_n: tl.tensor,
    values_c: tl.tensor,
    values_t: tl.tensor,
    values_v: tl.tensor,
    query_n: tl.tensor,
    key_n: tl.tensor,
    SUBSETS: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_U: tl.constexpr,
    BLOCK_R: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """All that follows from the topology's gradient Σ_t values[c, t, v] · gradient[c, t, u], of some from-joints.

    Grid (relation blocks, from-joint blocks and subsets, samples); BLOCK_U holds all joints. What has to be summed
    over samples or joint blocks is written apart, for a second pass to sum in a fixed order: query (N, K, B, R, V),
    weight (N, B, K, C, R) and bias (N, B, K, C) without alpha, graph (N, K, V, V).
    """
    relation_blocks, from_blocks = tl.cdiv(R, BLOCK_R), tl.cdiv(V, BLOCK_V)
    first_relation = (tl.program_id(0) % relation_blocks) * BLOCK_R
    rest = tl.program_id(0) // relation_blocks
    block, subset = rest % from_blocks, rest // from_blocks
    first_from = block * BLOCK_V
    n = tl.program_id(1).to(tl.int64)
    scale = tl.load(alpha).to(tl.float32)
    dtype: tl.constexpr = values.dtype.element_ty
    query += n * query_n + subset * R * V
    key += n * key_n + subset * R * V
    relation = load_relation(query, key, first_relation, first_from, 0, R, V, BLOCK_R, BLOCK_V, BLOCK_U)
    by_joint = tl.permute(relation.to(dtype), (1, 2, 0))
    graph_sum = tl.zeros((BLOCK_V, BLOCK_U), dtype=tl.float32)
    relation_sum = tl.zeros((BLOCK_R, BLOCK_V * BLOCK_U), dtype=tl.float32)
    r = first_relation + tl.arange(0, BLOCK_R)
    v = first_from + tl.arange(0, BLOCK_V)
    u = tl.arange(0, BLOCK_U)
    for first_channel in range(0, C, BLOCK_C):
        c = first_channel + tl.arange(0, BLOCK_C)
        change = tl.zeros((BLOCK_C, BLOCK_V, BLOCK_U), dtype=tl.float32)
        for first_frame in range(0, T, BLOCK_T):
            t = first_frame + tl.arange(0, BLOCK_T)
            place = c[:, None, None] * values_c + v[None, :, None] * values_v + t[None, None, :] * values_t
            x = tl.load(
                values + n * values_n + subset * C * values_c + place,
                mask=(c[:, None, None] < C) & (v[None, :, None] < V) & (t[None, None, :] < T),
                other=0.0,
            )
            place = (
                c[:, None, None] * gradient_c + t[None, :, None] * gradient_t + u[None, None, :] * gradient_v
            )
            g = tl.load(
                gradient + n * gradient_n + place,
                mask=(c[:, None, None] < C) & (t[None, :, None] < T) & (u[None, None, :] < V),
                other=0.0,
            ).to(dtype)
            change = tl.dot(x, g, change, input_precision=PRECISION)
        row = ((n * from_blocks + block) * SUBSETS + subset) * C + c
        if first_relation == 0:
            graph_sum += tl.sum(change, axis=0)
            tl.store(bias_parts + row, tl.sum(tl.sum(change, axis=2), axis=1), mask=c < C)
        narrow = change.to(dtype)
        # One product a from-joint, then their sum: a single one of so few rows leaves the warps nothing to share.
        products = tl.dot(tl.permute(narrow, (1, 0, 2)), by_joint, input_precision=PRECISION)
        weight_change = tl.sum(products, axis=0)
        place = weight_parts + row[:, None] * R + r[None, :]
        tl.store(place, weight_change, mask=(c[:, None] < C) & (r[None, :] < R))
        flat = tl.reshape(narrow, (BLOCK_C, BLOCK_V * BLOCK_U))
        w = load_weight(weight + subset * C * R, first_channel, first_relation, C, R, BLOCK_C, BLOCK_R)
        relation_sum = tl.dot(tl.trans(w.to(dtype)), flat, relation_sum, input_precision=PRECISION)
    if first_relation == 0:
        place = graph_parts + ((n * SUBSETS + subset) * V + v[:, None]) * V + u[None, :]
        tl.store(place, graph_sum, mask=(v[:, None] < V) & (u[None, :] < V))
    again = load_relation(query, key, first_relation, first_from, 0, R, V, BLOCK_R, BLOCK_V, BLOCK_U)
    slope = scale * tl.reshape(relation_sum, (BLOCK_R, BLOCK_V, BLOCK_U)) * (1.0 - again * again)
    rows = (n * SUBSETS + subset) * from_blocks + block
    place = query_parts + (rows * R + r[:, None]) * V + u[None, :]
    tl.store(place, tl.sum(slope, axis=1), mask=(r[:, None] < R) & (u[None, :] < V))
    place = key_gradient + ((n * SUBSETS + subset) * R + r[:, None]) * V + v[None, :]
    known = key_gradient.dtype.element_ty
    tl.store(place, (-tl.sum(slope, axis=2)).to(known), mask=(r[:, None] < R) & (v[None, :] < V))
