"""Videos and images."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.hostile.case import Case, Make, write


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def avi(frames: int, width: int, height: int) -> bytes:
    """An AVI of Motion JPEG whose headers say so; it holds one frame of rubbish."""
    main = struct.pack("<14I", 33_333, 0, 0, 0x10, frames, 0, 1, 0, width, height, 0, 0, 0, 0)
    stream = b"vidsMJPG" + struct.pack("<10I4h", 0, 0, 0, 1, 30, 0, frames, 0, 0, 0, 0, 0, 0, 0)
    form = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", 0, 0, 0, 0, 0)
    listed = chunk(
        b"LIST",
        b"hdrl"
        + chunk(b"avih", main)
        + chunk(b"LIST", b"strl" + chunk(b"strh", stream) + chunk(b"strf", form)),
    )
    movie = chunk(b"LIST", b"movi" + chunk(b"00dc", b"\xff\xd8\xff\xd9"))
    return chunk(b"RIFF", b"AVI " + listed + movie)


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


def mp4(width: int, height: int, samples: int, each: int) -> bytes:
    """An MP4 whose `samples` frames all lie at the same `each` bytes."""
    data = b"\xff\xd8" + bytes(each - 4) + b"\xff\xd9"
    full = bytes(4)
    entry = (
        bytes(6)
        + b"\0\1"
        + bytes(16)
        + struct.pack(">HHII", width & 0xFFFF, height & 0xFFFF, 0x480000, 0x480000)
        + bytes(4)
        + b"\0\1"
        + bytes(32)
        + b"\0\x18\xff\xff"
    )
    head = box(b"ftyp", b"isom\0\0\0\0isom")
    offset = len(head) + 8
    table = box(b"stsd", full + struct.pack(">I", 1) + box(b"jpeg", entry))
    table += box(b"stts", full + struct.pack(">III", 1, samples, 1))
    table += box(b"stsc", full + struct.pack(">IIII", 1, 1, 1, 1))
    table += box(b"stsz", full + struct.pack(">II", each, samples))
    table += box(b"stco", full + struct.pack(">I", samples) + struct.pack(">I", offset) * samples)
    info = (
        box(b"vmhd", b"\0\0\0\1" + bytes(8))
        + box(b"dinf", box(b"dref", full + struct.pack(">I", 1) + box(b"url ", b"\0\0\0\1")))
        + box(b"stbl", table)
    )
    media = (
        box(b"mdhd", full + struct.pack(">IIIII", 0, 0, 30, samples, 0))
        + box(b"hdlr", full + bytes(4) + b"vide" + bytes(13))
        + box(b"minf", info)
    )
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    track = box(
        b"tkhd",
        b"\0\0\0\7"
        + struct.pack(">IIIII", 0, 0, 1, 0, samples)
        + bytes(16)
        + matrix
        + struct.pack(">II", (width << 16) & 0xFFFFFFFF, (height << 16) & 0xFFFFFFFF),
    )
    movie = box(
        b"mvhd",
        full
        + struct.pack(">IIII", 0, 0, 30, samples)
        + b"\0\1\0\0\1\0"
        + bytes(10)
        + matrix
        + bytes(24)
        + struct.pack(">I", 2),
    )
    return head + box(b"mdat", data) + box(b"moov", movie + box(b"trak", track + box(b"mdia", media)))


def png(width: int, height: int) -> bytes:
    def part(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", head)
        + part(b"IDAT", zlib.compress(bytes(1 << 20)))
        + part(b"IEND", b"")
    )


def jpeg(width: int, height: int) -> bytes:
    """A small JPEG that claims another size."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(stream, "JPEG")
    data = stream.getvalue()
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def images(name: str, content: bytes) -> Make:
    """A folder of one frame."""

    def make(folder: Path, canary: Path) -> Path:
        (folder / "frames").mkdir()
        (folder / "frames" / name).write_bytes(content)
        return folder / "frames"

    return make


def pipe(folder: Path, canary: Path) -> Path:
    os.mkfifo(folder / "a.mp4")
    return folder / "a.mp4"


def pipe_of_frames(folder: Path, canary: Path) -> Path:
    (folder / "frames").mkdir()
    os.mkfifo(folder / "frames" / "0.png")
    return folder / "frames"


