from __future__ import annotations

import numpy as np
import pytest
import torch

from mmcl_train.engine.window import COLUMNS, LossWindow, NonFiniteLoss, average


def name_samples(rows: torch.Tensor) -> list[str]:
    return [f"S{row}" for row in rows.tolist()]


def test_a_loss_that_is_not_finite_names_the_samples_of_its_batch() -> None:
    window = LossWindow(name_samples)
    good, bad = torch.ones(len(COLUMNS)), torch.ones(len(COLUMNS))
    bad[2] = float("nan")
    for values, rows in ((good, [0, 1]), (bad, [2, 3]), (bad, [4, 5])):
        window.add(values, torch.tensor(rows))
    with pytest.raises(NonFiniteLoss, match="S2, S3") as error:
        window.collect(lambda table: table, "in epoch 1")
    assert "S4" not in str(error.value) and "contrastive nan" in str(error.value)


def test_sums_become_means_over_rows() -> None:
    window = LossWindow(name_samples)
    for _ in range(2):
        window.add(torch.tensor([8.0, 6, 2, 4, 5, 3, 4, 1, 2]), torch.arange(4))
    means = average(window.collect(lambda table: table, ""))
    assert means["loss"] == 2 and means["train_top1"] == 0.75 and means["usable_rgb"] == 0.25
    assert "loss_frhead" not in means
    assert len(window) == 0 and not np.any(window.collect(lambda table: table, ""))
