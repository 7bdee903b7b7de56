"""Sound files made unsound: bytes flipped, cut, doubled, words and numbers replaced, JSON values of other types."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("MMCL_FUZZ_EXAMPLES", "40"))
"""A test. More with MMCL_FUZZ_EXAMPLES=10000, and then other ones each time."""

fuzzing = settings(
    max_examples=EXAMPLES,
    derandomize="MMCL_FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
_WORDS = [
    b"", b"-1", b"0", b"999999999", b"18446744073709551616", b"1e999", b"nan", b"-inf", b"true", b"null", b"[",
    b"{}", b'"',
    b"\0", b"\n", b"\r\n\r\n", b"\xff\xfe", b"\xed\xa0\x80", b"../../x", b"(" * 50, b"9" * 4400, b"a" * 300, b" ",
]  # fmt: skip
_NUMBERS = [
    pack
    for number in (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
    for pack in (struct.pack("<I", number), struct.pack(">I", number), struct.pack("<Q", number << 32))
]


@st.composite
def mutated(draw: st.DrawFn, sound: bytes) -> bytes:
    """`sound` with one to four faults."""
    data = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        fault = draw(st.sampled_from(["flip", "number", "word", "insert", "cut", "remove", "double"]))
        length = draw(st.sampled_from([1, 4, 64, 1024]))
        if fault == "flip":
            data[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif fault == "number":
            number = draw(st.sampled_from(_NUMBERS))
            data[at : at + len(number)] = number
        elif fault == "word":
            data[at : at + draw(st.integers(1, 8))] = draw(st.sampled_from(_WORDS))
        elif fault == "insert":
            data[at:at] = draw(st.sampled_from(_WORDS))
        elif fault == "cut":
            del data[at:]
        elif fault == "remove":
            del data[at : at + length]
        else:
            data[at:at] = data[at : at + length]
    return bytes(data)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.sampled_from(
        [0, -1, 2**31, 2**63, 10**4000, float("inf"), float("nan"), 1e308, "", "a", "\ud800", "..", "\0"]
    )
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def altered(draw: st.DrawFn, sound: Any) -> bytes:
    """A JSON text with one to three values replaced by something else, or gone."""
    value = json.loads(json.dumps(sound))
    for _ in range(draw(st.integers(1, 3))):
        at = value
        while isinstance(at, dict | list) and at:
            key = (
                draw(st.sampled_from(sorted(at)))
                if isinstance(at, dict)
                else draw(st.integers(0, len(at) - 1))
            )
            inner = at[key]
            if not isinstance(inner, dict | list) or not inner or draw(st.booleans()):
                if draw(st.integers(0, 4)) == 0:
                    del at[key]
                else:
                    at[key] = draw(JSON_VALUES)
                break
            at = inner
    return json.dumps(value).encode()
