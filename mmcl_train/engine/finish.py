"""Measuring a run: after each epoch, and once for all at its end."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcl_train.data.resident import ResidentSplit
from mmcl_train.method.model import SkeletonModel
from mmcl_train.scores.files import Scores, write_scores
from mmcl_train.scores.metrics import Accuracy, measure_accuracy
from mmcl_train.settings import fingerprint

from .checkpoint import load_state, pack, unpack, write_atomically
from .evaluator import predict_split
from .folder import write_json
from .model_file import ModelAbout, write_model
from .parallel import share_buffers
from .run import Run


def measure(run: Run, epoch: int) -> dict[str, float]:
    """Accuracies after an epoch on val, and on test where best-on-test was asked for; keeps the weights of the best."""
    share_buffers(run.task)
    watched = {
        "val": run.inputs.val,
        "test": run.inputs.test if run.config.train.report_best_on_test else None,
    }
    record: dict[str, float] = {}
    for name, split in watched.items():
        if split is None:
            continue
        accuracy = measure_accuracy(predict(run, run.task.model, split), split.labels.cpu().numpy())
        record |= {f"{name}_top1": accuracy.top1, f"{name}_top5": accuracy.top5}
        best = run.position.best.get(name)
        if best is None or accuracy.top1 > best["top1"]:
            run.position.best[name] = {"epoch": epoch + 1, "top1": accuracy.top1}
            if run.accelerator.is_main_process:
                write_atomically(run.folder.best(name), pack(run.task.model.state_dict()))
    return record


def predict(run: Run, model: SkeletonModel, split: ResidentSplit) -> NDArray[np.float32]:
    """Logits of a split in this run's precision."""
    return predict_split(
        model,
        split,
        batch=run.config.train.test_batch,
        rank=run.accelerator.process_index,
        precision=run.accelerator.autocast,
    )


def finish_run(run: Run) -> dict[str, Any]:
    """Scores of the last epoch and of the best ones on val and test, the model file, and result.json last of all.

    Returns:
        What result.json holds.
    """
    about = describe_scores(run)
    result: dict[str, Any] = {
        **about,
        "classes": len(about["classes"]),
        "epochs": run.config.schedule.epochs,
        "steps": run.position.step,
        "seconds": round(run.position.seconds + run.progress.seconds(), 3),
        "parameters": sum(parameter.numel() for parameter in run.task.model.parameters()),
        "val": run.inputs.val_about,
        "best_epoch": {name: int(best["epoch"]) for name, best in run.position.best.items()},
        "accuracy": {},
    }
    share_buffers(run.task)
    models = {"last": run.task.model}
    models |= {f"best-{name}": load_best(run, run.folder.best(name)) for name in run.position.best}
    for weights, model in models.items():
        for split in ("val", "test"):
            if split == "val" and (run.inputs.val is None or weights == "best-test"):
                continue
            accuracy = score(run, model, split, weights, about)
            result["accuracy"][f"{split}-{weights}"] = dataclasses.asdict(accuracy)
    if run.accelerator.is_main_process:
        write_model(run.folder.path, run.task.model.state_dict(), describe_model(run, about))
        write_json(run.folder.result, result)
    run.accelerator.wait_for_everyone()
    return result


def score(run: Run, model: SkeletonModel, name: str, weights: str, about: dict[str, Any]) -> Accuracy:
    """Predict a split, write its score file, and measure it."""
    split = run.inputs.split(name)
    logits, labels = predict(run, model, split), split.labels.cpu().numpy()
    if run.accelerator.is_main_process:
        scores = Scores(split.sample_ids, logits, labels, {**about, "split": name, "weights": weights})
        write_scores(run.folder.scores(name, weights), scores)
    return measure_accuracy(logits, labels)


def load_best(run: Run, path: Path) -> SkeletonModel:
    """A copy of the model with the weights of a best epoch."""
    run.accelerator.wait_for_everyone()
    model = copy.deepcopy(run.task.model)
    load_state(model, unpack(path), str(path))
    return model


def describe_scores(run: Run) -> dict[str, Any]:
    """Where scores come from, for score files and result.json."""
    config, description = run.config, run.inputs.description
    return {
        "run": run.folder.path.resolve().name,
        "fingerprint": fingerprint(config, run.inputs.fields),
        "dataset": description.dataset,
        "protocol": config.data.protocol,
        "backbone": config.model.backbone,
        "stream": config.data.stream,
        "co_learning": config.method.enabled,
        "seed": config.train.seed,
        "classes": list(description.classes),
    }


def describe_model(run: Run, about: dict[str, Any]) -> ModelAbout:
    """model.json of the run."""
    config, description, train = run.config, run.inputs.description, run.inputs.train
    return ModelAbout(
        backbone=config.model.backbone,
        width=config.model.width,
        layout=description.layout,
        num_bodies=train.num_bodies,
        in_channels=train.channels,
        classes=description.classes,
        stream=config.data.stream,
        clip=train.settings.clip,
        dataset=description.dataset,
        protocol=config.data.protocol,
        skeleton_variant=config.data.skeleton_variant,
        run={key: about[key] for key in ("run", "fingerprint", "seed", "co_learning")},
        skeleton=run.inputs.skeleton,
    )
