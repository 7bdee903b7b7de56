"""The programs compiled for a GPU that is not here: does the real compiler take them, and what do they need of it.

Triton's interpreter checks what a program computes; this checks that it fits. Needs triton, which brings NVIDIA's
assembler, and no GPU.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

HOPPER = 90  # compute capability 9.0
SHARED_LIMIT = 227 * 1024  # bytes a block of threads may have there
OF_VALUES = frozenset(
    {
        *("values", "query", "key", "out", "gradient", "made", "key_gradient"),
        *("x", "y", "residual", "residual_made"),
    }
)
OF_PARAMETERS = frozenset(
    {
        *("weight", "bias", "alpha", "adjacency", "query_parts", "weight_parts", "bias_parts", "graph_parts"),
        *("means", "squares", "counts", "mean", "variance", "sums", "totals"),
    }
)
REAL = frozenset({"eps"})
UNIT_STRIDES = frozenset({"values_v", "out_v", "gradient_v", "made_v"})


@dataclass(frozen=True)
class Resources:
    """Of one compiled program.

    Attributes:
        registers: a thread.
        spilled: bytes a thread keeps outside the registers.
        shared: bytes of shared memory a block.
        products: matrix-unit instructions in its text; 0 would mean that the units are not used.
    """

    registers: int
    spilled: int
    shared: int
    products: int


def compile_program(
    program: Any,
    constants: Mapping[str, Any],
    *,
    dtype: str,
    warps: int,
    stages: int = 1,
    capability: int = HOPPER,
) -> Resources:
    """Compile for an NVIDIA GPU of that capability and read what it needs.

    Args:
        program: of `programs` or `norm_programs`.
        constants: its compile-time arguments.
        dtype: of values, relations and their gradients, Triton's name: bf16, fp16, fp32. Parameters are fp32.
    """
    fixed, signature = dict(constants), {}
    for name in program.arg_names:
        if name in UNIT_STRIDES:
            fixed[name] = 1
        signature[name] = "constexpr" if name in fixed else type_of(name, dtype)
    made = triton.compile(
        ASTSource(program, signature, constexprs=fixed),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": warps, "num_stages": stages},
    )
    usage = read_usage(made.asm["cubin"])
    products = len(re.findall(r"\b(?:mma\.sync|wgmma\.mma_async)\b", made.asm["ptx"]))
    return Resources(usage["REG"], usage["STACK"] + usage["LOCAL"], made.metadata.shared, products)


def type_of(name: str, dtype: str) -> str:
    """Triton's name for the type of an argument of our programs."""
    if name in OF_VALUES:
        return f"*{dtype}"
    return "*fp32" if name in OF_PARAMETERS else "fp32" if name in REAL else "i32"


def read_usage(cubin: bytes) -> dict[str, int]:
    """REG, STACK, LOCAL … of a compiled program, as NVIDIA's own reader tells them."""
    reader = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run(
            [str(reader), "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        )
    return {name: int(value) for name, value in re.findall(r"\b([A-Z]+):(\d+)", done.stdout)}
