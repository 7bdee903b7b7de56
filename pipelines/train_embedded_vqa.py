"""The embedded question answerer: a BlipForQuestionAnswering of about a million parameters.

Trained from the default initialisation it stays near chance. So the weights start larger, patches are whitened,
matrices are stepped by Muon, and the vision tower first learns to see: which object, how many people, and in which
patches the object is. Questions and answers come on top.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForQuestionAnswering,
    BlipProcessor,
    BlipTextConfig,
    BlipVisionConfig,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from pipelines.train_embedded_batches import MEAN, STD, StripBatch, draw_batches, take_batch
from pipelines.train_embedded_data import HEIGHTS, OBJECTS, PEOPLE, Examples, load_examples
from pipelines.train_embedded_optimiser import Optimiser

SIZE, GRID = 120, 15  # px of the image, patches a side: three to a tile
HIDDEN, PATCH = 96, SIZE // GRID
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


def build_processor() -> BlipProcessor:
    """Words of the questions and answers, letters for any other word, and the two tokens that BLIP adds at the end."""
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
    side = {"height": SIZE, "width": SIZE}
    return BlipProcessor(
        BlipImageProcessorPil(size=side, image_mean=list(MEAN), image_std=list(STD)), tokenizer
    )


def build_vqa(tokenizer: BertTokenizer) -> BlipForQuestionAnswering:
    """An untrained model; its random weights come from torch's global generator."""
    vocab = tokenizer.get_vocab()
    text = BlipTextConfig(
        vocab_size=len(vocab),
        hidden_size=HIDDEN,
        encoder_hidden_size=HIDDEN,
        intermediate_size=4 * HIDDEN,
        projection_dim=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=32,
        bos_token_id=vocab["[DEC]"],
        eos_token_id=vocab["[SEP]"],
        sep_token_id=vocab["[SEP]"],
        pad_token_id=vocab["[PAD]"],
        initializer_range=0.1,
    )
    vision = BlipVisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=4 * HIDDEN,
        projection_dim=HIDDEN,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=PATCH,
        initializer_range=0.1,
    )
    config = BlipConfig(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=HIDDEN,
        image_text_hidden_size=HIDDEN,
        initializer_range=0.1,
    )
    return BlipForQuestionAnswering(config)


@torch.no_grad()
def whiten_patches(model: BlipForQuestionAnswering, pixels: Tensor) -> None:
    """Begin with the principal components of these strips' patches, each scaled to a deviation of a half.

    Light and flat colour make up nearly all of a patch's variance; the details that tell objects apart come to
    count as much. pixels: (B, 3, SIZE, SIZE).
    """
    patches = F.unfold(pixels, PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)
    mean = patches.mean(0)
    variances, components = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    largest = torch.arange(len(variances) - 1, len(variances) - 1 - HIDDEN, -1)
    weight = 0.5 * (components[:, largest] / (variances[largest].clamp(min=0).sqrt() + 1e-3)).T
    embedding = model.vision_model.embeddings.patch_embedding
    embedding.weight.copy_(weight.reshape(HIDDEN, 3, PATCH, PATCH))
    embedding.bias.copy_(-(weight @ mean))


class VisionHeads(nn.Module):
    """What the vision tower is asked in its first training; thrown away afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = nn.Linear(2 * HIDDEN, len(OBJECTS) + len(PEOPLE) + len(HEIGHTS))
        self.patch = nn.Linear(HIDDEN, len(OBJECTS))

    def forward(self, embeds: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 1 + GRID², HIDDEN) to the logits of object, people, height and (B, GRID², objects) of the patches."""
        whole = self.whole(torch.cat([embeds[:, 0], embeds[:, 1:].amax(1)], 1))
        objects, people, heights = whole.split([len(OBJECTS), len(PEOPLE), len(HEIGHTS)], 1)
        return objects, people, heights, self.patch(embeds[:, 1:])


