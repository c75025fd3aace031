"""The objects that a command is about: by -f, by TYPE NAME, by TYPE/NAME, by TYPE and -l or --all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from control.api.kind import Kind
from control.api.schema import Object
from control.cli.kube import manifests
from control.cli.kube.apply import namespace_of
from control.cli.kube.session import Session
from control.cli.kube.targets import Target, refuse_named, resolve
from kvstore.cli.exits import CommandError


@dataclass(frozen=True)
class Found:
    """One object by its place."""

    kind: Kind
    name: str
    namespace: str

    @property
    def shown(self) -> str:
        """As "pod/web-1"."""
        return Target(self.kind, self.name).shown

    @property
    def quoted(self) -> str:
        """As in `pod "web-1" deleted`."""
        kind = self.kind
        return f'{kind.singular}{"." + kind.group if kind.group else ""} "{self.name}"'


@dataclass(frozen=True)
class Selection:
    """What the command line says."""

    words: Sequence[str] = ()
    files: Sequence[str] = ()
    recursive: bool = False
    selector: str = ""
    field_selector: str = ""
    all: bool = False
    everywhere: bool = False


async def select(session: Session, selection: Selection) -> list[Found]:
    """The objects; those that a file or the command line names need not exist. Raises CommandError."""
    if selection.files:
        return [await _of_file(session, obj) for obj in manifests.read(selection.files, recursive=selection.recursive)]
    found: list[Found] = []
    targets = await resolve(session.client.directory, selection.words)
    selected = bool(selection.selector or selection.field_selector)
    refuse_named(targets, selection.words, selected=selected, everywhere=selection.everywhere)
    for target in targets:
        namespace = session.namespace if target.kind.namespaced else ""
        if target.name:
            found.append(Found(target.kind, target.name, namespace))
        else:
            found += await _listed(session, target.kind, "" if selection.everywhere else namespace, selection)
    return found


async def _of_file(session: Session, obj: Object) -> Found:
    kind = await session.client.directory.of_object(obj["apiVersion"], obj["kind"])
    return Found(kind, obj["metadata"].get("name", ""), namespace_of(session, obj, kind.namespaced))


async def _listed(session: Session, kind: Kind, namespace: str, selection: Selection) -> list[Found]:
    if not (selection.selector or selection.field_selector or selection.all):
        raise CommandError(
            "resource(s) were provided, but no name was specified; give names, -l SELECTOR or --all", prefix="error: "
        )
    query = {"labelSelector": selection.selector, "fieldSelector": selection.field_selector}
    answer = await session.client.fetch(kind.url(namespace), query=query)
    metadata = [item["metadata"] for item in answer.get("items") or []]
    return [Found(kind, each["name"], each.get("namespace", "")) for each in metadata]
