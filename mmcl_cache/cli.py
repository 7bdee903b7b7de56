"""The command `mmcl-cache`. Each command parses, calls one function, prints; heavy imports wait until it runs."""

from __future__ import annotations

import sys
from typing import Any

import click

from mmcl_cache import __version__, cli_build, cli_exchange, cli_hub, cli_look
from mmcl_cache.errors import UserError

INTERRUPTED = 130


class OneLineErrors(click.Group):
    """A user's mistake is one line on standard error and exit code 2, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"mmcl-cache: {' '.join(str(error).split())}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("mmcl-cache: stopped; what is complete is kept, the same command continues", err=True)
            ctx.exit(INTERRUPTED)


@click.group(
    cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.version_option(__version__, prog_name="mmcl-cache")
def main() -> None:
    """Stage 1: turn videos and skeletons into a cache that any skeleton GCN can be co-trained from."""


for _commands in (cli_build, cli_look, cli_exchange, cli_hub):
    for _command in _commands.COMMANDS:
        main.add_command(_command)


if __name__ == "__main__":
    sys.exit(main())
