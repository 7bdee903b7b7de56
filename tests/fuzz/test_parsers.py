"""Whatever a file holds, a reader gives a value or the one documented error, in one line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from mmcl_cache.errors import UserError
from tests.fuzz.mutations import altered, fuzzing, mutated
from tests.hostile.corpus_arrays import archive, array, poses
from tests.hostile.corpus_cache import FIELD, MARKER
from tests.hostile.corpus_hdf5 import copy_cache, refit, template
from tests.hostile.corpus_json import PERSON, UCLA
from tests.hostile.corpus_mat import HEADER, NUMBERS, compressed, matrix
from tests.hostile.corpus_models import ABOUT, saved
from tests.hostile.corpus_pickle import annotated, dumped
from tests.hostile.corpus_text import body, frames
from tests.hostile.corpus_video import avi, jpeg, mp4
from tests.hostile.reading import READERS


def _mat() -> bytes:
    stream = io.BytesIO()
    savemat(stream, {"other": np.ones(3), "d_skel": np.ones((20, 3, 2))}, do_compression=True)
    return stream.getvalue()


def _scores() -> dict[str, bytes]:
    about = np.array(json.dumps({"run": "a", "classes": ["x", "y", "z"]}))
    values = {
        "sample_ids": ["a", "b"],
        "logits": np.zeros((2, 3), np.float32),
        "labels": [0, 1],
        "about": about,
    }
    return {f"{name}.npy": array(value) for name, value in values.items()}


OPENPOSE = {"people": [{"pose_keypoints_2d": [1.0, 2.0, 0.5] * 17}]}
MEDIAPIPE = {"poses": [[[0.1, 0.2, 0.3]] * 17] * 2}
LAYOUT = {"name": "x", "joints": ["a", "b"], "parents": [0, 0], "centre": 0, "dimensions": 2}
FRAME = {"bodies": {"1": [[0.1, 0.2, 0.3]] * 17}}
TABLE = b"sample_id,video,skeleton,label,subject,split\na,a.mp4,,x,1,train\nb,,b.npy,y,2,test\n"
LOGITS = {"a": np.zeros(3, np.float32), "b": np.ones(3, np.float32)}

BYTES: dict[str, tuple[str, str, list[bytes]]] = {
    "skeleton": ("skeleton", "a.skeleton", [frames(body(), body()), frames(body(b"1") + b"", body(b"2"))]),
    "NW-UCLA JSON": ("nw-ucla", "a01_s01_e00_v01.json", [json.dumps(UCLA).encode()]),
    "COCO JSON": ("recording", "a.json", [json.dumps([PERSON, {**PERSON, "idx": 3}]).encode()]),
    "OpenPose JSON": ("recording", "a.json", [json.dumps([OPENPOSE, OPENPOSE]).encode()]),
    "MediaPipe JSON": ("recording", "a.json", [json.dumps(MEDIAPIPE).encode()]),
    "mat": ("mat", "a.mat", [_mat(), HEADER + compressed(matrix(b"d_skel", (20, 3, 2), NUMBERS))]),
    "CSV": ("table", "samples.csv", [TABLE]),
    "npy": ("poses", "a.npy", [array(np.ones((3, 17, 3), np.float32)), array(np.ones((1, 3, 17, 2)))]),
    "npz": ("poses", "a.npz", [archive(poses(fps=30.0, score=np.ones((3, 17)))), archive(poses(), 8)]),
    "text feature": ("text", "a.npy", [array(np.arange(9)), array(np.ones((1, 9)) / 3)]),
    "strip": ("strip", "a.jpg", [jpeg(8, 8)]),
    "annotations": (
        "pyskl",
        "a.pkl",
        [dumped(annotated(), 2), dumped(annotated(), 4), dumped(annotated(), 5)],
    ),
    "pickled scores": ("scores", "a.pkl", [dumped(LOGITS, 0), dumped(LOGITS, 2), dumped(LOGITS, 4)]),
    "scores": ("scores", "a.npz", [archive(_scores())]),
    "checkpoint": ("checkpoint", "a.pth", [saved({"a": np.float32(1).item()}), saved({})]),
    "frames on standard input": ("stdin", "a.txt", [(json.dumps(FRAME) + "\n").encode() * 2]),
    "layout": ("layout", "layout.json", [json.dumps(LAYOUT).encode()]),
    "AVI": ("video", "a.avi", [avi(1, 64, 64)]),
    "MP4": ("video", "a.mp4", [mp4(64, 64, 3, 64)]),
}
VALUES: dict[str, tuple[str, str, object]] = {
    "NW-UCLA JSON": ("nw-ucla", "a01_s01_e00_v01.json", UCLA),
    "COCO JSON": ("recording", "a.json", [PERSON, {**PERSON, "idx": 3}]),
    "OpenPose JSON": ("recording", "a.json", [OPENPOSE]),
    "MediaPipe JSON": ("recording", "a.json", MEDIAPIPE),
    "frames on standard input": ("stdin", "a.txt", FRAME),
    "layout": ("layout", "layout.json", LAYOUT),
    "model.json": ("model", "model.json", ABOUT),
}


def read(reader: str, path: Path) -> None:
    """A value, or an error that people can meet; anything else fails the test."""
    try:
        READERS[reader](path)
    except UserError as error:
        assert len(str(error).splitlines()) == 1, str(error)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BYTES)
def test_reader_of_damaged_bytes_gives_a_value_or_its_error(name: str, tmp_path: Path) -> None:
    reader, file, sound = BYTES[name]

    @fuzzing
    @given(st.sampled_from(sound).flatmap(mutated))
    def run(data: bytes) -> None:
        (tmp_path / file).write_bytes(data)
        read(reader, tmp_path / file)

    run()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", VALUES)
def test_reader_of_other_json_values_gives_a_value_or_its_error(name: str, tmp_path: Path) -> None:
    reader, file, sound = VALUES[name]

    @fuzzing
    @given(altered(sound))
    def run(data: bytes) -> None:
        (tmp_path / file).write_bytes(data)
        read(reader, tmp_path if reader == "model" else tmp_path / file)

    run()


def _fuzz_cache(
    tmp_path: Path, name: str, faults: Callable[[bytes], st.SearchStrategy[bytes]], agrees: bool
) -> None:
    cache = copy_cache(tmp_path)
    sound = (cache / name).read_bytes()

    @fuzzing
    @given(faults(sound))
    def run(data: bytes) -> None:
        (cache / name).write_bytes(data)
        if agrees:
            refit(cache)
        read("cache", cache)

    run()


@pytest.mark.parametrize("name", ["cache.json", "samples.h5", FIELD, MARKER])
def test_cache_with_damaged_bytes_is_read_or_refused(name: str, tmp_path: Path) -> None:
    _fuzz_cache(tmp_path, name, mutated, agrees=False)


@pytest.mark.parametrize("name", ["cache.json", FIELD, MARKER])
def test_cache_with_other_values_is_read_or_refused(name: str, tmp_path: Path) -> None:
    value = json.loads((template() / name).read_text())
    _fuzz_cache(tmp_path, name, lambda _: altered(value), agrees=False)


def test_shard_with_damaged_bytes_and_a_fitting_marker_is_read_or_refused(tmp_path: Path) -> None:
    _fuzz_cache(tmp_path, "skeleton/default/00000.h5", mutated, agrees=True)
