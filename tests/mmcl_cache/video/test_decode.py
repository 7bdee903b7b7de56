"""The decoding contract over generated files and real ones: the right frames, or a recorded reason."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mmcl_cache.errors import SampleError, UserError
from mmcl_cache.video import decode
from mmcl_cache.video.decode import Frames, read_frames
from mmcl_cache.video.decode_decord import has_decord
from mmcl_cache.video.frames import choose_frames

from .conftest import COUNT, HEIGHT, RECIPES, WIDTH, paint, read_number, write_video

VIDEOS = Path(__file__).parents[3].parent / "shared" / "data" / "videos"
BACKENDS = [
    "pyav",
    pytest.param("decord", marks=pytest.mark.skipif(not has_decord(), reason="decord is not installed here")),
]
SPARSE = np.array([0, 15, 30, 44, 59])


def five(num_frames: int) -> np.ndarray:
    return choose_frames(num_frames, 5)


def read_all(path: Path) -> list[np.ndarray]:
    """Every frame by the shortest way there is."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("decoder", BACKENDS)
@pytest.mark.parametrize("recipe", [r for r in RECIPES if not r.rotation], ids=lambda r: r.name)
def test_every_valid_file_gives_the_frames_of_a_sequential_pass(corpus, recipe, decoder: str) -> None:
    if recipe.name not in corpus:
        pytest.skip(f"this FFmpeg has no {recipe.codec} encoder")
    indices = SPARSE if recipe.count == COUNT else np.zeros(5, dtype=np.int64)
    frames = read_frames(corpus[recipe.name], lambda n: indices, decoder)
    assert frames.num_frames == recipe.count
    assert frames.size == recipe.size
    assert [read_number(image) for image in frames.images] == indices.tolist()
    whole = read_all(corpus[recipe.name])
    for index, image in zip(indices, frames.images, strict=True):
        assert np.array_equal(image, whole[index])


@pytest.mark.parametrize("decoder", BACKENDS)
@pytest.mark.parametrize("name", ["mpeg4_plain.avi", "mpeg4_bframes.avi", "h264.avi", "vp9.webm"])
def test_any_order_and_repeats_are_read(corpus, name: str, decoder: str) -> None:
    wanted = np.array([59, 3, 3, 17, 0, 58])
    frames = read_frames(corpus[name], lambda n: wanted, decoder)
    assert [read_number(image) for image in frames.images] == wanted.tolist()


@pytest.mark.parametrize("decoder", BACKENDS)
def test_turned_video_comes_upright(corpus, decoder: str) -> None:
    frames = read_frames(corpus["rotated.mp4"], lambda n: SPARSE, decoder)
    assert frames.size == (HEIGHT, WIDTH)
    # written as a quarter turn clockwise, so turning back gives what was painted
    assert [read_number(np.rot90(image, 1)) for image in frames.images] == SPARSE.tolist()


def test_packets_are_left_out_only_where_that_is_proven(corpus) -> None:
    ways = {name: read_frames(path, five, "pyav").decoder for name, path in corpus.items()}
    runs = {
        "mpeg4_plain.avi",
        "mpeg4_long_gop.avi",
        "mpeg4_plain.mp4",
        "mjpeg.avi",
        "odd.avi",
        "one_frame.avi",
    }
    assert {name for name, way in ways.items() if way == "pyav-runs"} == runs


def damage(source: Path, target: Path, kind: str) -> Path:
    data = bytearray(source.read_bytes())
    middle, rng = len(data) // 2, np.random.default_rng(0)
    if kind == "cut":
        del data[int(len(data) * 0.6) :]
    elif kind == "zeros":
        data[middle : middle + 1500] = bytes(1500)
    else:
        data[middle : middle + 1500] = rng.bytes(1500)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize("decoder", BACKENDS)