def seeing_loss(heads: VisionHeads, embeds: Tensor, batch: StripBatch) -> Tensor:
    """Cross entropies of the heads, nats; a patch with an object weighs more, there are few."""
    objects, people, heights, patches = heads(embeds)
    weight = torch.full((len(OBJECTS),), 4.0)
    weight[0] = 1.0
    return (
        F.cross_entropy(objects.float(), batch.objects)
        + 0.5 * F.cross_entropy(people.float(), batch.people)
        + 0.5 * F.cross_entropy(heights.float(), batch.heights)
        + 2.0 * F.cross_entropy(patches.float().flatten(0, 1), batch.maps.flatten(), weight=weight)
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


def answer_loss(model: BlipForQuestionAnswering, phrase: Phrase, image: Tensor, answers: Tensor) -> Tensor:
    """Mean cross entropy of the answers' tokens, nats; image (B, P, HIDDEN), answers (B,) indices."""
    size = len(image)
    seen = torch.ones(image.shape[:2], dtype=torch.long)
    question = phrase.question.expand(size, -1)
    asked = model.text_encoder(
        input_ids=question,
        attention_mask=torch.ones_like(question),
        encoder_hidden_states=image,
        encoder_attention_mask=seen,
    ).last_hidden_state
    ids, labels = phrase.answers[answers], phrase.labels[answers]
    decoded = model.text_decoder(
        input_ids=ids,
        attention_mask=(labels != -100).long(),
        encoder_hidden_states=asked,
        encoder_attention_mask=torch.ones_like(question),
    ).logits
    return F.cross_entropy(decoded[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten())


def right_answers(batch: StripBatch, about: str) -> Tensor:
    """The index of the right answer among a question's answers, (B,)."""
    return {"holding": (batch.objects > 0).long(), "objects": batch.objects, "people": batch.people}[about]


def train_vqa(
    strips: Path, held_out: Path, steps: tuple[int, int], size: int, seed: int, folder: Path
) -> None:
    """Train `steps` (seeing, answering) of `size` strips and write the model and its processor to `folder`."""
    train, held = (load_examples(path, SIZE, GRID) for path in (strips, held_out))
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    processor = build_processor()
    model = build_vqa(processor.tokenizer)
    whiten_patches(model, take_batch(train, np.arange(0, len(train), 20)).pixels)
    heads = VisionHeads()
    print(f"vqa: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    _learn_to_see(model, heads, train, held, steps[0], size, rng)
    _learn_to_answer(model, heads, phrase_questions(processor.tokenizer), train, held, steps[1], size, rng)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)


def _learn_to_see(
    model: BlipForQuestionAnswering,
    heads: VisionHeads,
    train: Examples,
    held: Examples,
    steps: int,
    size: int,
    rng: np.random.Generator,
) -> None:
    optimiser = Optimiser([(model.vision_model, 0.02, 2e-3), (heads, 0.0, 2e-3)])
    start = time.perf_counter()
    for step, batch in enumerate(draw_batches(train, size, steps, rng)):
        with torch.autocast("cpu", torch.bfloat16):  # three times as fast where the processor has it
            loss = seeing_loss(heads, model.vision_model(batch.pixels).last_hidden_state, batch)
        optimiser.advance(loss, step, steps)
        if step % 50 == 49 or step == steps - 1:
            right = _count_seen(model, heads, held)
            print(
                f"see {step + 1} loss {loss.item():.3f} held-out object {right:.3f} {_since(start)}",
                flush=True,
            )


def _learn_to_answer(
    model: BlipForQuestionAnswering,
    heads: VisionHeads,
    phrases: dict[str, Phrase],
    train: Examples,
    held: Examples,
    steps: int,
    size: int,
    rng: np.random.Generator,
) -> None:
    text = [(model.text_encoder, 0.02, 1.5e-3), (model.text_decoder, 0.02, 1.5e-3)]
    optimiser = Optimiser([*text, (model.vision_model, 0.004, 4e-4), (heads, 0.0, 4e-4)])
    start = time.perf_counter()
    for step, batch in enumerate(draw_batches(train, size, steps, rng)):
        with torch.autocast("cpu", torch.bfloat16):
            image = model.vision_model(batch.pixels).last_hidden_state
            loss = 0.5 * seeing_loss(heads, image, batch)
            for about in SUBJECTS:
                question = str(rng.choice([q for q, (topic, _) in QUESTIONS.items() if topic == about]))
                loss = loss + answer_loss(model, phrases[question], image, right_answers(batch, about))
        optimiser.advance(loss, step, steps)
        if step % 50 == 49 or step == steps - 1:
            right = " ".join(f"{share:.3f}" for share in _count_answered(model, phrases, held))
            print(f"answer {step + 1} loss {loss.item():.3f} held-out {right} {_since(start)}", flush=True)


def _since(start: float) -> str:
    return f"({time.perf_counter() - start:.0f} s)"


@torch.no_grad()
def _count_seen(model: BlipForQuestionAnswering, heads: VisionHeads, held: Examples) -> float:
    batch = take_batch(held, np.arange(len(held)))
    objects = torch.cat(
        [heads(model.vision_model(part).last_hidden_state)[0] for part in batch.pixels.split(96)]
    )
    return float((objects.argmax(1) == batch.objects).float().mean())


@torch.no_grad()
def _count_answered(
    model: BlipForQuestionAnswering, phrases: dict[str, Phrase], held: Examples
) -> list[float]:
    """The share of generated answers that are right, of half the strips, for the first question about each subject."""
    model.eval()
    batch = take_batch(held, np.arange(0, len(held), 2))
    shares = []
    for about in SUBJECTS:
        question = next(q for q, (topic, _) in QUESTIONS.items() if topic == about)
        phrase, wanted = phrases[question], right_answers(batch, about)
        right = 0
        for part, truth in zip(batch.pixels.split(96), wanted.split(96), strict=True):
            ids = phrase.question.expand(len(part), -1)
            given = model.generate(
                input_ids=ids, pixel_values=part, attention_mask=torch.ones_like(ids), max_new_tokens=4
            )
            meant = phrase.answers[truth]
            width = min(given.shape[1], meant.shape[1])
            right += int((given[:, :width] == meant[:, :width]).all(1).sum())
        shares.append(right / len(wanted))
    model.train()
    return shares
