"""The embedded image encoder: a small ResNet that names what is held, how high the hands get and how many people act.

Its classes are scenes ("ball, hands high", "book, two people", …), none of them an action: several actions share each.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ResNetConfig, ResNetForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from pipelines.train_embedded_batches import MEAN, STD, StripBatch, draw_batches, learning_rate, take_batch
from pipelines.train_embedded_data import HEIGHTS, OBJECTS, Examples, load_examples

SIZE, GRID = 160, 10  # px of the image, cells of the object map
WIDTHS = (16, 32, 64, 128)
MAP_STAGE = 3  # its output has GRID x GRID cells
SCENES = tuple(f"{o}, hands {h}" for o in OBJECTS for h in HEIGHTS) + tuple(
    f"{o}, two people" for o in OBJECTS
)


def scene_of(batch: StripBatch) -> Tensor:
    """(B,) index of each strip's scene in SCENES."""
    alone = batch.objects * len(HEIGHTS) + batch.heights
    return torch.where(batch.people == 1, len(OBJECTS) * len(HEIGHTS) + batch.objects, alone)


def build_cnn() -> ResNetForImageClassification:
    """An untrained model; its random weights come from torch's global generator."""
    config = ResNetConfig(
        embedding_size=16,
        hidden_sizes=list(WIDTHS),
        depths=[1, 1, 1, 1],
        layer_type="basic",
        id2label=dict(enumerate(SCENES)),
        label2id={name: index for index, name in enumerate(SCENES)},
    )
    return ResNetForImageClassification(config)


def build_image_processor() -> ViTImageProcessorPil:
    """Strips to SIZE x SIZE, values to [-1, 1]."""
    side = {"height": SIZE, "width": SIZE}
    return ViTImageProcessorPil(size=side, resample=3, image_mean=list(MEAN), image_std=list(STD))


def train_cnn(strips: Path, held_out: Path, steps: int, size: int, seed: int, folder: Path) -> None:
    """Train `steps` batches of `size` strips and write the model and its image processor to `folder`."""
    train, held = (load_examples(path, SIZE, GRID) for path in (strips, held_out))
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = build_cnn()
    find = nn.Conv2d(WIDTHS[MAP_STAGE - 1], len(OBJECTS), 1)  # where the object is: only while training
    weight = torch.full((len(OBJECTS),), 4.0)
    weight[0] = 1.0
    parameters = [*model.parameters(), *find.parameters()]
    print(f"cnn: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    optimiser = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=0.05)
    start = time.perf_counter()
    for step, batch in enumerate(draw_batches(train, size, steps, rng)):
        model.train()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, 2e-3)
        out = model(batch.pixels, output_hidden_states=True)
        loss = F.cross_entropy(out.logits, scene_of(batch), label_smoothing=0.05)
        loss = loss + F.cross_entropy(find(out.hidden_states[MAP_STAGE]), batch.maps, weight=weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        if step % 50 == 49 or step == steps - 1:
            scene, held_object = count_right(model, held)
            spent = time.perf_counter() - start
            right = f"held-out scene {scene:.3f} object {held_object:.3f}"
            print(f"cnn {step + 1} loss {loss.item():.3f} {right} ({spent:.0f} s)", flush=True)
    model.eval().save_pretrained(folder)
    build_image_processor().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)


@torch.no_grad()
def count_right(model: ResNetForImageClassification, examples: Examples) -> tuple[float, float]:
    """Shares of strips whose scene, and whose object, is named right."""
    model.eval()
    batch = take_batch(examples, np.arange(len(examples)))
    named = torch.cat([model(part).logits for part in batch.pixels.split(96)]).argmax(1)
    alone = len(OBJECTS) * len(HEIGHTS)
    objects = torch.where(named < alone, named // len(HEIGHTS), named - alone)
    return float((named == scene_of(batch)).float().mean()), float((objects == batch.objects).float().mean())
