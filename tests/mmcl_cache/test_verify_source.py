"""`verify --source` tells which files changed or vanished since they were cached; `retry --changed` mends the rows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from click.testing import CliRunner, Result

from mmcl_cache.cli import main
from mmcl_cache.fields.stamp import EDGE, stamp_path
from mmcl_cache.store import open_cache
from mmcl_train.data.clips import ClipSettings
from mmcl_train.data.resident import SplitSettings, load_split
from tests.mmcl_cache.test_build import build, built, files  # noqa: F401
from tests.mmcl_cache.test_retry import every_file, retry

Source = Callable[[], Path]


def verify(cache: Path, source: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["verify", str(cache), "--source", str(source), *options])


def clips(source: Path, folder: str) -> list[Path]:
    return sorted((source / folder).iterdir())


def test_copied_source_with_other_times_is_unchanged(built: Path, clip_source: Source) -> None:  # noqa: F811
    source = clip_source()
    for path in source.rglob("*.*"):
        os.utime(path, (1, 1))
    done = verify(built, source)
    assert done.exit_code == 0, done.output
    assert "14 samples unchanged, 0 changed, 0 vanished, 0 with new files, 0 not recorded" in done.output


def test_changed_and_vanished_files_are_named_and_exactly_their_rows_made_again(
    built: Path,  # noqa: F811
    clip_source: Source,
    generated_clips: Path,
    tmp_path: Path,
) -> None:
    source, cache = clip_source(), Path(shutil.copytree(built, tmp_path / "cache"))
    videos, skeletons = clips(source, "nturgb+d_rgb"), clips(source, "nturgb+d_skeletons")
    shutil.copyfile(videos[1], videos[0])
    shutil.copyfile(skeletons[12], skeletons[11])
    videos[3].unlink()
    ids = [path.stem for path in skeletons]
    done = verify(cache, source)
    assert done.exit_code == 2
    assert [f"{ids[0]}: changed video", f"{ids[11]}: changed skeleton", f"{ids[3]}: vanished video"] == [
        line for line in done.output.splitlines() if line.startswith(tuple(ids))
    ]
    last = done.output.strip().splitlines()[-1]
    assert (
        last.startswith("mmcl-cache: ") and f"`mmcl-cache retry {cache} --source {source} --changed`" in last
    )
    before = files(cache)
    again = retry(cache, source, "--changed")
    assert "2 samples tried again" in again.output
    strips = open_cache(cache).field("strip").load([ids[0], ids[1], ids[3]])
    assert strips.valid.all() and (strips["video_frames"][0] == strips["video_frames"][1])
    changed = {name for name, content in files(cache).items() if before[name] != content}
    assert changed == {
        *(f"{f}/default/0000{k}.h5" for f in ("strip", "text", "rgb") for k in (0, 2)),
        "skeleton/default/00002.h5",
    }
    after = verify(cache, source)
    assert "0 changed, 1 vanished" in after.output and "--changed" not in after.output
    shutil.copytree(generated_clips, source, dirs_exist_ok=True)
    assert retry(cache, source, "--changed").exit_code == 0
    assert every_file(cache) == every_file(built), "the first files again, the first bytes again"


def test_new_file_of_an_absent_row_is_told_and_is_no_difference(clip_source: Source, tmp_path: Path) -> None:
    source = clip_source()
    video = clips(source, "nturgb+d_rgb")[2]
    kept = video.rename(tmp_path / "kept.avi")
    assert build(source, tmp_path / "cache", "--field", "strip", "--field", "skeleton").exit_code == 0
    shutil.move(kept, video)
    done = verify(tmp_path / "cache", source)
    assert done.exit_code == 0 and "13 samples unchanged" in done.output and "1 with new files" in done.output


def strip_stamps(cache: Path) -> None:
    """Make a cache what an earlier version wrote: shards without stamps."""
    from mmcl_cache.store.marker import shard_path
    from mmcl_cache.store.shard import write_shard

    opened = open_cache(cache)
    for name in ("skeleton", "strip"):
        field = opened.field(name)
        for k in range(field.num_shards):
            rows = field.read_shard(k).rows()
            for row in rows:
                object.__setattr__(row, "source", "")
            write_shard(field.folder, k, field.fingerprint, field.columns, rows)
            with h5py.File(shard_path(field.folder, k)) as shard:
                assert "source" not in shard


def test_cache_of_an_earlier_version_opens_continues_and_says_not_recorded(
    built: Path,  # noqa: F811
    generated_clips: Path,
    tmp_path: Path,
) -> None:
    cache = Path(shutil.copytree(built, tmp_path / "cache"))
    fingerprint = open_cache(cache).field("strip").fingerprint
    strip_stamps(cache)
    done = verify(cache, generated_clips)
    assert done.exit_code == 0 and "0 samples unchanged" in done.output and "14 not recorded" in done.output
    (cache / "strip" / "default" / "00001.json").unlink()
    assert build(generated_clips, cache).exit_code == 0
    opened = open_cache(cache)
    assert opened.field("strip").fingerprint == fingerprint
    assert opened.field("strip").load(opened.samples.sample_ids).valid.all()


def test_stamp_sees_a_cut_and_other_ends_and_not_the_time(tmp_path: Path) -> None:
    content = os.urandom(5 * EDGE)
    path = tmp_path / "video.avi"

    def stamp(content: bytes, whole: bool = False) -> str:
        path.write_bytes(content)
        return stamp_path(path, whole)

    first = stamp(content)
    os.utime(path, (1, 1))
    assert stamp_path(path) == first and first.startswith(f"{5 * EDGE}:")
    assert len({first, stamp(content[:-1]), stamp(b"x" + content[1:]), stamp(content[:-1] + b"x")}) == 4
    middle = content[: 2 * EDGE] + b"x" + content[2 * EDGE + 1 :]
    assert stamp(middle) == first, "what is not read is not seen; the documentation says so"
    assert stamp(middle, whole=True) != stamp(content, whole=True)
    assert stamp_path(tmp_path / "gone.avi") == ""


def test_stamp_of_a_folder_of_images_sees_one_more_and_another_size(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.jpg").write_bytes(bytes(n + 1))
    first = stamp_path(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    assert stamp_path(tmp_path) == first
    (tmp_path / "1.jpg").write_bytes(bytes(9))
    assert stamp_path(tmp_path) != first


def test_files_of_another_data_set_are_refused_by_name(built: Path, tmp_path: Path) -> None:  # noqa: F811
    done = verify(built, tmp_path / "gone")
    assert done.exit_code == 2 and "does not exist" in done.output.strip().splitlines()[-1]


def test_cache_moves_between_folders_and_goes_on(
    built: Path,  # noqa: F811
    clip_source: Source,
    tmp_path: Path,
) -> None:
    """Half built in one place, moved with its source, finished, checked and read for training in another."""
    cache = Path(shutil.copytree(built, tmp_path / "here" / "cache"))
    for name in ("text/default/00001", "strip/default/00002", "text/default/00002", "rgb/default/00002"):
        (cache / f"{name}.json").unlink()
    source = clip_source()
    moved = tmp_path / "there" / "other name"
    moved.parent.mkdir()
    shutil.move(cache, moved)
    shutil.move(source, tmp_path / "elsewhere")
    assert build(tmp_path / "elsewhere", moved).exit_code == 0
    assert every_file(moved) == every_file(built)
    assert verify(moved, tmp_path / "elsewhere").exit_code == 0
    opened = open_cache(moved)
    settings = SplitSettings(clip=ClipSettings(length=16), text_variant="default", rgb_variant="default")
    batch = load_split(opened, opened.samples.sample_ids, "cpu", settings).batch(
        np.arange(14), None, train=False
    )
    assert batch.joints.shape == (14, 3, 16, 25, 2) and batch.text_valid.all() and batch.rgb_valid.all()
    told = b"".join(content for name, content in every_file(moved).items() if name.endswith((".json", ".h5")))
    assert str(tmp_path).encode() not in told, "no file of a cache names a folder of the machine"
