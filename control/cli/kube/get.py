"""`fluyt kube get`: tables that the server makes, or objects in the format asked for; -w follows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import click

from control.api.kind import Kind
from control.api.schema import Object
from control.api.status import StatusError
from control.cli.kube.grammar import KubeCommand
from control.cli.kube.output import Format, colours
from control.cli.kube.session import Session, raise_all, run
from control.cli.kube.tables import TablePrinter
from control.cli.kube.targets import Target, refuse_named, resolve
from kvstore.cli.exits import CommandError

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
_CHUNK = 500


@click.command(
    "get",
    cls=KubeCommand,
    examples="""
    fluyt kube get pods,services -A
    fluyt kube get deployment/web -o yaml
    fluyt kube get pods -l app=web -o jsonpath='{.items[*].metadata.name}'
    fluyt kube get nodes -w
    """,
)
@click.argument("words", nargs=-1, metavar="TYPE[,TYPE…] [NAME…] | TYPE/NAME…")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Objects of all namespaces.")
@click.option("-o", "--output", default="", help="json, yaml, wide, name, jsonpath=…, custom-columns=….")
@click.option("-l", "--selector", default="", help="Only objects with these labels, as in app=web,tier!=back.")
@click.option("--field-selector", default="", help="Only objects with these fields, as in status.phase=Running.")
@click.option("-w", "--watch", is_flag=True, help="Then go on and print each change.")
@click.option("--watch-only", is_flag=True, help="Print each change from now on.")
@click.option("--no-headers", is_flag=True, help="No line with the columns' names.")
@click.option("--show-labels", is_flag=True, help="A last column with the labels.")
@click.option("--show-managed-fields", is_flag=True, help="Leave managedFields in json and yaml.")
@click.option("--sort-by", default="", help="Order by this path, as in .metadata.creationTimestamp.")
@click.option("--ignore-not-found", is_flag=True, help="An object that is not there is no error.")
@click.pass_context
def get(ctx: click.Context, /, **options: Any) -> None:
    """List objects, or show some."""
    run(ctx, lambda session: _Get(session, **options).run())


class _Get:
    """One run."""

    def __init__(self, session: Session, **options: Any) -> None:
        self._session, self._client = session, session.client
        self._options = options
        self._format = Format(options["output"], managed_fields=options["show_managed_fields"])
        self._printer = TablePrinter(headers=not options["no_headers"], colours=colours())
        self._found = 0
        # What could not be had; the rest is shown all the same.
        self._refusals: list[StatusError] = []
        # Tables that follow in a watch do not name their columns again.
        self._columns: list[dict[str, Any]] = []

    async def run(self) -> None:
        options = self._options
        targets = await resolve(self._client.directory, options["words"])
        selected = any(self._query().values())
        refuse_named(targets, options["words"], selected=selected, everywhere=options["everywhere"])
        follow = options["watch"] or options["watch_only"]
        if follow and len({target.kind for target in targets}) > 1:
            raise CommandError("you may only watch one type at a time", prefix="error: ")
        # Before what is there is shown: a change in between is rather told twice than never.
        version = await self._version(targets[0].kind) if follow else ""
        if not options["watch_only"]:
            await (self._tables(targets) if self._format.is_table else self._objects(targets))
            raise_all(self._refusals)
        if follow:
            await self._watch(targets, version)

    def _namespace(self, kind: Kind) -> str:
        return "" if self._options["everywhere"] or not kind.namespaced else self._session.namespace

    def _query(self) -> dict[str, str]:
        return {"labelSelector": self._options["selector"], "fieldSelector": self._options["field_selector"]}

    async def _objects(self, targets: list[Target]) -> None:
        objects: list[Object] = []
        for target in targets:
            answers = await self._answers(target, "application/json")
            if target.name:
                objects += answers
                continue
            kind = {"apiVersion": target.kind.api_version, "kind": target.kind.name}
            objects += [{**kind, **item} for page in answers for item in page.get("items") or []]
        self._sort(objects)
        single = len(targets) == 1 and bool(targets[0].name)
        if objects or not single:
            self._format.show(objects, as_list=not single)

    async def _answers(self, target: Target, accept: str) -> list[Object]:
        """The object, or the pages of all of its kind; nothing, and the refusal noted, where they cannot be had."""
        try:
            if not target.name:
                return [page async for page in self._pages(target.kind, accept)]
            path = target.kind.url(self._namespace(target.kind), target.name)
            return [await self._client.fetch(path, accept)]
        except StatusError as refused:
            if not (refused.code == 404 and self._options["ignore_not_found"]):
                self._refusals.append(refused)
            return []

    async def _pages(self, kind: Kind, accept: str) -> AsyncIterator[Object]:
        token = ""
        while True:
            query = {**self._query(), "limit": str(_CHUNK), "continue": token}
            if self._options["sort_by"]:
                query["includeObject"] = "Object"
            page = await self._client.fetch(kind.url(self._namespace(kind)), accept, query=query)
            yield page
            token = (page.get("metadata") or {}).get("continue", "")
            if not token:
                return

    async def _tables(self, targets: list[Target]) -> None:
        several = len({target.kind for target in targets}) > 1
        grouped: dict[Kind, list[str]] = {}
        for target in targets:
            grouped.setdefault(target.kind, []).append(target.name)
        for number, (kind, names) in enumerate(grouped.items()):
            table = await self._table(kind, names)
            if not table.get("rows"):
                continue
            if self._found and several and number:
                click.echo()
            self._found += len(table["rows"])
            self._show(kind, table, several)
        quiet = self._refusals or self._options["ignore_not_found"] or self._options["watch"]
        if not self._found and not quiet:
            self._nothing(targets)

    def _nothing(self, targets: list[Target]) -> None:
        where = self._namespace(targets[0].kind)
        place = f" in {where} namespace" if where else ""
        click.echo(f"No resources found{place}.", err=True)

    async def _table(self, kind: Kind, names: list[str]) -> Object:
        whole: Object = {}
        for name in names:
            for page in await self._answers(Target(kind, name), TABLE):
                whole = whole or {**page, "rows": []}
                whole["rows"] += page.get("rows") or []
        if self._options["sort_by"]:
            path = self._options["sort_by"]
            whole["rows"] = _sorted(whole.get("rows") or [], path, lambda row: row.get("object") or {})
        return whole

    def _sort(self, objects: list[Object]) -> None:
        if self._options["sort_by"]:
            objects[:] = _sorted(objects, self._options["sort_by"], lambda obj: obj)

    def _show(self, kind: Kind, table: Object, several: bool) -> None:
        wide = self._format.name == "wide"
        columns = table.get("columnDefinitions") or self._columns
        self._columns = columns
        wanted = [n for n, column in enumerate(columns) if wide or not column.get("priority")]
        namespaces = self._options["everywhere"] and kind.namespaced
        head = [*(["NAMESPACE"] if namespaces else []), *(columns[n]["name"] for n in wanted)]
        labels = self._options["show_labels"]
        rows = []
        for row in table.get("rows") or []:
            metadata = (row.get("object") or {}).get("metadata") or {}
            cells = [row["cells"][n] for n in wanted]
            if several:
                cells[0] = Target(kind, str(cells[0])).shown
            before = [metadata.get("namespace", "")] if namespaces else []
            after = [_labels(metadata)] if labels else []
            rows.append([*before, *cells, *after])
        self._printer.show([*head, *(["LABELS"] if labels else [])], rows)

    async def _version(self, kind: Kind) -> str:
        listed = await self._client.fetch(kind.url(self._namespace(kind)), query={"limit": "1"})
        return str((listed.get("metadata") or {}).get("resourceVersion", ""))

    async def _watch(self, targets: list[Target], version: str) -> None:
        kind, names = targets[0].kind, {target.name for target in targets} - {""}
        query = self._query()
        if len(names) == 1:
            query["fieldSelector"] = f"metadata.name={next(iter(names))}"
        events = self._client.watch(
            kind.resource,
            self._namespace(kind),
            resource_version=version,
            label_selector=query["labelSelector"],
            field_selector=query["fieldSelector"],
            accept=TABLE if self._format.is_table else "application/json",
        )
        async for event in events:
            if event.type == "BOOKMARK":
                continue
            if self._format.is_table:
                self._show(kind, event.object, False)
            else:
                self._format.show([event.object], as_list=False)


def _labels(metadata: Object) -> str:
    found = metadata.get("labels") or {}
    return ",".join(f"{name}={value}" for name, value in sorted(found.items())) or "<none>"


def _sorted(entries: list[Any], path: str, object_of: Any) -> list[Any]:
    from control.api import jsonpath

    try:
        compiled = jsonpath.compile_path(path)
    except ValueError as problem:
        raise CommandError(f"--sort-by {path}: {problem}") from None

    def key(entry: Any) -> tuple[bool, bool, Any]:
        found = next(iter(jsonpath.find(compiled, object_of(entry))), None)
        return (
            found is None,
            not isinstance(found, int | float),
            found if isinstance(found, int | float) else str(found),
        )

    return sorted(entries, key=key)
