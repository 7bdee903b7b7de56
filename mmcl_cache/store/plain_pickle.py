"""Pickles of plain containers, numbers, text and numpy arrays, read without running anything they name.

A pickle is a program that may call any function. Here it may call none: the few names that numpy's own pickles use
are met by stand-ins of ours, which only note what they are given, and every other name is refused. The arrays are
made from the notes afterwards, with shape, type and size checked.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.errors import SourceError
from mmcl_cache.store.regular import open_regular

_DEEPEST = 50
# One step of a pickle takes one byte and up to 150 in memory. Files of arrays have a step for 60 bytes, lists of
# numbers one for 9.
_FREE_STEPS, _BYTES_A_STEP = 1_000_000, 8
# Arrays of one file may share their bytes, but nobody writes files whose arrays are together larger than the file.
_FREE_BYTES = 1 << 20
_LARGEST_KEY = 1 << 32


class _NumpyType:
    """Stands for `numpy.dtype`: notes the type's code and byte order."""

    def __init__(self, code: Any = None, align: Any = False, copy: Any = False) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else code
        self.order = "="

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, …): all else belongs to records and sub-arrays, which are refused.
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("an array type with fields")
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError("an unknown byte order")
        self.order = order

    def build(self) -> np.dtype[Any]:
        if not isinstance(self.code, str) or self.code[:1] not in "biufUS" or not self.code[1:].isdigit():
            shown = repr(self.code[:20]) if isinstance(self.code, str) else "no name"
            raise pickle.UnpicklingError(f"an array of type {shown}; only numbers and text are read")
        return np.dtype(self.order.replace("|", "=") + self.code)


class _NumpyArray:
    """Stands for `numpy.ndarray`, and for what rebuilds one: notes shape, type and bytes."""

    def __init__(self, *ignored: Any) -> None:
        self.shape: Any = None
        self.kind: Any = None
        self.column_major: Any = False
        self.data: Any = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array in an unknown form")
        _, self.shape, self.kind, self.column_major, self.data = state

    def build(self) -> NDArray[Any]:
        if not isinstance(self.kind, _NumpyType):
            raise pickle.UnpicklingError("an array without a type")
        dtype, shape = self.kind.build(), self.shape
        data = self.data.encode("latin-1") if isinstance(self.data, str) else self.data
        if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
            raise pickle.UnpicklingError("an array of a shape that is none")
        if not isinstance(data, bytes) or len(data) != math.prod(shape) * dtype.itemsize:
            raise pickle.UnpicklingError("an array with other bytes than its shape needs")
        # Views, not copies: many arrays of the same bytes need the memory of one.
        array = np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if self.column_major else "C")
        return array.astype(dtype.newbyteorder("="), copy=False)


class _NumpyScalar:
    """Stands for a numpy number."""

    def __init__(self, kind: Any = None, data: Any = b"") -> None:
        self.kind, self.data = kind, data

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a number in an unknown form")

    def build(self) -> Any:
        array = _NumpyArray()
        array.__setstate__((1, (), self.kind, False, self.data))
        return array.build().item()


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any = "C") -> _NumpyArray:
    """Stands for the function that rebuilds arrays from protocol 5 on."""
    array = _NumpyArray()
    array.__setstate__((1, shape, kind, order == "F", data))
    return array


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Stands for `_codecs.encode`, by which protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("bytes in an unknown encoding")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    """Stands for `bytes`, by which protocol 2 writes those of length 0."""
    return b""


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    """Stands for `collections.OrderedDict`; Python 2 gives it its entries, Python 3 sets them one by one."""
    made = {}
    for pair in pairs if isinstance(pairs, list) else ():
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise pickle.UnpicklingError("a dictionary of something else than pairs")
        made[_check_key(pair[0])] = pair[1]
    return made


def _check_key(key: Any) -> Any:
    """The key of a dictionary; refuses those whose hashes an author can make alike, so that a look-up takes long."""
    if isinstance(key, str | bytes) or (type(key) is int and abs(key) < _LARGEST_KEY):
        return key
    raise pickle.UnpicklingError("a dictionary whose keys are neither text nor small numbers")


