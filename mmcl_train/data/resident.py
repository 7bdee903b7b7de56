"""A split's data loaded once and kept: batches are cut from it where it lies."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Generator, Tensor

from mmcl_cache.store import Cache, Columns, Description, UserError
from mmcl_train.backbones.absent import BodyRows, merge_absent
from mmcl_train.data.batch import Batch
from mmcl_train.data.clips import ClipSettings, create_transform
from mmcl_train.data.features import FeatureMatrix, load_rgb, load_text
from mmcl_train.data.placement import choose_home, find_usable, make_tensors
from mmcl_train.data.recordings import Recordings
from mmcl_train.data.streams import StreamTransform
from mmcl_train.data.strips import StripImages

PLACEMENTS = ("auto", "device", "host")
ROWS_MULTIPLE = (
    16  # bodies that a GPU computes at once: few sizes, so that what is tuned by size is tuned seldom
)


@dataclass(frozen=True)
class SplitSettings:
    """What of a cache a split shows, and how.

    Args:
        stream: a name of `streams.STREAMS`.
        clip: how clips are cut.
        skeleton_variant, text_variant, rgb_variant: of the cache; "" for none (text, rgb).
        strip_variant: strips as images, in place of the rgb field, for a CNN trained in the loop; "" for none.
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
    strip_variant: str = ""
    text_feature: str = "hidden"
    rgb_feature: str = "logits"
    num_bodies: int = 0
    placement: str = "auto"

    def __post_init__(self) -> None:
        if self.placement not in PLACEMENTS:
            raise ValueError(f"unknown placement {self.placement!r}; known: {', '.join(PLACEMENTS)}")
        if self.rgb_variant and self.strip_variant:
            raise ValueError("either the rgb field or strips: a CNN in the loop makes its own feature")


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
        usable = find_usable(description, skeletons)
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

        held = make_tensors(labels, skeletons, usable, rgb, text)
        self._strips: StripImages | None = None
        self._bodies = held["bodies"]  # on the host: a batch asks no device which bodies are absent
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

    def attach_strips(self, strips: StripImages) -> None:
        """Give every batch the images of its samples. `rgb_valid` then says which of them have one."""
        self._strips = strips
        self._data["rgb_valid"] = torch.from_numpy(strips.valid).to(self.home)
        self.rgb_share = float(strips.valid.mean())

    def _prepare(self) -> None:
        settings = self.settings
        self._transform = create_transform(
            settings.clip, self.num_bodies, self.channels, self.most_frames, self.home
        )
        self._stream = StreamTransform(settings.stream, self.description.layout, self.home)

    def batch(
        self,
        indices: Tensor | np.ndarray,
        generator: Generator | None,
        train: bool,
        draws: Tensor | None = None,
    ) -> Batch:
        """Cut the clips of these samples and gather what belongs to them; nothing waits for the device.

        Args:
            indices: (B,) int64 rows of this split, on any device.
            generator: of the random crop, angles and frames; on any device. Only used where `train` is true.
            train: the random clip; otherwise the test's.
            draws: these rows of `ClipTransform.draw`, in place of the generator's.

        Returns:
            B samples on `device`.
        """
        rows = torch.as_tensor(indices).to(self.home, non_blocking=True)
        if train and draws is None:
            if generator is None:
                raise ValueError("a training batch needs a generator, or what was drawn from one")
            draws = self._transform.draw(len(rows), generator)
        if draws is not None:
            draws = draws.to(self.home, non_blocking=True)
        made = self.assemble(rows, draws)
        made = replace(made, bodies=self._find_bodies(torch.as_tensor(indices)))
        if self._strips is not None:
            images = self._strips.take(
                rows.cpu().numpy()
            )  # decoded on the host: the one thing a batch waits for
            made = replace(made, images=images.to(self.home))
        if self.home == self.device:
            return made
        return (made.pinned() if self.device.type == "cuda" else made).to(self.device)

    def _find_bodies(self, indices: Tensor) -> BodyRows | None:
        """Which bodies of these samples to compute; all where only a device knows the samples."""
        if self.num_bodies < 2 or indices.device.type != "cpu":
            return None
        absent = torch.arange(self.num_bodies) >= self._bodies[indices, None]
        rows = merge_absent(absent, 1 if self.device.type == "cpu" else ROWS_MULTIPLE)
        return None if rows is None else BodyRows(*(part.to(self.home, non_blocking=True) for part in rows))

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
        if self._strips is not None:
            how = "decoded once and kept" if self._strips.is_kept else "decoded for every batch"
            lines.append(f"strips: {how}, {self.rgb_share:.1%} of the samples have one")
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
        sample_ids, ("joints", "frames", "bodies"), spare=1
    )
    text = rgb = None
    if settings.text_variant:
        text = load_text(cache.field("text", settings.text_variant), sample_ids, settings.text_feature)
    if settings.rgb_variant:
        rgb = load_rgb(cache.field("rgb", settings.rgb_variant), sample_ids, settings.rgb_feature)
    labels = cache.samples.labels[cache.samples.positions(sample_ids)]
    split = ResidentSplit(
        cache.description,
        np.asarray(sample_ids),
        labels,
        skeletons,
        rgb,
        text,
        settings,
        torch.device(device),
    )
    if settings.strip_variant:
        split.attach_strips(StripImages(cache.field("strip", settings.strip_variant), split.sample_ids))
    return split
