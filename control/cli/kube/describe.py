"""`fluyt kube describe`: an object with all that is known of it, as people read it, and its events."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click

from control.api.cells.words import since
from control.api.meta import parse_time
from control.api.schema import Object
from control.api.status import StatusError
from control.cli.kube.grammar import KubeCommand, files_option
from control.cli.kube.selecting import Found, Selection, select
from control.cli.kube.session import Session, run
from control.cli.kube.tables import TablePrinter

# Shown at the top, or of no use to a reader.
_TOP: Final = ("name", "namespace", "labels", "annotations")
_HIDDEN: Final = ("managedFields", "uid", "resourceVersion", "selfLink", *_TOP)
# Fields whose entries have names of the user's own.
_MAPS: Final = (
    *("matchLabels", "labels", "annotations", "nodeSelector"),
    *("data", "stringData", "binaryData"),
    *("limits", "requests", "capacity", "allocatable", "hard", "used"),
)
_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_WIDTH: Final = 20


@click.command("describe", cls=KubeCommand, examples="fluyt kube describe pod/web-1\nfluyt kube describe nodes")
@click.argument("words", nargs=-1, metavar="TYPE [NAME…] | TYPE/NAME…")
@click.option("-l", "--selector", default="", help="Those with these labels.")
@files_option("The objects of this file, folder, or - .")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Of all namespaces.")
@click.option("--show-events", type=bool, default=True, help="With its events.  [default: true]")
@click.pass_context
def describe(ctx: click.Context, /, words: tuple[str, ...], selector: str, show_events: bool, **options: Any) -> None:
    """Show objects with all that is known of them, and their events."""
    selection = Selection(words, options["files"], selector=selector, all=True, everywhere=options["everywhere"])
    run(ctx, lambda session: _describe_all(session, selection, show_events))


async def _describe_all(session: Session, selection: Selection, events: bool) -> None:
    for number, found in enumerate(await select(session, selection)):
        if number:
            click.echo("\n")
        obj = await session.client.get(found.kind.resource, found.name, found.namespace)
        for line in _lines(obj):
            click.echo(line)
        if found.kind.resource == "nodes":
            await _pods_of_node(session, found.name)
        if events:
            await _events(session, found, obj)


def _lines(obj: Object) -> Iterator[str]:
    metadata = obj.get("metadata") or {}
    yield _line("Name", metadata.get("name", ""), 0)
    if metadata.get("namespace"):
        yield _line("Namespace", metadata["namespace"], 0)
    yield from _pairs("Labels", metadata.get("labels"))
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != _APPLIED}
    yield from _pairs("Annotations", annotations)
    yield _line("API Version", obj.get("apiVersion", ""), 0)
    yield _line("Kind", obj.get("kind", ""), 0)
    secret = obj.get("kind") == "Secret"
    rest = {"metadata": {k: v for k, v in metadata.items() if k not in _HIDDEN}, **obj}
    for name, value in rest.items():
        if name in ("apiVersion", "kind") or value in ({}, [], None):
            continue
        shown = {k: v for k, v in metadata.items() if k not in _HIDDEN} if name == "metadata" else value
        if secret and name in ("data", "stringData"):
            shown = {key: f"{len(str(text)) * 3 // 4 - str(text).count('=')} bytes" for key, text in value.items()}
        yield from _value(_title(name), shown, 0)


def _pairs(title: str, pairs: Mapping[str, str] | None) -> Iterator[str]:
    texts = [f"{key}={value}" for key, value in sorted((pairs or {}).items())] or ["<none>"]
    yield _line(title, texts[0], 0)
    for text in texts[1:]:
        yield " " * _WIDTH + text


def _value(title: str, value: Any, depth: int) -> Iterator[str]:
    """A field and what is below it, indented."""
    if isinstance(value, dict) and value:
        yield "  " * depth + f"{title}:"
        named = title in map(_title, _MAPS)
        for name, inner in value.items():
            yield from _value(name if named else _title(name), inner, depth + 1)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield "  " * depth + f"{title}:"
        for entry in value:
            yield from _entry(entry, depth + 1)
    elif isinstance(value, list):
        yield _line(title, ", ".join(map(_text, value)) or "<none>", depth)
    else:
        yield _line(title, _text(value), depth)


def _entry(entry: dict[str, Any], depth: int) -> Iterator[str]:
    """One element of a list: set off by a dash, its name first."""
    first = "  " * depth + "- "
    ordered = sorted(entry.items(), key=lambda pair: pair[0] not in ("name", "type"))
    for name, inner in ordered:
        for line in _value(_title(name), inner, depth + 1):
            yield first + line.lstrip() if first else line
            first = ""


def _line(title: str, text: str, depth: int) -> str:
    head = "  " * depth + f"{title}:"
    if "\n" in text:
        return "\n".join([head, *("  " * (depth + 1) + line for line in text.splitlines())])
    return f"{head.ljust(_WIDTH)}{'' if len(head) < _WIDTH else '  '}{text}".rstrip()


def _title(name: str) -> str:
    """ "nodeName" as "Node Name"; keys that are no field names stay as they are."""
    if not name.isalnum() or not name[:1].islower():
        return name
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return words[:1].upper() + words[1:]


def _text(value: Any) -> str:
    if value is None or value in ({}, []):
        return "<none>"
    if isinstance(value, bool):
        return str(value).lower()
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in str(value))


async def _pods_of_node(session: Session, node: str) -> None:
    listed = await session.client.list("pods", field_selector=f"spec.nodeName={node}")
    pods = [pod for pod in listed.get("items") or [] if pod["status"].get("phase") not in ("Succeeded", "Failed")]
    click.echo(f"Non-terminated Pods: ({len(pods)} in total)")
    if pods:
        rows = [[p["metadata"]["namespace"], p["metadata"]["name"], p["status"].get("phase", "")] for p in pods]
        TablePrinter().show(["namespace", "name", "phase"], rows)


async def _events(session: Session, found: Found, obj: Object) -> None:
    uid = (obj.get("metadata") or {}).get("uid", "")
    selector = f"involvedObject.name={found.name},involvedObject.kind={found.kind.name}"
    if uid and found.kind.resource != "nodes":
        selector += f",involvedObject.uid={uid}"
    try:
        listed = await session.client.list("events", found.namespace, field_selector=selector)
    except StatusError as refused:
        click.echo(f"Events:             <unknown: {refused.message}>")
        return
    events = sorted(listed.get("items") or [], key=_last)
    if not events:
        click.echo("Events:             <none>")
        return
    click.echo("Events:")
    now = datetime.now(UTC)
    rows = [
        [e.get("type"), e.get("reason"), _age(e, now), _source(e), (e.get("message") or "").strip()] for e in events
    ]
    TablePrinter().show(["type", "reason", "age", "from", "message"], rows)


def _last(event: Object) -> str:
    found = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    return str(found or "")


def _age(event: Object, now: datetime) -> str:
    last = since(_last(event), now) if _last(event) else "<unknown>"
    count = event.get("count") or 1
    first = event.get("firstTimestamp")
    if count > 1 and first and parse_time(first) <= now:
        return f"{last} (x{count} over {since(first, now)})"
    return last


def _source(event: Object) -> str:
    source = event.get("source") or {}
    parts = [source.get("component") or event.get("reportingComponent") or "", source.get("host") or ""]
    return ", ".join(filter(None, parts))
