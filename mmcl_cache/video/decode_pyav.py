"""Frames through PyAV: one sequential pass, or only the key-frame runs that the wanted frames need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mmcl_cache.errors import SampleError
from mmcl_cache.video.decode_stream import (
    MAX_FRAMES,
    StreamFacts,
    describe_error,
    inspect_stream,
    iterate_packets,
    open_video,
)

Chosen = tuple[dict[int, np.ndarray], np.ndarray, int]


def read_pyav(
    path: Path, choose: Callable[[int], np.ndarray], allow_runs: bool = True
) -> tuple[Chosen, StreamFacts, str]:
    """Read the chosen frames of one file.

    Args:
        allow_runs: leave packets out where that is proven right; False decodes in sequence (to compare).

    Returns:
        ((images by index, indices in the order chosen, number of frames), facts, how: ``runs`` or ``sequential``).

    Raises:
        SampleError: the file is no video, is damaged, or goes beyond the limits.
    """
    container, stream = open_video(path)
    try:
        facts, packets = inspect_stream(path, container, stream)
        if allow_runs and facts.independent and packets is not None:
            indices = check_indices(choose(facts.num_packets), facts.num_packets)
            images = _decode_runs(path, choose_decoder(stream, packets), packets, facts.keyframes, indices)
            if images is not None:
                return (images, indices, facts.num_packets), facts, "runs"
            container.close()
            container, stream = open_video(path)
            facts, packets = inspect_stream(path, container, stream)
        if packets is None:
            container.close()
            container, stream = open_video(path)
        source = iterate_packets(path, container, stream) if packets is None else packets
        chosen = _decode_sequential(path, container, stream, source, facts, choose)
        return chosen, facts, "sequential"
    finally:
        container.close()


def check_indices(indices: np.ndarray, num_frames: int) -> np.ndarray:
    """(K,) int64 as chosen.

    Raises:
        ValueError: no index, or one outside [0, num_frames).
    """
    indices = np.asarray(indices, dtype=np.int64)
    if indices.size == 0 or indices.min() < 0 or indices.max() >= num_frames:
        raise ValueError(f"frames {indices.tolist()} asked of a video of {num_frames}")
    return indices


def convert_frame(frame: VideoFrame) -> np.ndarray:
    """(H, W, 3) uint8 sRGB, upright.

    A frame keeps the turn of its display matrix in degrees counter-clockwise; a quarter turn is exact, and
    other angles are not made by cameras.
    """
    image = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def choose_decoder(stream: VideoStream, packets: Iterable[Packet] | None) -> VideoCodecContext:
    """The stream's own decoder, but libvpx for VP9: it notices damaged pictures, FFmpeg's own decoder does not.

    VP9 is specified to the bit, so both give the same pixels. FFmpeg's stays in use where the first frame is
    turned, since only the stream's own decoder knows the display matrix, and where the packets are not at hand.
    """
    own = stream.codec_context
    if own.name != "vp9" or "libvpx-vp9" not in av.codecs_available or not isinstance(packets, list):
        return own
    turned = any(frame.rotation for frame in own.decode(packets[0]))
    own.flush_buffers()
    if turned:
        return own
    codec = av.CodecContext.create("libvpx-vp9", "r")
    assert isinstance(codec, VideoCodecContext)
    codec.extradata = own.extradata
    codec.thread_count = 1
    return codec


def _decode_runs(
    path: Path,
    codec: VideoCodecContext,
    packets: list[Packet],
    keyframes: tuple[bool, ...],
    indices: np.ndarray,
) -> dict[int, np.ndarray] | None:
    """Decode from the last key frame before each wanted frame, leaving out the packets between.

    Nothing is sought: the packets lie in memory and are counted, so frame k is packet k. Returns None where
    the decoder gave another number of frames than it was fed; a sequential pass then has to tell.
    """
    starts = np.flatnonzero(keyframes)
    wanted = np.unique(indices)
    runs: list[tuple[int, int]] = []
    for index in wanted.tolist():
        start = int(starts[np.searchsorted(starts, index, side="right") - 1])
        if runs and start < runs[-1][1]:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((start, index + 1))
    images: dict[int, np.ndarray] = {}
    for start, stop in runs:
        number = start
        for frame in _decode(path, codec, packets[start:stop]):
            if number in indices:
                images[number] = _accept(path, frame, number)
            elif frame.is_corrupt:
                raise SampleError(f"{path}: frame {number} is damaged")
            number += 1
        if number != stop:
            return None
        codec.flush_buffers()
    return images


def _decode_sequential(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    packets: Iterable[Packet],
    facts: StreamFacts,
    choose: Callable[[int], np.ndarray],
) -> Chosen:
    """Decode every packet in order, converting only the wanted frames.

    Where packets and frames are known to match in number, it stops after the last wanted frame.
    """
    if not facts.plain:
        return _decode_uncertain(path, container, stream, packets, facts, choose)
    indices = check_indices(choose(facts.num_shown), facts.num_shown)
    images, count = _collect(
        path, choose_decoder(stream, packets), packets, set(indices.tolist()), facts.times
    )
    if len(images) != len(np.unique(indices)):
        raise SampleError(f"{path}: damaged: {count} frames can be decoded of {facts.num_shown} packets")
    return images, indices, facts.num_shown


def _decode_uncertain(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    packets: Iterable[Packet],
    facts: StreamFacts,
    choose: Callable[[int], np.ndarray],
) -> Chosen:
    """Two passes: the first counts the frames that come out, the second keeps the wanted ones."""
    _, count = _collect(path, choose_decoder(stream, packets), packets, None)
    if count == 0 or count < facts.num_shown - facts.num_empty:
        raise SampleError(f"{path}: damaged: {count} frames can be decoded of {facts.num_shown} packets")
    indices = check_indices(choose(count), count)
    container, stream = open_video(path)
    try:
        images, _ = _collect(
            path,
            choose_decoder(stream, None),
            iterate_packets(path, container, stream),
            set(indices.tolist()),
        )
    finally:
        container.close()
    return images, indices, count


def _collect(
    path: Path,
    codec: VideoCodecContext,
    packets: Iterable[Packet],
    wanted: set[int] | None,
    times: tuple[int, ...] | None = None,
) -> tuple[dict[int, np.ndarray], int]:
    """(wanted images by index, frames decoded). Stops after the last wanted frame; None: counts them all.

    A decoder may leave out a picture it cannot make without a word; the next frame then bears another time
    than its number should.
    """
    images: dict[int, np.ndarray] = {}
    last = MAX_FRAMES if wanted is None else max(wanted)
    number = 0
    for frame in _decode(path, codec, packets):
        if times is not None and (number >= len(times) or frame.pts != times[number]):
            raise SampleError(f"{path}: damaged: frame {number} is missing or out of its place")
        if wanted is not None and number in wanted:
            images[number] = _accept(path, frame, number)
        elif frame.is_corrupt:
            raise SampleError(f"{path}: frame {number} is damaged")
        number += 1
        if number > last:
            break
    return images, number


def _decode(path: Path, codec: VideoCodecContext, packets: Iterable[Packet]) -> Iterable[VideoFrame]:
    """Frames in the order they are shown.

    Raises:
        SampleError: the decoder gives up, or (Motion JPEG, whose decoder marks no frame) complains.
    """
    # Motion JPEG's decoder fills a broken picture with grey and only logs it.
    listen = codec.name == "mjpeg"
    if listen:
        av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as complaints:
            for packet in packets:
                for frame in codec.decode(packet):
                    if listen and any(level <= av.logging.ERROR for level, _, _ in complaints):
                        raise SampleError(f"{path}: damaged: {describe_error(ValueError(complaints[0][2]))}")
                    yield frame
            yield from codec.decode(None)
    except (av.error.FFmpegError, MemoryError) as error:
        raise SampleError(f"{path}: damaged: a frame cannot be decoded ({describe_error(error)})") from error
    finally:
        if listen:
            av.logging.set_level(None)


def _accept(path: Path, frame: VideoFrame, number: int) -> np.ndarray:
    if frame.is_corrupt:
        raise SampleError(f"{path}: frame {number} is damaged")
    return convert_frame(frame)
