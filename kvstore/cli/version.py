"""`fluyt version`."""

from __future__ import annotations

import click

from kvstore.cli.grammar import Command
from kvstore.version import ETCD_CLUSTER_VERSION, FLUYT_VERSION


@click.command(cls=Command)
def version() -> None:
    """Print the versions of fluyt and of the etcd API that it speaks."""
    click.echo(f"fluyt version: {FLUYT_VERSION}")
    click.echo(f"API version: {'.'.join(ETCD_CLUSTER_VERSION.split('.')[:2])}")
