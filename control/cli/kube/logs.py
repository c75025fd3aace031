"""`fluyt kube logs`: what containers have written, and write from now on."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import click

from control.api.schema import Object
from control.cli.kube import pods
from control.cli.kube.grammar import Duration, KubeCommand
from control.cli.kube.session import Session, run
from control.client.transport import Request
from kvstore.cli.exits import CommandError

_MOST_AT_ONCE = 5


@click.command(
    "logs",
    cls=KubeCommand,
    examples="""
    fluyt kube logs web-1
    fluyt kube logs -f deployment/web --tail=20
    fluyt kube logs -l app=web --all-containers --prefix
    """,
)
@click.argument("word", required=False, metavar="POD | TYPE/NAME")
@click.argument("second", required=False, metavar="[CONTAINER]")
@click.option("-c", "--container", default="", help="Of the pod.  [default: the first]")
@click.option("--all-containers", "every", is_flag=True, help="Of all containers.")
@click.option("-l", "--selector", default="", help="Of the pods with these labels.")
@click.option("-f", "--follow", is_flag=True, help="Go on as more is written.")
@click.option("-p", "--previous", is_flag=True, help="Of the container that ran before this one.")
@click.option("--tail", type=int, default=-1, help="Only the last lines; -1: all.  [default: 10 with -l, else all]")
@click.option("--since", type=Duration(), default=0.0, help="Only what is younger, as in 5m.")
@click.option("--since-time", default="", help="Only what is younger than this time (RFC 3339).")
@click.option("--timestamps", is_flag=True, help="With the time of each line.")
@click.option("--limit-bytes", type=int, default=0, help="So many bytes at most.")
@click.option("--prefix", is_flag=True, help="Say of each line whose it is.")
@click.pass_context
def logs(ctx: click.Context, /, **options: Any) -> None:
    """Print what containers have written."""
    if bool(options["word"]) == bool(options["selector"]):
        raise CommandError("expected POD, TYPE/NAME or -l SELECTOR, as in: fluyt kube logs web-1", prefix="error: ")
    run(ctx, lambda session: _logs(session, options))


async def _logs(session: Session, options: dict[str, Any]) -> None:
    if options["selector"]:
        found = await pods.labelled(session, options["selector"])
        if options["tail"] < 0:
            options["tail"] = 10
        if not found:
            click.echo(f"No resources found in {session.namespace} namespace.", err=True)
    else:
        found = (await pods.named(session, options["word"]))[:1]
    wanted = options["container"] or options["second"] or ""
    sources = [(pod, name) for pod in found for name in _containers(pod, wanted, options["every"])]
    if options["follow"] and len(sources) > _MOST_AT_ONCE:
        raise CommandError(f"{len(sources)} logs to follow, but at most {_MOST_AT_ONCE} at once; name fewer")
    if options["follow"]:
        await asyncio.gather(*(_one(session, pod, name, options) for pod, name in sources))
        return
    for pod, name in sources:
        await _one(session, pod, name, options)


def _containers(pod: Object, wanted: str, every: bool) -> list[str]:
    return pods.containers(pod) if every else [pods.container(pod, wanted)]


async def _one(session: Session, pod: Object, name: str, options: dict[str, Any]) -> None:
    kind = await session.client.kind("pods")
    metadata = pod["metadata"]
    path = kind.url(metadata["namespace"], metadata["name"], "log")
    prefix = f"[pod/{metadata['name']}/{name}] ".encode() if options["prefix"] else b""
    request = Request("GET", path, _query(name, options), {"Accept": "*/*"}, repeatable=True)
    out = sys.stdout.buffer
    async with session.client.transport.stream(request) as response:
        rest = b""
        while chunk := await _read(response, metadata["name"]):
            # Whole lines only, so that those of several containers do not run into each other.
            *lines, rest = (rest + chunk).split(b"\n")
            out.writelines(prefix + line + b"\n" for line in lines)
            out.flush()
        if rest:
            out.write(prefix + rest)
            out.flush()


async def _read(response: aiohttp.ClientResponse, pod: str) -> bytes:
    """What has come of a log; b"" at its end. Raises CommandError: no more will come."""
    try:
        return await response.content.readany()
    except (aiohttp.ClientError, OSError) as problem:
        raise CommandError(f"the log of {pod} broke off: {problem}") from None


def _query(name: str, options: dict[str, Any]) -> list[tuple[str, str]]:
    query = {
        "container": name,
        "follow": "true" if options["follow"] else "",
        "previous": "true" if options["previous"] else "",
        "tailLines": str(options["tail"]) if options["tail"] >= 0 else "",
        "sinceSeconds": str(max(int(options["since"]), 1)) if options["since"] else "",
        "sinceTime": options["since_time"],
        "timestamps": "true" if options["timestamps"] else "",
        "limitBytes": str(options["limit_bytes"]) if options["limit_bytes"] else "",
    }
    return [(key, value) for key, value in query.items() if value]
