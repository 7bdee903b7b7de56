"""What the groups of both commands share: one line for an error, exit codes, --version, completion.

Exit codes: 0 done, 1 unexpected (with a traceback), 2 the user's mistake, 130 stopped by Ctrl-C or SIGTERM, 141 the
reader of the output closed it.
"""

from __future__ import annotations

from typing import Any, NoReturn

import click
from click.shell_completion import ShellComplete, get_completion_class

from mmcl_cache.terminal.encoding import prepare_streams
from mmcl_cache.terminal.events import tell
from mmcl_cache.terminal.modes import chosen_mode
from mmcl_cache.terminal.stopping import (
    INTERRUPTED,
    PIPE_CLOSED,
    Stopped,
    output_is_gone,
    sigterm_is_ctrl_c,
    silence_output,
)
from mmcl_cache.terminal.versions import describe_versions, own_version

MISTAKE = 2
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
SHELLS = ("bash", "zsh", "fish")


class Tool(click.Group):
    """A group whose commands end a mistake with one line and exit code 2, and a stop with one line and 130."""

    stopped = "stopped"

    def is_mistake(self, error: Exception) -> bool:
        """Is this something the person at the keyboard can mend?"""
        raise NotImplementedError

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command and leave."""
        prepare_streams()
        return super().main(*args, **options)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        """The group's own options; a mistake in them ends as one of a command does."""
        try:
            return super().make_context(*args, **options)
        except click.UsageError as error:
            self._refuse(error)

    def invoke(self, ctx: click.Context) -> Any:
        """Run one command."""
        try:
            with sigterm_is_ctrl_c():
                return super().invoke(ctx)
        except click.ClickException as error:
            self._refuse(error)
        except click.exceptions.Exit:
            raise
        except Stopped as stop:
            self._end(str(stop), INTERRUPTED, "stopped")
        except (KeyboardInterrupt, click.Abort):
            self._end(self.stopped, INTERRUPTED, "stopped")
        except BrokenPipeError as error:
            if not output_is_gone():  # click takes this error for that and would say nothing
                raise RuntimeError("the pipe to another process of this command broke") from error
            silence_output()
            raise click.exceptions.Exit(PIPE_CLOSED) from None
        except Exception as error:
            if self.is_mistake(error):
                self._end(str(error), MISTAKE, "error")
            if chosen_mode() == "json":
                tell({"event": "error", "text": f"{type(error).__name__}: {error}", "exit": 1})
            raise

    def _refuse(self, error: click.ClickException) -> NoReturn:
        """End with click's words in one line, and where to read on."""
        if type(error).__name__ == "NoArgsIsHelpError":  # since click 8.2; its message is the whole help
            raise error
        text, ctx = error.format_message().rstrip("."), getattr(error, "ctx", None)
        command = f" {ctx.info_name}" if ctx is not None and ctx.parent is not None else ""
        self._end(f"{text}; see {self.name}{command} --help", MISTAKE, "error")

    def _end(self, message: str, code: int, event: str) -> NoReturn:
        tell({"event": event, "text": f"{self.name}: {' '.join(message.split())}", "exit": code})
        raise click.exceptions.Exit(code) from None


def version_option() -> Any:
    """`--version`: this package's, and those of what results depend on."""

    def show(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
        if asked and not ctx.resilient_parsing:
            click.echo("\n".join([f"{ctx.command.name}, version {own_version()}", *describe_versions()]))
            ctx.exit()

    return click.option(
        "--version",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=show,
        help="Show the version, and those of what results depend on.",
    )


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and names in a shell.

    \b
    bash:  eval "$(COMMAND completion bash)" in ~/.bashrc  (bash 4.4 or later)
    zsh:   eval "$(COMMAND completion zsh)" in ~/.zshrc
    fish:  COMMAND completion fish > ~/.config/fish/completions/COMMAND.fish
    """
    assert ctx.parent is not None
    group, kind = ctx.parent.command, get_completion_class(shell)
    assert group.name is not None and kind is not None
    variable = f"_{group.name}_COMPLETE".replace("-", "_").upper()
    # Not kind.source(): that of bash starts one to ask for its version.
    click.echo(ShellComplete.source(kind(group, {}, group.name, variable)).strip())
