"""Labels of recordings: raw files, rows of a cache, or frames that come in one by one.

Neither RGB nor text is read, and neither torch nor transformers is needed: what computes the logits is passed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mmcl_cache.skeletons.bodies import Bodies
from mmcl_cache.store import Cache, UserError, open_cache

from .clip import make_clip
from .live import STDIN, cut_windows, stream_windows
from .model_input import ModelInput
from .recording import SUFFIXES, clean_joints, read_recording, take_frames

BATCH = 64  # clips a forward pass
NOBODY = "nobody in any frame"


class Model(Protocol):
    """What computes logits."""

    @property
    def input(self) -> ModelInput:
        """What goes in and comes out."""
        ...

    def compute_logits(self, joints_NCTVM: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, C, T, V, M) → (N, classes)."""
        ...


@dataclass(frozen=True)
class Prediction:
    """What is known of one window of one recording.

    Args:
        name: path, sample id, or standard input.
        start, stop: frames of the recording.
        logits: (classes,) float32; None where there is a reason instead.
        reason: why nothing could be said.
    """

    name: str
    start: int
    stop: int
    logits: NDArray[np.float32] | None
    reason: str = ""


def predict_paths(model: Model, paths: Iterable[Path], window: int, hop: int) -> Iterator[Prediction]:
    """Predictions of files, in order; what cannot be read is one Prediction with a reason."""
    for path in paths:
        try:
            bodies = read_recording(path, model.input)
            predictions = predict_bodies(model, str(path), bodies, window, hop)
        except UserError as error:
            text = str(error)
            yield Prediction(
                str(path), 0, 0, None, text.removeprefix(f"{path}: ") if text.startswith(str(path)) else text
            )
            continue
        yield from predictions


def predict_bodies(model: Model, name: str, bodies: Bodies, window: int, hop: int) -> list[Prediction]:
    """Predictions of every window of a recording as recorded. Each window is cleaned on its own, as live ones are.

    Raises:
        UserError: shorter than a window, joints of another number, or nobody in it at all.
    """
    spans = cut_windows(bodies.num_frames, window, hop)
    joints: list[NDArray[np.float32] | None] = []
    for start, stop in spans:
        part = take_frames(bodies, start, stop) if window else bodies
        joints.append(clean_joints(part, model.input) if part.present.any() else None)
    return predict_joints(model, [(name, *span) for span in spans], joints)


def predict_cache(
    model: Model, path: Path, variant: str, protocol: str, split: str, window: int, hop: int
) -> Iterator[Prediction]:
    """Predictions of the samples of a cache.

    Args:
        variant: of the skeleton field.
        protocol: "" for the cache's first.
        split: train, test, or "" for every sample.

    Raises:
        UserError: a cache of another layout, without the split, or damaged.
    """
    cache = open_cache(path)
    check_cache(cache, model.input)
    ids = choose_samples(cache, protocol, split)
    for begin in range(0, len(ids), BATCH):
        rows = cache.field("skeleton", variant).load(ids[begin : begin + BATCH])
        about: list[tuple[str, int, int]] = []
        clips: list[NDArray[np.float32] | None] = []
        reasons: list[str] = []
        for n, sample_id in enumerate(rows.sample_ids.tolist()):
            frames, bodies = int(rows["frames"][n]), int(rows["bodies"][n])
            if rows.status[n] != "ok" or not frames * bodies:
                about, clips = [*about, (sample_id, 0, 0)], [*clips, None]
                reasons.append(rows.reasons[n] or str(rows.status[n]))
                continue
            joints = rows["joints"][n].reshape(frames, bodies, *rows["joints"].flat.shape[1:])
            try:
                spans = cut_windows(frames, window, hop)
            except UserError as error:
                about, clips, reasons = [*about, (sample_id, 0, 0)], [*clips, None], [*reasons, str(error)]
                continue
            about += [(sample_id, *span) for span in spans]
            clips += [joints[start:stop] for start, stop in spans]
            reasons += [""] * len(spans)
        yield from predict_joints(model, about, clips, reasons)


def predict_stream(model: Model, lines: Iterable[str], window: int, hop: int) -> Iterator[Prediction]:
    """Predictions of frames as they come in, see `live`; raises UserError for a line that is no frame."""
    num_joints = model.input.layout.num_joints
    for start, stop, bodies in stream_windows(lines, num_joints, window, hop):
        joints = None if bodies is None else clean_joints(bodies, model.input)
        yield from predict_joints(model, [(str(STDIN), start, stop)], [joints])


def predict_joints(
    model: Model,
    about: Sequence[tuple[str, int, int]],
    joints: Sequence[NDArray[np.float32] | None],
    reasons: Sequence[str] = (),
) -> list[Prediction]:
    """Predictions of cleaned joints (T, M, V, C), None where there are none; batched."""
    rows = [n for n, each in enumerate(joints) if each is not None]
    logits: dict[int, NDArray[np.float32]] = {}
    for begin in range(0, len(rows), BATCH):
        part = rows[begin : begin + BATCH]
        clips = np.stack([make_clip(each, model.input) for n in part if (each := joints[n]) is not None])
        logits.update(zip(part, model.compute_logits(clips), strict=True))
    found = []
    for n, (name, start, stop) in enumerate(about):
        reason = "" if n in logits else (reasons[n] if reasons and reasons[n] else NOBODY)
        found.append(Prediction(name, start, stop, logits.get(n), reason))
    return found


def check_cache(cache: Cache, model: ModelInput) -> None:
    """UserError where a cache's joints are not the model's."""
    description = cache.description
    if description.layout != model.layout or description.channels != model.joint_channels:
        raise UserError(
            f"{cache.path}: {description.layout.name} skeletons of {description.channels} values a joint, the model "
            f"takes {model.layout.name} of {model.joint_channels}; `mmcl-train transfer` maps layouts"
        )


def choose_samples(cache: Cache, protocol: str, split: str) -> NDArray[Any]:
    """Sample ids of a split; every sample where `split` is "". Raises UserError where it has none."""
    if not split:
        return cache.samples.sample_ids
    protocol = protocol or cache.description.protocols[0]
    if protocol not in cache.samples.splits:
        known = ", ".join(cache.samples.splits)
        raise UserError(f"{cache.path} has no protocol {protocol!r}; it has {known}")
    ids = cache.samples.select(protocol, split)
    if not len(ids):
        raise UserError(f"{cache.path}: {protocol} has no {split} samples; nothing to predict")
    return ids


def find_inputs(inputs: Sequence[Path]) -> list[Path]:
    """Files of the inputs: files themselves, and the skeleton files of folders; raises UserError where none is."""
    found: list[Path] = []
    for path in inputs:
        if not path.is_dir() or any(path.glob("*_keypoints.json")):
            found.append(path)
        else:
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
            if not files:
                raise UserError(f"{path}: nothing to predict, no {', '.join(SUFFIXES)} file in it")
            found += files
    if not found:
        raise UserError("nothing to predict: name files, a cache, or - for frames on standard input")
    return found
