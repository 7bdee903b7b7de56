"""The command that measures this machine. Heavy imports wait until it runs."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)


@click.command()
@click.option("--cache", type=PATH, help="Cache to measure on (default: random data of NTU-120's sizes).")
@click.option("--backbone", default="ctrgcn", show_default=True, help="Backbone; see list backbones.")
@click.option("--batch", type=click.IntRange(min=2), default=16, show_default=True, help="Clips a step.")
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Of each measure; medians are shown.",
)
@click.option(
    "--samples", type=click.IntRange(min=16), default=256, show_default=True, help="Of the random data."
)
@click.option(
    "--cnn",
    default="small",
    show_default=True,
    help="CNN of the online measure: small, inception_v3, or none.",
)
@click.option("--layers", is_flag=True, help="Instead: operations, bytes and floor of every layer.")
@click.option(
    "--variants",
    is_flag=True,
    help="Instead: the step narrower, compiled and captured, against the published loop, with projected hours.",
)
@click.option(
    "--scaling",
    is_flag=True,
    help="Instead: cost by clips (up to --samples), joints, bodies, batch, runs side by side and processes.",
)
@click.option(
    "--epoch", is_flag=True, help="Instead: one whole epoch as `run` trains it, with and without co-learning."
)
@click.option(
    "--traffic",
    is_flag=True,
    help="Instead: bytes a step moves, counted as for a GPU by shapes alone, against the fewest; takes a minute.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 …")
@click.option(
    "--set", "assignments", multiple=True, metavar="A.B=C", help="Any setting; may be given several times."
)
def bench(
    cache: Path | None,
    backbone: str,
    batch: int,
    rounds: int,
    samples: int,
    cnn: str,
    layers: bool,
    variants: bool,
    scaling: bool,
    epoch: bool,
    traffic: bool,
    device: str,
    assignments: tuple[str, ...],
) -> None:
    """Measure this machine: the cost of co-learning, our step against the plain formulation, and more.

    Also forward alone, whole batches of clips against single ones, the cached RGB feature against a CNN in the loop.
    """
    import tempfile

    from mmcl_train.config import RunConfig
    from mmcl_train.engine.bench import ASSEMBLED, bench_layers
    from mmcl_train.engine.bench import bench as run_bench
    from mmcl_train.engine.bench_data import write_random_cache
    from mmcl_train.engine.bench_epoch import bench_epoch
    from mmcl_train.engine.bench_variants import bench_variants
    from mmcl_train.engine.environment import choose_device
    from mmcl_train.engine.inputs import InputLoader, resolve
    from mmcl_train.engine.plain_batches import read_padded
    from mmcl_train.engine.scaling import Sizes, bench_scaling
    from mmcl_train.settings import override

    settings = [f"model.backbone={backbone}", f"train.batch={batch}", "data.val=none", *assignments]
    config, place = override(RunConfig(), settings), choose_device(device)
    with tempfile.TemporaryDirectory() as folder:
        if scaling:
            for line in bench_scaling(config, Path(folder), place, Sizes.up_to(samples, batch), rounds):
                click.echo(line)
            return
        if cache is None:
            cache = write_random_cache(Path(folder) / "cache", samples).path
        if epoch:
            for line in bench_epoch(config, cache, Path(folder), place, rounds):
                click.echo(line)
            return
        loader = InputLoader(cache, place)
        config = resolve(config, loader.cache.description)
        inputs = loader.load(config, click.echo)
        if traffic:
            from mmcl_train.engine.bench_traffic import bench_traffic  # with torch's compiler, slow to import

            lines = bench_traffic(config, inputs)
        elif layers:
            lines = bench_layers(config, inputs, rounds)
        elif variants:
            lines = bench_variants(config, inputs, rounds, cnn if cnn == "small" else "inception_v3")
        else:
            recordings = read_padded(loader.cache, inputs.train, ASSEMBLED)
            lines = run_bench(config, inputs, recordings, rounds=rounds, cnn="" if cnn == "none" else cnn)
        for line in lines:
            click.echo(line)
