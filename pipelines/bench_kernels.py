"""What every tiling of the fused kernels needs of a Hopper GPU, compiled ahead: no GPU is needed, triton is.

    python -m pipelines.bench_kernels                  # from the root of the checkout, as a Markdown table
    python -m pipelines.bench_kernels --joints 33

Registers a thread (255 at most), bytes a thread keeps outside them, shared memory a block, and how many matrix-unit
instructions the program has. A program that spills, or with none of these, is slow: what no interpreter shows.
"""

from __future__ import annotations

import argparse
from typing import Any

from mmcl_train.kernels.ahead import compile_program
from mmcl_train.kernels.fused import FORWARD, TILE, TOPOLOGY_GRADIENT, VALUES_GRADIENT, round_up

TYPES = (("bf16", "tf32"), ("fp32", "tf32x3"), ("fp32", "tf32"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--joints", type=int, default=25)
    joints = parser.parse_args().joints
    fixed = {"SUBSETS": 3, "BLOCK_C": TILE, "BLOCK_V": TILE, "BLOCK_R": TILE, "BLOCK_U": round_up(joints)}
    columns = (
        "program",
        "values",
        "products",
        "tiling",
        "warps",
        "registers",
        "spilled (B)",
        "shared (KiB)",
        "MMA",
    )
    print(f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", sep="\n")
    for launcher in (FORWARD, VALUES_GRADIENT, TOPOLOGY_GRADIENT):
        for dtype, precision in TYPES:
            for config in launcher.configs:
                chosen: dict[str, Any] = config.kwargs
                constants = {**fixed, "PRECISION": precision, **chosen}
                found = compile_program(launcher.program, constants, dtype=dtype, warps=config.num_warps)
                tiling = ", ".join(f"{name[-1]} {size}" for name, size in chosen.items())
                cells = (
                    *(launcher.name.removesuffix("_program"), dtype, precision, tiling, config.num_warps),
                    *(found.registers, found.spilled, f"{found.shared / 1024:.0f}", found.products),
                )
                print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
