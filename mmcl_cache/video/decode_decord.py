"""Frames through decord, where it is shown to give those of a sequential pass.

decord's sparse reads are wrong without a word on streams whose pictures are reordered, and it passes damaged
frames on. So it reads sparsely only where every packet was seen to be one picture that looks back no further
than its key frame; it reads in order elsewhere; and whatever it is unsure of is left to PyAV.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mmcl_cache.video.decode_pyav import check_indices
from mmcl_cache.video.decode_stream import StreamFacts, inspect_stream, open_video

try:
    import decord
except ImportError:  # no wheels for arm64 Linux or macOS
    decord = None

# Codecs of which damage reaches the error stream. In H.264, HEVC and VP9 decord hides it without a word, reading
# them in order as it must gains nothing over PyAV, and AV1 it cannot open.
_CODECS = frozenset({"mpeg4", "mjpeg"})
_CONTAINERS = frozenset({"avi", "mov", "matroska"})


def has_decord() -> bool:
    """Whether decord can be imported on this machine."""
    return decord is not None


def read_decord(
    path: Path, choose: Callable[[int], np.ndarray]
) -> tuple[tuple[dict[int, np.ndarray], np.ndarray, int], StreamFacts, str] | None:
    """As ``read_pyav``; None where decord cannot be trusted with this file or complained of it.

    Raises:
        SampleError: the packets show the file to be damaged.
    """
    container, stream = open_video(path)
    try:
        facts, _ = inspect_stream(path, container, stream)
    finally:
        container.close()
    if not _is_trusted(facts):
        return None
    indices = check_indices(choose(facts.num_packets), facts.num_packets)
    wanted = np.unique(indices).tolist()
    with _watch_stderr() as complaints:
        try:
            reader = decord.VideoReader(str(path.absolute()), ctx=decord.cpu(0), num_threads=1)
            if len(reader) != facts.num_packets:
                return None
            if facts.independent:
                images = dict(zip(wanted, reader.get_batch(wanted).asnumpy(), strict=True))
            else:
                images = {}
                for number in range(wanted[-1] + 1):
                    frame = reader.next()
                    if number in wanted:
                        images[number] = frame.asnumpy()
        except (decord.DECORDError, StopIteration, RuntimeError):
            return None
    if complaints:
        return None
    return (images, indices, facts.num_packets), facts, "sparse" if facts.independent else "sequential"


def _is_trusted(facts: StreamFacts) -> bool:
    """Odd sizes are converted to colour in another way; hidden packets are shown as frames."""
    return (
        decord is not None
        and facts.plain
        and facts.codec in _CODECS
        and facts.container.split(",")[0] in _CONTAINERS
        and facts.num_packets == facts.num_shown
        and facts.width % 2 == 0
        and facts.height % 2 == 0
    )


@contextlib.contextmanager
def _watch_stderr() -> Iterator[list[bytes]]:
    """Collect what the process writes to its error stream: the only place where decord's FFmpeg tells of damage."""
    complaints: list[bytes] = []
    with tempfile.TemporaryFile() as sink:
        saved = os.dup(2)
        try:
            os.dup2(sink.fileno(), 2)
            yield complaints
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            sink.seek(0)
            text = sink.read(4096)
            if text:
                complaints.append(text)
