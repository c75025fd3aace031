"""`fluyt alarm`: list and disarm."""

from __future__ import annotations

import click

from kvstore.cli.arguments import text_arguments
from kvstore.cli.console import Console, connected
from kvstore.cli.exits import bad_args
from kvstore.cli.grammar import Command, SubGroup


@click.group(cls=SubGroup)
def alarm() -> None:
    """Alarms: a member that is out of space, or whose data is corrupt."""


def _no_arguments(command: str, arguments: tuple[str, ...]) -> None:
    if arguments:
        raise bad_args(f"alarm {command} command accepts no arguments")


@alarm.command("list", cls=Command, examples="fluyt alarm list")
@text_arguments("")
@connected
async def list_all(console: Console, arguments: tuple[str, ...]) -> None:
    """List the alarms that are on."""
    _no_arguments("list", arguments)
    console.printer.alarms(await console.client.maintenance.alarms())


@alarm.command(cls=Command, examples="fluyt alarm disarm")
@text_arguments("")
@connected
async def disarm(console: Console, arguments: tuple[str, ...]) -> None:
    """Turn every alarm off, and print which they were."""
    _no_arguments("disarm", arguments)
    console.printer.alarms(await console.client.maintenance.disarm())
