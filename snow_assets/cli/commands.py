"""Groups of commands, each imported when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click


class Commands(click.Group):
    """Commands by a table: name -> module below snow_assets.cli that holds a command of that name, and a line of help.

    A module is imported when its command runs, so that --help is quick and imports nothing else. In a group below the
    first, a command's function begins with the group's name: ``imports run`` is ``imports_run``.
    """

    def __init__(self, *arguments: Any, table: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Every command, in the order in which they are met."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or ``None``."""
        if cmd_name not in self.table:
            return None
        module = import_module(f"snow_assets.cli.{self.table[cmd_name][0]}")
        prefix = "" if ctx.parent is None else f"{self.name}_"
        command = getattr(module, prefix + cmd_name.replace("-", "_"))
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command and its arguments; an unknown one gets the nearest as a hint."""
        name = args[0]
        if name not in self.table and not name.startswith("-"):
            close = get_close_matches(name, self.table, n=1)
            suggestion = f"; did you mean {close[0]}?" if close else ""
            ctx.fail(f"no such command: {name}{suggestion}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list in ``--help``, from the table: no command is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])
