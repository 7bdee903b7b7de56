"""Clips of fixed length cut from recordings of any length: a whole batch in a few tensor operations.

A transform draws its random numbers first (`draw`, one call of the generator) and then cuts (`__call__`, a
pure function of tensors with shapes known beforehand): nothing waits for the device, and the second half can
be compiled or captured in a graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from mmcl_train.data.recordings import Recordings, find_rows, take_rows
from mmcl_train.data.rotation import rotation_about_x, rotation_about_y, rotation_matrices

PUBLISHED_SHORTEST = 64  # frames; a constant of the published crop, whatever the length of the clip
VIEW_DEGREES = 60  # of NW-UCLA's random view


@dataclass(frozen=True)
class ClipSettings:
    """How a clip is cut.

    Args:
        transform: a name of `TRANSFORMS`. length: frames of a clip (T). crop: share of the frames that
        training keeps, uniform between the two. test_crop: share of the frames that a test keeps, around the
        centre. rotation: radians; training turns by a uniform angle in ± this about each axis. 0 for none
        (2-D skeletons). shortest: frames that a training crop keeps at least, where the sample has them.
    """

    transform: str = "crop-resize"
    length: int = 64
    crop: tuple[float, float] = (0.5, 1.0)
    test_crop: float = 0.95
    rotation: float = 0.3
    shortest: int = PUBLISHED_SHORTEST

    def __post_init__(self) -> None:
        if self.transform not in TRANSFORMS:
            raise ValueError(f"unknown clip transform {self.transform!r}; known: {', '.join(TRANSFORMS)}")
        if self.length < 1:
            raise ValueError(f"clip length must be at least 1, not {self.length}")
        low, high = self.crop
        if not 0 < low <= high <= 1 or not 0 < self.test_crop <= 1:
            raise ValueError(
                f"crop shares must lie in (0, 1], low first, not {self.crop} and {self.test_crop}"
            )
        if not 0 <= self.rotation <= math.pi:
            raise ValueError(f"rotation must lie in [0, π] radians, not {self.rotation}")
        if self.shortest < 1:
            raise ValueError(f"shortest crop must be at least 1 frame, not {self.shortest}")


def clip_settings(own: Mapping[str, Any], transform: str = "", length: int = 0, **given: Any) -> ClipSettings:
    """The data set's own transform (`cache.description.clip`) with what a run asks for in its place.

    Args:
        own: {"transform": …, "length": …} and any other setting of `ClipSettings`.
        transform: "" for the data set's own.
        length: frames, 0 for the data set's own.
        given: the other settings of `ClipSettings`, where a run sets them.

    Raises:
        ValueError: a setting that there is not, or a value out of range.
    """
    known = ClipSettings.__dataclass_fields__
    values: dict[str, Any] = dict(own)
    values.update(given)
    if transform:
        values["transform"] = transform
    if length:
        values["length"] = length
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"unknown clip setting {unknown[0]!r}; known: {', '.join(known)}")
    if "crop" in values:
        values["crop"] = tuple(values["crop"])
    return ClipSettings(**values)


class ClipTransform(Protocol):
    """Made once for a split: settings, bodies (M) of a clip, frames of the longest sample, device."""

    def __init__(
        self, settings: ClipSettings, num_bodies: int, most_frames: int, device: torch.device
    ) -> None: ...

    def draw(self, count: int, generator: Generator) -> Tensor:
        """(count, …) uniform numbers in [0, 1) for as many training clips."""
        ...

    def __call__(self, recordings: Recordings, draws: Tensor | None) -> Tensor:
        """(B, C, T, M, V); the test's clip where `draws` is None."""
        ...


