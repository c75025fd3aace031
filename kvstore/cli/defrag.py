"""`fluyt defrag`."""

from __future__ import annotations

import sys

import click

from kvstore.cli.console import Console, connected
from kvstore.cli.endpoint import endpoints
from kvstore.cli.grammar import Command
from kvstore.cli.output.printer import emit
from kvstore.client.errors import ClientError


@click.command(cls=Command, examples="fluyt defrag --cluster --command-timeout 60s")
@click.option("--cluster", is_flag=True, help="Every member of the cluster, not just --endpoints.")
@connected
async def defrag(console: Console, cluster: bool) -> int:
    """Give the disk space of deleted data back to the file system, one endpoint after the other."""
    failures = 0
    for name in await endpoints(console, cluster):
        client = console.open([name])
        try:
            await client.maintenance.defragment()
            emit(f"Finished defragmenting etcd member[{name}]")
        except ClientError as problem:
            failures += 1
            print(f"Failed to defragment etcd member[{name}] ({problem})", file=sys.stderr)
        finally:
            await client.close()
    return 1 if failures else 0
