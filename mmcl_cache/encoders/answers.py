"""What is kept of an answer: the columns of the ``text`` field, and making one row of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcl_cache.errors import ModelError
from mmcl_cache.store.schema import Column


def text_columns(questions: int, tokens: int, choices: int, hidden: int) -> tuple[Column, ...]:
    """Columns of the ``text`` field: Q questions, L tokens, A choices, D the decoder's width."""
    q = questions
    return (
        Column("tokens", "int32", (q, tokens), doc="answer ids with begin and end, padded with the pad id"),
        Column("token_count", "int32", (q,), doc="ids before the padding, begin and end included"),
        Column("log_prob", "float32", (q, tokens), unit="nats", doc="of each id; 0 for begin and padding"),
        Column("choice_prob", "float32", (q, choices), doc="of each choice as the answer; they sum to 1"),
        Column("hidden_mean", "float16", (q, hidden), doc="last layer, mean over the steps that gave an id"),
        Column("hidden_last", "float16", (q, hidden), doc="last layer, the step that gave the last id"),
        Column("answer", "utf8", doc="the answers, a JSON list of one string a question"),
    )


@dataclass(frozen=True)
class Answers:
    """One question answered for N images, padded to L.

    tokens (N, L) int64; counts (N,) int64, begin and end included; log_probs (N, L); choice_probs (N, A);
    hidden_mean and hidden_last (N, D) float32; texts: N strings. On the processor.
    """

    tokens: Tensor
    counts: Tensor
    log_probs: Tensor
    choice_probs: Tensor
    hidden_mean: Tensor
    hidden_last: Tensor
    texts: list[str]


def collect_answers(
    begin: int,
    steps_tokens: Sequence[Tensor],
    steps_logits: Sequence[Tensor],
    steps_hidden: Sequence[Tensor],
    ends: Sequence[int],
    pad: int,
    length: int,
    choices: Sequence[Sequence[int]],
    tokenizer: Any,
) -> Answers:
    """Put the steps of one greedy answer together.

    Args:
        begin: the id before the answer, stored as token 0.
        steps_tokens: S of (N,) ids that the steps gave.
        steps_logits: S of (N, vocabulary), before the ids were taken.
        steps_hidden: S of (N, D), the last layer's state of each step.
        ends: ids that end an answer. What a row gives after one of them is dropped.
        pad: fills the rest. length: L ≥ S + 1. choices: ids that begin each choice.
    """
    given = torch.stack(list(steps_tokens), dim=1)
    num_rows, num_steps = given.shape
    is_end = torch.isin(given, torch.tensor(list(ends), device=given.device))
    # A step counts while no end came before it; the end itself is part of the answer.
    live = (is_end.cumsum(1) - is_end.long()) == 0
    logits = torch.stack([step.float() for step in steps_logits], dim=1)
    chosen = torch.log_softmax(logits, dim=-1).gather(2, given[..., None])[..., 0]
    hidden = torch.stack([step.float() for step in steps_hidden], dim=1)
    weights = live.float()[..., None]
    counts = live.sum(1)
    tokens = torch.full((num_rows, length), pad, dtype=torch.int64)
    tokens[:, 0] = begin
    tokens[:, 1 : num_steps + 1] = given.masked_fill(~live, pad).cpu()
    log_probs = torch.zeros(num_rows, length)
    log_probs[:, 1 : num_steps + 1] = chosen.masked_fill(~live, 0.0).cpu()
    first = logits[:, 0]
    choice_logits = [torch.logsumexp(first[:, list(ids)], dim=1) for ids in choices]
    choice_probs = (
        torch.softmax(torch.stack(choice_logits, 1), 1).cpu() if choices else torch.zeros(num_rows, 0)
    )
    rows = torch.arange(num_rows, device=hidden.device)
    texts = [
        tokenizer.decode(row[keep & ~end].tolist(), skip_special_tokens=True).strip()
        for row, keep, end in zip(given, live, is_end, strict=True)
    ]
    return Answers(
        tokens=tokens,
        counts=counts.cpu() + 1,
        log_probs=log_probs,
        choice_probs=choice_probs,
        hidden_mean=((hidden * weights).sum(1) / weights.sum(1)).cpu(),
        hidden_last=hidden[rows, counts - 1].cpu(),
        texts=texts,
    )


def make_rows(answers: Sequence[Answers]) -> list[dict[str, np.ndarray | str]]:
    """One dict of the ``text`` columns an image, from the answers to every question."""
    if not answers:
        raise ModelError("no question to ask; give --question TEXT")
    tokens = torch.stack([a.tokens for a in answers], 1).numpy().astype(np.int32)
    counts = torch.stack([a.counts for a in answers], 1).numpy().astype(np.int32)
    log_probs = torch.stack([a.log_probs for a in answers], 1).numpy().astype(np.float32)
    choice_probs = torch.stack([a.choice_probs for a in answers], 1).numpy().astype(np.float32)
    means = torch.stack([a.hidden_mean for a in answers], 1).half().numpy()
    lasts = torch.stack([a.hidden_last for a in answers], 1).half().numpy()
    return [
        {
            "tokens": tokens[n],
            "token_count": counts[n],
            "log_prob": log_probs[n],
            "choice_prob": choice_probs[n],
            "hidden_mean": means[n],
            "hidden_last": lasts[n],
            "answer": json.dumps([a.texts[n] for a in answers], ensure_ascii=False),
        }
        for n in range(len(tokens))
    ]
