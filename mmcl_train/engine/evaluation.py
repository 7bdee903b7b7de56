"""Evaluate the skeleton model of a finished run on a cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmcl_cache.store import UserError, open_cache
from mmcl_train.config import RunConfig
from mmcl_train.data.resident import SplitSettings, load_split
from mmcl_train.data.splits import split_samples
from mmcl_train.scores.files import Scores, write_scores
from mmcl_train.scores.metrics import measure_accuracy
from mmcl_train.settings import load_config

from .environment import choose_device
from .evaluator import predict_split
from .folder import RunFolder
from .model_file import check_fits, read_model

SPLITS = ("train", "val", "test")


def evaluate_run(
    folder: Path,
    cache: Path | None,
    protocol: str | None,
    split: str,
    weights: str,
    device: str,
    batch: int,
    scores: Path | None,
) -> Iterator[str]:
    """Lines of accuracies of a run's model on one split; the scores are written where asked.

    Raises:
        UserError: no finished run, no such weights or split, or a cache that does not fit the model.
    """
    if split not in SPLITS:
        raise UserError(f"--split {split}: known: {', '.join(SPLITS)}")
    place = RunFolder(folder)
    model, about = read_model(folder, None if weights == "last" else _weights(place, weights))
    config = load_config(place.config) if place.config.is_file() else RunConfig()
    if cache is None and not config.data.cache:
        raise UserError(f"{folder} is an imported model: give the cache to measure it on (--cache DIR)")
    source = open_cache(cache or Path(config.data.cache))
    check_fits(about, source.description, str(source.path))
    protocol = protocol or about.protocol or source.description.protocols[0]
    ids = split_samples(source.samples, protocol, config.data.val, config.data.val_share)
    sample_ids = {"train": ids.train, "val": ids.val, "test": ids.test}[split]
    if not len(sample_ids):
        raise UserError(f"--split {split}: this run holds no samples out ({ids.about})")
    settings = SplitSettings(
        stream=about.stream,
        clip=about.clip,
        skeleton_variant=about.skeleton_variant,
        num_bodies=about.num_bodies,
    )
    place_on = choose_device(device)
    resident = load_split(source, sample_ids, place_on, settings)
    logits, labels = predict_split(model.to(place_on), resident, batch=batch), resident.labels.cpu().numpy()
    accuracy = measure_accuracy(logits, labels)
    yield f"{folder} ({weights}) on {source.path}, {protocol} {split}: {accuracy.count} samples"
    if resident.left_out:
        yield f"  {len(resident.left_out)} samples left out: no usable skeleton"
    top1, top5, mean = 100 * accuracy.top1, 100 * accuracy.top5, 100 * accuracy.mean_class
    yield f"  top-1 {top1:.2f}  top-5 {top5:.2f}  mean of classes {mean:.2f}"
    if scores is not None:
        said = {
            **about.run,
            "dataset": about.dataset,
            "protocol": protocol,
            "backbone": about.backbone,
            "stream": about.stream,
            "classes": list(source.description.classes),
            "split": split,
            "weights": weights,
        }
        write_scores(scores, Scores(resident.sample_ids, logits, labels, said))
        yield f"  scores: {scores}"


def _weights(folder: RunFolder, weights: str) -> Path:
    path = folder.best(weights.removeprefix("best-"))
    if not weights.startswith("best-") or not path.is_file():
        there = ["last", *sorted(file.stem for file in folder.checkpoints.glob("best-*.safetensors"))]
        raise UserError(f"--weights {weights}: {folder.path} has {', '.join(there)}")
    return path
