"""`fluyt lease`: grant, revoke, timetolive, list, keep-alive."""

from __future__ import annotations

import click

from kvstore.cli.arguments import hex_id, integer, text_arguments
from kvstore.cli.console import Console, connected, told
from kvstore.cli.exits import BAD_ARGS, BAD_CONNECTION, bad_args
from kvstore.cli.grammar import Command, SubGroup
from kvstore.cli.output.printer import emit
from kvstore.client.errors import LeaseLost

_BAD_ID = "bad lease ID arg ({}), expecting ID in Hex"


@click.group(cls=SubGroup)
def lease() -> None:
    """Leases: keys that hang on one are deleted when it ends."""


@lease.command(cls=Command, examples="fluyt lease grant 60")
@text_arguments("<ttl>")
@connected
async def grant(console: Console, arguments: tuple[str, ...]) -> None:
    """Make a lease of <ttl> seconds."""
    if len(arguments) != 1:
        raise bad_args("lease grant command needs TTL argument")
    ttl = integer(arguments[0], "bad TTL ({})", BAD_ARGS)
    with told("failed to grant lease ({})"):
        answer = await console.client.leases.grant(ttl)
    console.printer.lease_grant(answer)


@lease.command(cls=Command, examples="fluyt lease revoke 694d77aa9e38260f")
@text_arguments("<lease id>")
@connected
async def revoke(console: Console, arguments: tuple[str, ...]) -> None:
    """End a lease and delete its keys."""
    if len(arguments) != 1:
        raise bad_args("lease revoke command needs 1 argument")
    lease_id = hex_id(arguments[0], _BAD_ID)
    with told("failed to revoke lease ({})"):
        answer = await console.client.leases.revoke(lease_id)
    console.printer.lease_revoke(lease_id, answer)


@lease.command(cls=Command, examples="fluyt lease timetolive 694d77aa9e38260f --keys")
@text_arguments("<lease id>")
@click.option("--keys", is_flag=True, help="The keys that hang on it, too.")
@connected
async def timetolive(console: Console, arguments: tuple[str, ...], keys: bool) -> None:
    """Show how long a lease has left."""
    if len(arguments) != 1:
        raise bad_args("lease timetolive command needs lease ID as argument")
    lease_id = hex_id(arguments[0], _BAD_ID)
    with told(code=BAD_CONNECTION):
        answer = await console.client.leases.time_to_live(lease_id, keys=keys)
    console.printer.lease_time_to_live(answer, keys)


@lease.command("list", cls=Command, examples="fluyt lease list")
@connected
async def list_all(console: Console) -> None:
    """List every lease."""
    with told(code=BAD_CONNECTION):
        answer = await console.client.leases.list()
    console.printer.lease_list(answer)


@lease.command("keep-alive", cls=Command, examples="fluyt lease keep-alive 694d77aa9e38260f")
@text_arguments("<lease id>")
@click.option("--once", is_flag=True, help="Renew it once, instead of for ever.")
@connected
async def keep_alive(console: Console, arguments: tuple[str, ...], once: bool) -> None:
    """Renew a lease, for ever or until it is lost."""
    if len(arguments) != 1:
        raise bad_args("lease keep-alive command needs lease ID as argument")
    lease_id = hex_id(arguments[0], _BAD_ID)
    with told(code=BAD_CONNECTION):
        try:
            if once:
                console.printer.lease_keep_alive(await console.client.leases.keep_alive_once(lease_id))
            else:
                async for answer in console.client.leases.keep_alive(lease_id):
                    console.printer.lease_keep_alive(answer)
        except LeaseLost:
            if console.format == "simple":
                emit(f"lease {lease_id:016x} expired or revoked.")
