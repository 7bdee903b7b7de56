"""Commands on score files: ensemble, compare. Heavy imports wait until a command runs."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)


ENSEMBLE_EXAMPLES = """\b
Examples:
  mmcl-train ensemble runs/joint runs/bone runs/joint_motion runs/bone_motion --weights fit
  mmcl-train ensemble runs/joint joint.pkl --weights 1,0.5 --out both.npz
"""
COMPARE_EXAMPLES = """\b
Examples:
  mmcl-train compare runs/mmcl-seed1 runs/mmcl-seed2 --against runs/plain-seed1 runs/plain-seed2
"""


@click.command(epilog=ENSEMBLE_EXAMPLES)
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="SCORES...")
@click.option(
    "--weights", default="equal", show_default=True, help="equal, fit, published, or numbers: 1,0.5,2."
)
@click.option(
    "--fit-on", multiple=True, type=PATH, help="Val scores to fit on, one a file (default: the run folders')."
)
@click.option(
    "--which", default="test-last", show_default=True, help="Which scores of a run folder: test-best-val …"
)
@click.option("--out", type=PATH, help="Write the ensemble's scores to this .npz.")
def ensemble(
    files: tuple[Path, ...], weights: str, fit_on: tuple[Path, ...], which: str, out: Path | None
) -> None:
    """Add up the scores of several runs: run folders, .npz score files, or the field's .pkl files."""
    from mmcl_train.scores.ensemble import combine, fit_weights, parse_weights, read_fit_scores
    from mmcl_train.scores.files import read_scores, write_scores
    from mmcl_train.scores.tables import format_ensemble

    scores = [read_scores(path, which) for path in files]
    chosen = parse_weights(weights, scores)
    if chosen is None:
        chosen = fit_weights(read_fit_scores(files, fit_on, which), apart_from=scores[0])
    made = combine(scores, chosen)
    click.echo(format_ensemble(made))
    if out is not None:
        write_scores(out, made.scores)
        click.echo(f"written: {out}")


class Against(click.Command):
    """`--against` takes every path after it, as `A... --against B...` is written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each path that follows it."""
        parsed: list[str] = []
        after = False
        for i, arg in enumerate(args):
            if arg == "--against":
                after = True
            elif arg.startswith("-") or (i and args[i - 1].startswith("--") and args[i - 1] != "--against"):
                parsed.append(arg)
            else:
                parsed += ["--against", arg] if after else [arg]
        return super().parse_args(ctx, parsed)


@click.command(cls=Against, epilog=COMPARE_EXAMPLES)
@click.argument("first", nargs=-1, required=True, type=PATH, metavar="A...")
@click.option(
    "--against",
    "second",
    multiple=True,
    required=True,
    type=PATH,
    metavar="B...",
    help="Runs to compare with.",
)
@click.option(
    "--which", default="test-last", show_default=True, help="Which scores of a run folder: test-best-val …"
)
@click.option("--pairs", default=10, show_default=True, help="Pairs of classes to list.")
def compare(first: tuple[Path, ...], second: tuple[Path, ...], which: str, pairs: int) -> None:
    """Compare runs A with runs B on the same samples: run folders or score files, one a seed."""
    from mmcl_train.scores.compare import compare as compare_scores
    from mmcl_train.scores.files import read_scores
    from mmcl_train.scores.tables import format_comparison

    groups = [[read_scores(path, which) for path in paths] for paths in (first, second)]
    click.echo(format_comparison(compare_scores(*groups, num_pairs=pairs)))


COMMANDS = (ensemble, compare)
