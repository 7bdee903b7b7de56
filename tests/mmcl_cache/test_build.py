"""A build makes every shard once, continues where it was killed, and keeps a row for every sample."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mmcl_cache.cli import main
from mmcl_cache.store import open_cache, verify
from tests.mmcl_cache.encoders.test_detector import make_detector

Source = Callable[[], Path]


def build(source: Path, cache: Path, *options: str) -> Result:
    base = ["build", "--dataset", "demo", "--source", str(source), "--cache", str(cache), "--workers", "0"]
    return CliRunner().invoke(main, [*base, "--shard-size", "5", *options], catch_exceptions=False)


def files(cache: Path, pattern: str = "*/default/0*.h5") -> dict[str, bytes]:
    return {str(p.relative_to(cache)): p.read_bytes() for p in sorted(cache.glob(pattern))}


@pytest.fixture(scope="module")
def built(generated_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed cache of the generated clips; not to be changed."""
    cache = tmp_path_factory.mktemp("built") / "cache"
    done = build(generated_clips, cache)
    assert done.exit_code == 0, done.output
    return cache


def test_every_field_of_every_sample_is_there(built: Path) -> None:
    cache = open_cache(built)
    ids = cache.samples.sample_ids
    assert len(ids) == 14 and cache.fields() == {f: ["default"] for f in ("rgb", "skeleton", "strip", "text")}
    for name in ("skeleton", "strip", "text", "rgb"):
        assert cache.field(name).load(ids).valid.all(), name
    answers = [json.loads(a)[0] for a in cache.field("text").load(ids)["answer"]]
    assert set(answers) <= {"yes", "no"}
    assert verify(cache) == []


def test_second_build_writes_nothing(built: Path, generated_clips: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in built.rglob("*.*")}
    done = build(generated_clips, built)
    assert done.exit_code == 0 and "nothing to do" in done.output
    after = {p: p.stat().st_mtime_ns for p in built.rglob("*.*") if p.name != ".build.lock"}
    assert after == {p: t for p, t in before.items() if p.name != ".build.lock"}


def test_other_question_is_refused_by_name_and_kept_beside_under_a_name_of_its_own(
    built: Path, generated_clips: Path, tmp_path: Path
) -> None:
    cache = Path(shutil.copytree(built, tmp_path / "cache"))
    before = files(cache)
    refused = build(generated_clips, cache, "--question", "what object is held?")
    assert (
        refused.exit_code == 2
        and "settings.questions" in refused.output
        and "--variant text=NAME" in refused.output
    )
    beside = build(generated_clips, cache, "--question", "what object is held?", "--variant", "text=object")
    assert beside.exit_code == 0, beside.output
    assert files(cache) == before
    assert open_cache(cache).fields()["text"] == ["default", "object"]


def test_features_from_stored_strips_equal_those_made_with_the_video_at_hand(
    built: Path, generated_clips: Path, clip_source: Source, tmp_path: Path
) -> None:
    source, cache = clip_source(), tmp_path / "cache"
    assert build(source, cache, "--field", "skeleton", "--field", "strip").exit_code == 0
    for video in (source / "nturgb+d_rgb").iterdir():
        video.write_bytes(b"")  # still listed, no longer readable
    assert build(source, cache).exit_code == 0
    assert files(cache) == files(built)


