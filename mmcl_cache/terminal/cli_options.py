"""Options that commands of both tools share: how progress is shown, and names that the shell completes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from mmcl_cache.terminal.modes import MODES, VARIABLE, chosen_mode

Command = TypeVar("Command", bound=Callable[..., Any])
Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def progress_options(command: Command) -> Command:
    """`--progress MODE` and its short form `--quiet`; what is chosen holds in every process of the command."""
    command = click.option(
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_choose_quiet,
        help="Short for --progress quiet: results and errors only.",
    )(command)
    return click.option(
        "--progress",
        type=click.Choice(MODES),
        metavar="MODE",
        expose_value=False,
        callback=_choose,
        help=f"auto, live, lines, json or quiet.  [default: {VARIABLE}, or auto: live on a terminal, else lines]",
    )(command)


def _choose(ctx: click.Context, parameter: click.Parameter, mode: str | None) -> None:
    if ctx.resilient_parsing:
        return
    before = os.environ.get(VARIABLE)
    if mode is None and before and before not in MODES:
        raise click.BadParameter(f"{VARIABLE}={before}: no such mode; known: {', '.join(MODES)}")
    if mode is None:
        return
    os.environ[VARIABLE] = mode

    def restore() -> None:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before

    # After the group's own context: an error is told there, in the mode that was asked for.
    ctx.find_root().call_on_close(restore)


def _choose_quiet(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked:
        _choose(ctx, parameter, "quiet")


def hide_foreign_bars() -> None:
    """Where no live display is wanted, keep the hub's own bars away; read when huggingface_hub is imported."""
    if chosen_mode() != "live":
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"


def completing(names: Callable[[], Sequence[str]] | Sequence[str]) -> Completion:
    """A `shell_complete` callback that offers names; a function of them is called only when they are wanted."""

    def complete(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        known = names() if callable(names) else names
        return [CompletionItem(name) for name in known if name.startswith(begun)]

    return complete


def complete_options(group: click.Group, completions: Mapping[str, Completion]) -> None:
    """Offer names after the options of these names, whichever command of the group has them."""
    for command in group.commands.values():
        for parameter in command.params:
            known = [completions[name] for name in parameter.opts if name in completions]
            if known and not isinstance(parameter.type, (click.Choice, click.Path)):
                parameter.shell_complete = partial(_complete, known[0], parameter)  # type: ignore[method-assign]


def _complete(
    completion: Completion, parameter: click.Parameter, ctx: click.Context, incomplete: str
) -> list[CompletionItem]:
    return completion(ctx, parameter, incomplete)
