"""Command line of stage 2: each command reads its options, then calls one function.

Heavy imports wait until a command runs, so that --help answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmcl_cache.terminal.cli import CONTEXT, Tool, completion, version_option
from mmcl_cache.terminal.cli_options import complete_options, progress_options
from mmcl_cache.terminal.events import finish
from mmcl_train.cli_bench import bench
from mmcl_train.cli_deploy import import_checkpoint
from mmcl_train.cli_models import COMMANDS as MODEL_COMMANDS
from mmcl_train.cli_names import COMPLETIONS
from mmcl_train.cli_report import report
from mmcl_train.cli_scores import COMMANDS as SCORE_COMMANDS

if TYPE_CHECKING:
    from mmcl_train.config import RunConfig

PATH = click.Path(path_type=Path)


class Commands(Tool):
    """The commands of stage 2."""

    stopped = "stopped; finished runs and checkpoints are kept, the same command goes on from them"

    def is_mistake(self, error: Exception) -> bool:
        """A UserError; the class is imported only once something went wrong."""
        from mmcl_cache.store import UserError

        return isinstance(error, UserError)


@click.group(name="mmcl-train", cls=Commands, context_settings=CONTEXT)
@version_option()
def cli() -> None:
    """Train skeleton models from a cache, with or without co-learning, and work with their scores."""


def main() -> None:
    """Entry of the console script."""
    cli()


RUN_EXAMPLES = """\b
Examples:
  mmcl-train run --cache caches/ntu120 --protocol xsub
  mmcl-train run --cache caches/ntu120 --protocol xsub --stream bone --no-mmcl --seed 2
  mmcl-train run --cache caches/demo --backbone ctrsgcn --set optimiser.lr=0.05 --progress json 2> run.jsonl
  mmcl-train run --config runs/NAME/config.json --out runs/again
"""
SWEEP_EXAMPLES = """\b
Examples:
  mmcl-train sweep --cache caches/ntu120 --stream joint --stream bone --stream joint_motion --stream bone_motion
  mmcl-train sweep --cache caches/demo --seed 1 --seed 2 --seed 3 --with-and-without --jobs 2
