"""Strips and answers of some samples, from the cache a run was trained on."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from mmcl_cache.store import Cache, Columns, Field

SIZE = (300, 180)  # tiles of 1:3 look like people again; the strip itself is square
QUALITY = 75
MAX_PIXELS = 4096 * 4096  # of a strip


@dataclass(frozen=True)
class Pictures:
    """By sample id: base64 of a small JPEG; answers, one a question of `questions`; why there is no strip."""

    questions: tuple[str, ...] = ()
    strips: dict[str, str] = field(default_factory=dict)
    answers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def read_pictures(
    cache: Cache, strip_variant: str, text_variant: str, pictured: Sequence[str], answered: Sequence[str]
) -> Pictures:
    """What the cache has of these samples; fields and shards it lacks are left out.

    Args:
        pictured: samples whose strip is shown. answered: samples whose answers are counted.

    Raises:
        CacheError: a sample is not in the cache.
        DamagedCacheError: a shard is not what was written.
    """
    cache.samples.positions(answered)
    there = cache.fields()
    strips: dict[str, str] = {}
    missing: dict[str, str] = {}
    if strip_variant in there.get("strip", []):
        for part, row, name in _rows(cache.field("strip", strip_variant), pictured, ("jpeg",)):
            picture = _picture(part["jpeg"][row]) if part.valid[row] else None
            if picture is None:
                missing[name] = f"strip {part.status[row]}: {part.reasons[row]}"
            else:
                strips[name] = picture
    answers: dict[str, tuple[str, ...]] = {}
    questions: tuple[str, ...] = ()
    if text_variant in there.get("text", []):
        text = cache.field("text", text_variant)
        asked = text.settings.get("questions")
        for part, row, name in _rows(text, answered, ("answer",)):
            if part.valid[row]:
                answers[name] = _answers(str(part["answer"][row]))
        count = max((len(each) for each in answers.values()), default=0)
        questions = (
            tuple(str(question) for question in asked)
            if isinstance(asked, list) and len(asked) == count
            else tuple(f"question {n + 1}" for n in range(count))
        )
    return Pictures(questions, strips, answers, missing)


def _rows(
    each: Field, sample_ids: Sequence[str], columns: Sequence[str]
) -> Iterator[tuple[Columns, int, str]]:
    """(shard, row, id) of the samples whose shard is built; one shard is in memory at a time."""
    wanted = set(sample_ids)
    for shard in range(each.num_shards):
        here = [(row, name) for row, name in enumerate(each.shard_ids(shard).tolist()) if name in wanted]
        if here and each.marker(shard) is not None:
            part = each.read_shard(shard, columns)
            yield from ((part, row, name) for row, name in here)


def _picture(jpeg: np.ndarray) -> str | None:
    try:
        with Image.open(io.BytesIO(jpeg.tobytes()), formats=("JPEG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            small = image.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    file = io.BytesIO()
    small.save(file, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def _answers(stored: str) -> tuple[str, ...]:
    try:
        value = json.loads(stored)
    except (ValueError, RecursionError):
        return (stored,)
    return tuple(str(text) for text in value) if isinstance(value, list) else (stored,)