def test_bad_files_become_rows_with_a_reason_and_stop_nothing(clip_source: Source, tmp_path: Path) -> None:
    source, cache = clip_source(), tmp_path / "cache"
    videos = sorted((source / "nturgb+d_rgb").iterdir())
    skeletons = sorted((source / "nturgb+d_skeletons").iterdir())
    videos[0].write_bytes(b"not a video")
    os.truncate(videos[1], videos[1].stat().st_size // 2)
    os.truncate(skeletons[2], 4000)
    videos[3].unlink()
    skeletons[4].unlink()
    done = build(source, cache)
    assert done.exit_code == 0, done.output
    opened = open_cache(cache)
    strip, text, skeleton = (
        opened.field(f).load(opened.samples.sample_ids) for f in ("strip", "text", "skeleton")
    )
    assert strip.status[:5].tolist() == ["failed", "failed", "ok", "absent", "ok"]
    assert text.status[:5].tolist() == ["absent", "absent", "ok", "absent", "ok"]
    assert skeleton.status[:5].tolist() == ["ok", "ok", "failed", "ok", "absent"]
    assert all(each.valid[5:].all() for each in (strip, text, skeleton))
    assert strip.reasons[0].startswith("nturgb+d_rgb/"), (
        "reasons name the file below the source, not this machine"
    )
    assert strip.reasons[2] == strip.reasons[4] == "whole frame: no skeleton"
    status = CliRunner().invoke(main, ["status", str(cache), "--json"])
    counts = {f["field"]: f["rows"] for f in json.loads(status.output)["fields"]}
    assert counts["strip"] == {"ok": 11, "absent": 1, "failed": 2}
    assert counts["skeleton"] == {"ok": 12, "absent": 1, "failed": 1}


def run_command(options: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "mmcl_cache.cli", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_killed_build_continues_to_the_same_bytes(built: Path, generated_clips: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    options = ["build", "--dataset", "demo", "--source", str(generated_clips), "--cache", str(cache)]
    options += ["--shard-size", "5", "--workers", "1"]
    for shards in (1, 3):  # killed with some shards on disk, then again with more
        process = run_command(options)
        limit = time.monotonic() + 120
        while len(files(cache)) < shards and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert build(generated_clips, cache).exit_code == 0
    assert verify(open_cache(cache)) == []
    assert files(cache) == files(built)
    assert not list(cache.rglob(".tmp-*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "imagenet"], "no data set 'imagenet'; known: demo"),
        (["--dataset", "ntu60", "--source", "{empty}"], "{empty}"),
        (["--dataset", "nw-ucla", "--source", "{empty}/gone"], "gone"),
        (["--vqa", "{empty}"], "config.json"),
        (["--vqa", "nobody/no-such-model"], "nobody/no-such-model"),
        (["--question", " "], "question"),
        (["--field", "depth"], "no field 'depth'; there are: skeleton"),
        (["--decoder", "opencv"], "unknown decoder 'opencv'"),
        (["--variant", "text"], "FIELD=NAME"),
        (["--limit", "0"], "--limit 0"),
        (["--device", "cuda:77"], "cuda:77"),
        (["--sampling", "random"], "random"),
        (["--tiles", "0"], "tile"),
        (["--slack", "-1"], "slack"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(
    generated_clips: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    base = {"--dataset": "demo", "--source": str(generated_clips), "--cache": str(tmp_path / "cache")}
    given = [o.format(empty=empty) for o in options]
    base |= dict(zip(given[::2], given[1::2], strict=True))
    done = CliRunner().invoke(main, ["build", *(word for pair in base.items() for word in pair)])
    last = done.output.strip().splitlines()[-1]
    assert done.exit_code == 2 and last.startswith("mmcl-cache: "), done.output
    assert message.format(empty=empty) in last
    assert "Traceback" not in done.output


def test_altered_shard_is_found_by_verify_and_never_loaded(built: Path, tmp_path: Path) -> None:
    cache = Path(shutil.copytree(built, tmp_path / "cache"))
    shard = cache / "text" / "default" / "00001.h5"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    done = CliRunner().invoke(main, ["verify", str(cache)])
    assert done.exit_code == 2 and str(shard) in done.output


def test_repair_removes_exactly_the_bad_shards_and_a_build_makes_them_again(
    built: Path, generated_clips: Path, tmp_path: Path
) -> None:
    cache = Path(shutil.copytree(built, tmp_path / "cache"))
    (cache / "strip" / "default" / "00000.h5").unlink()
    (cache / "rgb" / "default" / "00002.json").write_text("{}")
    text = cache / "text" / "default" / "00001.h5"
    text.write_bytes(text.read_bytes()[:-1] + b"!")
    kept = {name: content for name, content in files(cache).items() if name != "text/default/00001.h5"}
    done = CliRunner().invoke(main, ["repair", str(cache)])
    assert done.exit_code == 0 and "3 damaged shards removed" in done.output
    after = files(cache)
    assert after.items() <= kept.items() and set(kept) - set(after) == {"rgb/default/00002.h5"}
    assert build(generated_clips, cache).exit_code == 0
    assert files(cache) == files(built)
    assert "0 damaged shards" in CliRunner().invoke(main, ["repair", str(cache)]).output


def test_reading_a_stored_strip_gives_the_image_that_was_made(built: Path) -> None:
    from mmcl_cache.video.strip import decode_jpeg

    opened = open_cache(built)
    strips = opened.field("strip").load(opened.samples.sample_ids[:3])
    for n in range(3):
        image = decode_jpeg(strips["jpeg"][n].tobytes())
        assert image.shape == (480, 480, 3) and image.std() > 10
        assert (np.diff(strips["frame_index"][n]) > 0).all()


def test_detector_crops_strips_and_is_part_of_their_settings(generated_clips: Path, tmp_path: Path) -> None:
    model = make_detector(tmp_path / "detector", {0: "person", 1: "chair"})
    words = ["--field", "strip", "--limit", "3"]
    done = build(generated_clips, tmp_path / "cache", *words, "--crop", f"detector:{model}")
    assert done.exit_code == 0, done.output
    strip = open_cache(tmp_path / "cache").field("strip")
    assert strip.settings["crop"] == "detector" and strip.settings["detector"]["threshold"] == 0.5
    assert strip.load(strip.shard_ids(0)).valid.all()
    other = build(generated_clips, tmp_path / "cache", *words)
    assert other.exit_code == 2 and "settings.crop" in other.output


@pytest.mark.parametrize(
    "how", ["detector", "detector:", "person:model", "people", "detector:no/such/folder/here"]
)
def test_crop_that_cannot_be_is_one_line(generated_clips: Path, tmp_path: Path, how: str) -> None:
    done = build(generated_clips, tmp_path / "cache", "--field", "strip", "--crop", how)
    assert done.exit_code == 2 and done.output.strip().splitlines()[-1].startswith("mmcl-cache: "), (
        done.output
    )
