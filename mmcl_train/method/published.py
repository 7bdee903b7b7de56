"""The released model's names for the method's own parameters.

Facts of the released code: `mlp.0`, `mlp.2` are Φ, `PosMatrix` and `NegMatrix` the two M_i,
`FAM_Aligh.mlp.0`, `.2` M_align (spelt so), `inception_v3.*` the CNN trained in the loop; everything else is
the backbone's, under its own publication's names.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mmcl_train.backbones.published import (
    KeyRule,
    PublishedKeyError,
    Shape,
    Source,
    export_published,
    find_sources,
    import_published,
    own_tensors,
    strip_module_prefix,
)
from mmcl_train.method.task import CoLearningTask

METHOD_RULES = (
    KeyRule(r"frm\.matrices", ("PosMatrix", "NegMatrix"), "stack"),
    KeyRule(r"frm\.mlp\.([02])\.(weight|bias)", r"mlp.\1.\2"),
    KeyRule(r"fam\.mlp\.([02])\.(weight|bias)", r"FAM_Aligh.mlp.\1.\2"),
)
CNN_KEYS = r"inception_v3\..*"


def method_tensors(task: CoLearningTask) -> dict[str, Tensor]:
    """The parameters of `fam` and `frm`, by their names in the task."""
    return {name: value for name, value in task.named_parameters() if name.startswith(("fam.", "frm."))}


def import_task(task: CoLearningTask, state: Mapping[str, Tensor]) -> None:
    """Fill a task from a released state dict, in place. The released CNN is left out.

    Strict both ways, as the backbone's own import is; nothing of the method is written unless all of it fits.

    Raises:
        PublishedKeyError: one line that names what is missing, left over or of another shape.
    """
    state = strip_module_prefix(state)
    own = method_tensors(task)
    sources = find_sources(list(own), METHOD_RULES)
    missing = sorted({name for source in sources.values() for name in source.names} - set(state))
    if missing:
        raise PublishedKeyError(
            f"the checkpoint lacks {', '.join(missing)}: it was not trained with this part of the method"
        )
    values = {name: _join(source, state) for name, source in sources.items()}
    for name, value in values.items():
        if value.shape != own[name].shape:
            raise PublishedKeyError(
                f"{', '.join(sources[name].names)} give {tuple(value.shape)}, {name} is {tuple(own[name].shape)}: "
                "another text feature, rgb feature or number of classes"
            )
    used = {name for source in sources.values() for name in source.names}
    rest = {name: value for name, value in state.items() if name not in used}
    backbone = task.model.backbone
    import_published(task.model, rest, backbone.published_rules, (*backbone.published_ignored, CNN_KEYS))
    with torch.no_grad():
        for name, value in values.items():
            own[name].copy_(value)


def export_task(task: CoLearningTask, shapes: Mapping[str, Shape] | None = None) -> dict[str, Tensor]:
    """The task's tensors under the released names."""
    exported = export_published(method_tensors(task), METHOD_RULES, shapes)
    return exported | export_published(own_tensors(task.model), task.model.backbone.published_rules, shapes)


def _join(source: Source, state: Mapping[str, Tensor]) -> Tensor:
    parts = [state[name] for name in source.names]
    return torch.stack(parts, source.rule.dim) if source.rule.combine == "stack" else parts[0]
