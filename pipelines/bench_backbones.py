"""Publication, sizes, clip rules and CPU time of every registered backbone, as a Markdown table.

    python -m pipelines.bench_backbones                      # all, from the root of the checkout
    python -m pipelines.bench_backbones ctrgcn hdgcn --repeats 5 --threads 2
    python -m pipelines.bench_backbones --write docs/backbones.md        # the table there is replaced
    python -m pipelines.bench_backbones msg3d --write docs/backbones.md  # that row is replaced, the others stay

Times are processor time, the best of the repeats, per clip of 64 frames and two bodies at 120 classes: a
training step is forward, cross entropy, backward and an SGD update in float32; inference is one forward without
gradients.
"Plain" is the same network with its fused parts stated as in the papers, one subset, head and branch at a time
(tests/mmcl_train/backbones/plain_*.py); both take turns, so that a busy machine is as busy for one as for
the other.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones import BACKBONES, create_backbone
from mmcl_train.backbones.listing import describe_clip_rule
from mmcl_train.backbones.sizes import measure_size
from tests.mmcl_train.backbones.plain_parts import WHOLE, plainly

CLASSES, FRAMES, BODIES = 120, 64, 2
START, END = "<!-- table: python -m pipelines.bench_backbones --write -->", "<!-- end of table -->"
# Without reference values of the published code; what pins them down instead.
WITHOUT_REFERENCE = {
    "blockgcn": "released code, in its test",
    "dynamicgcn": "released code, in its test",
    "hdgcn_com2": "hdgcn's code, other groups",
    "psumnet_hand": "psumnet's code, other joints",
    "psumnet_leg": "psumnet's code, other joints",
}
NOTES = {
    "dynamicgcn": "another T than it was built for",
    "hdgcn": "(layouts but NTU's: hierarchy derived from the tree)",
    "hdgcn_com1": "(layouts but NTU's: hierarchy derived from the tree)",
    "hdgcn_com2": "(layouts but NTU's: hierarchy derived from the tree)",
    "psumnet": "streams but joint: it makes its own four",
    "psumnet_hand": "layouts without named arms; streams but joint",
    "psumnet_leg": "layouts without named legs; streams but joint",
}


def input_channels(name: str) -> int:
    """PSUMNet's streams read joint, bone and their motions stacked."""
    return 12 if name.startswith("psumnet") else 3


def build(name: str) -> nn.Module:
    """Backbone and classifier, seeded."""
    torch.manual_seed(0)
    backbone = create_backbone(
        name,
        layout=LAYOUTS["ntu25"],
        num_bodies=BODIES,
        clip_length=FRAMES,
        in_channels=input_channels(name),
    )
    return nn.Sequential(backbone, backbone.create_classifier(CLASSES))


def best_seconds(
    run: Callable[[], object], ways: Sequence[Callable[[], AbstractContextManager[None]]], repeats: int
) -> list[float]:
    """Least CPU time of `run` in each of the ways, in turns, after one run of each to warm up."""
    best = [float("inf")] * len(ways)
    for turn in range(repeats + 1):
        for index, way in enumerate(ways):
            with way():
                start = time.process_time()
                run()
                if turn:
                    best[index] = min(best[index], time.process_time() - start)
    return best


