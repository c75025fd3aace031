"""`fluyt kube label` and `annotate`: KEY=VALUE sets, KEY- removes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from control.cli.kube.grammar import KubeCommand, files_option
from control.cli.kube.selecting import Found, Selection, select
from control.cli.kube.session import Session, run
from kvstore.cli.exits import CommandError


def _command(name: str, field: str, done: str) -> click.Command:
    def callback(words: tuple[str, ...], files: tuple[str, ...], overwrite: bool, **options: Any) -> None:
        targets, changes = _split(words)
        if not changes:
            raise CommandError(f"at least one {name} update is required, as in KEY=VALUE or KEY-", prefix="error: ")
        selection = Selection(targets, files, False, options["selector"], "", options["every"], options["everywhere"])
        ctx = click.get_current_context()
        run(ctx, lambda session: _change_all(session, selection, field, changes, overwrite, done))

    decorate: Sequence[Callable[[Any], Any]] = (
        click.argument("words", nargs=-1, metavar="TYPE NAME… | TYPE/NAME… KEY=VALUE… KEY-…"),
        files_option("The objects of this file, folder, or - ."),
        click.option("-l", "--selector", default="", help="Those with these labels."),
        click.option("--all", "every", is_flag=True, help="All of the type."),
        click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="In all namespaces."),
        click.option("--overwrite", is_flag=True, help="Also where there is another value."),
    )
    for each in reversed(decorate):
        callback = each(callback)
    examples = f"fluyt kube {name} pod/web-1 tier=front\nfluyt kube {name} nodes --all zone-"
    return click.command(name, cls=KubeCommand, help=f"Set and remove {field}.", examples=examples)(callback)


def _split(words: Sequence[str]) -> tuple[list[str], dict[str, str | None]]:
    """Targets, and key → value or None for "remove"."""
    targets: list[str] = []
    changes: dict[str, str | None] = {}
    for word in words:
        if "=" in word:
            key, _, value = word.partition("=")
            changes[key] = value
        elif word.endswith("-") and targets:
            changes[word[:-1]] = None
        else:
            targets.append(word)
    return targets, changes


async def _change_all(
    session: Session,
    selection: Selection,
    field: str,
    changes: dict[str, str | None],
    overwrite: bool,
    done: str,
) -> None:
    for found in await select(session, selection):
        changed = await _change(session, found, field, changes, overwrite)
        click.echo(f"{found.shown} {done if changed else f'not {done}'}")


async def _change(session: Session, found: Found, field: str, changes: dict[str, str | None], overwrite: bool) -> bool:
    present = await session.client.get(found.kind.resource, found.name, found.namespace)
    metadata = present["metadata"]
    own: dict[str, str] = metadata.get(field) or {}
    for key, value in changes.items():
        if value is not None and not overwrite and own.get(key, value) != value:
            raise CommandError(f"'{key}' already has a value ({own[key]}), and --overwrite is false", prefix="error: ")
    needed = {key: value for key, value in changes.items() if own.get(key) != value}
    if not needed:
        return False
    patch: dict[str, Any] = {"metadata": {field: needed}}
    if not overwrite:
        # What was looked at must still be so.
        patch["metadata"]["resourceVersion"] = metadata["resourceVersion"]
    await session.client.patch(found.kind.resource, found.name, patch, namespace=found.namespace)
    return True


label = _command("label", "labels", "labeled")
annotate = _command("annotate", "annotations", "annotated")
