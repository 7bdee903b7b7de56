"""What the interpreter shows of the fused norm, on a real GPU; and whole steps and runs there."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones import create_backbone
from mmcl_train.backbones.absent import BodyRows, find_absent, merge_absent
from mmcl_train.cli import cli
from tests.mmcl_train.engine.learnable_cache import make_cache
from tests.mmcl_train.kernels.norm_cases import FOLLOWED, TOLERANCE, check_norm

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]
SIZES = [(128, 64, 64, 25), (128, 128, 32, 25), (128, 256, 16, 25), (16, 64, 300, 25)]


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize(("residual", "relu"), FOLLOWED)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_fused_norm_and_all_gradients_equal_the_plain_ones(
    dtype: torch.dtype, size: tuple[int, int, int, int], residual: bool, relu: bool, counted: bool
) -> None:
    check_norm(size, dtype, "cuda", residual=residual, relu=relu, counted=counted)


def test_a_training_step_of_ctr_gcn_is_that_of_float64_on_the_host() -> None:
    torch.manual_seed(0)
    backbone = create_backbone("ctrgcn", layout=LAYOUTS["ntu25"], clip_length=16, width=0.25)
    for parameter in backbone.parameters():
        if parameter.dim() <= 1:  # norms that begin at 1e-6 would hide what stands before them
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    joints = torch.randn(8, 3, 16, 25, 2)
    joints[2:, ..., 1] = 0
    rows = merge_absent(find_absent(joints), multiple=4)
    assert rows is not None
    found = []
    for device, dtype in (("cpu", torch.float64), ("cuda", torch.float32)):
        model = copy.deepcopy(backbone).to(device, dtype)
        features = model(joints.to(device, dtype), BodyRows(*(part.to(device) for part in rows)))
        weights = torch.arange(features.numel(), device=device).view_as(features).cos()
        (features * weights).sum().backward()
        found.append([p.grad.double().cpu() for p in model.parameters() if p.grad is not None])
    errors = torch.stack([(one - other).norm() for one, other in zip(*found, strict=True)])
    # TF32 in the convolutions keeps ten bits.
    assert float(errors.norm() / torch.cat([g.flatten() for g in found[0]]).norm()) < 2e-2


@pytest.mark.parametrize(
    "settings", [(), ("train.precision=bf16",), ("train.precision=bf16", "train.compile=true")]
)
def test_a_run_trains_on_the_gpu(tmp_path: Path, settings: tuple[str, ...]) -> None:
    make_cache(tmp_path / "cache")
    words = ["schedule.epochs=2", "schedule.warmup=0", "model.width=0.125", "clip.length=16", "train.batch=8"]
    options = [word for setting in (*words, *settings) for word in ("--set", setting)]
    out = tmp_path / "run"
    with pytest.raises(SystemExit) as end:
        cli(["run", "--cache", str(tmp_path / "cache"), "--device", "cuda", *options, "--out", str(out)])
    assert end.value.code in (0, None)
    assert json.loads((out / "result.json").read_text())["epochs"] == 2
