"""A build: plan, find the shards that are not complete, record them, encode them, write them.

    samples ─▶ decode processes ─▶ skeleton and strip shards ─▶ models ─▶ text and rgb shards
               (work ahead while a model runs)

A shard that is complete is never opened for writing again; one that is not is made from its beginning. So a build can
be killed at any moment, and the same command continues it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mmcl_cache.config import BuildConfig
from mmcl_cache.datasets import DATASETS, Dataset, Sample
from mmcl_cache.encoders import Batches, open_image_encoder, open_text_encoder
from mmcl_cache.errors import SourceError, UserError
from mmcl_cache.fields.features import make_feature_rows
from mmcl_cache.fields.recording import RecordedRows, Recorder
from mmcl_cache.fields.skeleton import skeleton_columns, skeleton_settings
from mmcl_cache.fields.strip import strip_columns, strip_settings
from mmcl_cache.progress import ProgressBoard
from mmcl_cache.store import FIELDS, Cache, Description, Field, Row, SampleTable, create_cache
from mmcl_cache.store.files import remove_temporaries
from mmcl_cache.store.lock import hold_lock
from mmcl_cache.video.decode import check_decoder
from mmcl_cache.video.workers import TaskPool

SHARDS_AHEAD = (
    2  # rows that may wait while a model runs, in shards; bounds memory and keeps the decoders busy
)
SPLIT_CODES = {"train": 1, "test": 2}


@dataclass
class BuildReport:
    """What a build did, and where its time went."""

    shards_found: int = 0
    shards_made: int = 0
    samples: int = 0
    wall_seconds: float = 0.0
    decode_cpu_seconds: float = 0.0
    encode_seconds: dict[str, float] = field(default_factory=dict)
    write_seconds: float = 0.0


def scan_dataset(config: BuildConfig) -> Dataset:
    """Find the samples of the data set, as far as `--limit` goes.

    Raises:
        UserError: an unknown data set.
        SourceError: its files are not where they should be.
    """
    if config.dataset not in DATASETS:
        raise UserError(f"no data set {config.dataset!r}; known: {', '.join(sorted(DATASETS))}")
    dataset = DATASETS[config.dataset](config.source, config.scan)
    if not dataset.samples:
        raise SourceError(f"{config.source}: no sample of {config.dataset} found")
    if config.limit is not None:
        dataset = replace(dataset, samples=dataset.samples[: config.limit])
    return dataset


def describe(dataset: Dataset) -> Description:
    return Description(
        dataset=dataset.name,
        classes=tuple(dataset.classes),
        layout=dataset.layout,
        num_bodies=dataset.num_bodies,
        protocols=tuple(sorted(dataset.splits)),
        channels=dataset.channels,
        clip=dict(dataset.clip),
        two_person=tuple(dataset.two_person),
    )


def tabulate_samples(dataset: Dataset) -> SampleTable:
    def column(name: str) -> np.ndarray:
        return np.asarray([getattr(s, name) for s in dataset.samples], dtype=np.int32)

    ids = [s.sample_id for s in dataset.samples]
    splits = {
        protocol: np.asarray([SPLIT_CODES.get(split.get(i, ""), 0) for i in ids], dtype=np.uint8)
        for protocol, split in dataset.splits.items()
    }
    return SampleTable(
        np.asarray(ids, dtype=str),
        column("label"),
        column("subject"),
        column("camera"),
        column("setup"),
        splits,
    )


def choose_fields(config: BuildConfig, dataset: Dataset) -> tuple[str, ...]:
    """The fields to build: those asked for, or all that the data set has something for.

    Raises:
        UserError: an unknown field, or one of images where no sample has a video.
    """
    has_video = any(s.video is not None for s in dataset.samples)
    has_skeleton = any(s.skeleton is not None for s in dataset.samples)
    if config.fields is None:
        return tuple(f for f in FIELDS if (has_skeleton if f == "skeleton" else has_video))
    for name in config.fields:
        if name not in FIELDS:
            raise UserError(f"no field {name!r}; there are: {', '.join(FIELDS)}")
        if name != "skeleton" and not has_video:
            raise UserError(f"--field {name}: no sample under {config.source} has a video")
        if name == "skeleton" and not has_skeleton:
            raise UserError(f"--field skeleton: no sample under {config.source} has a skeleton file")
    # Features are made from stored strips, so asking for them asks for strips.
    asked = set(config.fields) | ({"strip"} if {"text", "rgb"} & set(config.fields) else set())
    return tuple(f for f in FIELDS if f in asked)


class Build:
    """One build on its way. `run` does it; the rest is what `run` needs."""

    def __init__(self, config: BuildConfig, dataset: Dataset) -> None:
        check_decoder(config.decoder)
        self.config = config
        self.dataset = dataset
        self.report = BuildReport()
        names = choose_fields(config, dataset)
        self.encoders = self._open_encoders(names)
        description, table = describe(dataset), tabulate_samples(dataset)
        self.cache: Cache = create_cache(config.cache, description, table, config.shard_size)
        self.fields: dict[str, Field] = {}
        with hold_lock(self.cache.path):
            for name in names:
                self.fields[name] = self._add_field(name)

    def run(self, quiet: bool = False) -> BuildReport:
        """Make every shard that is not complete.

        Raises:
            UserError: another process is writing this cache, a model cannot go on, the disk is full.
        """
        started = time.monotonic()
        with hold_lock(self.cache.path):
            for each in self.fields.values():
                remove_temporaries(each.folder)
            pending = {name: set(each.pending()) for name, each in self.fields.items()}
            shards = sorted(set().union(*pending.values()))
            self.report.shards_found = self.cache.num_shards - len(shards)
            with self._board(pending, quiet) as board:
                for k in self._record(shards, pending, board):
                    self._encode(k, pending, board)
                    self.report.shards_made += 1
        self.report.wall_seconds = time.monotonic() - started
        return self.report

    def _open_encoders(self, names: Sequence[str]) -> dict[str, Batches]:
        config = self.config
        found = {}
        if "text" in names:
            found["text"] = open_text_encoder(
                config.vqa,
                config.questions,
                choices=config.choices,
                device=config.device,
                dtype=config.dtype,
                image_size=config.image_size,
            )
        if "rgb" in names:
            found["rgb"] = open_image_encoder(config.cnn, device=config.device, dtype=config.dtype)
        return {name: Batches(encoder, config.batch_size) for name, encoder in found.items()}

    def _add_field(self, name: str) -> Field:
        variant = self.config.variant(name)
        if name == "skeleton":
            return self.cache.add_field(
                name, variant, skeleton_settings(self.dataset), skeleton_columns(self.dataset)
            )
        if name == "strip":
            settings = self.config.strip
            return self.cache.add_field(
                name, variant, strip_settings(self.dataset, settings), strip_columns(settings)
            )
        encoder = self.encoders[name].encoder
        settings_json: dict[str, Any] = {**encoder.settings, "batch_size": self.config.batch_size}
        return self.cache.add_field(
            name, variant, settings_json, encoder.columns, self.fields["strip"], encoder.info
        )

    def _board(self, pending: dict[str, set[int]], quiet: bool) -> ProgressBoard:
        def samples(names: Sequence[str]) -> int:
            shards = set().union(*(pending.get(n, set()) for n in names))
            return sum(len(self.cache.shard_ids(k)) for k in shards)

        totals = {"decode": samples(("skeleton", "strip"))}
        totals |= {name: samples((name,)) for name in self.encoders}
        return ProgressBoard({stage: n for stage, n in totals.items() if n}, quiet)

    def _record(self, shards: list[int], pending: dict[str, set[int]], board: ProgressBoard) -> Iterator[int]:
        """Write skeleton and strip shards; yield every shard once its strips are on disk."""
        config, none = self.config, set[int]()
        to_record = [
            k for k in shards if k in pending.get("skeleton", none) or k in pending.get("strip", none)
        ]
        # Strips that are there already need no decoding: their features can start at once.
        yield from (k for k in shards if k not in set(to_record))
        if not to_record:
            return
        recorder = Recorder.of(
            self.dataset,
            config.source,
            config.strip if "strip" in self.fields else None,
            "skeleton" in self.fields,
            config.decoder,
        )
        size = self.cache.shard_size
        waiting: dict[int, dict[str, RecordedRows]] = {k: {} for k in to_record}
        where: list[tuple[int, Sample]] = [
            (k, s) for k in to_record for s in self.dataset.samples[k * size : (k + 1) * size]
        ]
        ahead = SHARDS_AHEAD * size
        with TaskPool(recorder, config.workers, config.deadline, max_pending=ahead) as pool:
            for result in pool.run(s for _, s in where):
                k, sample = where[result.index]
                waiting[k][sample.sample_id] = result.value or recorder.failed(sample, result.error or "")
                self.report.samples += 1
                self.report.decode_cpu_seconds += result.cpu_seconds
                board.advance("decode")
                if len(waiting[k]) == len(self.cache.shard_ids(k)):
                    made = waiting.pop(k)
                    for name in ("skeleton", "strip"):
                        if k in pending.get(name, none):
                            self._write(
                                name, k, [getattr(made[i], name) for i in self.cache.shard_ids(k).tolist()]
                            )
                    yield k

    def _encode(self, k: int, pending: dict[str, set[int]], board: ProgressBoard) -> None:
        """Write the feature shards of shard k."""
        wanted = [name for name in self.encoders if k in pending[name]]
        if not wanted:
            return
        strips = self.fields["strip"].read_shard(k)
        for name in wanted:
            started = time.monotonic()
            rows = make_feature_rows(self.encoders[name], strips, self.config.batch_size)
            spent = self.report.encode_seconds
            spent[name] = spent.get(name, 0.0) + time.monotonic() - started
            self._write(name, k, rows)
            board.advance(name, len(rows))

    def _write(self, name: str, k: int, rows: list[Row]) -> None:
        started = time.monotonic()
        try:
            self.fields[name].write_shard(k, rows)
        except OSError as error:
            raise UserError(
                f"{self.fields[name].folder}: shard {k} could not be written ({error.strerror or error}); "
                "finished shards are kept: mend the disk and run the same command again"
            ) from None
        self.report.write_seconds += time.monotonic() - started
