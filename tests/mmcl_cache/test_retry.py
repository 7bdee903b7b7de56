"""`retry` makes failed rows again and no others; killed at any moment, every shard is the old one or the new one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mmcl_cache.cli import main
from mmcl_cache.store import Cache, Field, Row, open_cache, verify
from mmcl_cache.store.files import remove_temporaries
from tests.mmcl_cache.encoders.test_detector import make_detector
from tests.mmcl_cache.store.conftest import make_cache, make_row  # noqa: F401
from tests.mmcl_cache.test_build import build, built, files  # noqa: F401

Source = Callable[[], Path]


def retry(cache: Path, source: Path, *options: str) -> Result:
    words = ["retry", str(cache), "--source", str(source), "--workers", "0", *options]
    return CliRunner().invoke(main, words, catch_exceptions=False)


def every_file(cache: Path) -> dict[str, bytes]:
    found = {p.relative_to(cache): p for p in sorted(cache.rglob("*")) if p.is_file()}
    return {str(name): path.read_bytes() for name, path in found.items() if name.name != ".build.lock"}


def damage(source: Path) -> list[str]:
    """Ids of five clips: two bad videos, a bad skeleton, a video and a skeleton that are not there."""
    videos = sorted((source / "nturgb+d_rgb").iterdir())
    skeletons = sorted((source / "nturgb+d_skeletons").iterdir())
    videos[0].write_bytes(b"not a video")
    os.truncate(videos[6], videos[6].stat().st_size // 2)
    os.truncate(skeletons[7], 4000)
    videos[8].unlink()
    skeletons[9].unlink()
    return [skeletons[n].stem for n in (0, 6, 7, 8, 9)]


@pytest.fixture
def failed(clip_source: Source, generated_clips: Path, tmp_path: Path) -> tuple[Path, Path, list[str]]:
    """A cache with bad rows, the source after everything in it was mended, and the ids."""
    source, cache = clip_source(), tmp_path / "cache"
    ids = damage(source)
    assert build(source, cache).exit_code == 0
    shutil.copytree(generated_clips, source, dirs_exist_ok=True)
    return cache, source, ids


def test_retry_with_mended_files_ends_at_the_bytes_of_an_undisturbed_build(
    built: Path,  # noqa: F811
    failed: tuple[Path, Path, list[str]],
) -> None:
    cache, source, ids = failed
    before = files(cache)
    done = retry(cache, source)
    assert done.exit_code == 0, done.output
    assert f"{ids[0]}: strip/default failed → ok" in done.output
    assert f"{ids[0]}: text/default absent → ok" in done.output
    assert f"{ids[2]}: skeleton/default failed → ok" in done.output
    assert f"{ids[2]}: strip/default made again" in done.output, "it had no skeleton to be cropped by"
    assert "3 samples tried again: 3 mended, 1 made again, 0 still failed" in done.output
    after = files(cache)
    assert {n for n in after if after[n] != before[n]} == {
        *(f"{f}/default/0000{k}.h5" for f in ("strip", "text", "rgb") for k in (0, 1)),
        "skeleton/default/00001.h5",
    }
    assert verify(open_cache(cache)) == []
    again = retry(cache, source, "--absent")
    assert "2 samples tried again: 2 mended" in again.output
    assert every_file(cache) == every_file(built)


def test_row_that_is_still_bad_keeps_its_shard_and_says_why(clip_source: Source, tmp_path: Path) -> None:
    source, cache = clip_source(), tmp_path / "cache"
    ids = damage(source)
    assert build(source, cache).exit_code == 0
    before = every_file(cache)
    done = retry(cache, source)
    assert done.exit_code == 0 and f"{ids[0]}: strip/default still failed: nturgb+d_rgb/" in done.output
    assert "3 still failed; 0 shards replaced" in done.output
    assert every_file(cache) == before


def test_dry_run_lists_and_writes_nothing(failed: tuple[Path, Path, list[str]]) -> None:
    cache, source, ids = failed
    before = every_file(cache)
    done = retry(cache, source, "--dry-run", "--absent")
    assert f"{ids[1]}: strip/default, text/default, rgb/default" in done.output
    assert all(sample_id in done.output for sample_id in ids) and "5 samples would be tried" in done.output
    assert every_file(cache) == before


def test_nothing_to_retry_is_said(built: Path, generated_clips: Path) -> None:  # noqa: F811
    done = retry(built, generated_clips)
    assert done.exit_code == 0 and "nothing to retry" in done.output


def test_every_variant_made_of_a_retried_strip_follows_it(
    generated_clips: Path, clip_source: Source, tmp_path: Path
) -> None:
    def make(source: Path, cache: Path) -> None:
        assert build(source, cache).exit_code == 0
        other = ("--field", "text", "--question", "what object is held?", "--variant", "text=object")
        assert build(source, cache, *other, "--choice", "cup", "--max-tokens", "6").exit_code == 0

    source = clip_source()
    damage(source)
    make(source, tmp_path / "cache")
    shutil.copytree(generated_clips, source, dirs_exist_ok=True)
    make(source, tmp_path / "good")
    assert retry(tmp_path / "cache", source, "--absent").exit_code == 0
    assert every_file(tmp_path / "cache") == every_file(tmp_path / "good")


def test_good_row_is_not_replaced_by_a_bad_one(
    built: Path,  # noqa: F811
    clip_source: Source,
    tmp_path: Path,
) -> None:
    source, cache = clip_source(), Path(shutil.copytree(built, tmp_path / "cache"))
    ids = damage(source)
    done = retry(cache, source, "--sample", ids[0], "--sample", ids[3])
    assert f"{ids[0]}: strip/default kept, since its files give no row now" in done.output
    assert f"{ids[3]}: strip/default kept, since its files give no row now: no video" in done.output
    assert every_file(cache) == every_file(built)


def test_retry_that_would_make_rows_otherwise_names_both_values_and_touches_nothing(
    failed: tuple[Path, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, source, _ = failed
    before = every_file(cache)
    monkeypatch.setattr("mmcl_cache.fields.strip.version", lambda name: "99.1.2")
    done = retry(cache, source)
    last = done.output.strip().splitlines()[-1]
    stored = open_cache(cache).field("strip").settings["versions"]["pillow"]
    assert done.exit_code == 2
    assert f'settings.versions.pillow is "{stored}" on disk, "99.1" asked for' in last
    assert every_file(cache) == before


def test_retry_stopped_between_two_shards_goes_on_to_the_same_bytes(
    built: Path,  # noqa: F811
    failed: tuple[Path, Path, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache, source, _ = failed
    replace_shard = Field.replace_shard
    for stop in (1, 3, 6):
        copy = Path(shutil.copytree(cache, tmp_path / f"stopped-{stop}"))
        done: list[str] = []

        def stopped(
            field: Field, index: int, rows: list[Row], stop: int = stop, done: list[str] = done
        ) -> object:
            if len(done) == stop:
                raise KeyboardInterrupt
            done.append(field.name)
            return replace_shard(field, index, rows)

        monkeypatch.setattr(Field, "replace_shard", stopped)
        retry(copy, source, "--absent")
        assert len(done) == stop and every_file(copy) != every_file(built)
        monkeypatch.setattr(Field, "replace_shard", replace_shard)
        assert retry(copy, source, "--absent").exit_code == 0
        assert every_file(copy) == every_file(built), stop


def test_strips_of_a_detector_are_retried_with_it(
    clip_source: Source, generated_clips: Path, tmp_path: Path
) -> None:
    model = make_detector(tmp_path / "detector", {0: "person", 1: "chair"})
    source, cache = clip_source(), tmp_path / "cache"
    damage(source)
    words = ["--field", "strip", "--limit", "6", "--crop", f"detector:{model}"]
    assert build(source, cache, *words).exit_code == 0
    shutil.copytree(generated_clips, source, dirs_exist_ok=True)
    assert "1 mended" in retry(cache, source).output
    assert open_cache(cache).field("strip").load(open_cache(cache).samples.sample_ids).valid.all()
    shutil.move(model, tmp_path / "elsewhere")
    lost = retry(cache, source, "--sample", str(open_cache(cache).samples.sample_ids[0]))
    assert lost.exit_code == 2 and str(model) in lost.output
    words = ["--sample", str(open_cache(cache).samples.sample_ids[0]), "--model"]
    assert retry(cache, source, *words, f"strip/default={tmp_path / 'elsewhere'}").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sample", "nobody"], "no such sample"),
        (["--model", "text=x"], "FIELD/VARIANT=MODEL"),
        (["--source", "/no/such/folder"], "/no/such/folder does not exist"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(
    built: Path,  # noqa: F811
    generated_clips: Path,
    words: list[str],
    message: str,
) -> None:
    done = retry(built, generated_clips, *words)
    last = done.output.strip().splitlines()[-1]
    assert done.exit_code == 2 and message in last and last.startswith("mmcl-cache: "), done.output


def replace_until(cache: Cache, step: int, after: bool) -> bool:
    """Replace a shard in a process of its own that dies at its n-th change of a name; False once it has no such."""
    child = os.fork()
    if child == 0:
        calls = [0]

        def dying(change: Callable[..., None]) -> Callable[..., None]:
            def run(*arguments: object, **options: object) -> None:
                calls[0] += 1
                if calls[0] == step and not after:
                    os._exit(9)
                change(*arguments, **options)
                if calls[0] == step:
                    os._exit(9)

            return run

        os.replace, os.fsync = dying(os.replace), dying(os.fsync)
        Path.unlink = dying(Path.unlink)  # type: ignore[method-assign]
        field = cache.field("skeleton")
        rows = [row_of(row, field) for row in field.read_shard(0).rows()]
        field.replace_shard(0, rows)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def row_of(row: Row, field: Field) -> Row:
    if row.status != "failed":
        return row
    good = make_row("S007")
    return Row(row.sample_id, "ok", "", good.values)


@pytest.mark.parametrize("after", [False, True])
def test_kill_at_any_step_of_a_replacement_leaves_the_old_shard_or_the_new_one(
    make_cache: Callable[..., Cache],  # noqa: F811
    after: bool,
) -> None:
    seen = set()
    for step in range(1, 40):
        cache = make_cache(f"cache-{step}")
        killed = replace_until(cache, step, after)
        opened = open_cache(cache.path)
        assert verify(opened) == [], f"step {step}"
        field = opened.field("skeleton")
        part = field.load(field.shard_ids(0))
        assert len(part) == 5
        seen.add("new" if part.valid[3] else "old")
        others = [n for n in range(5) if n != 3]
        assert [part.reasons[n] for n in others] == [
            make_row(i).reason for i in field.shard_ids(0)[others].tolist()
        ]
        remove_temporaries(field.folder)
        field.finish_replacements()
        assert verify(open_cache(cache.path)) == []
        assert not [p.name for p in field.folder.iterdir() if "new" in p.name or "tmp" in p.name]
        assert bool(field.load(field.shard_ids(0)).valid[3]) == bool(part.valid[3])
        if not killed:
            break
    assert not killed and seen == {"old", "new"} and step > 8
