"""`fluyt kube scale`: the number of replicas, through the scale subresource."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from control.api.status import StatusError
from control.cli.kube.grammar import KubeCommand, files_option
from control.cli.kube.selecting import Found, Selection, select
from control.cli.kube.session import Session, run
from kvstore.backoff import delays
from kvstore.cli.exits import CommandError

# A controller that writes the object's status all the time does so a few times a second.
_TRIES = 30


@click.command(
    "scale",
    cls=KubeCommand,
    examples="""
    fluyt kube scale deployment/web --replicas=3
    fluyt kube scale deployment/web --current-replicas=3 --replicas=5
    """,
)
@click.argument("words", nargs=-1, metavar="TYPE NAME… | TYPE/NAME…")
@click.option("--replicas", type=click.IntRange(0), required=True, help="How many there shall be.")
@click.option("--current-replicas", type=int, help="Only if there are so many now.")
@files_option("The objects of this file, folder, or - .")
@click.option("-l", "--selector", default="", help="Those with these labels.")
@click.option("--all", "every", is_flag=True, help="All of the type.")
@click.pass_context
def scale(ctx: click.Context, /, **options: Any) -> None:
    """Set the number of replicas."""
    selection = Selection(options["words"], options["files"], selector=options["selector"], all=options["every"])
    run(ctx, lambda session: _scale_all(session, selection, options["replicas"], options["current_replicas"]))


async def _scale_all(session: Session, selection: Selection, replicas: int, current: int | None) -> None:
    for found in await select(session, selection):
        await _scale(session, found, replicas, current)
        click.echo(f"{found.shown} scaled")


async def _scale(session: Session, found: Found, replicas: int, current: int | None) -> None:
    """With `current`, somebody else's write between our look and ours is no reason to fail, only to look again."""
    pauses = delays(most=1.0)
    for _ in range(_TRIES - 1):
        try:
            await _try_to_scale(session, found, replicas, current)
            return
        except StatusError as refused:
            if current is None or refused.reason != "Conflict":
                raise
        await asyncio.sleep(next(pauses))
    await _try_to_scale(session, found, replicas, current)


async def _try_to_scale(session: Session, found: Found, replicas: int, current: int | None) -> None:
    patch: dict[str, Any] = {"spec": {"replicas": replicas}}
    if current is not None:
        present = await session.client.get(found.kind.resource, found.name, found.namespace, subresource="scale")
        seen = (present.get("spec") or {}).get("replicas", 0)
        if seen != current:
            raise CommandError(f"Expected replicas to be {current}, was {seen}", prefix="error: ")
        patch["metadata"] = {"resourceVersion": present["metadata"]["resourceVersion"]}
    await session.client.patch(found.kind.resource, found.name, patch, namespace=found.namespace, subresource="scale")
