"""`fluyt role`: roles and what they permit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from kvstore.cli.arguments import text_arguments
from kvstore.cli.console import Console, connected
from kvstore.cli.exits import bad_args
from kvstore.cli.grammar import Command, SubGroup
from kvstore.client.requests import key_range
from kvstore.pb import etcd_pb2 as pb

_OPEN = "\0"
_KINDS = {"READ": pb.Permission.READ, "WRITE": pb.Permission.WRITE, "READWRITE": pb.Permission.READWRITE}


@click.group(cls=SubGroup)
def role() -> None:
    """What users may do, by role."""


def _ranges(command: Callable[..., Any]) -> Callable[..., Any]:
    prefix = click.option("--prefix", is_flag=True, help="Every key that begins with <key>.")
    from_key = click.option("--from-key", is_flag=True, help="Every key from <key> on.")
    return prefix(from_key(command))


@role.command(cls=Command, examples="fluyt role add reader")
@text_arguments("<role name>")
@connected
async def add(console: Console, arguments: tuple[str, ...]) -> None:
    """Make a role, which permits nothing yet."""
    if len(arguments) != 1:
        raise bad_args("role add command requires role name as its argument")
    answer = await console.client.auth.role_add(arguments[0])
    console.printer.auth_change(f"Role {arguments[0]} created", answer)


@role.command(cls=Command, examples="fluyt role delete reader")
@text_arguments("<role name>")
@connected
async def delete(console: Console, arguments: tuple[str, ...]) -> None:
    """Remove a role, from every user, too."""
    if len(arguments) != 1:
        raise bad_args("role delete command requires role name as its argument")
    answer = await console.client.auth.role_delete(arguments[0])
    console.printer.auth_change(f"Role {arguments[0]} deleted", answer)


@role.command(cls=Command, examples="fluyt role get reader")
@text_arguments("<role name>")
@connected
async def get(console: Console, arguments: tuple[str, ...]) -> None:
    """Show what a role permits."""
    if len(arguments) != 1:
        raise bad_args("role get command requires role name as its argument")
    console.printer.role_get(arguments[0], await console.client.auth.role_get(arguments[0]))


@role.command("list", cls=Command, examples="fluyt role list")
@text_arguments("")
@connected
async def list_all(console: Console, arguments: tuple[str, ...]) -> None:
    """List every role."""
    if arguments:
        raise bad_args("role list command requires no arguments")
    console.printer.role_list(await console.client.auth.role_list())


@role.command(
    "grant-permission",
    cls=Command,
    examples="""
    fluyt role grant-permission reader read app/ --prefix
    fluyt role grant-permission editor readwrite app/a app/m
    """,
)
@text_arguments("<role name> <permission type> <key> [endkey]")
@_ranges
@connected
async def grant_permission(console: Console, arguments: tuple[str, ...], prefix: bool, from_key: bool) -> None:
    """Let a role read, write or readwrite a key or a range of keys."""
    if len(arguments) < 3:
        raise bad_args("role grant command requires role name, permission type, and key [endkey] as its argument")
    name, kind = arguments[0], arguments[1].upper()
    if kind not in _KINDS:
        raise bad_args(f"invalid permission type: {arguments[1]}")
    key, end = _range(arguments[2:], prefix, from_key)
    answer = await console.client.auth.role_grant_permission(name, _KINDS[kind], key, end)
    console.printer.auth_change(f"Role {name} updated", answer)


@role.command("revoke-permission", cls=Command, examples="fluyt role revoke-permission reader app/ --prefix")
@text_arguments("<role name> <key> [endkey]")
@_ranges
@connected
async def revoke_permission(console: Console, arguments: tuple[str, ...], prefix: bool, from_key: bool) -> None:
    """Take a permission back; the key and its end must be those that were granted."""
    if len(arguments) < 2:
        raise bad_args("role revoke-permission command requires role name and key [endkey] as its argument")
    name, shown = arguments[:2]
    key, end = _range(arguments[1:], prefix, from_key)
    answer = await console.client.auth.role_revoke_permission(name, key, end)
    console.printer.auth_change(_revoked(name, shown, end), answer)


def _revoked(name: str, key: str, end: str) -> str:
    if not end:
        return f"Permission of key {key} is revoked from role {name}"
    # The missing bracket is etcdctl's.
    shown = "<open ended>" if end == _OPEN else f"{end})"
    return f"Permission of range [{key}, {shown} is revoked from role {name}"


def _range(words: tuple[str, ...], prefix: bool, from_key: bool) -> tuple[str, str]:
    """(key, range_end) of a permission. With --prefix or --from-key an empty key stands for every key."""
    key = words[0]
    if not key:
        if prefix and from_key:
            raise bad_args("--from-key and --prefix flags are mutually exclusive")
        return _OPEN, _OPEN if prefix or from_key else ""
    if len(words) > 1:
        if prefix or from_key:
            flag = "--prefix" if prefix else "--from-key"
            raise bad_args(f"unexpected endkey argument with {flag} flag")
        return key, words[1]
    if prefix and from_key:
        raise bad_args("--from-key and --prefix flags are mutually exclusive")
    return key, key_range(key, prefix=prefix, from_key=from_key)[1].decode("utf-8", "surrogateescape")
