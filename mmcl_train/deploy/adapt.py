"""A model made at home on the target: a linear probe on its frozen features, or fine-tuning by the trainer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmcl_cache.store import Cache, open_cache
from mmcl_train.config import ModelConfig, RunConfig, ScheduleConfig
from mmcl_train.data.splits import split_samples
from mmcl_train.engine.folder import RunFolder
from mmcl_train.engine.inputs import InputLoader, resolve
from mmcl_train.engine.model_file import read_about
from mmcl_train.engine.summary import format_result
from mmcl_train.engine.trainer import train
from mmcl_train.scores.metrics import measure_accuracy
from mmcl_train.settings import load_config, override

from .class_map import MAPS, find_map
from .joint_map import TO_NTU, Rules, find_matrix
from .mapped import MappedClips, load_clips, write_mapped_cache
from .prediction import BATCH
from .torch_model import TorchModel

PENALTY = 1e-3  # of the squared weights of the probe, on features of unit variance
STEPS = 200
EPOCHS = 20


def probe(run: Path, cache_path: Path, asked: str, variant: str, protocol: str, device: str) -> Iterator[str]:
    """Lines of a linear classifier on frozen features: fitted on the target's train split, measured on its test split.

    Raises:
        UserError: no run, no way between the layouts, or no such protocol.
    """
    model, cache = TorchModel(run, device), open_cache(cache_path)
    matrix = find_matrix(cache.description.layout, model.input.layout, _rules(asked, cache, model))
    protocol = protocol or cache.description.protocols[0]
    ids = split_samples(cache.samples, protocol, "none")
    sets = [load_clips(cache, part, matrix, model.input, variant) for part in (ids.train, ids.test)]
    features = [compute_features(model, each) for each in sets]
    mean, spread = features[0].mean(dim=0), features[0].std(dim=0).clamp(min=1e-6)
    scaled = [(each - mean) / spread for each in features]
    classifier = fit_classifier(
        scaled[0], torch.from_numpy(sets[0].labels).long(), cache.description.num_classes
    )
    with torch.no_grad():
        logits = classifier(scaled[1]).numpy()
    accuracy = measure_accuracy(logits, sets[1].labels)
    yield (
        f"{run} on {cache.path}, {protocol}: linear probe, {len(sets[0].labels)} training and {accuracy.count} test "
        f"samples, {cache.description.num_classes} classes"
    )
    top1, top5, mean_class = 100 * accuracy.top1, 100 * accuracy.top5, 100 * accuracy.mean_class
    yield f"  top-1 {top1:.2f}  top-5 {top5:.2f}  mean of classes {mean_class:.2f}"


def finetune(
    run: Path,
    cache_path: Path,
    asked: str,
    variant: str,
    protocol: str,
    device: str,
    out: Path,
    assignments: Sequence[str],
) -> Iterator[str]:
    """Train the whole model on the target from the run's weights, by the trainer, without co-learning.

    `out` gets cache/ (the target in the model's layout, skeletons only) and run/ (an ordinary run folder, continued
    where it was interrupted). Settings are those of the run but for 20 epochs and a tenth of the learning rate.

    Raises:
        UserError: as `probe`, or a setting that cannot be.
    """
    model, cache = TorchModel(run), open_cache(cache_path)
    matrix = find_matrix(cache.description.layout, model.input.layout, _rules(asked, cache, model))
    mapped = write_mapped_cache(cache, out / "cache", matrix, model.input, variant)
    place = RunFolder(run)
    base = load_config(place.config) if place.config.is_file() else RunConfig()
    base = dataclasses.replace(
        base,
        data=dataclasses.replace(
            base.data,
            cache=str(mapped.path),
            protocol=protocol,
            skeleton_variant="default",
            stream=model.input.stream,
        ),
        clip=dataclasses.replace(base.clip, transform=model.input.transform, length=model.input.length),
        model=ModelConfig(model.input.backbone, read_about(run).width, init=str(run)),
        method=dataclasses.replace(base.method, enabled=False),
        optimiser=dataclasses.replace(base.optimiser, lr=base.optimiser.lr / 10),
        schedule=ScheduleConfig(epochs=EPOCHS, warmup=0, steps=(EPOCHS * 3 // 4,)),
        train=dataclasses.replace(base.train, device=device, batch=min(base.train.batch, 16)),
    )
    config = override(base, assignments)
    loader = InputLoader(mapped.path, torch.device(device))
    config = resolve(config, mapped.description)
    notes: list[str] = []
    result = train(config, loader.load(config, notes.append), out / "run")
    yield from notes
    yield format_result(result, out / "run")


@torch.no_grad()
def compute_features(model: TorchModel, clips: MappedClips) -> Tensor:
    """(N, D) on the host."""
    parts = [
        model.model.forward_features(
            torch.from_numpy(clips.clips[start : start + BATCH]).to(model.device)
        ).cpu()
        for start in range(0, len(clips.labels), BATCH)
    ]
    return torch.cat(parts)


def fit_classifier(features: Tensor, labels: Tensor, num_classes: int) -> nn.Linear:
    """Multinomial logistic regression from zero, with a penalty on the weights; deterministic."""
    classifier = nn.Linear(features.shape[1], num_classes)
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    search = torch.optim.LBFGS(
        classifier.parameters(), max_iter=STEPS, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        search.zero_grad()
        value = cross_entropy(classifier(features), labels) + PENALTY * classifier.weight.square().sum()
        value.backward()
        return value

    search.step(loss)
    return classifier


def _rules(asked: str, cache: Cache, model: TorchModel) -> Rules:
    """Of the map asked for; adapting needs no class map, so any target with the joints of one will do."""
    if not asked:
        return MAPS[cache.description.dataset].joints if cache.description.dataset in MAPS else TO_NTU
    return find_map(asked, cache.description, model.input.classes).joints
