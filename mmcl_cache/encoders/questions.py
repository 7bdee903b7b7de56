"""The questions asked of a strip: the paper's templates by name, and checks."""

from __future__ import annotations

import string
from collections.abc import Sequence

from mmcl_cache.errors import ModelError

# Source: MMCL (arXiv:2407.15706), Feature Refinement Module: a visual question and an instruction.
TEMPLATES: dict[str, str] = {
    "whether": "whether the {target} are {action}?",
    "describe": "please describe the {target}.",
}
DEFAULT_QUESTION = "whether the people are holding objects?"
DEFAULT_CHOICES = ("yes", "no")


def write_question(template: str, **words: str) -> str:
    """Fill a template: ``write_question("whether", target="people", action="holding objects")``.

    Raises:
        ModelError: unknown template, or words that it lacks or does not take.
    """
    if template not in TEMPLATES:
        raise ModelError(f"unknown question template {template!r}; known: {', '.join(TEMPLATES)}")
    text = TEMPLATES[template]
    wanted = [name for _, name, _, _ in string.Formatter().parse(text) if name]
    if sorted(words) != sorted(wanted):
        raise ModelError(
            f"question template {template!r} takes {', '.join(wanted)}; got {', '.join(sorted(words))}"
        )
    return text.format(**words)


def parse_question(text: str) -> str:
    """A question as typed, or a template in the form ``whether:target=people,action=holding objects``."""
    name, colon, rest = text.partition(":")
    if not colon or name not in TEMPLATES:
        return text
    pairs = [part.partition("=") for part in rest.split(",") if part.strip()]
    return write_question(name, **{key.strip(): value.strip() for key, _, value in pairs})


def check_questions(questions: Sequence[str]) -> tuple[str, ...]:
    """The questions without outer white space.

    Raises:
        ModelError: none, an empty one, or one twice.
    """
    cleaned = tuple(question.strip() for question in questions)
    if not cleaned:
        raise ModelError("no question to ask; give --question TEXT")
    for number, question in enumerate(cleaned, 1):
        if not question:
            raise ModelError(f"question {number} is empty; give --question TEXT")
    if len(set(cleaned)) < len(cleaned):
        raise ModelError("the same question is asked twice; leave one out")
    return cleaned


def find_choice_tokens(tokenizer: object, choices: Sequence[str]) -> list[list[int]]:
    """First token ids that begin each choice, whatever its capitals or the space before it.

    The probability of a choice is that of its answer's first token, shared among the choices given.

    Raises:
        ModelError: an empty choice, or two that begin with the same token.
    """
    encode = tokenizer.encode  # type: ignore[attr-defined]
    blank = set(encode(" ", add_special_tokens=False))
    found: list[list[int]] = []
    for choice in choices:
        word = choice.strip()
        if not word:
            raise ModelError("an empty answer among the choices")
        variants = (word, word.lower(), word.capitalize(), f" {word.lower()}", f" {word.capitalize()}")
        firsts = {ids[0] for ids in (encode(v, add_special_tokens=False) for v in variants) if ids} - blank
        unknown = getattr(tokenizer, "unk_token_id", None)
        firsts.discard(unknown)
        if not firsts:
            raise ModelError(f"choice {choice!r}: the model's vocabulary has no token for it")
        found.append(sorted(firsts))
    for i, first in enumerate(found):
        for j in range(i):
            if set(first) & set(found[j]):
                raise ModelError(
                    f"choices {choices[j]!r} and {choices[i]!r} begin with the same token; use other words"
                )
    return found
