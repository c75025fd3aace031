"""`fluyt alarm`: list and disarm."""

from __future__ import annotations

import click

from kvstore.cli.console import Console, connected
from kvstore.cli.grammar import Command, SubGroup


@click.group(cls=SubGroup)
def alarm() -> None:
    """Alarms: a member that is out of space, or whose data is corrupt."""


@alarm.command("list", cls=Command, examples="fluyt alarm list")
@connected
async def list_all(console: Console) -> None:
    """List the alarms that are on."""
    console.printer.alarms(await console.client.maintenance.alarms())


@alarm.command(cls=Command, examples="fluyt alarm disarm")
@connected
async def disarm(console: Console) -> None:
    """Turn every alarm off, and print which they were."""
    console.printer.alarms(await console.client.maintenance.disarm())