def time_backbone(name: str, batch: int, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds per clip of a training step and of inference: ours, and plain where there is a plain statement."""
    model = build(name)
    generator = torch.Generator().manual_seed(0)
    joints = torch.randn((batch, input_channels(name), FRAMES, 25, BODIES), generator=generator)
    labels = torch.arange(batch) % CLASSES
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True)

    def train_step() -> None:
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(model(joints), labels).backward()
        optimiser.step()

    ways: list[Callable[[], AbstractContextManager[None]]] = [nullcontext]
    if name in WHOLE:
        ways.append(plainly)
    model.train()
    training = best_seconds(train_step, ways, repeats)
    model.eval()
    with torch.inference_mode():
        inference = best_seconds(lambda: model(joints), ways, repeats)
    return [seconds / batch for seconds in training], [seconds / batch for seconds in inference]


def milliseconds(seconds: Sequence[float]) -> str:
    """Two cells: ours, and plain or a dash."""
    cells = [f"{1e3 * value:.0f}" for value in seconds] + ["–"]
    return " | ".join(cells[:2])


def table(names: Sequence[str], batch: int, repeats: int) -> str:
    """The table's text; rows appear as they are measured."""
    columns: tuple[str, ...] = (
        "backbone",
        "publication",
        "year",
        "params (M)",
        "GMAC",
        "clips",
        "cannot take",
        "checked against",
    )
    columns += ("train step (ms/clip)", "plain", "inference (ms/clip)", "plain")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    print(*lines, sep="\n", flush=True)
    for name in names:
        training, inference = time_backbone(name, batch, repeats)
        size = measure_size(
            name, layout=LAYOUTS["ntu25"], num_classes=CLASSES, in_channels=input_channels(name)
        )
        backbone = BACKBONES[name]
        cells = [name, backbone.publication, str(backbone.year)]
        cells += [f"{size.parameters / 1e6:.2f}", f"{size.macs / 1e9:.2f}", describe_clip_rule(backbone)]
        cells += [NOTES.get(name, ""), WITHOUT_REFERENCE.get(name, "reference values")]
        cells += [milliseconds(training), milliseconds(inference)]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def split_page(path: Path) -> tuple[str, str, str]:
    """What is before, between and behind the two marks of a page."""
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    inside, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{path}: no {START} … {END} to write between")
    return before, inside.strip("\n"), after


def write_table(path: Path, text: str) -> None:
    """Put the text between the two marks of a page."""
    before, _, after = split_page(path)
    path.write_text(f"{before}{START}\n{text}\n{END}{after}", encoding="utf-8")


def replace_rows(old: str, names: Sequence[str], machine: str, text: str) -> str:
    """The old text with the named rows taken from `text`, and a line that says where those were measured."""
    rows = {line.split("|")[1].strip(): line for line in text.splitlines()}
    lines = [
        rows.get(line.split("|")[1].strip(), line) if line[:1] == "|" else line for line in old.splitlines()
    ]
    start = next(index for index, line in enumerate(lines) if line[:1] == "|")
    said = f"Measured apart: {', '.join(names)}: "
    head = [line for line in lines[:start] if not line.startswith(said)]
    while head and not head[-1]:
        head.pop()
    lines[:start] = [*head, "", said + machine, ""]
    kept = "\n".join(lines)
    if missing := [name for name in names if f"| {name} |" not in kept]:
        raise SystemExit(f"no row {missing[0]!r} to replace: write the whole table, without names")
    return kept


def describe_machine(options: argparse.Namespace) -> str:
    """Where and how the times were taken."""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {options.threads} thread(s), load average "
        f"{os.getloadavg()[0]:.1f} at the start, torch {torch.__version__}, float32, batch {options.batch}, CPU time, "
        f"best of {options.repeats}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="backbones; all registered ones by default")
    parser.add_argument("--batch", type=int, default=4, help="clips a step")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    options = parser.parse_args()
    known = sorted(BACKBONES)
    unknown = sorted(set(options.names) - set(known))
    if unknown:
        parser.error(f"unknown backbone {unknown[0]!r}; known: {', '.join(known)}")
    old = (
        split_page(options.write)[1] if options.write else ""
    )  # a page without marks is told before measuring
    torch.set_num_threads(options.threads)
    machine = describe_machine(options)
    print(machine + "\n")
    text = table(options.names or known, options.batch, options.repeats)
    if options.write and options.names:
        write_table(options.write, replace_rows(old, options.names, machine, text))
    elif options.write:
        write_table(options.write, f"{machine}\n\n{text}")


if __name__ == "__main__":
    main()