@pytest.mark.parametrize("kind", ["cut", "zeros", "noise"])
@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.count == COUNT], ids=lambda r: r.name)
def test_damaged_files_give_the_right_frames_or_one_line(
    corpus, tmp_path, recipe, kind: str, decoder: str
) -> None:
    """Right frames come only where no wanted frame needs the packets that were hit."""
    if recipe.name not in corpus:
        pytest.skip(f"this FFmpeg has no {recipe.codec} encoder")
    path = damage(corpus[recipe.name], tmp_path / recipe.name, kind)
    try:
        frames = read_frames(path, lambda n: choose_frames(n, 5, "centre"), decoder)
    except SampleError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return
    assert frames.num_frames == COUNT, "a cut file passed for a shorter one"
    good = read_frames(corpus[recipe.name], lambda n: frames.indices, "pyav")
    for index, found, right in zip(frames.indices, frames.images, good.images, strict=True):
        assert np.array_equal(found, right), f"frame {index} is wrong"


@pytest.mark.parametrize("decoder", BACKENDS)
@pytest.mark.parametrize("name", ["mpeg4_plain.avi", "mjpeg.avi", "mpeg4_bframes.avi", "vp9.webm", "av1.mp4"])
def test_damage_in_a_wanted_frame_is_never_passed_on(corpus, tmp_path, name: str, decoder: str) -> None:
    if name not in corpus:
        pytest.skip("no encoder")
    path = damage(corpus[name], tmp_path / name, "noise")
    with pytest.raises(SampleError):
        read_frames(path, lambda n: np.arange(20, 45), decoder)


@pytest.mark.parametrize("decoder", BACKENDS)
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.avi", b"", "the file is empty"),
        ("text.avi", b"this is no video\n" * 200, "not a readable video"),
        ("text.mp4", b"nor is this\n", "not a readable video"),
    ],
)
def test_files_that_are_no_video_are_one_line(tmp_path, name, content, message, decoder: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SampleError, match=message) as error:
        read_frames(path, five, decoder)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path) -> None:
    with pytest.raises(SampleError, match="no such file"):
        read_frames(tmp_path / "gone.avi", five)


