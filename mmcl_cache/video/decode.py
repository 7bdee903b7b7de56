"""Frames of a video, right or not at all.

The contract: whatever reads the file, the images are those of a sequential pass over the whole of it, upright,
and a file in which damage can be seen gives an error. Pixels do not depend on the decoder, so the decoder is
no part of a cache's settings.

Damage that leaves a valid stream behind (a few bytes changed inside a coded picture of H.264, HEVC, VP8 or VP9)
cannot be seen by any decoder: those formats carry no checksum. Damage after the last wanted frame, or in packets
that no wanted frame needs, does not touch the images and is not looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from mmcl_cache.errors import SampleError, UserError
from mmcl_cache.video.decode_decord import has_decord, read_decord
from mmcl_cache.video.decode_images import Reader, read_array, read_folder
from mmcl_cache.video.decode_pyav import read_pyav

# ``auto`` is PyAV: reading only the runs of packets that the wanted frames need, it is faster than decord's
# sparse reads where those are right, and no slower in sequence (pipelines/bench_decode.py).
DECODERS = ("auto", "decord", "pyav")
NO_READERS: Mapping[str, Reader] = MappingProxyType({})


@dataclass(frozen=True)
class Frames:
    """The chosen frames of one video.

    images: K of (H, W, 3) uint8 sRGB, upright, all of one size; a frame chosen twice is the same array twice.
    indices: (K,) int64. num_frames: of the whole video. fps: None where unknown.
    decoder: what read them, for statistics only.
    """

    images: list[np.ndarray]
    indices: np.ndarray
    num_frames: int
    fps: float | None
    decoder: str

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright images, pixels."""
        return self.images[0].shape[1], self.images[0].shape[0]


def check_decoder(decoder: str) -> None:
    """Raises UserError for a decoder that is unknown or not installed; to be called once, before a build."""
    if decoder not in DECODERS:
        raise UserError(f"unknown decoder {decoder!r}; known: {', '.join(DECODERS)}")
    if decoder == "decord" and not has_decord():
        raise UserError(
            "--decoder decord: decord is not installed (it has x86-64 wheels only); use --decoder pyav"
        )


def read_frames(
    path: Path | str,
    choose: Callable[[int], np.ndarray],
    decoder: str = "auto",
    readers: Mapping[str, Reader] = NO_READERS,
) -> Frames:
    """Read the frames that ``choose`` picks once the number of frames is known.

    Args:
        path: a video file, a folder of frame images, or a file that one of ``readers`` reads.
        choose: number of frames ≥ 1 → (K,) indices, in any order, repeats allowed.
        decoder: ``auto``, ``decord`` or ``pyav``; the images are the same.
        readers: end of a file's name → what reads it into an array, e.g. {"_depth.mat": read_depth_mat}.

    Raises:
        SampleError: no such file, no video, or damage; one line with the path.
        UserError: unknown decoder, or one that is not installed.
        ValueError: ``choose`` gave an index outside the video.
    """
    check_decoder(decoder)
    path = Path(path)
    fps: float | None = None
    reader = next((r for end, r in readers.items() if path.name.endswith(end)), None)
    if not path.exists():
        raise SampleError(f"{path}: no such file")
    if path.is_dir():
        images, indices, num_frames = read_folder(path, choose)
        name = "images"
    elif reader is not None:
        images, indices, num_frames, fps = read_array(path, choose, reader)
        name = "array"
    else:
        answer = read_decord(path, choose) if decoder == "decord" else None
        library = "pyav" if answer is None else "decord"
        (images, indices, num_frames), facts, how = answer or read_pyav(path, choose)
        fps, name = facts.fps, f"{library}-{how}"
    if len({image.shape for image in images.values()}) > 1:
        raise SampleError(f"{path}: the frames change their size in the middle")
    return Frames([images[i] for i in indices.tolist()], indices, num_frames, fps, name)
