"""`fluyt elect`: stand for election until a signal, or watch who leads (-l)."""

from __future__ import annotations

import click

from kvstore.cli.arguments import text_arguments
from kvstore.cli.console import Console, connected
from kvstore.cli.exits import CommandError, bad_args
from kvstore.cli.grammar import Command
from kvstore.cli.signals import Stop
from kvstore.client.election import Election


@click.command(
    cls=Command,
    examples="""
    fluyt elect masters host-1    # waits to be elected, prints the key, leads until Ctrl-C
    fluyt elect -l masters        # prints every leader
    """,
)
@text_arguments("<election> [<proposal>]")
@click.option("-l", "--listen", is_flag=True, help="Only watch.")
@connected
async def elect(console: Console, arguments: tuple[str, ...], listen: bool) -> int:
    """Take part in an election with a proposal, or watch one."""
    if len(arguments) not in (1, 2):
        raise bad_args("elect takes one election name argument and an optional proposal argument")
    if len(arguments) == 1 and not listen:
        raise bad_args("no proposal argument but -l not set")
    if len(arguments) == 2 and listen:
        raise bad_args("proposal given but -l is set")
    async with Stop() as stop, console.client.election(arguments[0]) as election:
        if listen:
            await stop.unless(_observe(console, election))
            return 0
        return await _lead(console, election, arguments[1], stop)


async def _observe(console: Console, election: Election) -> None:
    async for answer in election.observe():
        console.printer.get(answer)


async def _lead(console: Console, election: Election, proposal: str, stop: Stop) -> int:
    if await stop.unless(election.campaign(proposal)) is None:
        return 1
    console.printer.get(await console.client.range(election.key))
    if await stop.unless(_lost(election)):
        raise CommandError("elect: session expired: the leadership is lost")
    await election.resign()
    return 0


async def _lost(election: Election) -> bool:
    await election.wait_lost()
    return True
