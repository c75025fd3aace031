"""`fluyt kube api-resources`: the kinds that the server has."""

from __future__ import annotations

import click

from control.api.kind import Kind
from control.cli.kube.grammar import KubeCommand
from control.cli.kube.output import colours
from control.cli.kube.session import Session, run
from control.cli.kube.tables import TablePrinter


@click.command("api-resources", cls=KubeCommand, examples="fluyt kube api-resources --namespaced=false")
@click.option("--api-group", help="Only those of this group.")
@click.option("--namespaced", type=bool, help="Only those that are in namespaces (true), or are not (false).")
@click.option("--verbs", default="", help="Only those with all of these verbs, comma-separated.")
@click.option("-o", "--output", type=click.Choice(["", "wide", "name"]), default="")
@click.option("--no-headers", is_flag=True, help="No line with the columns' names.")
@click.pass_context
def api_resources(
    ctx: click.Context, /, api_group: str | None, namespaced: bool | None, verbs: str, output: str, no_headers: bool
) -> None:
    """List the kinds of resources the server has."""

    def wanted(kind: Kind) -> bool:
        return (
            (api_group is None or kind.group == api_group)
            and (namespaced is None or kind.namespaced == namespaced)
            and set(filter(None, verbs.split(","))) <= set(kind.verbs)
        )

    async def ask(session: Session) -> list[Kind]:
        return [kind for kind in _preferred(await session.client.directory.all()) if wanted(kind)]

    kinds = run(ctx, ask)
    if output == "name":
        for kind in kinds:
            click.echo(kind.resource)
        return
    head = ["name", "shortnames", "apiversion", "namespaced", "kind"]
    rows = [[k.plural, ",".join(k.short_names), k.api_version, k.namespaced, k.name] for k in kinds]
    if output == "wide":
        head += ["verbs", "categories"]
        rows = [[*r, ",".join(k.verbs), ",".join(k.categories)] for r, k in zip(rows, kinds, strict=True)]
    TablePrinter(headers=not no_headers, colours=colours()).show(head, rows)


def _preferred(kinds: list[Kind]) -> list[Kind]:
    """Of each resource the version that comes first."""
    return list({kind.resource: kind for kind in reversed(kinds)}.values())[::-1]