def device(folder: Path, canary: Path) -> Path:
    (folder / "a.mp4").symlink_to("/dev/zero")
    return folder / "a.mp4"


def playlist(text: str) -> Make:
    return write("a.mp4", lambda canary: text.replace("CANARY", str(canary)).encode())


def _wide(folder: Path, canary: Path) -> Path:
    """A true video, small as a file: 8192 × 8192 pixels of one colour."""
    path = folder / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=5)
        stream.width = stream.height = 4104
        stream.pix_fmt = "yuvj420p"
        container.mux(stream.encode(av.VideoFrame(4104, 4104, "yuvj420p")))
        container.mux(stream.encode(None))
    return path


CASES = [
    Case(
        "video",
        "AVI of a billion frames",
        "video",
        "the limit is 1000000",
        write("a.avi", avi(10**9, 64, 64)),
    ),
    Case(
        "video", "AVI of 100,000 × 100,000 pixels", "video", "a.avi", write("a.avi", avi(1, 100_000, 100_000))
    ),
    Case(
        "video",
        "YUV4MPEG of 100,000 × 100,000 pixels",
        "video",
        "a.y4m",
        write("a.y4m", b"YUV4MPEG2 W100000 H100000 F30:1 C420\nFRAME\n" + bytes(999)),
    ),
    Case(
        "video", "MP4 of 65,535 × 65,535 pixels", "video", "a.mp4", write("a.mp4", mp4(65_535, 65_535, 2, 64))
    ),
    Case(
        "video",
        "MP4 that lists the same bytes again and again",
        "video",
        "together larger than the file",
        write("a.mp4", mp4(64, 64, 20_000, 100_000)),
    ),
    Case("video", "8k pixels of one colour", "video", "beyond the limit", _wide),
    Case(
        "video",
        "playlist of other files",
        "video",
        "not a readable video",
        playlist("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://CANARY\n#EXT-X-ENDLIST\n"),
    ),
    Case(
        "video",
        "list of other files",
        "video",
        "not a readable video",
        playlist("ffconcat version 1.0\nfile 'CANARY'\n"),
    ),
    Case(
        "video",
        "manifest of other files",
        "video",
        "not a readable video",
        playlist(
            "<?xml version='1.0'?><MPD><Period><AdaptationSet mimeType='video/mp4'><Representation><BaseURL>file://CANARY</BaseURL></Representation></AdaptationSet></Period></MPD>"
        ),
    ),
    Case(
        "video",
        "stream of the network",
        "video",
        "not a readable video",
        playlist("v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"),
    ),
    Case("video", "pipe", "video", "not a regular file", pipe),
    Case("video", "device behind a link", "video", "not a regular file", device),
    Case("video", "empty", "video", "the file is empty", write("a.mp4", b"")),
    Case("video", "rubbish", "video", "not a readable video", write("a.mp4", bytes(range(256)) * 99)),
    Case(
        "image",
        "PNG of 60,000 × 60,000 pixels",
        "video",
        "not a readable image",
        images("0.png", png(60_000, 60_000)),
        "0.png",
    ),
    Case(
        "image",
        "PNG of 8000 × 8000 pixels",
        "video",
        "the limit is",
        images("0.png", png(8000, 8000)),
        "0.png",
    ),
    Case(
        "image",
        "JPEG of 65,000 × 65,000 pixels",
        "video",
        "not a readable image",
        images("0.jpg", jpeg(65_000, 65_000)),
        "0.jpg",
    ),
    Case(
        "image",
        "PostScript called PNG",
        "video",
        "not a readable image",
        images("0.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) print\n"),
        "0.png",
    ),
    Case("image", "pipe", "video", "not a regular file", pipe_of_frames, "0.png"),
    Case("image", "no image", "video", "holds no frame images", images("readme.txt", b"")),
    Case(
        "strip",
        "JPEG of 65,000 × 65,000 pixels",
        "strip",
        "cannot be read",
        write("a.jpg", jpeg(65_000, 65_000)),
    ),
    Case(
        "strip",
        "JPEG of 9000 × 9000 pixels",
        "strip",
        "no strip is so large",
        write("a.jpg", jpeg(9000, 9000)),
    ),
    Case("strip", "no JPEG", "strip", "not a JPEG", write("a.jpg", png(9, 9))),
]
