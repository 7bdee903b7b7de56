"""A frozen model on another data set, all its classes to choose from: the publication's zero-shot evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from mmcl_cache.store import Cache, CacheError, UserError, open_cache
from mmcl_train.config import RunConfig
from mmcl_train.data.features import load_text
from mmcl_train.engine.checkpoint import list_checkpoints, load_state, unpack
from mmcl_train.engine.folder import RunFolder
from mmcl_train.method.frm import FeatureRefinement
from mmcl_train.settings import load_config

from .class_map import MAPS, TransferMap, find_map
from .joint_map import find_matrix
from .mapped import MappedClips, load_clips
from .prediction import BATCH
from .torch_model import TorchModel

TOP = 5
NTU = ("ntu60", "ntu120")


@dataclass(frozen=True)
class ClassResult:
    """One class of the target: its label there and the model's, samples, and how many were right."""

    label: int
    model_label: int
    count: int
    top1: int
    top5: int


@dataclass(frozen=True)
class TransferResult:
    """classes: results by class; logits: (N, model classes); labels: (N,) of the model."""

    classes: tuple[ClassResult, ...]
    logits: NDArray[np.float32]
    labels: NDArray[np.int64]

    @property
    def count(self) -> int:
        return len(self.labels)

    @property
    def top1(self) -> float:
        return sum(each.top1 for each in self.classes) / self.count

    @property
    def top5(self) -> float:
        return sum(each.top5 for each in self.classes) / self.count


def evaluate_transfer(
    run: Path, cache_path: Path, asked: str, refined: bool, variant: str, text_variant: str, device: str
) -> Iterator[str]:
    """Lines: top-1, top-5 and N, and the same by class; with the refined scores beside them where asked.

    Args:
        run: of the model.
        cache_path: of the target; all samples of the mapped classes count, whatever their split.
        asked: name or file of a map, "" for that of the target's data set.
        refined: also S_R, from the text of the target and the FRM in the run's last checkpoint.
        variant, text_variant: of the skeleton and text fields.

    Raises:
        UserError: no run, no map, no text or FRM where refined scores are asked for, or nothing to evaluate on.
    """
    model, cache = TorchModel(run, device), open_cache(cache_path)
    chosen = find_map(asked, cache.description, model.input.classes)
    clips = load_target(cache, model, chosen, variant)
    logits = compute_logits(model, clips)
    plain = measure_transfer(logits, clips.labels, chosen)
    yield (
        f"{run} ({model.input.dataset or 'unnamed data'}, {len(model.input.classes)} classes) on {cache.path}: "
        f"N = {plain.count}, {len(plain.classes)} classes, zero-shot"
    )
    yield from describe_doubts(model, chosen, clips)
    yield f"  top-1 {100 * plain.top1:.2f}  top-{TOP} {100 * plain.top5:.2f}"
    results = [plain]
    if refined:
        yield from describe_text(run, cache, text_variant)
        scores, missing = refine_logits(run, cache, clips, logits, text_variant)
        results.append(measure_transfer(scores, clips.labels, chosen))
        note = f"  ({missing} samples without text keep their own scores)" if missing else ""
        yield f"  refined: top-1 {100 * results[1].top1:.2f}  top-{TOP} {100 * results[1].top5:.2f}{note}"
    yield from describe_classes(results, cache.description.classes, model.input.classes)


def load_target(cache: Cache, model: TorchModel, chosen: TransferMap, variant: str) -> MappedClips:
    """Clips of every sample of the mapped classes."""
    matrix = find_matrix(cache.description.layout, model.input.layout, chosen.joints)
    mapped = np.isin(cache.samples.labels, list(chosen.classes))
    if not mapped.any():
        raise UserError(f"{cache.path}: no sample of a mapped class in it")
    return load_clips(cache, cache.samples.sample_ids[mapped], matrix, model.input, variant)


def compute_logits(model: TorchModel, clips: MappedClips) -> NDArray[np.float32]:
    """(N, classes), in batches."""
    parts = [
        model.compute_logits(clips.clips[start : start + BATCH])
        for start in range(0, len(clips.labels), BATCH)
    ]
    return np.concatenate(parts)


def measure_transfer(
    logits: NDArray[np.float32], labels: NDArray[np.int32], chosen: TransferMap
) -> TransferResult:
    """Results by class. A class that the model does not have is never right."""
    wanted = np.array([chosen.classes[label] for label in labels.tolist()], dtype=np.int64)
    order = np.argsort(-logits, axis=1, kind="stable")[:, :TOP]
    right = order == wanted[:, None]
    classes = tuple(
        ClassResult(label, to, int(own.sum()), int(right[own, 0].sum()), int(right[own].any(axis=1).sum()))
        for label, to in sorted(chosen.classes.items())
        if (own := labels == label).any()
    )
    return TransferResult(classes, logits, wanted)


