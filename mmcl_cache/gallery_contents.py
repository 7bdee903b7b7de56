"""What a gallery is made of: which samples were chosen, and all that its page says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmcl_cache.gallery_rows import Answer, Question, Seen
from mmcl_cache.gallery_statistics import AnswerTable, Missing, Norms
from mmcl_cache.store import Cache


@dataclass(frozen=True)
class GallerySettings:
    """Which samples are shown.

    Args:
        samples: ids; none for all.
        classes: names or labels; none for all.
        split: PROTOCOL:train or PROTOCOL:test.
        answer: only samples with this answer to any question.
        status: only samples with a row of this status: ok (all rows), absent, failed or pending.
        limit: pictures in the page at most; statistics are of all samples that are selected.
        variants: field → the one variant to show of it.
    """

    samples: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    split: str = ""
    answer: str = ""
    status: str = ""
    limit: int = 1000
    variants: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Gallery:
    """All that the page says. `selected` samples went into the statistics, `shown` of them have a picture."""

    cache: Cache
    settings: GallerySettings
    selected: np.ndarray
    shown: np.ndarray
    questions: list[Question] = field(default_factory=list)
    tables: list[AnswerTable | None] = field(default_factory=list)
    answers: list[dict[str, Answer]] = field(default_factory=list)  # of each question, by sample id
    rows: dict[str, dict[str, Seen[Any]]] = field(default_factory=dict)  # field/variant → rows by sample id
    missing: list[Missing] = field(default_factory=list)
    norms: list[Norms] = field(default_factory=list)
    thumbnails: dict[str, str] = field(default_factory=dict)
    poses: dict[str, dict[str, Any]] = field(default_factory=dict)
