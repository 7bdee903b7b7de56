"""The authors' own checkpoints as models of ours: the way of `mmcl-train import-checkpoint`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mmcl_cache.store import LAYOUTS, Description, UserError, open_cache
from mmcl_train.backbones import BACKBONES
from mmcl_train.backbones.published import PublishedKeyError
from mmcl_train.data.clips import ClipSettings, clip_settings
from mmcl_train.data.streams import STREAMS
from mmcl_train.deploy.checkpoint_file import read_state
from mmcl_train.deploy.recognise import (
    Sizes,
    count_classes,
    count_misfits,
    create_filled,
    create_hollow,
    find_backbones,
    find_sizes,
    has_shapes_of,
    import_state,
)
from mmcl_train.engine.model_file import ModelAbout, write_model
from mmcl_train.method.model import SkeletonModel

DEFAULT_LAYOUT = "ntu25"
DEFAULT_BODIES = 2


@dataclass(frozen=True)
class Asked:
    """What the user says of a checkpoint; empty strings and zeros are found out.

    Args:
        backbone: registered name.
        layout: registered name; "": the cache's, or ntu25.
        num_classes: 0: as many as the classifier has.
        num_bodies: 0: two, or one where only one fits.
        stream: the model was trained on.
        clip_length: frames; 0: the cache's, or 64.
        cache: whose classes, layout and clip transform the model is to have; None: numbers stand for classes.
        width: of the backbone, 1 as published.
    """

    backbone: str
    layout: str = ""
    num_classes: int = 0
    num_bodies: int = 0
    stream: str = "joint"
    clip_length: int = 0
    cache: Path | None = None
    width: float = 1.0


def import_checkpoint(file: Path, asked: Asked, out: Path) -> list[str]:
    """Write model.safetensors and model.json of a published checkpoint to a folder.

    Args:
        file: .pt or .pth with a state dict, plain or wrapped.
        asked: what it is of.
        out: a new or empty folder, then read by `eval` as a run folder is.

    Returns:
        Lines that say what was imported.

    Raises:
        UserError: a file that cannot be read, or what does not fit and what it probably is.
    """
    check_asked(asked)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: not empty; give a new folder for the imported model (--out)")
    state = read_state(file)
    description = open_cache(asked.cache).description if asked.cache else None
    model, sizes = fit_model(file, asked, state, description)
    about = describe(file, asked, model, sizes, description)
    write_model(out, model.state_dict(), about)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return [
        f"{file}: {asked.backbone} ({BACKBONES[asked.backbone].publication}), {parameters / 1e6:.2f} M parameters, "
        f"{model.num_classes} classes, {sizes.layout.name}, {sizes.num_bodies} "
        f"{'body' if sizes.num_bodies == 1 else 'bodies'}, stream {asked.stream}, clips of {about.clip.length} frames",
        *([model.backbone.remark] if model.backbone.remark else []),
        f"written: {out}; `mmcl-train eval --run {out} --cache CACHE` measures it",
    ]


def check_asked(asked: Asked) -> None:
    """UserError for a name that is not known."""
    for what, name, known in (
        ("--backbone", asked.backbone, sorted(BACKBONES)),
        ("--layout", asked.layout, ["", *LAYOUTS]),
        ("--stream", asked.stream, list(STREAMS)),
    ):
        if name not in known:
            raise UserError(f"{what} {name}: unknown; known: {', '.join(filter(None, known))}")


def fit_model(
    file: Path, asked: Asked, state: Mapping[str, Tensor], description: Description | None
) -> tuple[SkeletonModel, Sizes]:
    """The model filled from the state dict, in eval mode, and its sizes.

    Raises:
        UserError: one line that says what does not fit, and what the checkpoint probably is.
    """
    layout = LAYOUTS[asked.layout] if asked.layout else LAYOUTS[DEFAULT_LAYOUT]
    if description is not None and not asked.layout:
        layout = description.layout
    clip_length = choose_clip(asked, description).length
    sizes = Sizes(layout, asked.num_bodies or DEFAULT_BODIES, clip_length, 3, asked.width)
    try:
        found = count_classes(create_hollow(asked.backbone, sizes, 2), state)
        num_classes = asked.num_classes or found or 2
        check_classes(file, found, asked, description)
        if not asked.num_bodies and not has_shapes_of(
            create_hollow(asked.backbone, sizes, num_classes), state
        ):
            single = dataclasses.replace(sizes, num_bodies=1)
            if has_shapes_of(create_hollow(asked.backbone, single, num_classes), state):
                sizes = single
        model = create_filled(asked.backbone, sizes, num_classes)
    except PublishedKeyError:
        raise
    except ValueError as error:  # sizes that this backbone cannot take
        raise UserError(f"{file}: {error}") from None
    try:
        import_state(model, state)
    except PublishedKeyError as error:
        hint = suggest(asked, state, sizes, num_classes)
        raise UserError(f"{file}: {hint + ': ' if hint else ''}{error}") from None
    return model.eval(), sizes


def check_classes(file: Path, found: int, asked: Asked, description: Description | None) -> None:
    """UserError where the classifier has another number of classes than asked for, or than the cache."""
    wanted = asked.num_classes or (description.num_classes if description else 0)
    if found and wanted and found != wanted:
        whose = f"--num-classes {wanted}" if asked.num_classes else f"the {wanted} classes of {asked.cache}"
        raise UserError(
            f"{file}: its classifier has {found} classes, not {whose}; it was trained on another set of classes"
        )


def suggest(asked: Asked, state: Mapping[str, Tensor], sizes: Sizes, num_classes: int) -> str:
    """What the checkpoint probably is, in words; "" where nothing registered looks like it."""
    if count_misfits(asked.backbone, sizes, state) == 0:
        other = next(find_sizes(asked.backbone, state, sizes, num_classes), None)
        return f"it fits --layout {other.layout.name} --num-bodies {other.num_bodies}" if other else ""
    likely = find_backbones(state, sizes)
    if not likely:
        return "its tensors are named as those of no registered backbone"
    if asked.backbone in likely:
        return ""
    return f"its tensors are named as those of {' or '.join(likely)} (--backbone {likely[0]})"


def choose_clip(asked: Asked, description: Description | None) -> ClipSettings:
    """The cache's own clip transform, or the field's usual one. Raises UserError for what cannot be."""
    try:
        return clip_settings(description.clip if description else {}, "", asked.clip_length)
    except ValueError as error:
        raise UserError(f"clip: {error}") from None


def describe(
    file: Path, asked: Asked, model: SkeletonModel, sizes: Sizes, description: Description | None
) -> ModelAbout:
    """model.json of an imported model."""
    numbered = tuple(str(label) for label in range(model.num_classes))
    return ModelAbout(
        backbone=asked.backbone,
        width=sizes.width,
        layout=sizes.layout,
        num_bodies=sizes.num_bodies,
        in_channels=sizes.in_channels,
        classes=description.classes if description else numbered,
        stream=asked.stream,
        clip=choose_clip(asked, description),
        dataset=description.dataset if description else "",
        protocol=description.protocols[0] if description else "",
        skeleton_variant="default",
        run={
            "run": file.stem,
            "fingerprint": hashlib.sha256(file.read_bytes()).hexdigest()[:16],
            "imported": True,
        },
    )
