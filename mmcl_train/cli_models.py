"""Commands on finished models: predict, export, transfer, push, pull. Heavy imports wait until a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmcl_cache.terminal.cli_options import hide_foreign_bars, progress_options
from mmcl_cache.terminal.events import finish
from mmcl_cache.terminal.modes import chosen_mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mmcl_train.deploy.prediction import Model, Prediction

PATH = click.Path(path_type=Path)
_ONNX_EXTRA = "onnxruntime is not installed: pip install 'mmcl[onnx]'"


PREDICT_EXAMPLES = """\b
Examples:
  mmcl-train predict S001C001P001R001A001.skeleton --model runs/NAME --table
  mmcl-train predict recordings/ --model NAME.onnx > answers.jsonl
  camera | mmcl-train predict - --model NAME.onnx --window 64 --hop 8
"""
EXPORT_EXAMPLES = """\b
Examples:
  mmcl-train export runs/NAME
  mmcl-train export runs/NAME --int8 --cache caches/ntu120
  mmcl-train export runs/NAME --format safetensors --out NAME
"""
TRANSFER_EXAMPLES = """\b
Examples:
  mmcl-train transfer --run runs/ntu120-joint --cache caches/utd-mhad
  mmcl-train transfer --run runs/ntu120-joint --cache caches/utd-mhad --adapt probe
  mmcl-train transfer --run runs/ntu120-joint --cache caches/sysu --adapt finetune --set schedule.epochs=10
