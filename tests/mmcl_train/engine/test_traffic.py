"""Bytes of a step are those that its operations read and write, counted by hand here; the table has every row."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import SGD

from mmcl_train.backbones.norm import is_quick
from mmcl_train.config import RunConfig
from mmcl_train.data.batch import Batch
from mmcl_train.engine import bench_traffic as module
from mmcl_train.engine.bench_data import write_random_cache
from mmcl_train.engine.bench_traffic import Way, bench_traffic, list_ways, read_batch
from mmcl_train.engine.compiled_traffic import LOOPS, count_compiled_step
from mmcl_train.engine.inputs import InputLoader, Inputs, resolve
from mmcl_train.engine.traffic import AGAIN, Kept, Module, Moved, Step, Traffic, count_step
from mmcl_train.kernels import runs_fused
from mmcl_train.settings import override

SMALL = ["model.width=0.125", "clip.length=16", "data.val=none", "train.batch=4"]
NAMES = (
    "plain formulation, float32",
    "ours, float32, plain kernels",
    "ours, bfloat16, plain kernels",
    "ours, bfloat16, fused kernels",
    "ours, bfloat16, fused kernels, compiled",
    "the same, turned for convolutions",
)
Loaded = tuple[RunConfig, Inputs]
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="the fused product is counted where triton is installed",
)

# Of the layers below, float32: data (2, 3, 5, 6), result (2, 4, 5, 6), weight (4, 3), a value for each channel.
DATA, RESULT, WEIGHT, CHANNELS, ONE = 4 * 180, 4 * 240, 4 * 12, 4 * 4, 4


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    cache = write_random_cache(tmp_path_factory.mktemp("bench") / "cache", 8)
    loader = InputLoader(Path(cache.path), torch.device("cpu"))
    config = resolve(override(RunConfig(), SMALL), cache.description)
    return config, loader.load(config, lambda line: None)


@pytest.fixture
def fake() -> Iterator[None]:
    with FakeTensorMode():
        yield


def count(part: Callable[[], object]) -> Traffic:
    with Traffic() as traffic:
        part()
    return traffic


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))


def step_of_layers(create: Callable[[], nn.Module] = layers, *, narrow: bool = False) -> Step:
    labels, valid = torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.bool)
    batch = Batch(torch.empty(2, 3, 5, 6), labels, None, valid, None, valid, labels)

    def loss_of(model: Module, batch: Batch) -> Tensor:
        made: Tensor = model(batch.joints)
        return made.float().sum()

    def optimiser_of(model: nn.Module) -> SGD:
        return SGD(model.parameters(), lr=0.1, momentum=0.9)

    return Step(create, batch, loss_of, optimiser_of, narrow)


def test_convolution_norm_and_relu_move_what_they_read_and_write() -> None:
    moved = count_step(step_of_layers())
    # The bias is added in a pass of its own; statistics are read before values; gradients of weight and bias are two.
    expected = {
        "aten.convolution": DATA + WEIGHT + CHANNELS + 3 * RESULT,
        "aten.native_batch_norm": 3 * RESULT + 6 * CHANNELS,
        "aten.relu_": 2 * RESULT,
        "aten.sum": RESULT + ONE,
        "aten.ones_like": 2 * ONE,
        "aten.threshold_backward": ONE + 2 * RESULT,
        "aten.native_batch_norm_backward": 5 * RESULT + 7 * CHANNELS,
        "aten.convolution_backward": 2 * RESULT + DATA + 2 * WEIGHT + CHANNELS,
    }
    assert {name: moved.by_name[name] for name in expected} == expected
    # Beside these: the norm's count of batches, and momentum and step of 12 + 4 + 4 + 4 values.
    rest = {name for name in moved.by_name if name not in expected}
    assert rest == {"aten.add_", "aten._foreach_mul_", "aten._foreach_add_"}
    assert moved.by_name["aten._foreach_mul_"] == 2 * 4 * 24
    assert moved.by_name["aten._foreach_add_"] == 2 * 3 * 4 * 24
    assert moved.bytes == sum(moved.by_name.values())


def test_what_autograd_keeps_is_counted_once_and_without_weights() -> None:
    """The convolution keeps its input, the norm its own and two statistics, the ReLU its result."""
    assert count_step(step_of_layers()).kept == DATA + 2 * RESULT + 2 * CHANNELS
    shared = torch.ones(4, requires_grad=True)
    kept = Kept(nn.Module())
    with kept.watch():
        made = shared * torch.ones(4)[:2].repeat(2)
        halves = made[:2].exp(), made[2:].tanh()
    assert kept.bytes == 4 * 4 + sum(half.numel() * 4 for half in halves)


def test_a_convolution_without_bias_writes_its_result_once(fake: None) -> None:
    x, weight = torch.empty(2, 3, 5, 6), torch.empty(4, 3, 1, 1)
    assert count(lambda: torch.conv2d(x, weight)).bytes == {"aten.convolution": DATA + WEIGHT + RESULT}


def test_a_convolution_of_a_slice_copies_it_first(fake: None) -> None:
    x, weight = torch.empty(2, 6, 5, 6)[:, :3], torch.empty(4, 3, 1, 1)
    assert count(lambda: torch.conv2d(x, weight)).bytes == {"aten.convolution": 3 * DATA + WEIGHT + RESULT}


def test_views_and_allocations_move_nothing(fake: None) -> None:
    x = torch.empty(4, 6)

    def show() -> None:
        x.view(24).unflatten(0, (6, 4)).transpose(0, 1).detach()[:, 1:].expand(3, 4, 5).split(2, dim=1)
        torch.empty_like(x).new_empty(3).unsqueeze(0)

    assert count(show).bytes == {}


def test_elements_that_are_there_once_are_read_once(fake: None) -> None:
    x = torch.empty(1, 6)
    assert count(lambda: x.expand(4, 6).exp()).bytes == {"aten.exp": 4 * 6 + 4 * 24}
    assert count(lambda: torch.empty(4, 6)[:, :2].exp()).bytes == {"aten.exp": 2 * 4 * 8}


def test_a_copy_does_not_read_its_target_but_a_sum_in_place_does(fake: None) -> None:
    x, y = torch.empty(6), torch.empty(6)
    assert count(lambda: x.copy_(y)).bytes == {"aten.copy_": 2 * 4 * 6}
    assert count(lambda: x.add_(y)).bytes == {"aten.add_": 3 * 4 * 6}


@pytest.mark.parametrize("relu", [True, False])
def test_fused_norm_reads_its_input_for_statistics_and_for_values(relu: bool) -> None:
    """Its result is read in the backward pass only for what the ReLU cut off; without one it is named, not read."""
    x, channel = torch.empty(2, 4, 5, 6, device="meta"), torch.empty(4, device="meta")
    between = 2 * 2 * 4 * (2 * 4)
    assert AGAIN["mmcl.norm"]((x, channel, channel, None, None, 2, 1e-5, relu), ()) == RESULT + between
    backward = (x, x, x, *(channel,) * 3, None, 2, 1e-5, relu, False)
    assert AGAIN["mmcl.norm_backward"](backward, ()) == (3 if relu else 1) * RESULT + between


def test_sums_under_autocast_are_float32_as_on_a_gpu() -> None:
    class Sum(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).sum(dim=1)

    moved = count_step(step_of_layers(lambda: Sum(3, 4, 1), narrow=True))
    assert moved.by_name["aten.sum"] == (RESULT // 2 + RESULT // 4) + (RESULT // 4 + ONE)


def test_compiled_layers_write_less_and_leave_convolutions_to_a_library() -> None:
    def create() -> nn.Module:
        return nn.Sequential(*layers(), nn.Tanh(), nn.Sigmoid(), nn.Softplus())

    eager, fused = count_step(step_of_layers(create)), count_compiled_step(step_of_layers(create))
    assert fused.bytes < eager.bytes and fused.kept < eager.kept
    assert fused.calls["aten.convolution_backward"] == 1 and fused.calls[LOOPS] < eager.calls.total()
    # One of the two gradients' reads of the result is of the bias, whose sum fuses.
    expected = eager.by_name["aten.convolution_backward"] - RESULT
    assert fused.by_name["aten.convolution_backward"] == expected


@pytest.fixture(scope="module")
def counted(loaded: Loaded) -> dict[str, Moved]:
    """All bodies computed, everything but the compiled step."""
    batch = dataclasses.replace(read_batch(*loaded), bodies=None)
    found = {way.name: way for way in list_ways(*loaded, batch)}
    assert tuple(found) == NAMES
    if importlib.util.find_spec("triton") is None:
        del found[NAMES[3]]
    return {name: way.count() for name, way in found.items() if not way.compiled}


def test_the_step_is_formulated_as_for_a_gpu_and_afterwards_no_longer(counted: dict[str, Moved]) -> None:
    assert not any(
        moved.calls["aten.baddbmm_"] for moved in counted.values()
    )  # a processor's sum of products
    ours = counted[NAMES[1]]
    assert ours.calls["aten.native_batch_norm"] == ours.calls["aten.native_batch_norm_backward"] == 36
    assert is_quick(torch.ones(1)) and not runs_fused(torch.ones(1, 1, 1, 1))


@needs_triton
def test_fused_product_moves_less_than_the_plain_one(counted: dict[str, Moved]) -> None:
    plain, fused = counted[NAMES[2]], counted[NAMES[3]]
    assert fused.bytes < plain.bytes < counted[NAMES[1]].bytes < counted[NAMES[0]].bytes
    assert fused.kept < plain.kept
    assert fused.calls["mmcl.graph_product"] == fused.calls["mmcl.graph_product_backward"] == 10
    assert not plain.calls["mmcl.graph_product"]


def test_bodies_that_stand_for_others_are_not_moved(loaded: Loaded) -> None:
    batch = read_batch(*loaded)
    ways = [list(list_ways(*loaded, one))[1] for one in (batch, dataclasses.replace(batch, bodies=None))]
    merged, every = (way.count().by_name["aten.convolution"] for way in ways)
    assert (batch.bodies is not None) == (merged < every)


@needs_triton
def test_table_shows_every_row_the_floors_and_what_moves_most(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The compiler takes half a minute.
    monkeypatch.setattr(module, "count_compiled_step", lambda step, reorder: count_step(step))
    lines = list(bench_traffic(*loaded))
    rows = {name: [float(word) for word in find_row(lines, name)] for name in NAMES}
    for gigabytes, _, operations, over_floor, kept, over_kept, *milliseconds in rows.values():
        assert gigabytes > 0 and operations > 500 and over_floor > 1 and kept > 0 and over_kept > 1
        assert len(milliseconds) == 2
    assert any(line.startswith("floor: ") for line in lines)
    most = [n for n, line in enumerate(lines) if line.startswith("most bytes of: ")]
    assert len(most) == 2 and len(lines) == most[1] + 1 + module.MOST


def test_without_triton_the_rows_that_want_it_say_so(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    batch = read_batch(*loaded)
    for way in list(list_ways(*loaded, batch))[3:]:
        with pytest.raises(module.UserError, match="triton is not installed"):
            Way(way.name, way.step, way.fused, way.compiled).count()


def find_row(lines: list[str], name: str) -> list[str]:
    (row,) = (line for line in lines if line.startswith(f"  {name} "))
    return row.removeprefix(f"  {name} ").split()
