"""What a video file says of itself before anything is decoded: packets, key frames, claims of the header."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from mmcl_cache.errors import SampleError
from mmcl_cache.store.regular import open_regular

# Claims of a header are checked against these before anything of that size is allocated.
MAX_FRAMES = 1_000_000
MAX_PIXELS = 4096 * 4096
# Larger files are read twice, so that their packets need not stay in memory between counting and decoding.
MAX_BUFFERED_BYTES = 128 * 2**20
# What the containers above may be; others (playlists, lists of files, streams of the network) would open further files.
FORMATS = (
    "avi,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,flv,mpeg,mpegts,mpegvideo,m4v,h263,h264,hevc,ivf,obu,av1,mjpeg,"
    "ogg,wav,yuv4mpegpipe,gif,apng,nut,rm,dv,mxf"
)
# In the MPEG-4 family a packet this small may say "not coded": valid, and no frame comes of it.
EMPTY_PACKET_BYTES = 16

_VOP_START = b"\x00\x00\x01\xb6"
_MAY_BE_EMPTY = frozenset(
    {"mpeg4", "msmpeg4", "msmpeg4v1", "msmpeg4v2", "h263", "flv1", "mpeg1video", "mpeg2video"}
)
_INTRA_CODECS = frozenset({"mjpeg", "png", "rawvideo", "ffv1", "huffyuv", "dvvideo", "prores", "dnxhd"})
# Containers whose frame claim is a plain count of what was written (an MP4's edit list may hide some of its samples).
_COUNTING_CONTAINERS = frozenset({"avi"})
# Containers that give every packet the moment it is shown at, which its frame keeps.
_TIMED_CONTAINERS = frozenset({"mov", "matroska"})


@dataclass(frozen=True)
class StreamFacts:
    """One pass over the packets of a video stream; nothing decoded.

    ``keyframes[k]`` tells whether packet k is one. ``independent`` is True only where it is proven that packet k
    is frame k and that a frame needs nothing older than the last key frame before it; only then may packets be
    left out. ``num_shown`` packets give a frame each, of which ``num_empty`` may give none in a valid file.
    ``times`` are the moments of the shown packets in order, in the stream's ticks: frame k bears times[k]. None
    where the container gives no such times.
    ``plain`` is False where that cannot be told from the packets, and only decoding all of them gives the number.
    """

    codec: str
    container: str
    width: int
    height: int
    fps: float | None
    num_packets: int
    num_shown: int
    num_empty: int
    keyframes: tuple[bool, ...]
    times: tuple[int, ...] | None
    independent: bool
    plain: bool


def open_video(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a file and its first video stream, one decoding thread.

    Raises:
        SampleError: empty, not a video, no video stream, or claims beyond the limits.
    """
    try:
        with open_regular(path) as stream_of_bytes:
            if os.fstat(stream_of_bytes.fileno()).st_size == 0:
                raise SampleError(f"{path}: the file is empty")
        # A name such as "concat:…" or "http://…" is a protocol to FFmpeg; a path made absolute is only ever a file.
        container = av.open(
            f"file:{path.absolute()}",
            metadata_errors="replace",
            options={
                "max_pixels": str(MAX_PIXELS),
                "format_whitelist": FORMATS,
                "protocol_whitelist": "file",
            },
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise SampleError(f"{path}: not a readable video ({describe_error(error)})") from error
    try:
        if not container.streams.video:
            raise SampleError(f"{path}: has no video stream")
        stream = container.streams.video[0]
        codec = stream.codec_context
        if codec is None:
            raise SampleError(f"{path}: its codec is unknown to this FFmpeg")
        if stream.frames > MAX_FRAMES:
            raise SampleError(f"{path}: claims {stream.frames} frames; the limit is {MAX_FRAMES}")
        if not codec.width or not codec.height:  # FFmpeg drops a size beyond `max_pixels`
            raise SampleError(
                f"{path}: its pictures have no size, or one beyond the limit of {MAX_PIXELS} pixels"
            )
        if codec.width * codec.height > MAX_PIXELS:
            raise SampleError(
                f"{path}: claims {codec.width}×{codec.height} pixels; the limit is {MAX_PIXELS}"
            )
        # One thread a process: threaded decoding hangs under load, and many processes use the cores better.
        stream.thread_type = "NONE"
        codec.thread_count = 1
        codec.options = {"max_pixels": str(MAX_PIXELS)}
    except BaseException:
        container.close()
        raise
    return container, stream


def inspect_stream(
    path: Path, container: InputContainer, stream: VideoStream
) -> tuple[StreamFacts, list[Packet] | None]:
    """Count and judge the packets.

    Returns:
        the facts, and the packets themselves where they are small enough to keep (else None: open it again).

    Raises:
        SampleError: the file is cut, a packet is damaged, or it holds more than MAX_FRAMES.
    """
    codec = stream.codec_context.name
    name = container.format.name
    scan_vops = codec == "mpeg4"
    independent = scan_vops or codec in _INTRA_CODECS
    file_bytes = path.stat().st_size
    keep = file_bytes <= MAX_BUFFERED_BYTES
    packets: list[Packet] = []
    keyframes: list[bool] = []
    hidden = empty = last_byte = packet_bytes = 0
    end = 0.0
    times: list[int] | None = []
    for packet in iterate_packets(path, container, stream):
        if packet.is_corrupt:
            raise SampleError(f"{path}: packet {len(keyframes)} is damaged or cut short")
        if len(keyframes) >= MAX_FRAMES:
            raise SampleError(f"{path}: more than {MAX_FRAMES} frames")
        packet_bytes += packet.size
        # A container may list the same bytes again and again.
        if packet_bytes > 2 * file_bytes + MAX_BUFFERED_BYTES // 8:
            raise SampleError(f"{path}: its packets are together larger than the file")
        keyframes.append(packet.is_keyframe)
        is_hidden = packet.is_discard or (codec == "vp8" and _is_hidden_vp8(packet))
        hidden += is_hidden
        last_byte = max(last_byte, (packet.pos or 0) + packet.size)
        if packet.pts is None:
            times = None
        elif times is not None and not is_hidden:
            times.append(packet.pts)
        empty += packet.size <= EMPTY_PACKET_BYTES and codec in _MAY_BE_EMPTY
        if packet.pts is not None and packet.time_base is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if independent:
            independent = _is_single_vop(packet) if scan_vops else packet.is_keyframe
        if keep:
            packets.append(packet)
    count = len(keyframes)
    if count == 0:
        raise SampleError(f"{path}: holds no frame (empty or cut short)")
    if name in _COUNTING_CONTAINERS and stream.frames > count:
        raise SampleError(f"{path}: cut short: the header says {stream.frames} frames, {count} are there")
    rate = stream.average_rate or stream.guessed_rate
    fps = float(rate) if rate else None
    # An MP4 may hide samples by an edit list; fewer than it says are missing only where the data ends with the file.
    if name.startswith("matroska") or (stream.frames > count and last_byte >= file_bytes):
        _check_duration(path, container, stream, end, fps)
    container_name = name.split(",")[0]
    if container_name not in _TIMED_CONTAINERS or (times is not None and len(set(times)) < len(times)):
        times = None
    facts = StreamFacts(
        codec=codec,
        container=name,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        fps=fps,
        num_packets=count,
        num_shown=count - hidden,
        num_empty=empty,
        keyframes=tuple(keyframes),
        times=None if times is None else tuple(sorted(times)),
        independent=independent and keyframes[0] and hidden == 0 and empty == 0,
        plain=empty == 0 and container_name in ("avi", *_TIMED_CONTAINERS),
    )
    return facts, packets if keep else None


def iterate_packets(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    """The packets of a stream as they lie in the file.

    Raises:
        SampleError: the container breaks off.
    """
    try:
        for packet in container.demux(stream):
            if packet.size or packet.pts is not None or packet.dts is not None:
                yield packet
    except (av.error.FFmpegError, OSError) as error:
        raise SampleError(f"{path}: damaged or cut short ({describe_error(error)})") from error


def describe_error(error: BaseException) -> str:
    """What a library says, in one line and without its own tags."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:160] or type(error).__name__


def _is_single_vop(packet: Packet) -> bool:
    """True where an MPEG-4 packet is one picture that is coded from itself or the picture before it.

    Start codes cannot occur inside coded data, so counting them is exact. Two bits after the start code give
    the type: 0 intra, 1 predicted, 2 bidirectional, 3 sprite (ISO/IEC 14496-2, 6.3.5).
    """
    data = bytes(packet)
    start = data.find(_VOP_START)
    if start < 0 or start + 4 >= len(data) or data.find(_VOP_START, start + 4) >= 0:
        return False
    kind = data[start + 4] >> 6
    return kind == 0 if packet.is_keyframe else kind <= 1


def _is_hidden_vp8(packet: Packet) -> bool:
    """True for a reference picture that is never shown: bit 4 of the frame tag is 0 (RFC 6386, 9.1)."""
    return packet.size > 0 and not bytes(packet)[0] >> 4 & 1


def _check_duration(
    path: Path, container: InputContainer, stream: VideoStream, end: float, fps: float | None
) -> None:
    """A cut file ends before the time that its header says.

    Matroska has the duration of a track, MP4 that of the file, which a longer sound track may set.
    """
    # Frames that may lack: Matroska often does not say how long the last one is shown.
    slack = 1.5 if container.format.name.startswith("matroska") else 0.5
    claimed = _parse_clock(stream.metadata.get("DURATION", ""))
    alone = len(container.streams) == 1 or not container.format.name.startswith("matroska")
    if claimed is None and alone and container.duration:
        claimed = container.duration / av.time_base
    if claimed is not None and claimed - end > slack / (fps or 25.0):
        raise SampleError(f"{path}: cut short: it should last {claimed:.2f} s, the frames end at {end:.2f} s")


def _parse_clock(text: str) -> float | None:
    """Seconds of ``hh:mm:ss.fraction``, or None."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