def test_a_sound_file_has_no_video_stream(tmp_path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(SampleError, match="no video stream"):
        read_frames(path, five)


def patch_header(source: Path, target: Path, frames: int | None = None, size: int | None = None) -> Path:
    """Rewrite what an AVI claims of itself."""
    data = bytearray(source.read_bytes())
    main, track, image = (data.index(tag) + 8 for tag in (b"avih", b"strh", b"strf"))
    if frames is not None:
        struct.pack_into("<I", data, main + 16, frames)
        struct.pack_into("<I", data, track + 32, frames)
    if size is not None:
        struct.pack_into("<II", data, main + 32, size, size)
        struct.pack_into("<ii", data, image + 4, size, size)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize("name", ["mpeg4_plain.avi", "mjpeg.avi", "h264.avi"])
def test_claims_of_a_billion_frames_are_refused(corpus, tmp_path, name: str) -> None:
    path = patch_header(corpus[name], tmp_path / name, frames=1_000_000_000)
    with pytest.raises(SampleError, match="frames"):
        read_frames(path, five)


@pytest.mark.parametrize("name", ["mpeg4_plain.avi", "mjpeg.avi", "h264.avi"])
def test_claims_of_huge_pictures_allocate_nothing_of_that_size(corpus, tmp_path, name: str) -> None:
    path = patch_header(corpus[name], tmp_path / name, size=100_000)
    try:
        frames = read_frames(path, five)
    except SampleError:
        return
    # the stream itself says the true size, and it counts
    assert frames.size == (WIDTH, HEIGHT)


def test_a_folder_of_images_is_read_in_numeric_order(tmp_path) -> None:
    for number in range(12):
        Image.fromarray(paint(number)).save(tmp_path / f"frame_{number}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    frames = read_frames(tmp_path, lambda n: np.array([1, 2, 10, 11]))
    assert frames.num_frames == 12 and frames.fps is None
    assert [read_number(image) for image in frames.images] == [1, 2, 10, 11]


def test_colour_images_are_taken_where_depth_lies_beside_them(tmp_path) -> None:
    for number in range(5):
        Image.fromarray(paint(number)).save(tmp_path / f"frame_{number}_rgb.png")
        Image.fromarray(paint(99)).save(tmp_path / f"frame_{number}_depth.png")
    assert [read_number(image) for image in read_frames(tmp_path, five).images] == [0, 1, 2, 3, 4]


def test_a_folder_without_images_or_with_a_broken_one_is_one_line(tmp_path) -> None:
    with pytest.raises(SampleError, match="no frame images"):
        read_frames(tmp_path, five)
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(SampleError, match=r"1\.png: not a readable image"):
        read_frames(tmp_path, five)


def test_images_of_changing_size_are_refused(tmp_path) -> None:
    Image.fromarray(paint(0)).save(tmp_path / "0.png")
    Image.fromarray(paint(1)).resize((50, 50)).save(tmp_path / "1.png")
    with pytest.raises(SampleError, match="change their size"):
        read_frames(tmp_path, lambda n: np.arange(2))


def test_an_array_source_is_read_by_the_end_of_its_name(tmp_path) -> None:
    path = tmp_path / "a1_s1_t1_depth.mat"
    path.write_bytes(b"x")
    stack = np.stack([np.full((6, 8), number, dtype=np.uint8) for number in range(9)])
    frames = read_frames(path, five, readers={"_depth.mat": lambda p: (stack, 30.0)})
    assert frames.fps == 30.0 and frames.decoder == "array" and frames.size == (8, 6)
    assert [int(image[0, 0, 2]) for image in frames.images] == [0, 1, 2, 3, 4]
    with pytest.raises(SampleError, match="expected"):
        read_frames(path, five, readers={"_depth.mat": lambda p: (stack.astype(float), 30.0)})


def test_an_unknown_decoder_lists_the_known_ones(tmp_path, monkeypatch) -> None:
    with pytest.raises(UserError, match="auto, decord, pyav"):
        read_frames(tmp_path, five, "opencv")
    monkeypatch.setattr(decode, "has_decord", lambda: False)
    with pytest.raises(UserError, match="not installed"):
        decode.check_decoder("decord")


def read_or_reason(path: Path, decoder: str) -> Frames | str:
    try:
        return read_frames(path, five, decoder)
    except SampleError as error:
        return str(error)


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="../shared/data/videos is not here")
@pytest.mark.parametrize("decoder", BACKENDS)
def test_the_odd_real_videos_give_sequential_frames_or_a_reason(decoder: str) -> None:
    bad = {"corrupted.mp4", "result.webm"}
    for path in sorted(VIDEOS.iterdir()):
        found = read_or_reason(path, decoder)
        assert isinstance(found, str) == (path.name in bad), f"{path.name}: {found}"
        if isinstance(found, str):
            continue
        whole = read_all(path)
        assert found.num_frames == len(whole)
        turns = 1 if path.name == "video_90.mov" else 0
        for index, image in zip(found.indices, found.images, strict=True):
            assert np.array_equal(np.rot90(image, turns), whole[index]), f"{path.name}, frame {index}"


@pytest.mark.parametrize("decoder", BACKENDS)
@pytest.mark.parametrize("share", [0.2, 0.6, 0.97])
@pytest.mark.parametrize("exact", [True, False])
def test_an_mp4_with_its_header_first_that_was_cut_is_noticed(tmp_path, share, exact, decoder: str) -> None:
    """An interrupted download; cut between two packets, no packet is broken."""
    path = tmp_path / "download.mp4"
    recipe = next(r for r in RECIPES if r.name == "mpeg4_plain.mp4")
    write_video(path, recipe, {"movflags": "faststart"})
    assert read_frames(path, five, decoder).num_frames == COUNT
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    last = packets[int(len(packets) * share)]
    data = path.read_bytes()
    path.write_bytes(data[: last.pos + (last.size if exact else last.size // 2)])
    with pytest.raises(SampleError, match="cut short"):
        read_frames(path, five, decoder)
