"""`fluyt user`: users, their passwords and roles."""

from __future__ import annotations

import click

from kvstore.cli.arguments import text_arguments
from kvstore.cli.console import Console, connected
from kvstore.cli.exits import bad_args
from kvstore.cli.grammar import Command, SubGroup
from kvstore.cli.output.printer import emit
from kvstore.cli.password import ask_twice, read_word

_interactive = click.option(
    "--interactive/--no-interactive",
    default=True,
    help="Ask for the password; otherwise it is the first word on stdin.",
)


@click.group(cls=SubGroup)
def user() -> None:
    """Who may use the store."""


@user.command(
    cls=Command,
    examples="""
    fluyt user add ann
    echo "$SECRET" | fluyt user add ann --interactive=false
    fluyt user add host-7 --no-password
    """,
)
@text_arguments("<user name or user:password>")
@click.option("--new-user-password", default="", help="The password. Others on this machine can see it there.")
@click.option("--no-password", is_flag=True, help="The user has none, and comes with a certificate.")
@_interactive
@connected
async def add(
    console: Console, arguments: tuple[str, ...], new_user_password: str, no_password: bool, interactive: bool
) -> None:
    """Make a user."""
    if len(arguments) != 1:
        raise bad_args("user add command requires user name as its argument")
    name, password = arguments[0], None
    if not no_password:
        name, password = _named_password(name, new_user_password, interactive)
    answer = await console.client.auth.user_add(name, password)
    console.printer.auth_change(f"User {name} created", answer)


def _named_password(word: str, from_flag: str, interactive: bool) -> tuple[str, str]:
    """(name, password): the password from the flag, from name:password, or asked for."""
    if from_flag:
        return word, from_flag
    name, separator, password = word.partition(":")
    if not separator:
        return word, ask_twice(word) if interactive else read_word()
    if not name:
        raise bad_args("empty user name is not allowed")
    return name, password


@user.command(cls=Command, examples="fluyt user delete ann")
@text_arguments("<user name>")
@connected
async def delete(console: Console, arguments: tuple[str, ...]) -> None:
    """Remove a user."""
    if len(arguments) != 1:
        raise bad_args("user delete command requires user name as its argument")
    answer = await console.client.auth.user_delete(arguments[0])
    console.printer.auth_change(f"User {arguments[0]} deleted", answer)


@user.command(cls=Command, examples="fluyt user get ann --detail")
@text_arguments("<user name>")
@click.option("--detail", is_flag=True, help="The permissions of the user's roles, too.")
@connected
async def get(console: Console, arguments: tuple[str, ...], detail: bool) -> None:
    """Show a user's roles."""
    if len(arguments) != 1:
        raise bad_args("user get command requires user name as its argument")
    name = arguments[0]
    answer = await console.client.auth.user_get(name)
    if not detail:
        console.printer.user_get(name, answer)
        return
    emit(f"User: {name}")
    for role in answer.roles:
        emit("")
        console.printer.role_get(role, await console.client.auth.role_get(role))


@user.command("list", cls=Command, examples="fluyt user list")
@text_arguments("")
@connected
async def list_all(console: Console, arguments: tuple[str, ...]) -> None:
    """List every user."""
    if arguments:
        raise bad_args("user list command requires no arguments")
    console.printer.user_list(await console.client.auth.user_list())


@user.command(cls=Command, examples="fluyt user passwd ann")
@text_arguments("<user name>")
@_interactive
@connected
async def passwd(console: Console, arguments: tuple[str, ...], interactive: bool) -> None:
    """Give a user another password."""
    if len(arguments) != 1:
        raise bad_args("user passwd command requires user name as its argument")
    password = ask_twice(arguments[0]) if interactive else read_word()
    answer = await console.client.auth.user_change_password(arguments[0], password)
    console.printer.auth_change("Password updated", answer)


@user.command("grant-role", cls=Command, examples="fluyt user grant-role ann reader")
@text_arguments("<user name> <role name>")
@connected
async def grant_role(console: Console, arguments: tuple[str, ...]) -> None:
    """Give a user a role."""
    if len(arguments) != 2:
        raise bad_args("user grant command requires user name and role name as its argument")
    name, role = arguments
    answer = await console.client.auth.user_grant_role(name, role)
    console.printer.auth_change(f"Role {role} is granted to user {name}", answer)


@user.command("revoke-role", cls=Command, examples="fluyt user revoke-role ann reader")
@text_arguments("<user name> <role name>")
@connected
async def revoke_role(console: Console, arguments: tuple[str, ...]) -> None:
    """Take a role from a user."""
    if len(arguments) != 2:
        raise bad_args("user revoke-role requires user name and role name as its argument")
    name, role = arguments
    answer = await console.client.auth.user_revoke_role(name, role)
    console.printer.auth_change(f"Role {role} is revoked from user {name}", answer)
