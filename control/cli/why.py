"""`fluyt why`: the chain of causes behind an object's state, back to what a user wrote."""

from __future__ import annotations

import json
from typing import Any

import click

from control.cli.kube.grammar import KubeCommand
from control.cli.kube.session import Session, run
from control.cli.kube.targets import one


@click.command(
    "why",
    cls=KubeCommand,
    examples="""
    fluyt why pod/web-1
    fluyt why deployment/web -n shop --limit 20
    fluyt why pod/web-1 -w json
    """,
)
@click.argument("words", nargs=-1, metavar="TYPE/NAME")
@click.option("-w", "--write-out", type=click.Choice(["tree", "json"]), default="tree", help="tree or json.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="The last so many changes of it.")
@click.option("--reports", is_flag=True, help="Also the changes of its status.")
@click.pass_context
def why(ctx: click.Context, /, words: tuple[str, ...], write_out: str, limit: int, reports: bool) -> None:
    """Say why an object is as it is: each change, what caused it, what caused that, back to a user's own write.

    Causes are kept for three hours (--cause-ttl of the API server).
    """
    found = run(ctx, lambda session: _ask(session, words, limit))
    if write_out == "json":
        click.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
        return
    from control.cli.causes import tree

    tree.show(found, reports=reports)


async def _ask(session: Session, words: tuple[str, ...], limit: int) -> Any:
    from control.cli.causes.chain import explain

    target = await one(session.client.directory, words, "fluyt why pod/web-1")
    namespace = session.namespace if target.kind.namespaced else ""
    return await explain(session.client, target.kind.resource, namespace, target.name, limit)
