from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from mmcl_cache.store import UserError
from mmcl_train.scores.files import Scores, join, read_scores, write_scores

IDS = np.array(["a", "b", "c", "d"])
LABELS = np.array([0, 1, 2, 1])


def make(order: list[int], shift: float = 0.0, path: str = "one.npz") -> Scores:
    logits = np.arange(12, dtype=np.float32).reshape(4, 3) + np.float32(shift)
    return Scores(IDS[order], logits[order], LABELS[order], {"run": path}, path)


def test_scores_come_back_as_written(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores" / "test-last.npz", make([0, 1, 2, 3]))
    read = read_scores(tmp_path)
    assert read.sample_ids.tolist() == IDS.tolist() and read.about == {"run": "one.npz"}
    assert np.array_equal(read.logits, make([0, 1, 2, 3]).logits)


def test_files_join_on_sample_id_whatever_their_order() -> None:
    first, second = join([make([2, 0, 3, 1]), make([1, 2, 3, 0])])
    assert first.sample_ids.tolist() == second.sample_ids.tolist()
    assert np.array_equal(first.logits, second.logits)


def test_a_missing_sample_is_named() -> None:
    with pytest.raises(UserError, match=r"two\.npz: no score of d"):
        join([make([0, 1, 2, 3]), make([0, 1, 2], path="two.npz")])
    with pytest.raises(UserError, match="no score of d"):
        join([make([0, 1, 2]), make([0, 1, 2, 3])])


def test_other_labels_are_named() -> None:
    other = Scores(IDS, make([0, 1, 2, 3]).logits, np.array([0, 1, 2, 2]), {}, "two.npz")
    with pytest.raises(UserError, match=r"two\.npz: other labels .* for d"):
        join([make([0, 1, 2, 3]), other])


def test_ids_that_are_there_twice_are_refused(tmp_path: Path) -> None:
    write_scores(tmp_path / "x.npz", make([0, 0, 1, 2]))
    with pytest.raises(UserError, match="twice: a"):
        read_scores(tmp_path / "x.npz")


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_the_fields_pickles_are_read(protocol: int, tmp_path: Path) -> None:
    logits = make([0, 1, 2, 3]).logits
    content = dict(zip(IDS.tolist(), logits, strict=True))
    (tmp_path / "epoch1_test_score.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    read = read_scores(tmp_path / "epoch1_test_score.pkl")
    assert read.labels is None and np.array_equal(read.logits, logits)
    assert join([make([3, 2, 1, 0]), read])[1].labels is not None


class Shell:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch owned",)


@pytest.mark.parametrize("content", [{"a": Shell()}, Shell(), {"a": len}, {"a": {"b": 1}}, 3, {}])
def test_a_pickle_that_is_more_than_scores_is_refused_and_runs_nothing(
    content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=r"bad\.pkl"):
        read_scores(Path("bad.pkl"))
    assert not Path("owned").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04garbage"])
def test_damaged_files_are_named(content: bytes, tmp_path: Path) -> None:
    for name in ("bad.npz", "bad.pkl"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="bad"):
            read_scores(tmp_path / name)
