"""How progress is shown: asked for by `--progress`, `--quiet` or MMCL_PROGRESS, the same in every process of a command.

The choice travels in the environment because a build and a sweep start processes of their own.
"""

from __future__ import annotations

import os
import sys

MODES = ("auto", "live", "lines", "json", "quiet")
VARIABLE = "MMCL_PROGRESS"


def speaks() -> bool:
    """Is this the process of a launcher (torchrun, accelerate) that shows progress and results? Any may tell errors."""
    return os.environ.get("RANK", "0") in ("", "0")


def chosen_mode() -> str:
    """live, lines, json or quiet. `auto` is live on a terminal that can move its cursor, lines elsewhere.

    Raises:
        ValueError: MMCL_PROGRESS names no mode.
    """
    asked = os.environ.get(VARIABLE) or "auto"
    if asked not in MODES:
        raise ValueError(f"{VARIABLE}={asked}: no such mode; known: {', '.join(MODES)}")
    if asked != "auto":
        return asked
    return "live" if sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") else "lines"
