"""Losses of the first steps of a run, as one process of several (gloo) or alone: prints a JSON list.

In float64: the first steps of an untrained network multiply rounding (it decides a gradient at the corner of a ReLU),
and what is tested is that the sums are the same, not how single precision rounds them.

python worker_of_two.py CACHE RANK PROCESSES PORT BATCHNORM RGB
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import torch

STEPS = {"cached": 20, "online": 4}


def main(cache: Path, rank: int, processes: int, port: str, sync: str, rgb: str) -> None:
    """Train and print this process's view of the global losses."""
    if processes > 1:
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(processes), LOCAL_RANK=str(rank))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, ACCELERATE_USE_CPU="1")
    torch.set_num_threads(1)

    from mmcl_train.config import RunConfig
    from mmcl_train.data.batch import Batch
    from mmcl_train.engine import start
    from mmcl_train.engine.folder import open_folder
    from mmcl_train.engine.inputs import InputLoader, resolve
    from mmcl_train.engine.parallel import close_processes, sum_processes
    from mmcl_train.engine.trainer import train_step
    from mmcl_train.settings import override
    from tests.mmcl_train.engine.learnable_cache import SMALL

    config = override(
        RunConfig(),
        [*SMALL, f"train.sync_batchnorm={sync}", "optimiser.lr=0.01", "data.val=none", f"method.rgb={rgb}"],
    )
    config = override(config, ["method.cnn=small"])
    loader = InputLoader(cache, torch.device("cpu"))
    config = resolve(config, loader.cache.description)
    accelerator = start.create_accelerator(config)
    assert accelerator.num_processes == processes
    inputs = loader.load(config, lambda line: None)
    create_task, assemble = start.create_task_of, inputs.train.assemble

    def assemble_wide(indices: torch.Tensor, draws: torch.Tensor | None) -> Batch:
        made = assemble(indices, draws)
        assert made.text is not None
        cached = None if made.rgb is None else made.rgb.double()
        return dataclasses.replace(made, joints=made.joints.double(), rgb=cached, text=made.text.double())

    start.create_task_of = lambda *parts: create_task(*parts).double()
    inputs.train.assemble = assemble_wide  # type: ignore[method-assign]
    with accelerator.main_process_first():
        folder = open_folder(cache.parent / f"of-{processes}-{sync}-{rgb}", config, inputs.fields)
    run = start.start_run(config, inputs, folder, accelerator)
    run.module.train()
    table = []
    for step in range(STEPS[rgb]):
        rows = torch.arange(config.train.batch) * (1 + step % 3) % len(inputs.train)
        sums = sum_processes(train_step(run, rows)).tolist()
        table.append([value / config.train.batch for value in sums[:5]])
        run.position.step += 1
    if rank == 0:
        print("LOSSES " + json.dumps(table))
    run.close()
    close_processes()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:7])
