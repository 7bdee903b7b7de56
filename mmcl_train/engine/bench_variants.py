"""Ways of running one training step, side by side: the published loop, the plain formulation, and ours narrower,
compiled and captured; what each would make of a whole training."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from mmcl_cache.store import UserError
from mmcl_train.config import RunConfig
from mmcl_train.data.batch import Batch
from mmcl_train.kernels import set_kernels
from mmcl_train.method.online import OnlineCNN, create_online_cnn

from .assembly import create_model_of, create_task_of
from .bench import IMAGE, create_optimiser_of, describe_components, plain_step
from .floors import count_distinct, count_layers, measure_peaks, total_of
from .inputs import Inputs
from .start import COMPILER
from .stopwatch import describe_machine, measure

EPOCHS, CLIPS = 110, 63_026  # the published training on NTU-120 X-Sub
WARM_UP = 3  # steps before a capture: libraries choose their algorithms and tilings then
Step = Callable[[], None]


class NotHere(Exception):
    """A way of running a step that this machine cannot show, and why."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way: what the table calls it, and how its step is made."""

    name: str
    create: Callable[[], Step]


def bench_variants(
    config: RunConfig, inputs: Inputs, rounds: int, cnn: str = "inception_v3", compiler: str = "inductor"
) -> Iterator[str]:
    """A table: milliseconds a step, clips a second, ratio to the plain formulation, to the floor, and hours of 110
    epochs of 63,026 clips. A way that this machine cannot show has "not measured" and the reason.

    Args:
        config: resolved, of backbone ctrgcn.
        inputs: of it.
        rounds: medians of these.
        cnn: of the published loop: inception_v3 (untrained weights do for timing) or small.
        compiler: of torch.compile.
    """
    split, device = inputs.train, inputs.train.device
    rows = torch.arange(config.train.batch) % len(split)
    batch = split.batch(rows, torch.Generator(device).manual_seed(1), train=True)
    yield describe_machine(device)
    yield describe_components(device)
    yield f"{config.model.backbone}, width {config.model.width:g}, joints {tuple(batch.joints.shape)}; one step"
    floors = {}
    for dtype, item in ((torch.float32, 4), (torch.bfloat16, 2)):
        model = create_model_of(config, inputs)
        layers = count_layers(model, batch.joints.shape, item_bytes=item, share=count_distinct(batch.joints))
        floors[dtype] = total_of(layers).seconds(measure_peaks(device, dtype, rounds))
    yield f"  {'':<46}{'ms':>9}{'clips/s':>9}{'plain ÷':>9}{'÷ floor':>9}{'hours':>8}"
    plain = 0.0
    for variant in list_variants(config, inputs, batch, cnn, compiler):
        try:
            times = measure({variant.name: variant.create()}, rounds, device)[variant.name]
        except NotHere as why:
            yield f"  {variant.name:<46} not measured ({why})"
            continue
        finally:
            set_kernels("auto")
        plain = plain or (times.work if variant.name.startswith("plain formulation, float32") else 0.0)
        floor = floors[torch.bfloat16 if "bfloat16" in variant.name else torch.float32]
        rate = len(batch) / times.wall
        yield (
            f"  {variant.name:<46}{1e3 * times.wall:9.1f}{rate:9.0f}{plain / times.work:9.2f}"
            f"{times.work / floor:9.2f}{EPOCHS * CLIPS / rate / 3600:8.1f}"
        )


def list_variants(
    config: RunConfig, inputs: Inputs, batch: Batch, cnn: str, compiler: str
) -> Iterator[Variant]:
    """The plain formulation first: the others are measured against it."""

    def ours(**options: bool) -> Callable[[], Step]:
        return lambda: create_step(config, inputs, batch, compiler=compiler, **options)

    yield Variant("plain formulation, float32", lambda: plain_step(config, inputs, batch))
    yield Variant(f"the same and {cnn} in the loop", lambda: published_step(config, inputs, batch, cnn))
    yield Variant("co-learning, float32, plain kernels", ours(plain=True))
    yield Variant("co-learning, float32", ours())
    yield Variant("co-learning, bfloat16", ours(narrow=True))
    yield Variant("co-learning, bfloat16, compiled", ours(narrow=True, compiled=True))
    yield Variant("co-learning, bfloat16, compiled, turned", ours(narrow=True, compiled=True, turned=True))
    yield Variant("co-learning, bfloat16, CUDA graph", ours(narrow=True, captured=True))
    yield Variant(
        "co-learning, bfloat16, compiled, CUDA graph", ours(narrow=True, compiled=True, captured=True)
    )


def create_step(
    config: RunConfig,
    inputs: Inputs,
    batch: Batch,
    *,
    plain: bool = False,
    narrow: bool = False,
    compiled: bool = False,
    turned: bool = False,
    captured: bool = False,
    compiler: str = "inductor",
) -> Step:
    """Our co-learning step with the cached feature.

    Args:
        plain: without the fused kernels.
        narrow: bfloat16 where autocast has it.
        compiled: by torch.compile.
        turned: let it choose another memory order for the convolutions.
        captured: as one CUDA graph.

    Raises:
        NotHere: a capture without a CUDA device, or a compiler that cannot run.
    """
    device = inputs.train.device
    if captured and device.type != "cuda":
        raise NotHere("no CUDA device")
    if compiled and compiler == "inductor" and device.type != "cuda":
        raise NotHere("no CUDA device; on a processor set train.compile=true and compare runs")
    set_kernels("plain" if plain else "auto")
    task = create_task_of(config, inputs).to(device).train()
    optimiser = create_optimiser_of(task)
    options = dict(COMPILER) if compiler == "inductor" and not turned else None
    run = torch.compile(task, backend=compiler, options=options) if compiled else task

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=narrow):
            output = run(batch)
        output.losses.total.backward()
        optimiser.step()

    return capture(step) if captured else step


def capture(step: Step) -> Step:
    """The same step as one CUDA graph. Raises NotHere where something in it cannot be captured."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            step()
    except RuntimeError as error:
        raise NotHere(f"cannot be captured: {str(error).splitlines()[0]}") from None
    return graph.replay


def published_step(config: RunConfig, inputs: Inputs, batch: Batch, cnn: str) -> Step:
    """The plain formulation's step and, as the released code has it, a CNN's on as many images of 299×299."""
    device = inputs.train.device
    skeleton = plain_step(config, inputs, batch)
    network = create_cnn(cnn).to(device).train()
    optimiser = create_optimiser_of(network)
    images = torch.randint(0, 256, (len(batch), 3, IMAGE, IMAGE), dtype=torch.uint8, device=device)

    def step() -> None:
        skeleton()
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(network(images), batch.labels).backward()
        optimiser.step()

    return step


def create_cnn(name: str) -> OnlineCNN:
    """The CNN of that name; where Inception-v3's weights cannot be had, untrained: they cost the same time.

    Raises:
        NotHere: no library that has it.
    """
    try:
        return create_online_cnn(name)
    except UserError:
        try:
            timm = importlib.import_module("timm")
        except ImportError:
            raise NotHere("timm is not installed: pip install 'mmcl[inception]'") from None
        return OnlineCNN(timm.create_model("inception_v3", pretrained=False), 1000)
