"""`fluyt kube delete`: delete objects, and wait until they are gone."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from control.api.status import StatusError
from control.cli.kube.grammar import Duration, KubeCommand, files_option
from control.cli.kube.selecting import Found, Selection, select
from control.cli.kube.session import Session, raise_all, run
from control.cli.kube.wait import gone
from kvstore.cli.exits import CommandError

_CASCADES = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}


@click.command(
    "delete",
    cls=KubeCommand,
    examples="""
    fluyt kube delete pod web-1
    fluyt kube delete -f web.yaml
    fluyt kube delete pods -l app=web --wait=false
    """,
)
@click.argument("words", nargs=-1, metavar="TYPE NAME… | TYPE/NAME… | TYPE -l SELECTOR")
@files_option("Delete the objects of this file, folder, or - .")
@click.option("-R", "--recursive", is_flag=True, help="Folders inside folders, too.")
@click.option("-l", "--selector", default="", help="Those with these labels.")
@click.option("--field-selector", default="", help="Those with these fields.")
@click.option("--all", "every", is_flag=True, help="All of the type.")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="In all namespaces.")
@click.option("--cascade", type=click.Choice(list(_CASCADES)), default="background", help="What becomes of dependents.")
@click.option("--grace-period", type=int, default=-1, help="Seconds to end in; with --force 0 is at once.")
@click.option("--now", is_flag=True, help="As --grace-period=1.")
@click.option("--force", is_flag=True, help="Do not wait for the node's word that it has ended.")
@click.option("--wait", type=bool, default=True, help="Wait until they are gone.  [default: true]")
@click.option("--timeout", type=Duration(), default=0.0, help="Wait so long at most; 0: without end.")
@click.option("--ignore-not-found", is_flag=True, help="What is not there is deleted.")
@click.option("--dry-run", type=click.Choice(["none", "server"]), default="none", help="server: check, change nothing.")
@click.option("-o", "--output", type=click.Choice(["", "name"]), default="", help="name: only the names.")
@click.pass_context
def delete(ctx: click.Context, /, **options: Any) -> None:
    """Delete objects."""
    run(ctx, lambda session: _delete_all(session, options))


async def _delete_all(session: Session, options: dict[str, Any]) -> None:
    selection = Selection(
        options["words"],
        options["files"],
        options["recursive"],
        options["selector"],
        options["field_selector"],
        options["every"],
        options["everywhere"],
    )
    grace = _grace(options)
    deleted: list[tuple[Found, str]] = []
    problems: list[StatusError] = []
    found = await select(session, selection)
    for each in found:
        try:
            uid = await _delete(session, each, options, grace)
        except StatusError as refused:
            if not (refused.code == 404 and (options["ignore_not_found"] or options["every"])):
                problems.append(refused)
            continue
        deleted.append((each, uid))
        click.echo(_told(each, options))
    if not found:
        click.echo("No resources found", err=True)
    if options["wait"] and options["dry_run"] == "none":
        await _wait(session, deleted, options["timeout"])
    raise_all(problems)


def _grace(options: dict[str, Any]) -> int | None:
    grace: int = 1 if options["now"] else options["grace_period"]
    if options["force"]:
        return 0 if grace < 0 else grace
    if grace == 0:
        raise CommandError("--grace-period=0 needs --force: the object may still run on its node", prefix="error: ")
    return None if grace < 0 else grace


async def _delete(session: Session, found: Found, options: dict[str, Any], grace: int | None) -> str:
    """The uid of what is being deleted; "" when it is gone."""
    answer = await session.client.delete(
        found.kind.resource,
        found.name,
        namespace=found.namespace,
        propagation=_CASCADES[options["cascade"]],
        grace=grace,
        dry_run=options["dry_run"] == "server",
    )
    if answer.get("kind") == "Status":
        return str((answer.get("details") or {}).get("uid", ""))
    return str((answer.get("metadata") or {}).get("uid", ""))


def _told(found: Found, options: dict[str, Any]) -> str:
    if options["output"] == "name":
        return found.shown
    how = " (server dry run)" if options["dry_run"] == "server" else ""
    return f"{found.quoted} {'force ' if options['force'] else ''}deleted{how}"


async def _wait(session: Session, deleted: list[tuple[Found, str]], timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout or None):
            for found, uid in deleted:
                await gone(session.client, found, uid)
    except TimeoutError:
        raise CommandError(f"timed out waiting for {found.shown} to be gone", prefix="error: ") from None
