"""What goes into a model and what comes out, in words: model.json, read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcl_cache.store import CacheError, Layout, UserError
from mmcl_cache.store.json_text import parse_json
from mmcl_cache.store.regular import read_regular

LARGEST_BYTES = 1 << 24
CLIPS = ("crop-resize", "nw-ucla")
NTU_CLEANING = "ntu-skeleton"
# How recordings of a layout are cleaned where model.json does not say it (imported models).
_USUAL: Mapping[str, Mapping[str, Any]] = {
    "ntu25": {"format": NTU_CLEANING},
    "ntu25-hands": {"format": NTU_CLEANING},
    "nw-ucla20": {"format": "nw-ucla-json"},
    "utd-mhad20": {"format": "utd-mhad-mat", "origin": 1},
    "kinect20": {"format": "sysu-mat", "origin": 1},
}
STACKED = 4  # joint, bone, joint motion, bone motion: PSUMNet's input where they come as channels
_FLAT = ("coco17", "openpose18")  # layouts of pose estimators that work in the image


@dataclass(frozen=True)
class ModelInput:
    """Everything between a recording and a class name but the weights.

    Args:
        backbone, dataset: names, for people.
        classes: by label.
        layout: of the joints.
        num_bodies, channels: M and C of a clip; 8 or 12 channels are four streams stacked, see `clip.stack_streams`.
        stream: what of the joints the model is shown.
        transform, length, test_crop: of the clip, see `clip.cut_clip`.
        skeleton: settings of the skeleton field it was trained from; "format" says how recordings are cleaned.
    """

    backbone: str
    dataset: str
    classes: tuple[str, ...]
    layout: Layout
    num_bodies: int
    channels: int
    stream: str
    transform: str
    length: int
    test_crop: float
    skeleton: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(C, T, V, M) of one clip."""
        return self.channels, self.length, self.layout.num_joints, self.num_bodies

    @property
    def is_stacked(self) -> bool:
        """Four streams of 2 or 3 values a joint as channels."""
        return self.channels in (2 * STACKED, 3 * STACKED)

    @property
    def joint_channels(self) -> int:
        """Values of a joint as recorded."""
        return self.channels // STACKED if self.is_stacked else self.channels

    @property
    def dimensions(self) -> int:
        """2 for joints in an image with a score, 3 for joints in space."""
        return int(self.skeleton.get("dimensions", 3))


def parse_input(value: Mapping[str, Any], where: str) -> ModelInput:
    """What a model.json says.

    Args:
        where: named in messages.

    Raises:
        UserError: it is none, or of a clip this version does not know.
    """
    try:
        layout, clip = Layout.from_json(value["layout"]), value["clip"]
        found = ModelInput(
            backbone=str(value["backbone"]),
            dataset=str(value["dataset"]),
            classes=tuple(map(str, value["classes"])),
            layout=layout,
            num_bodies=int(value["num_bodies"]),
            channels=int(value["in_channels"]),
            stream=str(value["stream"]),
            transform=str(clip["transform"]),
            length=int(clip["length"]),
            test_crop=float(clip["test_crop"]),
            skeleton=dict(value.get("skeleton") or usual_cleaning(layout)),
        )
        check_sizes(found)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, CacheError) as error:
        raise UserError(f"{where}: not a model description ({error})") from None
    if found.is_stacked and found.stream != "joint":
        raise UserError(
            f"{where}: {found.channels} channels are four streams; with stream {found.stream!r} they cannot be"
        )
    if found.transform not in CLIPS:
        raise UserError(f"{where}: unknown clip transform {found.transform!r}; known: {', '.join(CLIPS)}")
    return found


def check_sizes(model: ModelInput) -> None:
    """Raises ValueError or TypeError for numbers that no model has; a file may say anything."""
    limits = {"num_bodies": 100, "channels": 64, "length": 10_000}
    for name, most in limits.items():
        if not 1 <= getattr(model, name) <= most:
            raise ValueError(f"{name} {getattr(model, name)}, at most {most}")
    if not 0 < model.test_crop <= 1 or not model.classes:
        raise ValueError("a test_crop outside (0, 1], or no classes")
    joints = range(model.layout.num_joints)
    allowed = {"centre": joints, "origin": joints, "dimensions": (2, 3), "num_bodies": range(1, 101)}
    for name, values in allowed.items():
        if name in model.skeleton and model.skeleton[name] not in values:
            raise ValueError(f"the skeleton's {name} is out of range")
    if model.skeleton.get("format") == "poses" and "centre" not in model.skeleton:
        raise ValueError("the skeleton has no centre")


def usual_cleaning(layout: Layout) -> Mapping[str, Any]:
    """The cleaning that belongs to a layout: its data set's own, or that of one's own poses."""
    if layout.name in _USUAL:
        return _USUAL[layout.name]
    return {"format": "poses", "centre": layout.centre, "dimensions": 2 if layout.name in _FLAT else 3}


def read_input(folder: Path) -> ModelInput:
    """The model.json of a run folder or of an exported one. Raises UserError where there is none."""
    path = folder / "model.json"
    try:
        value = parse_json(read_regular(path, LARGEST_BYTES))
    except OSError:
        raise UserError(
            f"{path}: not there; --model takes a finished run, an exported folder or an .onnx file"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: not readable ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: a JSON object is expected")
    return parse_input(value, str(path))