class _Name:
    """What a pickle gets for a name: something to call, and nothing it could change.

    A class or a function itself would not do: a pickle may set attributes of whatever it holds.
    """

    __slots__ = ("_target",)

    def __init__(self, target: Callable[..., Any]) -> None:
        self._target = target

    def __call__(self, *args: Any) -> Any:
        return self._target(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it tries to change what a name means")


_NAMES = {
    ("numpy", "ndarray"): _Name(_NumpyArray),
    ("numpy", "dtype"): _Name(_NumpyType),
    ("collections", "OrderedDict"): _Name(_ordered),
    ("_codecs", "encode"): _Name(_encode),
    ("__builtin__", "bytes"): _Name(_no_bytes),
}
# numpy 2 put its inner modules below `numpy._core`.
for _core in ("numpy.core", "numpy._core"):
    _NAMES[f"{_core}.multiarray", "_reconstruct"] = _Name(_NumpyArray)
    _NAMES[f"{_core}.multiarray", "scalar"] = _Name(_NumpyScalar)
    _NAMES[f"{_core}.numeric", "_frombuffer"] = _Name(_from_buffer)


class _Bounded:
    """A stream that refuses to be asked for more than it has left, before memory is taken for it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        at = stream.tell()
        self.size = self._left = stream.seek(0, io.SEEK_END) - at
        stream.seek(at)

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self._left:
            raise EOFError("cut short")
        self._left -= size
        return self._stream.read(size)

    def readline(self) -> bytes:
        line = self._stream.readline()
        self._left -= len(line)
        return line


class _Counted(dict[int, Callable[[Any], None]]):
    """A table of operations that may be used so often and no more."""

    def __init__(self, table: dict[int, Callable[[Any], None]], most: int) -> None:
        super().__init__(table)
        self._left = most

    def __getitem__(self, code: int) -> Callable[[Any], None]:
        self._left -= 1
        if self._left < 0:
            raise pickle.UnpicklingError("more small pieces than a file of this size has")
        return super().__getitem__(code)


class _PlainUnpickler(pickle._Unpickler):
    """The standard library's unpickler in Python: its C twin takes gigabytes for a damaged memo number.

    Of its operations those are replaced that make room before they read, and those that fill dictionaries.
    """

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, stream: _Bounded) -> None:
        # Python 2 wrote bytes as text of this encoding.
        super().__init__(stream, encoding="latin-1")
        self.dispatch = _Counted(type(self).dispatch, _FREE_STEPS + stream.size // _BYTES_A_STEP)  # type: ignore[misc]

    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it names {module[:60]}.{name[:60]}; only numpy arrays and plain containers are read"
            ) from None

    def load_bytearray(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(self.read(size))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def load_setitems(self) -> None:
        self._fill(self.pop_mark())

    def load_dict(self) -> None:
        entries = self.pop_mark()
        self.append({})
        self._fill(entries)

    def _fill(self, entries: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(entries) % 2:
            raise pickle.UnpicklingError("entries of something else than a dictionary")
        target.update(
            (_check_key(key), value) for key, value in zip(entries[::2], entries[1::2], strict=True)
        )

    def load_set(self) -> None:
        raise pickle.UnpicklingError("it holds a set; only numpy arrays and plain containers are read")

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.DICT[0]] = load_dict
    for _set in (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET):
        dispatch[_set[0]] = load_set


def read_plain_pickle(path: Path) -> Any:
    """The content of a pickle that holds plain data only.

    Raises:
        SourceError: no such file, damaged, or it holds anything else; nothing it names has been run.
    """
    try:
        with open_regular(path) as stream:
            return load_plain_pickle(stream)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None
    except pickle.UnpicklingError as error:
        raise SourceError(f"{path}: refused: {error}") from None
    # The unpickler's own words for damage: it has no error type of its own for most of it.
    except (
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
        ImportError,
        OverflowError,
        MemoryError,
        RecursionError,
        struct.error,
    ) as error:
        raise SourceError(
            f"{path}: not a readable pickle ({type(error).__name__}: {error}); get it again"
        ) from None


def load_plain_pickle(stream: IO[bytes]) -> Any:
    """What `read_plain_pickle` does, on a stream.

    Raises:
        pickle.UnpicklingError: it holds anything but plain data; or what the unpickler raises on damage.
    """
    bounded = _Bounded(stream)
    return _Builder(bounded.size + _FREE_BYTES).build(_PlainUnpickler(bounded).load(), 0)


class _Builder:
    """Values with arrays in place of the notes about them.

    Args:
        room: bytes that all arrays together may have.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        # By identity: a value that stands in many places is built once.
        self._built: dict[int, Any] = {}

    def build(self, value: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            raise pickle.UnpicklingError(f"containers more than {_DEEPEST} deep")
        if value is None or isinstance(value, bool | int | float | str | bytes):
            return value
        if id(value) not in self._built:
            self._built[id(value)] = self._build_new(value, depth)
        return self._built[id(value)]

    def _build_new(self, value: Any, depth: int) -> Any:
        if isinstance(value, _NumpyScalar):
            return value.build()
        if isinstance(value, _NumpyArray):
            if isinstance(value.data, str | bytes):
                self._room -= len(value.data)
            if self._room < 0:
                raise pickle.UnpicklingError("arrays that are together larger than the file")
            return value.build()
        if isinstance(value, dict):
            return {key: self.build(entry, depth + 1) for key, entry in value.items()}
        if isinstance(value, list):
            return [self.build(entry, depth + 1) for entry in value]
        if isinstance(value, tuple):
            return tuple(self.build(entry, depth + 1) for entry in value)
        raise pickle.UnpicklingError(
            f"it holds a {type(value).__name__}; only numpy arrays and plain containers are read"
        )
