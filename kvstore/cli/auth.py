"""`fluyt auth`: turn authentication on and off."""

from __future__ import annotations

import click

from kvstore.cli.arguments import text_arguments
from kvstore.cli.console import Console, connected
from kvstore.cli.exits import bad_args
from kvstore.cli.grammar import Command, SubGroup
from kvstore.cli.output.printer import emit
from kvstore.client.errors import ClientError

_NO_ROOT_ROLE = "root user does not have root role"


@click.group(cls=SubGroup)
def auth() -> None:
    """Whether requests need a user."""


def _no_arguments(command: str, arguments: tuple[str, ...]) -> None:
    if arguments:
        raise bad_args(f"auth {command} command does not accept any arguments")


@auth.command(cls=Command, examples="fluyt user add root && fluyt auth enable")
@text_arguments("")
@connected
async def enable(console: Console, arguments: tuple[str, ...]) -> None:
    """Turn authentication on; the user root must exist, and gets the role root if need be."""
    _no_arguments("enable", arguments)
    try:
        await console.client.auth.enable()
    except ClientError as problem:
        if _NO_ROOT_ROLE not in str(problem):
            raise
        await console.client.auth.role_add("root")
        await console.client.auth.user_grant_role("root", "root")
        await console.client.auth.enable()
    emit("Authentication Enabled")


@auth.command(cls=Command, examples="fluyt auth disable --user root")
@text_arguments("")
@connected
async def disable(console: Console, arguments: tuple[str, ...]) -> None:
    """Turn authentication off."""
    _no_arguments("disable", arguments)
    await console.client.auth.disable()
    emit("Authentication Disabled")


@auth.command(cls=Command, examples="fluyt auth status --user root")
@text_arguments("")
@connected
async def status(console: Console, arguments: tuple[str, ...]) -> None:
    """Show whether it is on, and how often users and roles were changed."""
    _no_arguments("status", arguments)
    console.printer.auth_status(await console.client.auth.status())
