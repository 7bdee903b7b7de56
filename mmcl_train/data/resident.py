"""A split's data loaded once and kept: batches are cut from it where it lies."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Generator, Tensor

from mmcl_cache.store import Cache, Columns, Description, UserError
from mmcl_train.data.batch import Batch
from mmcl_train.data.clips import ClipSettings, create_transform
from mmcl_train.data.features import FeatureMatrix, load_rgb, load_text
from mmcl_train.data.recordings import Recordings
from mmcl_train.data.streams import StreamTransform

PLACEMENTS = ("auto", "device", "host")
DEVICE_SHARE = 0.5  # of a GPU's free memory that data may take; the rest is for training


@dataclass(frozen=True)
class SplitSettings:
    """What of a cache a split shows, and how.

    Args:
        stream: a name of `streams.STREAMS`.
        clip: how clips are cut.
        skeleton_variant, text_variant, rgb_variant: of the cache; "" for none (text, rgb).
        text_feature: a name of `features.TEXT_FEATURES`.
        rgb_feature: a name of `features.RGB_FEATURES`.
        num_bodies: M of a clip; 0 for the data set's own.
        placement: where the data lie: on the training device, in host memory, or by size ("auto").
    """

    stream: str = "joint"
    clip: ClipSettings = field(default_factory=ClipSettings)
    skeleton_variant: str = "default"
    text_variant: str = ""
    rgb_variant: str = ""
    text_feature: str = "tokens"
    rgb_feature: str = "logits"
    num_bodies: int = 0
    placement: str = "auto"

    def __post_init__(self) -> None:
        if self.placement not in PLACEMENTS:
            raise ValueError(f"unknown placement {self.placement!r}; known: {', '.join(PLACEMENTS)}")


class ResidentSplit:
    """Every field of some samples in one place, joined on the sample id. Make one with `load_split`.

    Attributes:
        sample_ids: (N,) str of the samples with a usable skeleton, in the order asked.
        labels: (N,) int64, at `home`.
        device: where batches are wanted.
        home: where the data lie.
        num_classes, num_bodies, channels: of the cache.
        rgb_width, text_width: D of the matrices, 0 where not loaded.
        rgb_share, text_share: share of samples with a usable row, 0.0 where not loaded.
        left_out: sample id → why its skeleton cannot be used.
        num_bytes: of the data.
    """

    def __init__(
        self,
        description: Description,
        sample_ids: np.ndarray,
        labels: np.ndarray,
        skeletons: Columns,
        rgb: FeatureMatrix | None,
        text: FeatureMatrix | None,
        settings: SplitSettings,
        device: torch.device,
    ) -> None:
        usable = _usable_rows(description, skeletons)
        self.left_out: dict[str, str] = {
            str(sample_ids[n]): skeletons.reasons[n] or str(skeletons.status[n])
            for n in np.flatnonzero(~usable).tolist()
        }
        if not usable.any():
            why = next(iter(self.left_out.values()), "no samples")
            raise UserError(
                f"none of {len(sample_ids)} samples has a usable skeleton ({why}); see `mmcl-cache status`"
            )
        self.description = description
        self.sample_ids = sample_ids[usable]
        self.device = device
        self.settings = settings
        self.num_classes = description.num_classes
        self.num_bodies = settings.num_bodies or description.num_bodies
        self.channels = description.channels
        self.rgb_width, self.rgb_share = (rgb.width, float(rgb.valid[usable].mean())) if rgb else (0, 0.0)
        self.text_width, self.text_share = (
            (text.width, float(text.valid[usable].mean())) if text else (0, 0.0)
        )
        self.most_frames = int(skeletons["frames"][usable].max())

        held = _host_tensors(labels, skeletons, usable, rgb, text)
        self.num_bytes = sum(tensor.nbytes for tensor in held.values())
        self.home = choose_home(self.num_bytes, device, settings.placement)
        self._data = {name: tensor.to(self.home) for name, tensor in held.items()}
        self._prepare()

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def labels(self) -> Tensor:
        return self._data["labels"]

    def view(self, stream: str, clip: ClipSettings) -> ResidentSplit:
        """The same data shown as another stream or cut otherwise; nothing is loaded or copied."""
        other = copy.copy(self)
        other.settings = replace(self.settings, stream=stream, clip=clip)
        other._prepare()
        return other

    def _prepare(self) -> None:
        settings = self.settings
        self._transform = create_transform(
            settings.clip, self.num_bodies, self.channels, self.most_frames, self.home
        )
        self._stream = StreamTransform(settings.stream, self.description.layout, self.home)

    def batch(self, indices: Tensor | np.ndarray, generator: Generator | None, train: bool) -> Batch:
        """Cut the clips of these samples and gather what belongs to them; nothing waits for the device.

        Args:
            indices: (B,) int64 rows of this split, on any device.
            generator: of the random crop, angles and frames; on any device. Only used where `train` is true.
            train: the random clip; otherwise the test's.

        Returns:
            B samples on `device`.
        """
        rows = torch.as_tensor(indices).to(self.home, non_blocking=True)
        draws: Tensor | None = None
        if train:
            if generator is None:
                raise ValueError("a training batch needs a generator")
            draws = self._transform.draw(len(rows), generator).to(self.home, non_blocking=True)
        made = self.assemble(rows, draws)
        if self.home == self.device:
            return made
        return (made.pinned() if self.device.type == "cuda" else made).to(self.device)

    def assemble(self, indices: Tensor, draws: Tensor | None) -> Batch:
        """`batch` without its random half: a pure function of tensors at `home`, fit for compilation or a graph."""
        data = self._data
        rgb, text = data.get("rgb"), data.get("text")
        return Batch(
            joints=self.cut_joints(indices, draws),
            labels=data["labels"].index_select(0, indices),
            rgb=None if rgb is None else rgb.index_select(0, indices).float(),
            rgb_valid=data["rgb_valid"].index_select(0, indices),
            text=None if text is None else text.index_select(0, indices).float(),
            text_valid=data["text_valid"].index_select(0, indices),
            indices=indices,
        )

    def cut_joints(self, indices: Tensor, draws: Tensor | None) -> Tensor:
        """(B,) → (B, C, T, V, M), a view of a (B, C, T, M, V) tensor."""
        data = self._data
        chosen = (data[name].index_select(0, indices) for name in ("starts", "frames", "bodies"))
        clip_NCTMV = self._transform(Recordings(data["flat"], *chosen), draws)
        return self._stream(clip_NCTMV, joint_axis=4, time_axis=2).transpose(3, 4)

    def describe(self) -> list[str]:
        """Lines for the log: where the data lie, what is left out, shares with rgb and text."""
        place = "in host memory, batches sent over" if self.home != self.device else f"on {self.home}"
        lines = [f"{len(self)} samples, {self.num_bytes / 1e6:.0f} MB, {place}"]
        if self.left_out:
            reasons = Counter(self.left_out.values()).most_common(3)
            shown = "; ".join(f"{count} × {reason}" for reason, count in reasons)
            lines.append(f"{len(self.left_out)} samples left out, no usable skeleton: {shown}")
        for name, width, share in (
            ("rgb", self.rgb_width, self.rgb_share),
            ("text", self.text_width, self.text_share),
        ):
            if width:
                lines.append(f"{name}: {width} values a sample, {share:.1%} of the samples have them")
        return lines


def load_split(
    cache: Cache, sample_ids: np.ndarray, device: torch.device | str, settings: SplitSettings
) -> ResidentSplit:
    """Load every asked field of these samples and place it.

    Raises:
        UserError: a field that is not built or damaged, or no usable row in one.
        ValueError: unknown stream, feature or transform.
    """
    if not len(sample_ids):
        raise UserError(f"{cache.path}: no samples to load")
    skeletons = cache.field("skeleton", settings.skeleton_variant).load(
        sample_ids, ("joints", "frames", "bodies")
    )
    text = rgb = None
    if settings.text_variant:
        text = load_text(cache.field("text", settings.text_variant), sample_ids, settings.text_feature)
    if settings.rgb_variant:
        rgb = load_rgb(cache.field("rgb", settings.rgb_variant), sample_ids, settings.rgb_feature)
    labels = cache.samples.labels[cache.samples.positions(sample_ids)]
    return ResidentSplit(
        cache.description,
        np.asarray(sample_ids),
        labels,
        skeletons,
        rgb,
        text,
        settings,
        torch.device(device),
    )


def choose_home(num_bytes: int, device: torch.device, placement: str) -> torch.device:
    """Where data of this size lie: the training device, or the host where it does not have the room."""
    if placement == "device" or (placement == "auto" and device.type != "cuda"):
        return device
    if placement == "auto" and num_bytes <= DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return device
    return torch.device("cpu")


def _usable_rows(description: Description, skeletons: Columns) -> np.ndarray:
    """(N,) bool: status ok and at least one frame of one body.

    Raises:
        UserError: joints of another shape than the description says, or counts that contradict them.
    """
    joints, frames, bodies = skeletons["joints"], skeletons["frames"], skeletons["bodies"]
    expected = (description.layout.num_joints, description.channels)
    if joints.flat.shape[1:] != expected:
        raise UserError(
            f"skeletons have (joints, channels) {joints.flat.shape[1:]}, the description says {expected}; "
            "rebuild the skeleton field"
        )
    contrary = np.flatnonzero(skeletons.valid & (joints.lengths != frames.astype(np.int64) * bodies))
    if len(contrary):
        n = int(contrary[0])
        raise UserError(
            f"sample {skeletons.sample_ids[n]}: {joints.lengths[n]} skeletons stored for {frames[n]} frames of "
            f"{bodies[n]} bodies; rebuild the skeleton field"
        )
    return skeletons.valid & (frames > 0) & (bodies > 0)


def _host_tensors(
    labels: np.ndarray,
    skeletons: Columns,
    usable: np.ndarray,
    rgb: FeatureMatrix | None,
    text: FeatureMatrix | None,
) -> dict[str, Tensor]:
    """Everything a split holds, in host memory. Unusable samples hold no joints, so the flat store stays as it is."""
    stored = skeletons["joints"]
    flat = torch.empty((len(stored.flat) + 1, *stored.flat.shape[1:]), dtype=torch.float32)
    flat[:-1] = torch.from_numpy(np.ascontiguousarray(stored.flat))
    flat[-1] = 0  # the absent body, see `Recordings`
    absent = np.zeros(int(usable.sum()), dtype=bool)
    held = {
        "flat": flat,
        "starts": torch.from_numpy(stored.offsets[:-1][usable]),
        "frames": torch.from_numpy(skeletons["frames"][usable].astype(np.int64)),
        "bodies": torch.from_numpy(skeletons["bodies"][usable].astype(np.int64)),
        "labels": torch.from_numpy(labels[usable].astype(np.int64)),
        "rgb_valid": torch.from_numpy(rgb.valid[usable] if rgb else absent),
        "text_valid": torch.from_numpy(text.valid[usable] if text else absent.copy()),
    }
    for name, matrix in (("rgb", rgb), ("text", text)):
        if matrix is not None:
            held[name] = torch.from_numpy(np.ascontiguousarray(matrix.values[usable]))
    return held
