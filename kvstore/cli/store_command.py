"""The grammar of etcd's command line, which is Go's: -flag and --flag are the same, and --version ends it all."""

from __future__ import annotations

import platform
import sys
from typing import Any

import click

from kvstore.version import ETCD_VERSION, FLUYT_VERSION


def _print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"etcd Version: {ETCD_VERSION}")
        click.echo(f"Fluyt Version: {FLUYT_VERSION}")
        click.echo(f"Python Version: {platform.python_version()}")
        click.echo(f"OS/Arch: {sys.platform}/{platform.machine()}")
        ctx.exit()


class StoreCommand(click.Command):
    """`fluyt store`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        version = click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_print_version,
            help="Print the versions and end.",
        )
        # Not an environment variable: container images set ETCD_VERSION to say what they are.
        version.allow_from_autoenv = False
        self.params.append(version)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        names = {name for param in self.params if isinstance(param, click.Option) for name in param.opts}
        return super().parse_args(ctx, [_two_dashes(word, names) for word in args])


def _two_dashes(word: str, names: set[str]) -> str:
    name = word.partition("=")[0]
    return f"-{word}" if not word.startswith("--") and f"-{name}" in names else word
