"""`fluyt kube apply`: server-side apply of files; the server merges, and knows who set which field."""

from __future__ import annotations

from typing import Any

import click

from control.api.schema import Object
from control.api.status import StatusError
from control.cli.kube import manifests
from control.cli.kube.grammar import KubeCommand, files_option
from control.cli.kube.output import Format, name_of
from control.cli.kube.session import Session, run
from kvstore.cli.exits import CommandError


@click.command(
    "apply",
    cls=KubeCommand,
    examples="""
    fluyt kube apply -f web.yaml
    cat *.yaml | fluyt kube apply -f -
    fluyt kube apply -f manifests/ -R --dry-run=server
    """,
)
@files_option("File, folder, or - for standard input.", required=True)
@click.option("-R", "--recursive", is_flag=True, help="Folders inside folders, too.")
@click.option("--dry-run", type=click.Choice(["none", "server"]), default="none", help="server: check, change nothing.")
@click.option("--server-side", is_flag=True, help="For kubectl's sake: this is the only way here.")
@click.option("--force-conflicts", is_flag=True, help="Take over fields that others manage.")
@click.option("--field-manager", default="fluyt-kube", show_default=True, help="Whose fields they are from now on.")
@click.option("-o", "--output", default="", help="json, yaml, name, jsonpath=….")
@click.pass_context
def apply(ctx: click.Context, /, files: tuple[str, ...], recursive: bool, output: str, **options: Any) -> None:
    """Make objects be as files say; what an earlier apply set and the files no longer say is removed."""
    objects = manifests.read(files, recursive=recursive)
    shown = Format(output)
    done = run(ctx, lambda session: _apply_all(session, objects, options, quiet=bool(output)))
    if output:
        shown.show(done, as_list=len(done) > 1)


async def _apply_all(session: Session, objects: list[Object], options: dict[str, Any], *, quiet: bool) -> list[Object]:
    done: list[Object] = []
    for obj in objects:
        if not obj["metadata"].get("name"):
            raise CommandError("apply needs metadata.name; generateName goes with create", prefix="error: ")
        before, after = await _apply(session, obj, options)
        done.append(after)
        if not quiet:
            click.echo(f"{name_of(after)} {_verb(before, after)}" + _dry(options["dry_run"]))
    return done


async def _apply(session: Session, obj: Object, options: dict[str, Any]) -> tuple[Object | None, Object]:
    """The object as it was, None if it was not there, and as it is."""
    client = session.client
    kind = await client.directory.of_object(obj["apiVersion"], obj["kind"])
    namespace = namespace_of(session, obj, kind.namespaced)
    name = obj["metadata"]["name"]
    try:
        before: Object | None = await client.fetch(kind.url(namespace, name))
    except StatusError as refused:
        if refused.code != 404:
            raise
        before = None
    if kind.namespaced:
        obj = {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
    after = await client.patch(
        kind.resource,
        name,
        obj,
        namespace=namespace,
        kind="apply",
        field_manager=options["field_manager"],
        force=options["force_conflicts"],
        options={"fieldValidation": "Strict", "dryRun": "All" if options["dry_run"] == "server" else ""},
    )
    return before, after


def namespace_of(session: Session, obj: Object, namespaced: bool) -> str:
    """Where an object of a file goes. Raises CommandError when -n and the file disagree."""
    if not namespaced:
        return ""
    own = obj["metadata"].get("namespace", "")
    if own and session.namespace_given and own != session.namespace:
        raise CommandError(
            f"the namespace from the provided object {own!r} does not match the namespace {session.namespace!r}. "
            f"You must pass '--namespace={own}' to perform this operation.",
            prefix="error: ",
        )
    return own or session.namespace


def _verb(before: Object | None, after: Object) -> str:
    if before is None:
        return "created"
    return "unchanged" if _said(before) == _said(after) else "configured"


def _said(obj: Object) -> dict[str, Any]:
    """What a user says of an object: controllers write to the rest at any moment."""
    metadata = obj["metadata"]
    annotations = (metadata.get("annotations") or {}).items()
    theirs = {name: value for name, value in annotations if not name.startswith("deployment.kubernetes.io/")}
    rest = {name: value for name, value in obj.items() if name not in ("metadata", "status")}
    return {**rest, "labels": metadata.get("labels") or {}, "annotations": theirs}


def _dry(dry_run: str) -> str:
    return "" if dry_run == "none" else f" ({dry_run} dry run)"
