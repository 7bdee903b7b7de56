"""What is told while work goes on: plain dicts, so that they travel through a pipe or out as JSON unchanged.

Every event has `event`, its kind; of several runs side by side also `run`, the number. `text` is the same for people,
and stays out of JSON where the numbers say all of it.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from mmcl_cache.terminal.clock import Clock, format_rate, format_seconds
from mmcl_cache.terminal.modes import chosen_mode, speaks

Event = dict[str, Any]
ERRORS = ("problem", "error", "stopped")
WORDS = ("note", *ERRORS)  # events whose text is their content


def progress_event(
    stage: str, done: int, total: int, clock: Clock, unit: str = "", text: str = "", **numbers: Any
) -> Event:
    """How far a stage is.

    Args:
        text: for people, in place of "stage done/total".
        numbers: more that is known at this point.
    """
    left = clock.left(done, total)
    return {
        "event": "progress",
        "stage": stage,
        "done": done,
        "total": total,
        "unit": unit,
        "rate": float(f"{clock.rate(done):.4g}"),
        "seconds_left": None if left is None else round(left, 1),
        **numbers,
        "text": text,
    }


def describe(event: Event) -> str:
    """One line for people."""
    text: str = event["text"]
    if event["event"] == "progress":
        text = text or f"{event['stage']} {event['done']}/{event['total']}"
        text += f"  {describe_speed(event)}" if event["rate"] else ""
    return f"[{event['run']}] {text}" if "run" in event else text


def describe_speed(event: Event) -> str:
    """Rate and time left of a progress event; "" before anything is known."""
    if not event["rate"]:
        return ""
    left, rate = event["seconds_left"], format_rate(event["rate"], event["unit"])
    return f"{rate}  {format_seconds(left)} left" if left else rate


def to_json(event: Event) -> str:
    """One line of JSON in ASCII."""
    kept = {key: value for key, value in event.items() if key != "text" or event["event"] in WORDS}
    return json.dumps({"event": kept.pop("event"), "time": round(time.time(), 3), **kept}, default=str)


def tell(event: Event) -> None:
    """Say one thing on standard error outside any display, as the mode asks; errors are said in every mode."""
    mode, is_error = chosen_mode(), event["event"] in ERRORS
    if not speaks() and not is_error:
        return
    if mode == "json":
        print(to_json(event), file=sys.stderr, flush=True)
    elif mode != "quiet" or is_error:
        print(describe(event), file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Something a person may want to know."""
    tell({"event": "note", "text": text})


def finish(command: str, text: str, numbers: Event) -> None:
    """The outcome of a command: its summary on standard output, or one `result` event in place of it. Told once."""
    if not speaks():
        return
    if chosen_mode() == "json":
        tell({"event": "result", "command": command, **numbers, "text": text})
    else:
        print(text, flush=True)
