"""Output that any terminal can take: signs it cannot encode are written in others that say the same."""

from __future__ import annotations

import codecs
import io
import sys
from typing import TextIO

SPELLINGS = {
    "→": "->",
    "×": "x",
    "±": "+-",
    "−": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "·": ".",
    "≥": ">=",
    "≤": "<=",
    "Σ": "sum",
    "━": "-",
}
HANDLER = "mmcl.spelled"


def spell(error: UnicodeError) -> tuple[str, int]:
    """An error handler of `codecs`: other signs for what cannot be encoded."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(SPELLINGS.get(sign, "?") for sign in signs), error.end


class AsciiStream(io.TextIOWrapper):
    """An ASCII terminal. It calls itself Latin-1, because click writes UTF-8 to one that calls itself ASCII."""

    def __init__(self, stream: TextIO) -> None:
        is_terminal = stream.isatty()
        super().__init__(stream.buffer, "latin-1", line_buffering=is_terminal, write_through=not is_terminal)

    def write(self, text: str) -> int:
        super().write(text.encode("ascii", HANDLER).decode("ascii"))
        return len(text)


def prepare_streams() -> None:
    """Make standard output and error of this process take every sign, whatever their encoding is."""
    codecs.register_error(HANDLER, spell)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, AsciiStream):
            continue
        encoding = codecs.lookup(stream.encoding).name
        if encoding == "ascii":
            setattr(sys, name, AsciiStream(stream))
        elif not encoding.startswith("utf"):
            stream.reconfigure(errors=HANDLER)
