"""From numbers of a config to modules: the skeleton model, the task around it, the optimiser."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError

from mmcl_cache.store import Layout, UserError
from mmcl_train.backbones import create_backbone
from mmcl_train.config import RunConfig
from mmcl_train.method.auxiliary import create_auxiliary
from mmcl_train.method.fam import FeatureAlignment
from mmcl_train.method.frm import FeatureRefinement
from mmcl_train.method.model import SkeletonModel
from mmcl_train.method.online import create_online_cnn
from mmcl_train.method.task import CoLearningTask, LossWeights

from .checkpoint import load_state, unpack
from .folder import read_json
from .inputs import Inputs
from .parallel import gather_rows


def create_model(
    backbone: str,
    *,
    width: float,
    layout: Layout,
    num_bodies: int,
    clip_length: int,
    in_channels: int,
    num_classes: int,
) -> SkeletonModel:
    """Backbone and classifier. Raises UserError for an unknown backbone or sizes it cannot take."""
    try:
        made = create_backbone(
            backbone,
            layout=layout,
            num_bodies=num_bodies,
            clip_length=clip_length,
            in_channels=in_channels,
            width=width,
        )
    except ValueError as error:
        raise UserError(str(error)) from None
    return SkeletonModel(made, num_classes)


def create_model_of(config: RunConfig, inputs: Inputs) -> SkeletonModel:
    """The skeleton model of a resolved config; its first weights depend on the seed alone, not on the method."""
    torch.manual_seed(config.train.seed)
    model = create_model(
        config.model.backbone,
        width=config.model.width,
        layout=inputs.description.layout,
        num_bodies=inputs.train.num_bodies,
        clip_length=config.clip.length,
        in_channels=inputs.train.channels,
        num_classes=inputs.description.num_classes,
    )
    if config.model.init:
        load_initial(model, Path(config.model.init), inputs.description.classes)
    return model


def load_initial(model: SkeletonModel, folder: Path, classes: tuple[str, ...]) -> None:
    """Start from a finished run; where the classes are others, all but the classifier.

    Raises:
        UserError: no run there, or a model of another backbone, width or layout.
    """
    path = folder / "model.safetensors"
    known = read_json(folder / "model.json").get("classes")
    try:
        state = unpack(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"model.init: {path}: weights not readable ({error})") from None
    if known != list(classes):
        own = {name: value for name, value in model.state_dict().items() if name.startswith("classifier.")}
        state = {name: value for name, value in state.items() if not name.startswith("classifier.")} | own
    load_state(model, state, f"model.init: {path}")


def create_task_of(config: RunConfig, inputs: Inputs) -> CoLearningTask:
    """The task of a resolved config; FAM and FRM are sized from the cache, and left out without co-learning."""
    method = config.method
    model = create_model_of(config, inputs)
    fam = frm = cnn = None
    if method.enabled and method.fam and method.rgb == "online":
        cnn = create_online_cnn(method.cnn)
    if method.enabled and method.fam:
        fam = FeatureAlignment(
            cnn.num_features if cnn else inputs.train.rgb_width, model.backbone.num_features
        )
    if method.enabled and method.frm:
        frm = FeatureRefinement(inputs.train.text_width, model.num_classes)
    auxiliary = None
    if method.auxiliary not in ("", "none"):
        auxiliary = create_auxiliary(
            method.auxiliary,
            model.backbone,
            num_classes=model.num_classes,
            num_samples=len(inputs.train),
        )
    return CoLearningTask(
        model,
        fam,
        frm,
        LossWeights(method.lambda_contrastive, method.lambda_refinement, method.auxiliary_weight),
        temperature=method.temperature,
        gather=gather_rows,
        cnn=cnn,
        auxiliary=auxiliary,
    )
