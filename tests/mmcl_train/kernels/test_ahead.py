"""The real compiler takes the fused kernels for a Hopper GPU, and they fit it; no GPU is needed for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="triton is not installed (it is made for Linux on x86-64)")

from mmcl_train.kernels import norm_programs
from mmcl_train.kernels.ahead import SHARED_LIMIT, Resources, compile_program
from mmcl_train.kernels.fused import FORWARD, TOPOLOGY_GRADIENT, VALUES_GRADIENT, Launcher
from mmcl_train.kernels.fused_norm import COMBINED, tile_of

NORM_PROGRAMS = {name: program for name, program in vars(norm_programs).items() if name.endswith("_program")}
FIXED = {"SUBSETS": 3, "BLOCK_C": 16, "BLOCK_V": 16, "BLOCK_R": 16}


@pytest.fixture(autouse=True)
def nothing_compiled_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compile_tiling(launcher: Launcher, place: int, dtype: str) -> Resources:
    config: Any = launcher.configs[place]
    constants = {"BLOCK_U": 32, **FIXED, "PRECISION": "tf32x3", **config.kwargs}
    return compile_program(launcher.program, constants, dtype=dtype, warps=config.num_warps)


@pytest.mark.parametrize("launcher", [FORWARD, VALUES_GRADIENT, TOPOLOGY_GRADIENT], ids=lambda one: one.name)
def test_first_tiling_uses_the_matrix_units_and_stays_in_the_registers(launcher: Launcher) -> None:
    """In bfloat16; the other tilings: `python -m pipelines.bench_kernels`."""
    found = compile_tiling(launcher, 0, "bf16")
    assert found.products > 0 and found.spilled == 0 and found.shared < SHARED_LIMIT, found


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("name", NORM_PROGRAMS)
def test_programs_of_the_norm_stay_in_the_registers(name: str, dtype: str) -> None:
    program = NORM_PROGRAMS[name]
    asked = {"COUNTED": True, "RESIDUAL": True, "RELU": True, **COMBINED, **tile_of(64 * 25)}
    warps = asked.pop("num_warps") if "BLOCK" in program.arg_names else 4
    constants = {name: value for name, value in asked.items() if name in program.arg_names}
    found = compile_program(program, constants, dtype=dtype, warps=warps)
    assert found.spilled == 0 and found.registers <= 128 and found.shared < SHARED_LIMIT, found


def test_float32_is_compiled_to_three_products_of_tf32_each() -> None:
    narrow, wide = compile_tiling(FORWARD, 0, "bf16"), compile_tiling(FORWARD, 0, "fp32")
    assert wide.products > 3 * narrow.products and wide.shared < SHARED_LIMIT
