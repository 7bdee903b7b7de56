from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmcl_cache.datasets import ntu_ids
from mmcl_cache.datasets.import_ctrgcn import order_ids, pad, read_ctrgcn_npz, write_ctrgcn_npz
from mmcl_cache.errors import SampleError, SourceError

# Out of the published grid: two subjects and two cameras on each side of the protocols.
AVAILABLE = sorted(
    f"S001C00{c}P00{p}R00{r}A{a:03}"
    for c in (1, 2, 3)
    for p in (1, 2, 3, 6)
    for r in (1, 2)
    for a in (1, 2, 50)
)


def make_arrays(protocol: str = "xsub") -> dict[str, np.ndarray]:
    """What CTR-GCN's preparation would have made of clips of AVAILABLE."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, members in order_ids(AVAILABLE, protocol, 60).items():
        x = np.zeros((len(members), 300, 150), np.float32)
        y = np.zeros((len(members), 60))
        for row, sample_id in enumerate(members):
            action = int(sample_id[-3:])
            frames, width = int(rng.integers(5, 300)), 150 if action == 50 else 75
            x[row, :frames, :width] = rng.normal(size=(frames, width))
            y[row, action - 1] = 1
        arrays |= {f"x_{split}": x, f"y_{split}": y}
    return arrays


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    np.savez(tmp_path / "NTU60_CS.npz", **make_arrays())
    return tmp_path / "NTU60_CS.npz"


def test_rows_follow_subjects_cameras_or_setups_and_then_the_list():
    assert order_ids(AVAILABLE, "xsub", 60)["train"][:2] == ["S001C001P001R001A001", "S001C001P001R001A002"]
    subjects = [int(i[9:12]) for i in order_ids(AVAILABLE, "xsub", 60)["train"]]
    assert subjects == sorted(subjects) and set(subjects) == {1, 2}
    cameras = [int(i[5:8]) for i in order_ids(AVAILABLE, "xview", 60)["train"]]
    assert cameras == sorted(cameras) and set(cameras) == {2, 3}
    setups = [int(i[1:4]) for i in order_ids(ntu_ids.available_ids(120), "xset", 120)["test"]]
    assert setups == sorted(setups) and len(setups) == 59_477


@pytest.mark.parametrize("protocol", ["xsub", "xview"])
@pytest.mark.parametrize("compressed", [False, True])
def test_round_trip_gives_the_same_arrays(tmp_path: Path, protocol: str, compressed: bool):
    arrays = make_arrays(protocol)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "in.npz", **arrays)
    clips = read_ctrgcn_npz(tmp_path / "in.npz", None if protocol == "xsub" else protocol, AVAILABLE)
    place = {sample_id: n for n, sample_id in enumerate(clips.sample_ids)}
    ((name, split),) = clips.splits.items()
    names = {part: [i for i in clips.sample_ids if split[i] == part] for part in ("train", "test")}
    write_ctrgcn_npz(tmp_path / "out.npz", names, 60, lambda i: clips.read(place[i]))
    again = np.load(tmp_path / "out.npz")
    assert name == protocol and set(again) == set(arrays)
    for key, array in arrays.items():
        assert again[key].dtype == array.dtype
        np.testing.assert_array_equal(again[key], array)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npz", "out.npz"]


def test_clips_come_without_padding_and_absent_bodies(archive: Path):
    clips = read_ctrgcn_npz(archive, available=AVAILABLE)
    shapes = {
        clips.read(place).shape[1:] for place in range(len(clips.sample_ids)) if clips.labels[place] != 49
    }
    assert shapes == {(1, 25, 3)}
    assert [clips.sample_ids[place] for place in clips.order()] == AVAILABLE


def test_other_counts_are_refused_with_both_counts(archive: Path):
    with pytest.raises(
        SourceError,
        match="36 train and 36 test rows, but the id list gives 40,091/16,487 for xsub, 37,646/18,932 for xview",
    ):
        read_ctrgcn_npz(archive)


def test_labels_that_are_not_those_of_the_names_are_refused(tmp_path: Path):
    arrays = make_arrays()
    arrays["y_train"][[3, 4]] = arrays["y_train"][[4, 3]]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(
        SourceError, match=r"2 of 36 labels of x_train are not those of the rebuilt names \(row 3 is class"
    ):
        read_ctrgcn_npz(tmp_path / "a.npz", available=AVAILABLE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_test": None}, "lacks x_test; it holds"),
        ({"x_train": np.zeros((36, 64, 150), np.float32)}, r"x_train is \(36, 64, 150\)"),
        ({"y_train": np.zeros((36, 60))}, "y_train is not one-hot"),
        ({"y_train": np.ones((36, 10)), "y_test": np.ones((36, 10))}, "not one-hot"),
        ({"y_train": np.zeros((35, 60))}, r"expected \(36, classes\)"),
        ({"x_train": np.array([Path("a")], dtype=object)}, "Python objects"),
    ],
)
def test_other_files_are_one_clear_line(tmp_path: Path, change: dict[str, np.ndarray | None], message: str):
    arrays = {key: value for key, value in (make_arrays() | change).items() if value is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(SourceError, match=message):
        read_ctrgcn_npz(tmp_path / "a.npz", available=AVAILABLE)


def test_cut_file_is_one_clear_line(archive: Path):
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(SourceError, match="not a readable"):
        read_ctrgcn_npz(archive, available=AVAILABLE)


def test_unknown_protocol_lists_the_known_ones(archive: Path):
    with pytest.raises(SourceError, match="NTU 60 has no protocol 'xset'; known: xsub, xview"):
        read_ctrgcn_npz(archive, "xset", AVAILABLE)


def test_empty_row_is_a_sample_error_that_names_the_sample(tmp_path: Path):
    arrays = make_arrays()
    arrays["x_train"][0] = 0
    np.savez(tmp_path / "a.npz", **arrays)
    clips = read_ctrgcn_npz(tmp_path / "a.npz", available=AVAILABLE)
    with pytest.raises(SampleError, match=clips.sample_ids[0]):
        clips.read(0)


@pytest.mark.parametrize("shape", [(301, 1, 25, 3), (5, 3, 25, 3), (5, 1, 17, 3)])
def test_clip_that_does_not_fit_is_refused(shape: tuple[int, ...]):
    with pytest.raises(SampleError, match="does not fit"):
        pad(np.zeros(shape, np.float32))
