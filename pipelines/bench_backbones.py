"""Parameters, MACs and CPU time of every registered backbone, as a Markdown table.

    python -m pipelines.bench_backbones                      # all, from the root of the checkout
    python -m pipelines.bench_backbones ctrgcn hdgcn --repeats 5 --threads 2

Times are the best of the repeats, per clip of 64 frames and two bodies at 120 classes: a training step is
forward, cross entropy, backward and an SGD update in float32; inference is one forward without gradients.
`ctrgcn (plain)` is the same network written out as its paper states it.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones import BACKBONES, create_backbone
from mmcl_train.backbones.sizes import measure_size
from tests.mmcl_train.backbones.plain import PlainCTRGCN

CLASSES, FRAMES, BODIES = 120, 64, 2
PLAIN = "ctrgcn (plain)"


def input_channels(name: str) -> int:
    """PSUMNet's streams read joint, bone and their motions stacked."""
    return 12 if name.startswith("psumnet") else 3


def build(name: str) -> nn.Module:
    """Backbone and classifier, seeded."""
    torch.manual_seed(0)
    if name == PLAIN:
        return PlainCTRGCN(CLASSES)
    backbone = create_backbone(
        name,
        layout=LAYOUTS["ntu25"],
        num_bodies=BODIES,
        clip_length=FRAMES,
        in_channels=input_channels(name),
    )
    return nn.Sequential(backbone, backbone.create_classifier(CLASSES))


def best_seconds(run: Callable[[], object], repeats: int) -> float:
    """Shortest wall time of `run`, after one run to warm up."""
    run()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def time_backbone(name: str, batch: int, repeats: int) -> tuple[float, float]:
    """Seconds per clip of a training step and of inference."""
    model = build(name)
    generator = torch.Generator().manual_seed(0)
    joints = torch.randn((batch, input_channels(name), FRAMES, 25, BODIES), generator=generator)
    labels = torch.arange(batch) % CLASSES
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True)

    def train_step() -> None:
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(model(joints), labels).backward()
        optimiser.step()

    model.train()
    training = best_seconds(train_step, repeats) / batch
    model.eval()
    with torch.inference_mode():
        inference = best_seconds(lambda: model(joints), repeats) / batch
    return training, inference


def table(names: Sequence[str], batch: int, repeats: int) -> str:
    """The table's text; rows appear as they are measured."""
    lines = [
        "| backbone | parameters (M) | GMAC | training step (ms / clip) | inference (ms / clip) |",
        "|---|---|---|---|---|",
    ]
    print(*lines, sep="\n", flush=True)
    for name in names:
        training, inference = time_backbone(name, batch, repeats)
        size = "| |"
        if name != PLAIN:
            measured = measure_size(
                name, layout=LAYOUTS["ntu25"], num_classes=CLASSES, in_channels=input_channels(name)
            )
            size = f"{measured.parameters / 1e6:.2f} | {measured.macs / 1e9:.2f} |"
        lines.append(f"| {name} | {size} {training * 1e3:.0f} | {inference * 1e3:.0f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="backbones; all registered ones by default")
    parser.add_argument("--batch", type=int, default=4, help="clips a step")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    known = [*sorted(BACKBONES), PLAIN]
    unknown = sorted(set(options.names) - set(known))
    if unknown:
        parser.error(f"unknown backbone {unknown[0]!r}; known: {', '.join(known)}")
    torch.set_num_threads(options.threads)
    print(
        f"{platform.machine()}, {options.threads} thread(s), torch {torch.__version__}, batch {options.batch}\n"
    )
    table(options.names or known, options.batch, options.repeats)


if __name__ == "__main__":
    main()
