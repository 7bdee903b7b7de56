"""What the fused graph product's backward pass leaves in memory for a second pass to sum. Needs no triton."""

from __future__ import annotations

TILE = 16  # channels and relation channels of a tile, and from-joints: the least that the matrix units take

Shape = tuple[int, ...]


def count_blocks(joints: int) -> int:
    """Blocks of from-joints."""
    return -(-joints // TILE)


def shape_parts(
    samples: int, subsets: int, channels: int, relation: int, joints: int
) -> tuple[Shape, Shape, Shape, Shape]:
    """Of query, weight, bias and graph, all float32. Each program writes its own: sums are in a fixed order."""
    blocks = count_blocks(joints)
    return (
        (samples, subsets, blocks, relation, joints),
        (samples * blocks, subsets, channels, relation),
        (samples * blocks, subsets, channels),
        (samples, subsets, joints, joints),
    )
