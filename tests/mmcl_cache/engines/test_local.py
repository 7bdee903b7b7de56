"""One process: threads and windows change no byte; memory that runs out and full disks cost little."""

from __future__ import annotations

import errno
import itertools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mmcl_cache.engines.job as job_module
import mmcl_cache.engines.shard as shard_module
import mmcl_cache.store.field as field_module
from mmcl_cache.build import Build, run_build, scan_dataset
from mmcl_cache.config import BuildConfig
from mmcl_cache.encoders import Encoder
from mmcl_cache.encoders.preparation import BytePreparation
from mmcl_cache.engines.parts import Part, list_devices
from mmcl_cache.errors import CacheError, UserError
from mmcl_cache.store import Cache, Column, open_cache
from mmcl_cache.store.lock import hold_lock

Files = Callable[[Path], dict[str, bytes]]


def config_of(builder: Any, cache: Path, **more: Any) -> BuildConfig:
    given = {"workers": 0, "shard_size": 3, "batch_size": 2, "vqa": str(builder.vqa), "cnn": str(builder.cnn)}
    return BuildConfig("demo", builder.source, cache, **{**given, **more})


def test_threads_and_decode_processes_change_no_byte(
    builder: Any, made: Path, files: Files, tmp_path: Path
) -> None:
    for n, (workers, threads) in enumerate(((2, 3), (0, 1))):
        run_build(config_of(builder, tmp_path / str(n), workers=workers, model_threads=threads), quiet=True)
        assert files(tmp_path / str(n)) == files(made)


