"""What the embedded question answerer is taught to say: its questions, their answers, and the words it knows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers import BertTokenizer, BlipProcessor
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from pipelines.train_embedded_batches import MEAN, STD, StripBatch
from pipelines.train_embedded_data import OBJECTS, PEOPLE

HOLDING = ("no", "yes")
# Question -> what decides the answer, and the answers in the order of its labels.
QUESTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "whether the people are holding objects?": ("holding", HOLDING),
    "are the people holding objects?": ("holding", HOLDING),
    "is the person holding an object?": ("holding", HOLDING),
    "what object is held?": ("objects", OBJECTS),
    "what are the people holding?": ("objects", OBJECTS),
    "how many people are there?": ("people", PEOPLE),
}
SUBJECTS = ("holding", "objects", "people")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def build_processor(size: int) -> BlipProcessor:
    """Words of the questions and answers, letters for any other word, and the two tokens that BLIP adds at the end.

    size: px, a side of the image.
    """
    words = sorted(
        {w for q in QUESTIONS for w in q.rstrip("?").split()} | {a for _, r in QUESTIONS.values() for a in r}
    )
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + [str(d) for d in range(10)]
    pieces = [
        *SPECIAL,
        *letters,
        *(f"##{c}" for c in letters),
        "?",
        ".",
        ",",
        "'",
        *(w for w in words if w not in letters),
    ]
    vocab = {piece: index for index, piece in enumerate([*pieces, "[DEC]", "[ENC]"])}
    tokenizer = BertTokenizer(
        vocab=vocab,
        do_lower_case=True,
        model_max_length=32,
        bos_token="[DEC]",
        additional_special_tokens=["[ENC]"],
    )
    side = {"height": size, "width": size}
    return BlipProcessor(
        BlipImageProcessorPil(size=side, image_mean=list(MEAN), image_std=list(STD)), tokenizer
    )


@dataclass(frozen=True)
class Phrase:
    """A question and its answers as ids: question (L,), answers (A, L') padded, with -100 in their labels."""

    question: Tensor
    answers: Tensor
    labels: Tensor


def phrase_questions(tokenizer: BertTokenizer) -> dict[str, Phrase]:
    """Every question with its answers, each answer begun by [DEC] and ended by [SEP]."""
    phrases = {}
    for question, (_, replies) in QUESTIONS.items():
        ids = tokenizer(list(replies), padding=True, return_tensors="pt").input_ids
        ids[:, 0] = tokenizer.convert_tokens_to_ids("[DEC]")
        labels = ids.masked_fill(ids == tokenizer.pad_token_id, -100)
        phrases[question] = Phrase(tokenizer(question, return_tensors="pt").input_ids[0], ids, labels)
    return phrases


def right_answers(batch: StripBatch, about: str) -> Tensor:
    """The index of the right answer among a question's answers, (B,)."""
    return {"holding": (batch.objects > 0).long(), "objects": batch.objects, "people": batch.people}[about]
