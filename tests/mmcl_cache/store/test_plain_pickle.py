from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmcl_cache.errors import SourceError
from mmcl_cache.store.plain_pickle import load_plain_pickle, read_plain_pickle


class Runs:
    """Its pickle calls a function when it is loaded the usual way."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def write(folder: Path, value: Any, protocol: int = 4) -> Path:
    path = folder / "a.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_and_arrays_come_back_the_same(tmp_path: Path, protocol: int):
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    value = {
        "a": [1, 2.5, "text", None, True, (1, 2)],
        "b": array,
        "column": np.asfortranarray(array),
        "half": array.astype(np.float16),
        "big": array.astype(">f8"),
        "empty": np.zeros((0, 3)),
        "names": np.array(["x", "yy"]),
        "number": np.float64(3.5),
    }
    found = read_plain_pickle(write(tmp_path, value, protocol))
    assert found["a"] == value["a"] and found["number"] == 3.5
    for key in ("b", "column", "half", "big", "empty", "names"):
        np.testing.assert_array_equal(found[key], value[key])


def test_names_of_numpy_1_are_known(tmp_path: Path):
    text = pickle.dumps(np.arange(3), protocol=0).replace(b"numpy._core.", b"numpy.core.")
    (tmp_path / "a.pkl").write_bytes(text)
    np.testing.assert_array_equal(read_plain_pickle(tmp_path / "a.pkl"), np.arange(3))


@pytest.mark.parametrize("target", ["eval", "os.system", "getattr", "numpy.load"])
def test_name_of_anything_else_is_refused_before_it_is_called(tmp_path: Path, target: str):
    module, _, name = target.rpartition(".")
    touched = tmp_path / "touched"
    program = f"c{module or 'builtins'}\n{name}\n(V{touched}\ntR.".encode()
    (tmp_path / "a.pkl").write_bytes(program)
    with pytest.raises(SourceError, match=f"refused: it names {module or 'builtins'}.{name}"):
        read_plain_pickle(tmp_path / "a.pkl")
    assert not touched.exists()


def test_object_that_would_run_a_function_is_refused(tmp_path: Path):
    marker = tmp_path / "marker"
    with pytest.raises(SourceError, match="refused"):
        read_plain_pickle(write(tmp_path, [Runs(Path.touch, marker)]))
    assert not marker.exists()


@pytest.mark.parametrize(
    "value", [{1, 2}, 1j, Path("x"), np.array([Path("x")], dtype=object), np.array([{}])]
)
def test_other_types_are_refused(tmp_path: Path, value: Any):
    with pytest.raises(SourceError, match=r"a\.pkl"):
        read_plain_pickle(write(tmp_path, {"a": value}))


@pytest.mark.parametrize("name", [b"numpy\nndarray", b"numpy\ndtype", b"_codecs\nencode"])
def test_pickle_cannot_change_what_a_name_means(name: bytes):
    # The name, a dictionary that sets an attribute of it, BUILD.
    program = b"c" + name + b"\n}V__defaults__\nI1\nsb."
    with pytest.raises(pickle.UnpicklingError, match="change what a name means"):
        load_plain_pickle(io.BytesIO(program))


def test_array_whose_shape_does_not_fit_its_bytes_is_refused(tmp_path: Path):
    text = pickle.dumps(np.arange(3, dtype=np.int64), protocol=4)
    (tmp_path / "a.pkl").write_bytes(text.replace(b"K\x03\x85", b"K\x04\x85"))
    with pytest.raises(SourceError, match="other bytes than its shape needs"):
        read_plain_pickle(tmp_path / "a.pkl")


def test_list_that_holds_itself_is_refused(tmp_path: Path):
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(SourceError, match="deep"):
        read_plain_pickle(write(tmp_path, endless))


def test_value_in_many_places_is_built_once(tmp_path: Path):
    value: Any = [np.arange(3)]
    for _ in range(40):
        value = [value, value]
    assert read_plain_pickle(write(tmp_path, value))[0] is not None


@pytest.mark.parametrize("content", [b"", b"abc", b"\x80\x04K", b"\x80\x09."])
def test_damage_is_one_clear_line(tmp_path: Path, content: bytes):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.pkl"):
        read_plain_pickle(tmp_path / "a.pkl")
