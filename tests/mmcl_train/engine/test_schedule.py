from __future__ import annotations

import pytest

from mmcl_train.engine.schedule import get_lr

MMCL = {"base": 0.1, "warmup": 5, "steps": (90, 100), "gamma": 0.1}


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 0.02), (3, 0.08), (4, 0.1), (5, 0.1), (89, 0.1), (90, 0.01), (99, 0.01), (100, 0.001), (109, 0.001)],
)
def test_rate_of_the_published_schedule(epoch: int, expected: float) -> None:
    assert get_lr(epoch, **MMCL) == pytest.approx(expected, rel=1e-12)


def test_without_warmup_the_first_epoch_has_the_full_rate() -> None:
    assert get_lr(0, base=0.1, warmup=0, steps=(), gamma=0.1) == 0.1
