"""`fluyt down`: end what `fluyt up` started."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from control.up.plan import UpError
from kvstore.cli.exits import CommandError

if TYPE_CHECKING:
    from control.up.cluster import Cluster

_SECONDS = 30.0


@click.command("down")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Of the cluster to end.  [default: ~/.local/state/fluyt/up]",
)
@click.option("--wipe", is_flag=True, help="Remove the data, credentials and logs afterwards.")
def down(data_dir: Path | None, wipe: bool) -> None:
    """End the cluster that fluyt up started; its data stays for the next start.

    \b
      fluyt down
      fluyt down --data-dir /srv/fluyt --wipe
    """
    from control.up.cluster import SUPERVISOR, Cluster, default_folder

    folder = (data_dir or default_folder()).absolute()
    try:
        cluster = Cluster(folder)
        if cluster.plan is None:
            raise UpError(f"there is no cluster in {folder}; name its folder by --data-dir")
        supervisor = cluster.children.pid(SUPERVISOR)
        if supervisor is not None:
            _end(supervisor, cluster)
        stopped = cluster.stop()
        for line in cluster.left_behind:
            click.echo(f"containers may be left on {line}", err=True)
        if wipe:
            _wipe(folder)
    except UpError as problem:
        raise CommandError(str(problem)) from None
    except OSError as problem:
        raise CommandError(f"{problem.filename or folder}: {problem.strerror or problem}") from None
    what = f"fluyt up (pid {supervisor}) and all of its processes" if supervisor else f"{len(stopped)} processes"
    click.echo(f"ended {what}; " + (f"removed {folder}" if wipe else f"the data stays in {folder}"))


def _wipe(folder: Path) -> None:
    def open_up(function: object, path: str, problem: object) -> None:
        # Without root overlayfs leaves folders that not even their owner may read.
        os.chmod(path, 0o700)
        shutil.rmtree(path)

    shutil.rmtree(folder, onerror=open_up)


def _end(pid: int, cluster: Cluster) -> None:
    """Ask the `fluyt up` at work to end, and wait for that."""
    from control.up.cluster import SUPERVISOR

    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _SECONDS
    while cluster.children.pid(SUPERVISOR) is not None:
        if time.monotonic() > deadline:
            raise UpError(
                f"fluyt up (pid {pid}) does not end; look at it, or end it by kill -9 {pid} and run this again"
            )
        time.sleep(0.02)
