"""etcdctl's grammar on top of click: global options anywhere, Go's flags, prefixes of command names, lazy commands.

A command is loaded only when it is run, so that `fluyt put` does not pay for what `fluyt store` imports.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import click

from kvstore.cli import options
from kvstore.cli.go_flags import plain_words


class Command(click.Command):
    """A command that takes the global options, too. examples: shell lines that --help shows."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(options.parameters(root=False))
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, plain_words(self, args))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"  {line.strip()}\n")
        formatter.write_paragraph()
        formatter.write_text("Options of every command (--endpoints, --write-out, --user, …): fluyt --help")


class Group(click.Group):
    """A group whose members may be named by any unambiguous beginning."""

    command_class = Command

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        exact = self.load(ctx, cmd_name)
        if exact is not None:
            return exact
        matches = [name for name in self.list_commands(ctx) if name.startswith(cmd_name)]
        return self.load(ctx, matches[0]) if len(matches) == 1 else None

    def load(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of exactly that name."""
        return super().get_command(ctx, name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None and not args[0].startswith("-"):
            raise click.UsageError(f'unknown command "{args[0]}" for "{ctx.command_path}"', ctx)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, plain_words(self, args))


class SubGroup(Group):
    """A family of commands (`fluyt lease grant`): takes the global options, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(options.parameters(root=False))


class LazyGroup(Group):
    """The root. lazy: name → (module:attribute, one line of help)."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy
        self.params.extend(options.parameters(root=True))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def load(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self._lazy:
            return None
        module, _, attribute = self._lazy[name][0].partition(":")
        command: click.Command = getattr(_imported(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])


def _imported(module: str) -> ModuleType:
    """The module. What it brings along lives for good: the collector looks at none of it, now or later."""
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.freeze()
        gc.enable()
