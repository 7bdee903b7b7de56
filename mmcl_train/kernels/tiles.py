"""Tiles of the relation, the refinement and the channel-wise topology, made in registers.

They are padded to at least 16 along every axis, which the matrix units want; what lies past an edge is zero and adds
nothing. Triton reads annotations, so every argument that is no constant is a `tl.tensor` here, scalars too.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def load_relation(
    query: tl.tensor,
    key: tl.tensor,
    first_relation: tl.tensor,
    first_from: tl.tensor,
    first_to: tl.tensor,
    R: tl.tensor,
    V: tl.tensor,
    BLOCK_R: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_U: tl.constexpr,
) -> tl.tensor:
    """tanh(q[r, u] − k[r, v]) of one sample and subset, from-joints v and to-joints u: (R, V, U) float32."""
    r = first_relation + tl.arange(0, BLOCK_R)[:, None]
    v = first_from + tl.arange(0, BLOCK_V)[None, :]
    u = first_to + tl.arange(0, BLOCK_U)[None, :]
    q = tl.load(query + r * V + u, mask=(r < R) & (u < V), other=0.0).to(tl.float32)
    k = tl.load(key + r * V + v, mask=(r < R) & (v < V), other=0.0).to(tl.float32)
    difference = q[:, None, :] - k[:, :, None]
    return 2.0 * tl.sigmoid(2.0 * difference) - 1.0


@triton.jit
def load_weight(
    weight: tl.tensor,
    first_channel: tl.tensor,
    first_relation: tl.tensor,
    C: tl.tensor,
    R: tl.tensor,
    BLOCK_C: tl.constexpr,
    BLOCK_R: tl.constexpr,
) -> tl.tensor:
    """(C, R) of the refinement of one subset."""
    c = first_channel + tl.arange(0, BLOCK_C)[:, None]
    r = first_relation + tl.arange(0, BLOCK_R)[None, :]
    return tl.load(weight + c * R + r, mask=(c < C) & (r < R), other=0.0)


@triton.jit
def make_topology(
    query: tl.tensor,
    key: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    scale: tl.tensor,
    adjacency: tl.tensor,
    first_channel: tl.tensor,
    first_from: tl.tensor,
    first_to: tl.tensor,
    C: tl.tensor,
    R: tl.tensor,
    V: tl.tensor,
    graph_v: tl.tensor,
    graph_u: tl.tensor,
    BLOCK_C: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_U: tl.constexpr,
    BLOCK_R: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
) -> tl.tensor:
    """scale · (weight @ relation + bias) + adjacency of one sample and subset, (C, V from, U to) of DTYPE."""
    refined = tl.zeros((BLOCK_C, BLOCK_V * BLOCK_U), dtype=tl.float32)
    for first_relation in range(0, R, BLOCK_R):
        relation = load_relation(
            query, key, first_relation, first_from, first_to, R, V, BLOCK_R, BLOCK_V, BLOCK_U
        )
        flat = tl.reshape(relation.to(DTYPE), (BLOCK_R, BLOCK_V * BLOCK_U))
        w = load_weight(weight, first_channel, first_relation, C, R, BLOCK_C, BLOCK_R).to(DTYPE)
        refined = tl.dot(w, flat, refined, input_precision=PRECISION)
    c = first_channel + tl.arange(0, BLOCK_C)
    shift = tl.load(bias + c, mask=c < C, other=0.0).to(tl.float32)
    pair = tl.arange(0, BLOCK_V * BLOCK_U)
    v, u = first_from + pair // BLOCK_U, first_to + pair % BLOCK_U
    graph = tl.load(adjacency + v * graph_v + u * graph_u, mask=(v < V) & (u < V), other=0.0)
    topology = scale * (refined + shift[:, None]) + graph.to(tl.float32)[None, :]
    return tl.reshape(topology.to(DTYPE), (BLOCK_C, BLOCK_V, BLOCK_U))
