"""Random numbers of a run as a pure function of its seed and position.

Nothing of a generator's state has to be saved, and a resumed run draws what it would have drawn: the order of an epoch
depends on (seed, epoch) (`draw_order`), the clips and the dropout of a step on (seed, step, process).
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that differs with every part."""
    digest = hashlib.blake2b(" ".join(str(part) for part in parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def draw_order(seed: int, epoch: int, count: int, repeat: int = 1) -> Tensor:
    """Rows of an epoch, (count · repeat,) int64 on the host: every row `repeat` times, shuffled together.

    The published feeders repeat before they shuffle too (NW-UCLA: 5), so a batch may hold a sample twice.
    """
    generator = np.random.default_rng(derive_seed("order", seed, epoch))
    return torch.from_numpy(generator.permutation(count * repeat) % count)