"""


@cli.command(epilog=RUN_EXAMPLES)
@click.option("--cache", type=PATH, help="Cache of mmcl-cache build.")
@click.option("--protocol", help="Split protocol of the cache (default: its first).")
@click.option("--preset", help="Recipe to start from (default: by the cache's data set); see list presets.")
@click.option(
    "--config", "config_file", type=PATH, help="config.json of a run, to repeat it; instead of --preset."
)
@click.option("--backbone", help="Backbone; see list backbones.")
@click.option("--stream", help="joint, bone, joint_motion, bone_motion, bone2 …")
@click.option(
    "--co-learning/--no-mmcl", "co_learning", default=None, help="With or without RGB and text in training."
)
@click.option("--seed", type=int, help="Seed of weights, order and augmentation.")
@click.option("--epochs", type=int, help="Short for --set schedule.epochs=N.")
@click.option("--device", help="auto, cpu, cuda, cuda:1 …")
@click.option(
    "--set", "assignments", multiple=True, metavar="A.B=C", help="Any setting; may be given several times."
)
@click.option(
    "--report-best-on-test",
    is_flag=True,
    help="Also report the epoch that is best on the test split, labelled so.",
)
@click.option(
    "--out", type=PATH, help="Run folder (default: runs/<what it is>). An interrupted run in it is continued."
)
@progress_options
def run(out: Path | None, **options: Any) -> None:
    """Train one model, with co-learning from RGB and text unless told otherwise.

    Ctrl-C and SIGTERM end it after the step in progress with a checkpoint; the same command goes on from there.
    """
    from mmcl_cache.terminal.live import open_display
    from mmcl_train.engine.environment import choose_device
    from mmcl_train.engine.inputs import InputLoader, resolve
    from mmcl_train.engine.naming import default_out
    from mmcl_train.engine.parallel import close_processes, is_first_process
    from mmcl_train.engine.summary import format_result
    from mmcl_train.engine.trainer import train

    config = _config(**options)
    device = choose_device(config.train.device)
    loader = InputLoader(Path(config.data.cache), device)
    config = resolve(config, loader.cache.description)
    folder = out or default_out(config, loader.cache.description.dataset)
    with open_display() as display:
        result = train(config, loader.load(config, display.note), folder, display)
    if is_first_process():
        finish("run", format_result(result, folder), {"folder": str(folder), "result": result})
    close_processes()


@cli.command(epilog=SWEEP_EXAMPLES)
@click.option("--cache", type=PATH, required=True, help="Cache of mmcl-cache build; loaded once.")
@click.option("--protocol", help="Split protocol of the cache (default: its first).")
@click.option("--preset", help="Recipe to start from (default: by the cache's data set); see list presets.")
@click.option("--config", "config_file", type=PATH, help="config.json to start from, instead of --preset.")
@click.option("--backbone", "backbones", multiple=True, help="May be given several times.")
@click.option("--stream", "streams", multiple=True, help="May be given several times.")
@click.option("--seed", "seeds", multiple=True, type=int, help="May be given several times.")
@click.option("--with-and-without", is_flag=True, help="Each run with co-learning and without.")
@click.option("--no-mmcl", is_flag=True, help="All runs without co-learning.")
@click.option("--epochs", type=int, help="Short for --set schedule.epochs=N.")
@click.option("--device", help="auto, cpu, cuda, cuda:1 …")
@click.option(
    "--set", "assignments", multiple=True, metavar="A.B=C", help="Any setting; may be given several times."
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Runs at a time, on one load of the data; processor threads are shared out.",
)
@click.option("--out", type=PATH, default=Path("runs"), show_default=True, help="Folder of the run folders.")
@progress_options
def sweep(
    backbones: tuple[str, ...],
    streams: tuple[str, ...],
    seeds: tuple[int, ...],
    with_and_without: bool,
    no_mmcl: bool,
    jobs: int,
    out: Path,
    **options: Any,
) -> None:
    """Train every combination of backbones, streams and seeds from one load of the cache.

    Finished runs are skipped and interrupted ones continued when the same command is given again.
    """
    from mmcl_cache.store import UserError
    from mmcl_cache.terminal.live import open_display
    from mmcl_train.engine.environment import choose_device
    from mmcl_train.engine.inputs import InputLoader
    from mmcl_train.engine.sweep import format_sweep, plan_runs, summarise_sweep
    from mmcl_train.engine.sweep import sweep as run_sweep

    base = _config(
        backbone=None,
        stream=None,
        seed=None,
        co_learning=False if no_mmcl else None,
        report_best_on_test=False,
        **options,
    )
    methods = (True, False) if with_and_without else ()
    configs = plan_runs(base, backbones=backbones, streams=streams, co_learning=methods, seeds=seeds)
    loader = InputLoader(Path(base.data.cache), choose_device(base.train.device))
    with open_display() as display:
        outcomes = run_sweep(configs, loader, out, display, jobs)
    finish("sweep", format_sweep(outcomes), {"runs": summarise_sweep(outcomes)})
    failed = [outcome for outcome in outcomes if outcome.result is None]
    if failed:
        raise UserError(f"{len(failed)} of {len(outcomes)} runs failed, the first with: {failed[0].error}")


@cli.command(name="eval")
@click.option(
    "--run",
    "folder",
    type=PATH,
    required=True,
    help="Folder of a finished run (model.json, model.safetensors).",
)
@click.option("--cache", type=PATH, help="Cache to evaluate on (default: the run's).")
@click.option("--protocol", help="Protocol of the cache (default: the run's).")
@click.option(
    "--split", default="test", show_default=True, help="test, train, or val (what the run held out)."
)
@click.option("--weights", default="last", show_default=True, help="last, best-val or best-test.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 …")
@click.option(
    "--batch", type=click.IntRange(min=1), default=256, show_default=True, help="Samples a forward pass."
)
@click.option("--scores", type=PATH, help="Write ids and logits to this .npz.")
def evaluate(
    folder: Path,
    cache: Path | None,
    protocol: str | None,
    split: str,
    weights: str,
    device: str,
    batch: int,
    scores: Path | None,
) -> None:
    """Evaluate the skeleton model of a run."""
    from mmcl_train.engine.evaluation import evaluate_run

    for line in evaluate_run(folder, cache, protocol, split, weights, device, batch, scores):
        click.echo(line)


@cli.command(name="list")
@click.argument("what", type=click.Choice(["presets", "backbones", "streams", "settings"]))
def list_known(what: str) -> None:
    """Known presets, backbones, streams, or settings of --set."""
    if what == "presets":
        from mmcl_train.presets import PRESETS

        for name, preset in PRESETS.items():
            click.echo(name)
            click.echo(f"    {preset.command}")
            click.echo(f"    published: {preset.expected}")
            click.echo(f"    hours: {preset.hours}; hardware: {preset.hardware}")
    elif what == "backbones":
        from mmcl_train.backbones.listing import describe_backbones

        click.echo("\n".join(describe_backbones()))
    elif what == "streams":
        from mmcl_train.data.streams import STREAMS

        click.echo("\n".join(STREAMS))
    else:
        from mmcl_train.settings import describe_settings

        click.echo("\n".join(describe_settings()))


def _config(
    *,
    cache: Path | None,
    config_file: Path | None,
    preset: str | None,
    protocol: str | None,
    backbone: str | None,
    stream: str | None,
    co_learning: bool | None,
    seed: int | None,
    epochs: int | None,
    device: str | None,
    report_best_on_test: bool,
    assignments: tuple[str, ...],
) -> RunConfig:
    """The config that options ask for: a saved one, or a preset, with the options put over it."""
    from mmcl_cache.store import UserError, open_cache
    from mmcl_train.config import check_values
    from mmcl_train.presets import choose_preset, create_preset
    from mmcl_train.settings import load_config, override, set_value

    if config_file and preset:
        raise UserError("--config and --preset: give one of them")
    if config_file:
        config = load_config(config_file)
    elif cache or preset:
        config = create_preset(preset or choose_preset(open_cache(cache or Path()).description.dataset))
    else:
        raise UserError("give the cache to train from: --cache DIR (`mmcl-cache build` makes one)")
    given = {
        "data.cache": None if cache is None else str(cache),
        "data.protocol": protocol,
        "data.stream": stream,
        "model.backbone": backbone,
        "method.enabled": co_learning,
        "schedule.epochs": epochs,
        "train.seed": seed,
        "train.device": device,
        "train.report_best_on_test": report_best_on_test or None,
    }
    for key, value in given.items():
        if value is not None:
            config = set_value(config, key, value, "command line")
    check_values(config, "command line")
    config = override(config, assignments)
    if not config.data.cache:
        raise UserError("give the cache to train from: --cache DIR (`mmcl-cache build` makes one)")
    return config


for each in (*SCORE_COMMANDS, *MODEL_COMMANDS, import_checkpoint, report, bench, completion):
    cli.add_command(each)
complete_options(cli, COMPLETIONS)


if __name__ == "__main__":
    main()
