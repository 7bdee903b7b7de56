"""The command `mmcl-cache`. Each command parses, calls one function, prints; heavy imports wait until it runs."""

from __future__ import annotations

import sys

import click

from mmcl_cache import cli_bench, cli_build, cli_exchange, cli_hub, cli_keep, cli_look
from mmcl_cache.cli_names import COMPLETIONS
from mmcl_cache.errors import UserError
from mmcl_cache.terminal.cli import CONTEXT, Tool, completion, version_option
from mmcl_cache.terminal.cli_options import complete_options


class Commands(Tool):
    """The commands of stage 1."""

    stopped = "stopped; what is complete is kept, the same command continues"

    def is_mistake(self, error: Exception) -> bool:
        return isinstance(error, UserError)


@click.group(name="mmcl-cache", cls=Commands, context_settings={**CONTEXT, "show_default": True})
@version_option()
def main() -> None:
    """Stage 1: turn videos and skeletons into a cache that any skeleton GCN can be co-trained from."""


for _commands in (cli_build, cli_bench, cli_look, cli_keep, cli_exchange, cli_hub):
    for _command in _commands.COMMANDS:
        main.add_command(_command)
main.add_command(completion)
complete_options(main, COMPLETIONS)


if __name__ == "__main__":
    sys.exit(main())