def refine_logits(
    run: Path, cache: Cache, clips: MappedClips, logits: NDArray[np.float32], text_variant: str
) -> tuple[NDArray[np.float32], int]:
    """S_R of every sample with text, S_M of the others, and how many those are.

    Raises:
        UserError: the run was trained without an FRM, or the target's text is missing or of another width.
    """
    frm = read_frm(run)
    if "text" not in cache.fields():
        raise UserError(
            f"{cache.path} has no text, which refined scores need: build it with `mmcl-cache build --field text`, "
            "with the questions and model of the run's cache, or leave --refined out"
        )
    feature = read_config(run).data.text_feature
    text = load_text(cache.field("text", text_variant), clips.sample_ids, feature)
    expected = frm.mlp[0].in_features
    if text.width != expected:
        raise UserError(
            f"{cache.path}: text/{text_variant} gives {text.width} values a sample ({feature}), the run was trained on "
            f"{expected}; build it with the questions and model of the run's cache"
        )
    with torch.no_grad():
        refined = frm(torch.from_numpy(text.values).float(), torch.from_numpy(logits)).numpy()
    scores: NDArray[np.float32] = np.where(text.valid[:, None], refined, logits)
    return scores, int((~text.valid).sum())


def read_config(run: Path) -> RunConfig:
    """The settings of a run; the usual ones where the folder has none."""
    place = RunFolder(run)
    return load_config(place.config) if place.config.is_file() else RunConfig()


def describe_text(run: Path, cache: Cache, text_variant: str) -> Iterator[str]:
    """A line where the target's text was made otherwise than the run's, as far as the run's cache is still there."""
    data = read_config(run).data
    if text_variant not in cache.fields().get("text", []):
        return
    try:
        ours = open_cache(Path(data.cache)).field("text", data.text_variant).settings
    except CacheError:
        return
    theirs = cache.field("text", text_variant).settings
    differ = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
    if differ:
        told = "; ".join(
            f"{key} {theirs.get(key)!r} there, {ours.get(key)!r} in training" for key in differ[:3]
        )
        yield f"  note: the target's text was made otherwise than the text trained with: {told}"


def read_frm(run: Path) -> FeatureRefinement:
    """The FRM of the last checkpoint of a run; raises UserError where there is none."""
    checkpoints = list_checkpoints(RunFolder(run).checkpoints)
    path = (checkpoints[-1] if checkpoints else run) / "task.safetensors"
    try:
        state = unpack(path)
    except (OSError, SafetensorError):
        state = {}
    own = {name.removeprefix("frm."): value for name, value in state.items() if name.startswith("frm.")}
    if "matrices" not in own or "mlp.0.weight" not in own:
        raise UserError(
            f"{run}: no FRM in its last checkpoint, which refined scores need; train with co-learning, or leave "
            "--refined out"
        )
    num_matrices, num_classes = own["matrices"].shape
    frm = FeatureRefinement(own["mlp.0.weight"].shape[1], num_classes, num_matrices)
    load_state(frm, own, str(path))
    return frm.eval()


def describe_doubts(model: TorchModel, chosen: TransferMap, clips: MappedClips) -> Iterator[str]:
    """Lines on what makes the number mean less."""
    count = len(model.input.classes)
    beyond = sorted(label for label in chosen.classes.values() if label >= count)
    if beyond:
        yield f"  note: the model has {count} classes; {', '.join(map(str, beyond))} are none of them and never right"
    if model.input.dataset not in NTU and chosen in MAPS.values():
        yield "  note: the model was not trained on NTU; the built-in maps name NTU's classes: the number means nothing"
    if clips.left_out:
        yield f"  note: {len(clips.left_out)} samples left out: {next(iter(clips.left_out.values()))}"


def describe_classes(
    results: list[TransferResult], names: tuple[str, ...], model_names: tuple[str, ...]
) -> Iterator[str]:
    """A table by class; a second pair of columns for refined scores."""
    yield "  class → class of the model | N | top-1 | top-5" + (" | refined" * (len(results) > 1))
    for rows in zip(*(result.classes for result in results), strict=True):
        first = rows[0]
        to = (
            model_names[first.model_label]
            if first.model_label < len(model_names)
            else f"label {first.model_label}"
        )
        figures = " | ".join(
            f"{100 * row.top1 / row.count:.1f} | {100 * row.top5 / row.count:.1f}" for row in rows
        )
        yield f"  {names[first.label]} → {to} | {first.count} | {figures}"
