from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcl_cache.datasets.import_published import find_published, read_published_strip, read_published_text
from mmcl_cache.errors import SampleError, SourceError
from tests.mmcl_cache.datasets.files import touch


def test_files_are_found_by_id_in_folders_of_them(tmp_path: Path):
    touch(tmp_path, ["train/S001C001P001R001A001.npy", "test/S001C001P003R001A001.npy", "readme.txt"])
    assert sorted(find_published(tmp_path, ".npy")) == ["S001C001P001R001A001", "S001C001P003R001A001"]


def test_folder_without_them_and_two_for_one_id_are_clear(tmp_path: Path):
    touch(tmp_path, ["a/x.npy", "b/x.npy"])
    with pytest.raises(SourceError, match=r"looked in .* for <sample id>\.jpg files; found a/, b/"):
        find_published(tmp_path, ".jpg")
    with pytest.raises(SourceError, match=r"sample x: two \.npy files"):
        find_published(tmp_path, ".npy")


@pytest.mark.parametrize(
    "array", [np.array([30522, 2748, 102]), np.array([[30522.0, 2748.0, 102.0]], np.float32)]
)
def test_whole_numbers_are_token_ids(tmp_path: Path, array: np.ndarray):
    np.save(tmp_path / "a.npy", array)
    tokens = read_published_text(tmp_path / "a.npy")
    assert tokens.dtype == np.int32 and tokens.tolist() == [30522, 2748, 102]


def test_other_numbers_are_a_hidden_state(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.linspace(-1, 1, 768)[None])
    hidden = read_published_text(tmp_path / "a.npy")
    assert hidden.dtype == np.float32 and hidden.shape == (768,)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 3)), r"shape \(2, 3\), expected one row"),
        (np.zeros(0), "expected one row"),
        (np.array([np.nan]), "not finite"),
        (np.array(["yes"]), "expected numbers"),
        (np.array([Path("a")], dtype=object), "Python objects"),
    ],
)
def test_other_arrays_are_one_clear_line(tmp_path: Path, array: np.ndarray, message: str):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(SampleError, match=message):
        read_published_text(tmp_path / "a.npy")


def test_strip_keeps_its_bytes_and_tells_its_size(tmp_path: Path):
    Image.new("RGB", (480, 480), "green").save(tmp_path / "a.jpg")
    data, size = read_published_strip(tmp_path / "a.jpg")
    assert data == (tmp_path / "a.jpg").read_bytes() and size == (480, 480)


def test_strip_that_is_cut_or_no_jpeg_is_a_sample_error(tmp_path: Path):
    Image.effect_noise((480, 480), 50).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:5000])
    Image.new("RGB", (8, 8)).save(tmp_path / "b.jpg", format="PNG")
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        with pytest.raises(SampleError, match=name.replace(".", r"\.")):
            read_published_strip(tmp_path / name)