"""


@click.command(epilog=PREDICT_EXAMPLES)
@click.argument("inputs", nargs=-1, type=click.Path(path_type=Path, allow_dash=True), metavar="INPUT...")
@click.option(
    "--model", "model_path", type=PATH, required=True, help="Run folder, exported folder, or .onnx file."
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Classes to name, likeliest first.",
)
@click.option("--table", is_flag=True, help="A table instead of JSON lines.")
@click.option("--logits", is_flag=True, help="Also the logits (JSON lines).")
@click.option(
    "--window",
    type=click.IntRange(min=0),
    default=0,
    help="Frames of a sliding window (default: the whole recording).",
)
@click.option("--hop", type=click.IntRange(min=1), help="Frames between windows (default: half a window).")
@click.option("--split", default="", help="Of a cache: train or test (default: every sample).")
@click.option("--protocol", default="", help="Of a cache (default: its first).")
@click.option("--variant", default="default", show_default=True, help="Of a cache's skeleton field.")
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="Of PyTorch models: cpu, cuda … (ONNX runs on the CPU).",
)
def predict(
    inputs: tuple[Path, ...],
    model_path: Path,
    top: int,
    table: bool,
    logits: bool,
    window: int,
    hop: int | None,
    split: str,
    protocol: str,
    variant: str,
    device: str,
) -> None:
    """Labels of recordings: .skeleton, NW-UCLA .json, .mat, .npy, .npz, pose .json, folders of these, or a cache.

    With - as INPUT frames are read from standard input, one JSON line each, and every window is answered as soon as
    it is complete. RGB and text are never needed.
    """
    from mmcl_cache.store import UserError
    from mmcl_train.deploy.answer import format_json, format_row
    from mmcl_train.deploy.live import read_lines
    from mmcl_train.deploy.prediction import find_inputs, predict_cache, predict_paths, predict_stream

    if not inputs:
        raise UserError("nothing to predict: name files, a cache, or - for frames on standard input")
    if split and not any((path / "cache.json").is_file() for path in inputs):
        raise UserError("--split is of a cache; the inputs are files")
    model = _open_model(model_path, device)
    hop = hop or max(window // 2, 1)

    def answers() -> Iterator[Prediction]:
        for path in inputs:
            if str(path) == "-":
                yield from predict_stream(model, read_lines(sys.stdin), window, hop)
            elif (path / "cache.json").is_file():
                yield from predict_cache(model, path, variant, protocol, split, window, hop)
            else:
                yield from predict_paths(model, find_inputs([path]), window, hop)

    made, failed, reason = 0, 0, ""
    for answer in answers():
        made += 1
        if answer.logits is None and not answer.stop:
            failed, reason = failed + 1, f"{answer.name}: {answer.reason}"
            if len(inputs) == 1 and inputs[0] == Path(answer.name):
                raise UserError(reason)
        classes = model.input.classes
        click.echo(format_row(answer, classes, top) if table else format_json(answer, classes, top, logits))
        sys.stdout.flush()
    if failed:
        raise UserError(f"{failed} of {made} could not be predicted, the last: {reason}")


@click.command(epilog=EXPORT_EXAMPLES)
@click.argument("run", type=PATH)
@click.option(
    "--format",
    "form",
    type=click.Choice(["onnx", "safetensors"]),
    default="onnx",
    show_default=True,
    help="One file for any runtime, or a folder with a card.",
)
@click.option("--out", type=PATH, help="File or folder (default: RUN/export/NAME.onnx, RUN/export/NAME).")
@click.option("--int8", is_flag=True, help="ONNX with 8-bit weights; --cache shows what it costs.")
@click.option("--cache", type=PATH, help="Measure the ONNX file on the test split of this cache.")
@click.option("--protocol", default="", help="Of the cache (default: the model's).")
def export(run: Path, form: str, out: Path | None, int8: bool, cache: Path | None, protocol: str) -> None:
    """Write the skeleton model of RUN as an ONNX file (checked against PyTorch), or as safetensors with a card."""
    from mmcl_cache.store import UserError

    name = run.resolve().name
    if form == "safetensors":
        if int8 or cache:
            raise UserError("--int8 and --cache are of --format onnx")
        from mmcl_train.deploy.export import export_safetensors

        lines = export_safetensors(run, out or run / "export" / name)
    else:
        try:
            from mmcl_train.deploy.onnx_file import export_onnx
        except ImportError as error:
            raise UserError(f"{error.name} is not installed: pip install 'mmcl[onnx]'") from None

        target = out or run / "export" / f"{name}{'-int8' if int8 else ''}.onnx"
        lines = export_onnx(run, target, int8, cache, protocol)
    _print(lines)


@click.command(epilog=TRANSFER_EXAMPLES)
@click.option("--run", type=PATH, required=True, help="Run or exported folder of a model in NTU's layout.")
@click.option("--cache", type=PATH, required=True, help="Cache of the target data set.")
@click.option(
    "--map",
    "asked",
    default="",
    metavar="NAME|JSON",
    help="utd-mhad, sysu or a file (default: by the cache's data set).",
)
@click.option("--refined", is_flag=True, help="Also the scores refined by the target's text.")
@click.option(
    "--adapt",
    type=click.Choice(["none", "probe", "finetune"]),
    default="none",
    show_default=True,
    help="Learn on the target's training split: a linear classifier, or everything.",
)
@click.option("--protocol", default="", help="Of the target, to adapt on (default: its first).")
@click.option("--variant", default="default", show_default=True, help="Of the target's skeleton field.")
@click.option("--text-variant", default="default", show_default=True, help="Of the target's text field.")
@click.option("--device", default="cpu", show_default=True, help="auto, cpu, cuda …")
@click.option("--out", type=PATH, help="Of --adapt finetune: folder of the mapped cache and the run.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="A.B=C",
    help="Of --adapt finetune: settings of the training.",
)
@progress_options
def transfer(
    run: Path,
    cache: Path,
    asked: str,
    refined: bool,
    adapt: str,
    protocol: str,
    variant: str,
    text_variant: str,
    device: str,
    out: Path | None,
    assignments: tuple[str, ...],
) -> None:
    """A trained model on another data set: zero-shot, or adapted to it. See docs/transfer.md."""
    from mmcl_cache.store import UserError
    from mmcl_train.engine.environment import choose_device

    place = str(choose_device(device))
    if (out or assignments) and adapt != "finetune":
        raise UserError("--out and --set are of --adapt finetune")
    if refined and adapt != "none":
        raise UserError("--refined is of the zero-shot evaluation, without --adapt")
    if adapt == "none":
        from mmcl_train.deploy.transfer import evaluate_transfer

        _finish("transfer", evaluate_transfer(run, cache, asked, refined, variant, text_variant, place))
        return
    from mmcl_train.deploy.adapt import finetune, probe

    if adapt == "probe":
        _finish("transfer", probe(run, cache, asked, variant, protocol, place))
        return
    folder = out or Path("runs") / f"{run.resolve().name}-on-{cache.resolve().name}"
    _finish("transfer", finetune(run, cache, asked, variant, protocol, place, folder, assignments))


@click.command()
@click.argument("run", type=PATH)
@click.argument("repo", metavar="OWNER/NAME")
@click.option("--public", is_flag=True, help="Readable by everyone (default: private).")
@progress_options
def push(run: Path, repo: str, public: bool) -> None:
    """Send the model of RUN, with its card, to a Hugging Face model repository."""
    hide_foreign_bars()
    from mmcl_train.deploy.hub import push_run

    finish("push", push_run(run, repo, not public), {"run": str(run), "repo": repo})


@click.command()
@click.argument("repo", metavar="OWNER/NAME")
@click.option("--out", type=PATH, required=True, help="Folder to write.")
@progress_options
def pull(repo: str, out: Path) -> None:
    """Fetch a model from a Hugging Face model repository."""
    hide_foreign_bars()
    from mmcl_train.deploy.hub import pull_run

    finish("pull", pull_run(repo, out), {"repo": repo, "folder": str(out)})


def _open_model(path: Path, device: str) -> Model:
    """With onnxruntime alone where it is an .onnx file, with torch where it is a folder with weights."""
    from mmcl_cache.store import UserError

    files = (
        sorted(path.glob("*.onnx")) if path.is_dir() and not (path / "model.safetensors").is_file() else []
    )
    if path.suffix == ".onnx" or files:
        try:
            from mmcl_train.deploy.onnx_model import OnnxModel
        except ImportError:
            raise UserError(_ONNX_EXTRA) from None

        return OnnxModel(files[0] if files else path)
    if not path.is_dir():
        raise UserError(f"{path}: --model takes a finished run, an exported folder or an .onnx file")
    from mmcl_train.deploy.torch_model import TorchModel
    from mmcl_train.engine.environment import choose_device

    return TorchModel(path, str(choose_device(device)))


def _finish(command: str, lines: Iterable[str]) -> None:
    """Print lines as they come, or all of them as one event."""
    if chosen_mode() == "json":
        kept = list(lines)
        finish(command, "\n".join(kept), {"lines": kept})
    else:
        _print(lines)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


COMMANDS = (predict, export, transfer, push, pull)
