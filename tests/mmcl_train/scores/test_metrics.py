from __future__ import annotations

import numpy as np
import pytest

from mmcl_train.scores.metrics import class_accuracy, confusion, cross_entropy, hits, measure_accuracy

LOGITS = np.array([[3.0, 1, 0], [0, 2, 1], [1, 1, 0], [0, 1, 5]])
LABELS = np.array([0, 2, 1, 2])


def test_top1_agrees_with_argmax_on_ties() -> None:
    assert (
        hits(LOGITS, LABELS, 1).tolist()
        == (LOGITS.argmax(1) == LABELS).tolist()
        == [True, False, False, True]
    )


def test_top2_counts_the_second() -> None:
    assert hits(LOGITS, LABELS, 2).tolist() == [True, True, True, True]


def test_confusion_has_labels_in_rows() -> None:
    assert confusion(LOGITS, LABELS).tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 1]]
    assert class_accuracy(LOGITS, LABELS).tolist() == [1.0, 0.0, 0.5]
    assert measure_accuracy(LOGITS, LABELS).mean_class == 0.5


def test_a_class_without_samples_has_no_accuracy() -> None:
    assert np.isnan(class_accuracy(LOGITS, np.array([0, 0, 1, 1]))[2])


def test_equal_logits_cost_the_logarithm_of_the_classes() -> None:
    assert cross_entropy(np.zeros((4, 3)), LABELS) == pytest.approx(np.log(3))


def test_nan_logits_are_never_right() -> None:
    assert not hits(np.full((4, 3), np.nan), LABELS, 3).any()


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="logits"):
        measure_accuracy(LOGITS, LABELS[:2])
    with pytest.raises(ValueError, match="classes"):
        measure_accuracy(LOGITS, LABELS + 1)
