"""`fluyt credentials`: what each machine of a cluster is to be given, as a folder to copy there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from control.cli.server_urls import refuse_no_server
from control.up.machines import make_master, make_node
from kvstore.cli.exits import BAD_ARGS, CommandError

_OPTIONS = (
    click.argument("name"),
    click.option(
        "--server", "urls", multiple=True, required=True, help="URL of an API server; repeated, the nearest one first."
    ),
    click.option("--host", "hosts", multiple=True, help="Name or address of the machine. May be repeated."),
    click.option(
        "--dir",
        "folder",
        default="credentials",
        show_default=True,
        type=click.Path(file_okay=False, path_type=Path),
        help="Where the authorities and the machines' folders are.",
    ),
)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group("credentials")
def credentials() -> None:
    """Make the credentials of clusters on several machines.

    \b
      fluyt credentials master m1 --host 10.0.0.1 --server https://10.0.0.1:6443 --server https://10.0.0.2:6443
      fluyt credentials node n1 --host 10.0.0.11 --server https://10.0.0.1:6443 --server https://10.0.0.2:6443

    Each machine gets a folder of its own, to be copied to it. The authorities' keys stay in credentials/authorities:
    keep that folder safe, and run the same commands again once a year to renew what is old.
    Nodes renew theirs themselves where masters have --signing.
    """


@credentials.command("master")
@_options
@click.option(
    "--signing", is_flag=True, help="Give it the authority's key, so that nodes can renew their certificates."
)
def master(signing: bool, **options: Any) -> None:
    """For store, API server, controllers and scheduler of one master."""
    _made(partial(make_master, signing=signing), **options)


@credentials.command("node")
@_options
def node(**options: Any) -> None:
    """For the agent of one node: its kubeconfig and the certificate of its own server."""
    _made(make_node, **options)


def _made(make: Callable[..., Path], name: str, urls: tuple[str, ...], hosts: tuple[str, ...], folder: Path) -> None:
    try:
        for url in urls:
            refuse_no_server(url)
        target = make(folder, name, urls, hosts, datetime.now(UTC))
    except ValueError as problem:
        raise CommandError(str(problem), BAD_ARGS) from None
    except OSError as problem:
        raise CommandError(f"{problem.filename or folder}: {problem.strerror}") from None
    click.echo(f"{target} is for {name}; copy it there as /etc/fluyt")