class CropResize:
    """Crop in time and linear interpolation to T frames; in training one random rotation a sample.

    Training: p uniform in `crop`, length = min(max(⌊frames · p⌋, shortest), frames), uniform start. Test: ⌊(1
    − p) · frames / 2⌋ frames are cut from each end. Interpolation has half-pixel centres (align_corners =
    False), so that frame i of the clip lies at (i + ½) · length / T − ½ of the crop, held at its ends.

    Source: the NTU feeder of CTR-GCN (`golden/clips.npz` of the reference values). Its `valid` frames are
    those that are not all zero; a cache does not store such frames, so they are simply the sample's frames.
    """

    def __init__(
        self, settings: ClipSettings, num_bodies: int, most_frames: int, device: torch.device
    ) -> None:
        self.settings = settings
        self.num_bodies = num_bodies
        # Python's own arithmetic, once for every possible length: exact, and without float64 on the device.
        cut = [int((1 - settings.test_crop) * frames / 2) for frames in range(most_frames + 1)]
        self._test_begin = torch.tensor(cut, device=device)
        self._step = torch.arange(settings.length, device=device, dtype=torch.float32) + 0.5

    def draw(self, count: int, generator: Generator) -> Tensor:
        """(count, 5): crop, start, and an angle about each axis."""
        return torch.rand((count, 5), generator=generator, device=generator.device)

    def __call__(self, recordings: Recordings, draws: Tensor | None) -> Tensor:
        begin, length = self._window(recordings.frames, draws)
        earlier, later, weight = self._neighbours(begin, length)
        flat = recordings.flat
        rows = find_rows(recordings, earlier, self.num_bodies)
        before = take_rows(flat, rows)
        rows = find_rows(recordings, later, self.num_bodies)
        joints_NTMVC = before.lerp_(take_rows(flat, rows), weight[:, :, None, None, None].to(flat.dtype))
        if draws is None or not self.settings.rotation:
            return joints_NTMVC.permute(0, 4, 1, 2, 3)
        angles = (2 * draws[:, 2:5] - 1) * self.settings.rotation
        return rotate(joints_NTMVC, rotation_matrices(angles))

    def _window(self, frames: Tensor, draws: Tensor | None) -> tuple[Tensor, Tensor]:
        """First frame and length of the crop, (B,) int64 each."""
        if draws is None:
            begin = self._test_begin[frames]
            return begin, frames - 2 * begin
        low, high = self.settings.crop
        share = low + (high - low) * draws[:, 0]
        length = torch.minimum((frames * share).long().clamp(min=self.settings.shortest), frames)
        room = frames - length
        begin = torch.minimum((draws[:, 1] * (room + 1)).long(), room)
        return begin, length

    def _neighbours(self, begin: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frames on both sides of every frame of the clip, (B, T) int64, and the later one's weight, (B, T) float."""
        scale = length.to(torch.float32) / self.settings.length
        at = (self._step * scale[:, None] - 0.5).clamp(min=0)
        earlier = torch.minimum(at.long(), length[:, None] - 1)
        later = torch.minimum(earlier + 1, length[:, None] - 1)
        return begin[:, None] + earlier, begin[:, None] + later, at - earlier


class NorthwesternUcla:
    """NW-UCLA's own input: a random view, every axis scaled to [−1, 1] over the sequence, T frames picked.

    Order of the published feeder (CTR-GCN, `feeder_ucla`; InfoGCN's is the same): (1) subtract joint index 1
    of frame 0; (2) training: row vectors times Ry · Rx · s, whole degrees uniform in ±60 about x and y (ends
    included), s ~ U(0.5, 1.5); the test runs the same code with no angle and s = 1; (3) in training and test
    alike, (x − min) / (max − min) · 2 − 1 for every axis over all frames and joints of the sequence; (4) T
    frames: training, sorted draws with repeats; test, linspace(0, frames − 1, T) cut to whole numbers; (5)
    bone, then motion, of the scaled joints.

    Step (3) takes away whatever (1) and the factor s did, so neither is computed here; only rounding differs.
    The published draw takes T of 100 copies of every frame without returning them; here every draw is
    independent (chance that two draws agree: 1/frames instead of 99/(100 frames − 1)). An axis along which
    nothing extends becomes 0 (published: a division by zero).
    """

    def __init__(
        self, settings: ClipSettings, num_bodies: int, most_frames: int, device: torch.device
    ) -> None:
        self.settings = settings
        self.num_bodies = num_bodies
        # numpy's own linspace, whose rounding before the cut decides some frames.
        picks = [
            np.linspace(0, frames - 1, settings.length).astype(np.int64)
            for frames in range(1, most_frames + 1)
        ]
        self._test_times = torch.from_numpy(np.stack(picks)).to(device)
        self._every_time = torch.arange(most_frames, device=device)

    def draw(self, count: int, generator: Generator) -> Tensor:
        """(count, 2 + T): angles about x and y, and the frames."""
        return torch.rand((count, 2 + self.settings.length), generator=generator, device=generator.device)

    def __call__(self, recordings: Recordings, draws: Tensor | None) -> Tensor:
        frames, bodies = recordings.frames, recordings.bodies
        # Shorter sequences repeat their last frame, and absent bodies the last one: neither moves an extreme.
        times = torch.minimum(self._every_time, frames[:, None] - 1)
        body = torch.arange(self.num_bodies, device=frames.device)
        body = torch.minimum(body, bodies[:, None, None] - 1)
        rows = (recordings.starts[:, None] + times * bodies[:, None])[:, :, None] + body
        every_NTMVC = take_rows(recordings.flat, rows)
        if draws is None:
            joints_NCTMV = every_NTMVC.permute(0, 4, 1, 2, 3)
            picked = self._test_times[frames - 1]
        else:
            degrees = (draws[:, :2] * (2 * VIEW_DEGREES + 1)).floor() - VIEW_DEGREES
            x, y = torch.deg2rad(degrees).unbind(-1)
            joints_NCTMV = rotate(every_NTMVC, (rotation_about_y(y) @ rotation_about_x(x)).transpose(1, 2))
            picked = (
                torch.minimum((draws[:, 2:] * frames[:, None]).long(), frames[:, None] - 1).sort(dim=1).values
            )
        low = joints_NCTMV.amin(dim=(2, 3, 4), keepdim=True)
        high = joints_NCTMV.amax(dim=(2, 3, 4), keepdim=True)
        extent = high - low
        scale = torch.where(extent > 0, 2 / extent, 0.0)
        index = picked[:, None, :, None, None].expand(-1, joints_NCTMV.shape[1], -1, *joints_NCTMV.shape[3:])
        clip = (joints_NCTMV.gather(2, index) - (low + high) / 2) * scale
        present = torch.arange(self.num_bodies, device=frames.device) < bodies[:, None]
        return torch.where(present[:, None, None, :, None], clip, 0.0)


TRANSFORMS: dict[str, type[ClipTransform]] = {
    "crop-resize": CropResize,
    "nw-ucla": NorthwesternUcla,
}


def create_transform(
    settings: ClipSettings, num_bodies: int, channels: int, most_frames: int, device: torch.device | str
) -> ClipTransform:
    """The transform that the settings name.

    Raises:
        ValueError: a rotation is asked of skeletons that are not in space.
    """
    turns = settings.rotation > 0 if settings.transform == "crop-resize" else True
    if turns and channels != 3:
        raise ValueError(f"skeletons of {channels} channels cannot be turned in space: set clip.rotation=0")
    return TRANSFORMS[settings.transform](settings, num_bodies, most_frames, torch.device(device))


def rotate(joints_NTMVC: Tensor, matrices: Tensor) -> Tensor:
    """Turn every joint of sample n by matrices[n], on column vectors; (N, T, M, V, 3) → (N, 3, T, M, V).

    The product writes channels first, so that turning costs no pass of its own over memory.
    """
    turned = matrices.to(joints_NTMVC.dtype) @ joints_NTMVC.flatten(1, 3).transpose(1, 2)
    return turned.view(-1, 3, *joints_NTMVC.shape[1:4])
