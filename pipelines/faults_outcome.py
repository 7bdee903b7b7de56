"""What came of the faults: one row a kind."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Outcome:
    """Faults of one kind.

    Args:
        kind: in words.
        injected: faults that happened.
        survived: those after which everything was as if nothing had happened.
        rows_lost: rows of the undisturbed cache that were missing, different or made twice in the end.
        seconds: wall time, s.
        troubles: what was wrong, a line each.
        skipped: why this machine could not try it.
    """

    kind: str
    injected: int = 0
    survived: int = 0
    rows_lost: int = 0
    seconds: float = 0.0
    troubles: list[str] = field(default_factory=list)
    skipped: str = ""

    @contextmanager
    def timed(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - started

    def note(self, troubles: Sequence[str], rows_lost: int = 0, faults: int = 1) -> None:
        """Take in one trial of so many faults."""
        found = [each for each in troubles if each]
        self.injected += faults
        self.survived += 0 if found or rows_lost else faults
        self.rows_lost += rows_lost
        self.troubles += found

    @property
    def passed(self) -> bool:
        return bool(self.skipped) or (self.injected > 0 and self.injected == self.survived)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def trials(outcome: Outcome, count: int) -> Iterator[None]:
    """Again until so many faults have happened; one that came too late is tried elsewhere, for a while."""
    for _ in range(10 * count):
        if outcome.injected >= count:
            return
        yield


def format_table(outcomes: Sequence[Outcome]) -> str:
    """The table of a run, in Markdown."""
    head = ("fault", "injected", "survived", "rows lost", "seconds")
    rows = [
        (o.kind, *(("–", "–", "–", f"skipped: {o.skipped}") if o.skipped else _figures(o))) for o in outcomes
    ]
    tried = [o for o in outcomes if not o.skipped]
    total = Outcome(
        "all", *(sum(getattr(o, name) for o in tried) for name in ("injected", "survived", "rows_lost"))
    )
    total.seconds = sum(o.seconds for o in tried)
    rows.append(("all", *_figures(total)))
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    lines = [
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in (head, *rows)
    ]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


def _figures(outcome: Outcome) -> tuple[str, str, str, str]:
    return str(outcome.injected), str(outcome.survived), str(outcome.rows_lost), f"{outcome.seconds:.0f}"
