"""`fluyt kube wait`: until objects are in some condition, or gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import click

from control.api import jsonpath
from control.api.schema import Object
from control.api.status import StatusError
from control.cli.kube.following import follow
from control.cli.kube.grammar import Duration, KubeCommand, files_option
from control.cli.kube.selecting import Found, Selection, select
from control.cli.kube.session import Session, run
from control.client.client import Client
from kvstore.cli.exits import CommandError

Test = Callable[[Object], bool]


@click.command(
    "wait",
    cls=KubeCommand,
    examples="""
    fluyt kube wait --for=condition=Ready pod/web-1 --timeout=60s
    fluyt kube wait --for=delete pods -l app=web
    fluyt kube wait --for=jsonpath='{.status.phase}'=Running pod/web-1
    """,
)
@click.argument("words", nargs=-1, metavar="TYPE NAME… | TYPE/NAME… | TYPE -l SELECTOR")
@click.option(
    "--for", "goal", required=True, help="condition=NAME[=VALUE], delete, create, or jsonpath={PATH}[=VALUE]."
)
@files_option("The objects of this file, folder, or - .")
@click.option("-l", "--selector", default="", help="Those with these labels.")
@click.option("--field-selector", default="", help="Those with these fields.")
@click.option("--all", "every", is_flag=True, help="All of the type.")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="In all namespaces.")
@click.option("--timeout", type=Duration(), default=30.0, show_default="30s", help="Give up after this; 0: look once.")
@click.pass_context
def wait(ctx: click.Context, /, words: tuple[str, ...], files: tuple[str, ...], goal: str, **options: Any) -> None:
    """Wait until objects are in some condition, or gone."""
    selection = Selection(
        words,
        files,
        False,
        options["selector"],
        options["field_selector"],
        options["every"],
        options["everywhere"],
    )
    test = None if goal.lower() in ("delete", "create") else _test(goal)
    run(ctx, lambda session: _wait_all(session, selection, goal.lower(), test, options["timeout"]))


async def _wait_all(session: Session, selection: Selection, goal: str, test: Test | None, timeout: float) -> None:
    found = await select(session, selection)
    if not found and goal != "delete":
        raise CommandError("no matching resources found", prefix="error: ")
    late: list[Found] = []
    try:
        # 0 is one look, which takes a moment.
        async with asyncio.timeout(timeout if timeout > 0 else (None if timeout < 0 else 1.0)):
            for each in found:
                late = [each]
                await _one(session.client, each, goal, test)
                click.echo(f"{each.shown} {'condition met' if goal != 'create' else 'created'}")
    except TimeoutError:
        shown = late[0].shown
        raise CommandError(f"timed out waiting for the condition on {shown}", prefix="error: ") from None


async def _one(client: Client, found: Found, goal: str, test: Test | None) -> None:
    if goal == "delete":
        await gone(client, found, "")
    elif test is None:
        await follow(client, found, lambda obj: obj)
    else:
        await follow(client, found, _judge(found, test))


def _judge(found: Found, test: Test) -> Callable[[Object | None], bool | None]:
    def judge(obj: Object | None) -> bool | None:
        if obj is None:
            raise StatusError(404, "NotFound", f'{found.kind.resource} "{found.name}" not found')
        return test(obj) or None

    return judge


async def gone(client: Client, found: Found, uid: str) -> None:
    """Return once the object (with this uid, if it is known) is not there."""

    def judge(obj: Object | None) -> bool | None:
        return obj is None or (bool(uid) and obj["metadata"].get("uid") != uid) or None

    await follow(client, found, judge)


def _test(goal: str) -> Test:
    kind, _, rest = goal.partition("=")
    if kind.lower() == "condition" and rest:
        name, _, value = rest.partition("=")
        return lambda obj: _has(obj, name, value or "True")
    if kind.lower() == "jsonpath" and rest:
        return _path_test(rest)
    raise CommandError(f"unrecognized condition: {goal!r}; see fluyt kube wait --help", prefix="error: ")


def _has(obj: Object, name: str, value: str) -> bool:
    status = obj.get("status") or {}
    # A condition that describes an older generation says nothing of this one.
    seen = status.get("observedGeneration")
    if seen is not None and seen < obj["metadata"].get("generation", 0):
        return False
    conditions = status.get("conditions") or []
    return any(
        entry.get("type", "").lower() == name.lower() and entry.get("status", "").lower() == value.lower()
        for entry in conditions
    )


def _path_test(text: str) -> Test:
    closing = text.find("}")
    path, value = (text[: closing + 1], text[closing + 1 :]) if closing >= 0 else (text, "")
    if value and not value.startswith("="):
        raise CommandError(f"jsonpath wait format must be jsonpath='{{.path}}'=value, not {text!r}", prefix="error: ")
    wanted = value[1:].strip("'\"") if value else None
    try:
        compiled = jsonpath.compile_path(path)
    except ValueError as problem:
        raise CommandError(f"--for=jsonpath={text}: {problem}") from None

    def test(obj: Object) -> bool:
        found = jsonpath.find(compiled, obj)
        return bool(found) if wanted is None else any(_text(each) == wanted for each in found)

    return test


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