def test_build_gives_torch_its_threads_back(builder: Any, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    report = run_build(config_of(builder, tmp_path / "cache", limit=2), quiet=True)
    assert torch.get_num_threads() == before
    assert report.samples == 2 and report.shards_made == 1 and set(report.model_seconds) == {"text", "rgb"}
    assert report.prepare_seconds > 0 and report.write_seconds > 0 and report.decode_seconds > 0


def test_features_of_a_lost_shard_are_made_from_strips_on_disk(
    builder: Any, made: Path, files: Files, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    run_build(config_of(builder, cache), quiet=True)
    for name in ("text", "rgb"):
        (cache / name / "default" / "00001.json").unlink()
    report = run_build(config_of(builder, cache), quiet=True)
    assert (report.shards_made, report.samples) == (1, 0)
    assert files(cache) == files(made)


class Forgetful:
    """An image encoder whose memory holds three images."""

    columns = (Column("logits", "float16", (1,)), Column("pooled", "float16", (1,)))

    def __init__(self, room: int) -> None:
        self.settings: dict[str, Any] = {"encoder": "forgetful"}
        self.info: dict[str, Any] = {"device": "cpu"}
        self.room, self.asked = room, list[int]()

    def encode(self, images: Sequence[Image.Image]) -> list[dict[str, np.ndarray | str]]:
        self.asked.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        value = [np.asarray([np.asarray(image).mean() / 300], dtype=np.float16) for image in images]
        return [{"logits": v, "pooled": v} for v in value]


def build_with(encoder: Encoder, builder: Any, cache: Path, **more: Any) -> Cache:
    config = config_of(builder, cache, fields=("rgb",), batch_size=8, shard_size=8, **more)
    build = Build(config, scan_dataset(config), {"rgb": encoder})
    build.run(quiet=True)
    return build.cache


class Awaited:
    """A model on a GPU that does not go on before so many windows were prepared; counts who is in it at once."""

    columns = Forgetful.columns

    def __init__(self, windows: int) -> None:
        self.settings: dict[str, Any] = {"encoder": "blip-vqa"}
        self.info: dict[str, Any] = {"device": "cuda:0"}
        self.preparation = BytePreparation(
            lambda images: map(np.asarray, images),
            *(1 / 255, [0.5] * 3, [0.5] * 3),
            device=torch.device("cpu"),
            dtype=torch.float32,
        )
        self._ahead = threading.Event()
        self._lock, self._inside, self.most = threading.Lock(), 0, 0
        self._missing = windows

    def prepare(self, images: Sequence[Image.Image]) -> torch.Tensor:
        with self._lock:
            self._missing -= 1
            if self._missing == 0:
                self._ahead.set()
        return self.preparation.load(images)

    def encode_prepared(self, loaded: torch.Tensor) -> list[dict[str, np.ndarray | str]]:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        assert self._ahead.wait(20), "no window was prepared while the model worked"
        value = self.preparation.finish(loaded).mean((1, 2, 3)).numpy().astype(np.float16)
        with self._lock:
            self._inside -= 1
        return [{"logits": v[None], "pooled": v[None]} for v in value]

    def encode(self, images: Sequence[Image.Image]) -> list[dict[str, np.ndarray | str]]:
        return self.encode_prepared(self.prepare(images))


def test_windows_are_prepared_by_all_cores_while_a_gpu_works_on_others(
    builder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for n, cores in enumerate((6, 1)):
        monkeypatch.setattr(job_module, "share_of_cores", lambda config, cores=cores: cores)
        model = Awaited(min(cores, 5))
        config = config_of(
            builder, tmp_path / str(n), fields=("rgb",), limit=8, batch_size=1, model_threads=min(cores, 2)
        )
        build = Build(config, scan_dataset(config), {"rgb": model})
        build.run(quiet=True)
        assert model.most == min(cores, 2)
        made.append(build.cache.field("rgb").load(build.cache.samples.sample_ids)["logits"])
    assert np.array_equal(*made)


def test_a_strip_is_opened_once_for_all_models(
    builder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    open_strips = shard_module.open_strips

    def count(strips: Any) -> Any:
        opened.append(len(strips))
        return open_strips(strips)

    monkeypatch.setattr(shard_module, "open_strips", count)
    run_build(config_of(builder, tmp_path / "cache", limit=7), quiet=True)
    assert sum(opened) == 7 and max(opened) == 2


def test_memory_that_runs_out_halves_the_batch_for_good_and_loses_no_row(
    builder: Any, tmp_path: Path
) -> None:
    small, large = Forgetful(3), Forgetful(99)
    tight = build_with(small, builder, tmp_path / "tight").field("rgb")
    ample = build_with(large, builder, tmp_path / "ample").field("rgb")
    ids = open_cache(tmp_path / "tight").samples.sample_ids
    assert tight.load(ids).valid.all()
    assert (tight.load(ids)["logits"] == ample.load(ids)["logits"]).all()
    assert small.asked == [8, 4, *[2] * 4, *[2] * 3] and large.asked == [8, 8]


def test_memory_too_small_for_one_image_is_one_line_and_keeps_the_strips(
    builder: Any, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="out of memory with a single image"):
        build_with(Forgetful(0), builder, tmp_path / "cache")
    assert open_cache(tmp_path / "cache").field("rgb").pending() == [0, 1]
    assert open_cache(tmp_path / "cache").field("strip").pending() in ([], [1])


def test_disk_that_fills_up_keeps_finished_shards_and_the_same_command_continues(
    builder: Any, made: Path, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = itertools.count()
    write = field_module.write_shard

    def fill(*arguments: Any) -> Any:
        if next(writes) >= 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)

    monkeypatch.setattr(field_module, "write_shard", fill)
    with pytest.raises(UserError, match=r"could not be written \(No space left on device\); finished shards"):
        run_build(config_of(builder, tmp_path / "cache"), quiet=True)
    kept = files(tmp_path / "cache")
    assert len(kept) == 6 and kept.items() <= files(made).items()
    monkeypatch.undo()
    run_build(config_of(builder, tmp_path / "cache"), quiet=True)
    assert files(tmp_path / "cache") == files(made)


def test_parts_make_disjoint_shards_and_together_the_whole(
    builder: Any, made: Path, files: Files, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    counts = [run_build(config_of(builder, cache), part=f"{i}/3", quiet=True).shards_made for i in (2, 0, 1)]
    assert sum(counts) == 5 and max(counts) == 2
    assert files(cache) == files(made)


def test_part_waits_for_no_lock_of_another_part_but_for_one_of_a_whole_build(
    builder: Any, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    run_build(config_of(builder, cache), part="0/9", quiet=True)
    with (
        hold_lock(cache),
        pytest.raises(CacheError, match=r"being written by process \d+ on .+ since \d{4}-"),
    ):
        run_build(config_of(builder, cache), part="1/9", quiet=True)


@pytest.mark.parametrize("text", ["3", "3/3", "-1/3", "a/b", "0/0", "1/"])
def test_part_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="say I/N"):
        Part.parse(text)


def test_every_gpu_gets_a_process_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert list_devices("auto") == ["cuda:0", "cuda:1", "cuda:2"]
    assert list_devices("cuda:1") == ["cuda:1"] and list_devices("cuda:0, cuda:2") == ["cuda:0", "cuda:2"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert list_devices("auto") == ["auto"]
    with pytest.raises(UserError, match="between the commas"):
        list_devices("cuda:0,")


def test_unknown_engine_names_those_there_are(builder: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="known: local, ray"):
        run_build(config_of(builder, tmp_path / "cache"), engine="spark")


def test_question_templates_are_asked_by_name(builder: Any, tmp_path: Path) -> None:
    question = "whether:target=people,action=holding objects"
    config = config_of(builder, tmp_path / "cache", fields=("text",), questions=(question,), limit=2)
    build = Build(config, scan_dataset(config))
    assert build.fields["text"].settings["questions"] == ["whether the people are holding objects?"]


def test_options_of_the_encoder_reach_its_settings(builder: Any, tmp_path: Path) -> None:
    more = {"fields": ("text",), "limit": 2, "enc_token": True, "max_tokens": 4}
    config = config_of(builder, tmp_path / "cache", **more)
    settings = Build(config, scan_dataset(config)).fields["text"].settings
    assert settings["enc_token"] is True and settings["max_tokens"] == 4
