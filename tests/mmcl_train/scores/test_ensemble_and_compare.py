from __future__ import annotations

import numpy as np
import pytest

from mmcl_cache.store import UserError
from mmcl_train.scores.compare import bootstrap, compare, mcnemar
from mmcl_train.scores.ensemble import PUBLISHED, combine, fit_weights, parse_weights, published_weights
from mmcl_train.scores.files import Scores
from mmcl_train.scores.tables import format_comparison, format_ensemble


def make(
    signal: float, seed: int, split: str = "val", count: int = 200, prefix: str = "s", **about: object
) -> Scores:
    """Logits with so much signal in unit noise; labels are the same for all."""
    labels = np.random.default_rng(0).integers(0, 5, count)
    logits = np.random.default_rng(seed).normal(0, 1, (count, 5))
    logits[np.arange(count), labels] += signal
    ids = np.array([f"{prefix}{n:04d}" for n in range(count)])
    said = {"run": f"run{seed}", "split": split, "seed": seed, **about}
    return Scores(ids, logits.astype(np.float32), labels, said, f"run{seed}.npz")


TEST = make(1.0, 99, "test", prefix="t")


def test_an_ensemble_of_one_is_that_one() -> None:
    alone = combine([make(1.0, 1)], [2.0])
    assert alone.joint == alone.singles[0]


def test_fitted_weights_prefer_the_file_that_knows_more() -> None:
    strong, weak, noise = fit_weights([make(2.0, 1), make(0.5, 2), make(0.0, 3)], TEST)
    assert strong > weak > noise >= 0


def test_fitting_finds_the_same_weights_whatever_the_order() -> None:
    files = [make(2.0, 1), make(0.5, 2)]
    assert fit_weights(files, TEST) == pytest.approx(fit_weights(files[::-1], TEST)[::-1], abs=1e-3)


def test_weights_are_not_fitted_on_test_scores() -> None:
    with pytest.raises(UserError, match="test samples"):
        fit_weights([make(1.0, 1, "test")], TEST)
    with pytest.raises(UserError, match="test samples"):
        fit_weights([make(1.0, 1, "val", prefix="t")], TEST)


def test_published_weights_go_by_backbone_and_stream() -> None:
    files = [make(1, 1, backbone="hdgcn", stream="bone"), make(1, 2, backbone="ctrgcn", stream="joint")]
    assert published_weights(files) == (5.0, 2.361693)
    assert published_weights([make(1, n) for n in range(6)]) == tuple(PUBLISHED.values())
    with pytest.raises(UserError, match="stgcn joint"):
        published_weights([make(1, 1, backbone="stgcn", stream="joint")])


def test_weights_are_words_or_numbers() -> None:
    files = [make(1, 1), make(1, 2)]
    assert parse_weights("1,0.5", files) == (1.0, 0.5)
    assert parse_weights("fit", files) is None
    with pytest.raises(UserError, match="published, equal, fit"):
        parse_weights("best", files)
    with pytest.raises(UserError, match="3 weights for 2"):
        combine(files, (1, 2, 3))


def test_tables_have_a_row_for_each_file_and_the_ensemble() -> None:
    lines = format_ensemble(combine([make(1, 1), make(1, 2)], [1, 1])).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["run1", "run2", "ensemble"]


def test_interval_of_equal_runs_is_nothing() -> None:
    right = np.random.default_rng(0).random((3, 100)) < 0.5
    assert bootstrap(right, right, paired=True, resamples=500) == (0.0, 0.0)


def test_interval_holds_the_true_difference() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.random((3, 2000)) < 0.8, generator.random((3, 2000)) < 0.7
    low, high = bootstrap(first, second, paired=False, resamples=1000)
    assert low < 0.1 < high and low > 0


def test_mcnemar_is_the_binomial_of_the_samples_only_one_has_right() -> None:
    first = np.array([True] * 9 + [False])
    assert mcnemar("a", "b", first, ~first).p == pytest.approx(2 * 11 / 1024)


def test_runs_are_paired_by_seed_whatever_their_order() -> None:
    first, second = [make(1.5, 1), make(1.5, 2)], [make(1.0, 2), make(1.0, 1)]
    comparison = compare(first, second)
    assert comparison.paired_by_seed
    assert [(m.first, m.second) for m in comparison.mcnemar] == [("run1", "run1"), ("run2", "run2")]
    assert comparison.difference > 0 and "95 % interval" in format_comparison(comparison)
    gains = [change.gain for change in comparison.classes]
    assert gains == sorted(gains, reverse=True) and len(gains) == 5
