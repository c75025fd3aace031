"""`fluyt endpoint`: ask each member for itself, each over a connection of its own."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence

import click

from kvstore.cli import durations
from kvstore.cli.arguments import Int64
from kvstore.cli.console import Console, connected, explain
from kvstore.cli.exits import CommandError
from kvstore.cli.grammar import Command, SubGroup
from kvstore.cli.output.printer import EndpointHealth
from kvstore.client.aio import AsyncClient
from kvstore.client.errors import ClientError, PermissionDenied
from kvstore.pb import etcd_pb2 as pb

_cluster_option = click.option("--cluster", is_flag=True, help="Every member of the cluster, not just --endpoints.")


@click.group(cls=SubGroup)
@click.option("--cluster", is_flag=True, help="Every member of the cluster, not just --endpoints.")
@click.pass_context
def endpoint(context: click.Context, cluster: bool) -> None:
    """Ask members how they are."""
    context.meta["kvstore.cluster"] = cluster


async def endpoints(console: Console, cluster: bool) -> Sequence[str]:
    """The endpoints asked for, or those that every member advertises."""
    if not (cluster or click.get_current_context().meta.get("kvstore.cluster")):
        return console.endpoints
    # Without a user: listing members needs none, and a password should not be asked for in vain.
    client = console.open(user=None, password=None)
    try:
        members = (await client.cluster.list()).members
    except ClientError as problem:
        message = f"failed to fetch endpoints from etcd cluster member list: {explain(problem)}"
        raise CommandError(message) from problem
    finally:
        await client.close()
    return [url for member in members for url in member.clientURLs]


@endpoint.command(cls=Command, examples="fluyt endpoint health --cluster")
@_cluster_option
@connected
async def health(console: Console, cluster: bool) -> None:
    """Check that each endpoint can take a request through the cluster."""
    named = await endpoints(console, cluster)
    answers = await asyncio.gather(*(_health(console, name) for name in named))
    console.printer.endpoint_health(answers)
    if any(answer.error for answer in answers):
        raise CommandError("unhealthy cluster")


async def _health(console: Console, name: str) -> EndpointHealth:
    client = console.open([name])
    started = time.monotonic()
    try:
        error = await _illness(client)
        return EndpointHealth(name, not error, durations.show(time.monotonic() - started), error)
    finally:
        await client.close()


async def _illness(client: AsyncClient) -> str:
    """What is wrong with the member; "" for nothing."""
    try:
        try:
            await client.range("health")
        except PermissionDenied:
            # It took a look at our rights through the cluster, which is all we want to know.
            return ""
        alarms = (await client.maintenance.alarms()).alarms
    except ClientError as problem:
        return explain(problem)
    names = [pb.AlarmType.Name(alarm.alarm) for alarm in alarms]
    return f"Active Alarm(s): {' '.join(names)} " if names else ""


@endpoint.command(cls=Command, examples="fluyt endpoint status --cluster -w table")
@_cluster_option
@connected
async def status(console: Console, cluster: bool) -> int:
    """Show version, database size, leadership and Raft indexes of each endpoint."""
    answers: list[tuple[str, pb.StatusResponse]] = []
    named = await endpoints(console, cluster)
    for name in named:
        client = console.open([name])
        try:
            answers.append((name, await client.maintenance.status()))
        except ClientError as problem:
            print(f"Failed to get the status of endpoint {name} ({problem})", file=sys.stderr)
        finally:
            await client.close()
    console.printer.endpoint_status(answers)
    return 0 if len(answers) == len(named) else 1


@endpoint.command(cls=Command, examples="fluyt endpoint hashkv --cluster")
@_cluster_option
@click.option("--rev", type=Int64(), default=0, help="Hash the history up to this revision; 0: all of it.")
@connected
async def hashkv(console: Console, cluster: bool, rev: int) -> None:
    """Show a hash of each endpoint's history: members that agree show the same."""
    answers: list[tuple[str, pb.HashKVResponse]] = []
    last: ClientError | None = None
    for name in await endpoints(console, cluster):
        client = console.open([name])
        try:
            answers.append((name, await client.maintenance.hash_kv(revision=rev)))
        except ClientError as problem:
            last = problem
            print(f"Failed to get the hash of endpoint {name} ({problem})", file=sys.stderr)
        finally:
            await client.close()
    console.printer.endpoint_hash_kv(answers)
    if last is not None:
        raise CommandError(explain(last))
