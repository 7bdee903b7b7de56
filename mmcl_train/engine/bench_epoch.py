"""One whole epoch as `mmcl-train run` trains it, with co-learning and without, and what a training would take so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from mmcl_cache.terminal.display import Display
from mmcl_cache.terminal.events import Event
from mmcl_train.config import RunConfig
from mmcl_train.settings import override

from .assembly import create_model_of
from .bench import CO_LEARNING, SKELETON, describe_components
from .bench_variants import CLIPS, EPOCHS
from .floors import Peaks, count_distinct, count_layers, measure_peaks, total_of
from .inputs import InputLoader, Inputs, resolve
from .stopwatch import Times, describe_machine, ratio
from .trainer import train

AIM_MINUTES = 20  # of EPOCHS × CLIPS on one H200


@dataclass(frozen=True)
class Epoch:
    """Where one epoch's seconds went.

    Attributes:
        clips: trained.
        load: reading the cache until its samples lie where they are trained from, on the wall; once a run.
        warm_up: what the steps before the first look took beyond what as many took later: compiling, choosing of
            algorithms; once a run. 0 where an epoch has one look only.
        steps: clips cut, forward, backward, optimiser, looks at the losses; warm-up included.
        test: the held-out samples.
        checkpoint: the epoch's records and its checkpoint, on the wall.
        floor: seconds that steps and test cannot do without, of `floors.count_layers`.
        device: its type; on a processor, ratios are of processor time.
    """

    clips: int
    load: float
    warm_up: Times
    steps: Times
    test: Times
    checkpoint: float
    floor: float
    device: str

    @property
    def wall(self) -> float:
        """All of it but the load."""
        return self.steps.wall + self.test.wall + self.checkpoint

    @property
    def processor(self) -> float:
        """Of steps and test, over all threads."""
        return self.steps.processor + self.test.processor

    @property
    def settled(self) -> Times:
        """An epoch after the first one: without the warm-up. Ratios are of its `work`."""
        processor = self.processor - self.warm_up.processor
        return Times(self.wall - self.warm_up.wall, processor if self.device == "cpu" else 0.0)

    @property
    def rate(self) -> float:
        """Clips a second of a settled epoch, everything counted."""
        return self.clips / self.settled.wall

    @property
    def hours(self) -> float:
        """Of EPOCHS epochs of CLIPS clips, and one warm-up."""
        return (EPOCHS * CLIPS / self.rate + self.warm_up.wall) / 3600

    def show(self, name: str) -> str:
        """One row of the table."""
        return (
            f"  {name:<14}{self.load:8.1f}{self.warm_up.wall:9.1f}{self.steps.wall:9.1f}{self.test.wall:8.1f}"
            f"{self.checkpoint:8.2f}{self.wall:9.1f}{self.processor:13.1f}{self.floor:9.1f}"
            f"{self.settled.work / self.floor:9.2f}{self.rate:9.1f}"
            f"{(self.test.wall + self.checkpoint) / self.wall:11.1%}{self.hours:8.2f}"
        )


HEADER = (
    f"  {'':<14}{'load s':>8}{'warm-up':>9}{'steps s':>9}{'test s':>8}{'save s':>8}{'epoch s':>9}"
    f"{'processor s':>13}{'floor s':>9}{'÷ floor':>9}{'clips/s':>9}{'test, save':>11}{'hours':>8}"
)


class EpochWatch(Display):
    """Notes when a run tells how far it is. Silent.

    Attributes:
        marks: clips done and the clocks at the start, at each look at the losses, and at the epoch's end, when the
            test is over.
    """

    def __init__(self) -> None:
        self.marks: list[tuple[int, Times]] = []

    def show(self, event: Event) -> None:
        if event["event"] in ("progress", "epoch"):
            done = event.get("done", self.marks[-1][0] if self.marks else 0)
            self.marks.append((done, Times(time.perf_counter(), time.process_time())))


def bench_epoch(
    config: RunConfig, cache: Path, folder: Path, device: torch.device, rounds: int
) -> Iterator[str]:
    """A table: one epoch with co-learning and one without, each a run of `trainer.train`, as lines.

    A tenth of the training samples is held out, of every class the same share (so of few samples none), and tested
    after the epoch, as a run does it. Not counted in the epoch:
    the load, and what a run does once after its last epoch (scores, model file).

    Args:
        config: whose settings the runs take, but for one epoch, the samples held out and the device.
        cache: with the fields that co-learning asks for.
        folder: for two runs; removed by whoever made it.
        device: that trains.
        rounds: of the measure that floors are taken from; the best counts.
    """
    settings = ["schedule.epochs=1", "data.val=samples", f"train.device={device}"]
    config = override(config, settings)
    yield describe_machine(device)
    yield describe_components(device)
    is_narrow = config.train.precision == "bf16"
    peaks = measure_peaks(device, torch.bfloat16 if is_narrow else torch.float32, rounds)
    yield (
        f"floors: by {peaks.flops / 1e9:.0f} GFLOP/s of a large matrix product and {peaks.bytes / 1e9:.1f} GB/s of a "
        f"large copy, measured now; of the skeleton model, its steps and its test, without the method"
    )
    found: dict[str, Epoch] = {}
    for name, method in ((CO_LEARNING, "true"), (SKELETON, "false")):
        loader = InputLoader(cache, device)
        asked = resolve(override(config, [f"method.enabled={method}"]), loader.cache.description)
        start = time.perf_counter()
        inputs = loader.load(asked, lambda line: None)
        loaded = time.perf_counter() - start
        if not found:
            yield (
                f"{asked.model.backbone}, width {asked.model.width:g}, {asked.clip.length} frames, "
                f"{inputs.train.num_bodies} bodies, batch {asked.train.batch}, {asked.train.precision}"
                f"{', compiled' if asked.train.compile else ''}; one epoch of {len(inputs.train)} clips, "
                f"then {count_tested(inputs)} tested"
            )
            yield HEADER
        found[name] = time_epoch(asked, inputs, folder / name, loaded, peaks)
        yield found[name].show(name)
        del loader, inputs  # the next load finds the memory free
    yield ratio("co-learning : skeleton-only", found[CO_LEARNING].settled, found[SKELETON].settled)
    yield (
        f"  hours: of {EPOCHS} epochs of {CLIPS:,} clips; the aim on one H200: under {AIM_MINUTES} minutes "
        f"({AIM_MINUTES / 60:.2f} hours), {EPOCHS * CLIPS / (60 * AIM_MINUTES):,.0f} clips/s"
    )


def time_epoch(config: RunConfig, inputs: Inputs, out: Path, loaded: float, peaks: Peaks) -> Epoch:
    """Train one epoch in a new run folder.

    Args:
        config: resolved, of one epoch.
        loaded: seconds that the inputs took.
        peaks: of the device, for the floor.
    """
    watch = EpochWatch()
    result = train(config, inputs, out, watch)
    (_, start), (seen, first), (clips, end), (_, tested) = (watch.marks[at] for at in (0, 1, -2, -1))
    head, tail = subtract(first, start), subtract(end, first)
    later = (
        seen / (clips - seen) if clips > seen else 0.0
    )  # share of the tail that the head should have taken
    return Epoch(
        clips=clips,
        load=loaded,
        warm_up=Times(
            max(head.wall - later * tail.wall, 0.0) if later else 0.0,
            max(head.processor - later * tail.processor, 0.0) if later else 0.0,
        ),
        steps=subtract(end, start),
        test=subtract(tested, end),
        checkpoint=max(result["seconds"] - subtract(tested, start).wall, 0.0),
        floor=count_floor(config, inputs, clips, peaks),
        device=inputs.train.device.type,
    )


def subtract(end: Times, start: Times) -> Times:
    """What went by between two readings of the clocks."""
    return Times(end.wall - start.wall, end.processor - start.processor)


def count_tested(inputs: Inputs) -> int:
    """Samples held out."""
    return 0 if inputs.val is None else len(inputs.val)


def count_floor(config: RunConfig, inputs: Inputs, clips: int, peaks: Peaks) -> float:
    """Least seconds of the skeleton model's steps on `clips` training clips and of its forward passes over val."""
    split = inputs.train
    rows = torch.arange(config.train.batch) % len(split)
    joints = split.batch(rows, torch.Generator(split.device).manual_seed(1), train=True).joints
    item, share = 2 if config.train.precision == "bf16" else 4, count_distinct(joints)
    seconds = 0.0
    for count, training in ((clips, True), (count_tested(inputs), False)):
        model = create_model_of(config, inputs)
        layers = count_layers(model, joints.shape, item_bytes=item, training=training, share=share)
        seconds += count / len(joints) * total_of(layers).seconds(peaks)
    return seconds
