"""`fluyt up`: a whole cluster on this machine; `fluyt down` (down.py) ends it."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from control.up.plan import NETWORKS, RUNTIMES, Etcd, Plan, UpError, Wishes
from kvstore.cli.exits import CommandError

if TYPE_CHECKING:
    from control.up.cluster import Cluster

_LOOK_SECONDS = 0.5


@click.command("up")
@click.option("--masters", type=int, help="Masters: store, API server, controllers, scheduler each.  [default: 1]")
@click.option("--nodes", type=int, help="Nodes that run containers.  [default: 0]")
@click.option("--runtime", type=click.Choice(RUNTIMES), help="What runs the nodes' containers.  [default: process]")
@click.option("--container-runtime-endpoint", "endpoint", help="Socket of Docker or of a CRI runtime: unix:///run/….")
@click.option(
    "--network",
    type=click.Choice(NETWORKS),
    help="Of the pods. host: the machine's, each pod at a 127.x.y.z of its own; bridge: each pod has an address and "
    "all ports for itself (root; --runtime process).  [default: host]",
)
@click.option(
    "--service-cluster-ip-range",
    "service_range",
    metavar="CIDR",
    help="Addresses of Services.  [default: 10.96.0.0/12, or one that no other cluster of this machine has]",
)
@click.option("--etcd-servers", metavar="URLS", help="Use this store instead of one of our own, comma-separated.")
@click.option("--etcd-cafile", default="", help="Whom to trust as that store (PEM).")
@click.option("--etcd-certfile", default="", help="Our certificate for it.")
@click.option("--etcd-keyfile", default="", help="Key of --etcd-certfile.")
@click.option(
    "--extra-config",
    multiple=True,
    metavar="ROLE.FLAG=VALUE",
    help="A flag for all stores, apiservers, controllers, schedulers or agents; empty VALUE: no more.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data, credentials, logs.  [default: ~/.local/state/fluyt/up]",
)
@click.option("--kubeconfig", type=click.Path(dir_okay=False, path_type=Path), help="Write the kubeconfig here, too.")
@click.option("--detach", is_flag=True, help="Return when all is ready; fluyt down ends it.")
@click.option("--in-process", is_flag=True, help="One master and no nodes, in one process and event loop.")
@click.option(
    "--stop-with-stdin", is_flag=True, hidden=True, help="End when standard input ends, as a parent's death does."
)
def up(
    masters: int | None,
    nodes: int | None,
    runtime: str | None,
    endpoint: str | None,
    network: str | None,
    service_range: str | None,
    etcd_servers: str | None,
    etcd_cafile: str,
    etcd_certfile: str,
    etcd_keyfile: str,
    extra_config: tuple[str, ...],
    data_dir: Path | None,
    kubeconfig: Path | None,
    detach: bool,
    in_process: bool,
    stop_with_stdin: bool,
) -> None:
    """Start a whole cluster on this machine and wait until it is ready.

    \b
      fluyt up                               one master, nothing to run containers on
      fluyt up --masters 3 --nodes 2         highly available, with two nodes
      fluyt up --nodes 1 --detach            leave it running; fluyt down ends it
      fluyt up --nodes 2 --detach            one node more
      fluyt up --nodes 2 --network bridge    pods with addresses of their own
      fluyt up --extra-config controllers.node-monitor-grace-period=10s

    Started again on the same --data-dir, it has the same ports, credentials and data. Ctrl-C ends it.
    """
    from control.up.cluster import Cluster, default_folder

    if detach and in_process:
        raise CommandError("--detach and --in-process exclude each other; start it in the background by your shell")
    folder = (data_dir or default_folder()).absolute()
    etcd = None
    if etcd_servers:
        files = [str(Path(name).absolute()) if name else "" for name in (etcd_cafile, etcd_certfile, etcd_keyfile)]
        etcd = Etcd([url.strip() for url in etcd_servers.split(",") if url.strip()], *files)
    try:
        cluster = Cluster(folder)
        with cluster.locked():
            wishes = Wishes(masters, nodes, runtime, endpoint, etcd, extra_config, network, service_range)
            cluster.prepare(wishes, lambda plan: _judge(plan, cluster, kubeconfig, detach))
            _tell_ended(cluster)
            stop = _Stop(stop_with_stdin)
            try:
                # After prepare(): with one more node it is not.
                if cluster.is_up():
                    _greet(cluster, kubeconfig, "up already", detach)
                elif in_process:
                    _run_in_process(cluster, kubeconfig, stop)
                else:
                    _run_processes(cluster, kubeconfig, detach, stop)
            except BaseException:
                cluster.revert()
                raise
    except UpError as problem:
        raise CommandError(str(problem)) from None
    except OSError as problem:
        raise CommandError(f"{problem.filename or folder}: {problem.strerror or problem}") from None


class _Stop:
    """Set by Ctrl-C, SIGTERM, and the end of standard input where that was asked for."""

    def __init__(self, stdin: bool) -> None:
        import signal

        self._event = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._event.set())
        if stdin:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while os.read(0, 4096):
            pass
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Whether it is time to stop, after that time at the latest."""
        return self._event.wait(seconds)

    @property
    def is_set(self) -> bool:
        return self._event.is_set()


def _run_processes(cluster: Cluster, kubeconfig: Path | None, detach: bool, stop: _Stop) -> None:
    from control.up.progress import saying

    began = time.monotonic()
    with saying() as say:
        cluster.start(say, lambda: stop.is_set)
    _greet(cluster, kubeconfig, f"ready in {time.monotonic() - began:.1f} s", detach)
    if detach:
        return
    try:
        _watch_over(cluster, stop)
    finally:
        cluster.stop()


def _watch_over(cluster: Cluster, stop: _Stop) -> None:
    """Until it is time to stop; tells of processes that end meanwhile."""
    told: set[str] = set()
    while not stop.wait(_LOOK_SECONDS):
        for row in cluster.rows:
            how = cluster.children.ended(row)
            if how is not None and row.name not in told:
                told.add(row.name)
                words = cluster.children.last_words(row.name)
                click.echo(f"{row.name} has ended ({how}); the others go on. Its last words:\n{words}", err=True)


def _run_in_process(cluster: Cluster, kubeconfig: Path | None, stop: _Stop) -> None:
    import asyncio
    import logging

    import uvloop

    from control.up.in_process import running

    cluster.children.logs.mkdir(mode=0o700, exist_ok=True)
    log = cluster.children.logs / "in-process.log"
    logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(levelname).1s %(name)s: %(message)s")
    began = time.monotonic()

    async def run() -> None:
        async with running(cluster) as failed:
            took = f"ready in {time.monotonic() - began:.1f} s"
            # In a thread: this loop is the API server's.
            await asyncio.to_thread(_greet, cluster, kubeconfig, took, False)
            waiting = asyncio.ensure_future(asyncio.to_thread(stop.wait, threading.TIMEOUT_MAX))
            await asyncio.wait((waiting, failed), return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                failed.result()

    uvloop.run(run())


def _judge(plan: Plan, cluster: Cluster, kubeconfig: Path | None, detach: bool) -> None:
    """Raises UpError for what must not be done by this plan."""
    if kubeconfig is not None:
        from control.cli.kubeconfig_files import ADMIN, refuse_foreign

        try:
            refuse_foreign(kubeconfig, plan.api_urls, ADMIN, "choose another --kubeconfig")
        except ValueError as problem:
            raise UpError(str(problem)) from None
    # What runs needs no start, which is all that --detach asks for. Nobody else can hold it in hand.
    if not detach and cluster.runs(plan):
        raise UpError(
            f"the cluster in {cluster.folder} is up already; stop it with fluyt down --data-dir {cluster.folder}, "
            f"or choose another --data-dir"
        )


def _tell_ended(cluster: Cluster) -> None:
    for name in cluster.ended:
        click.echo(f"ended {name}")
    for line in cluster.left_behind:
        click.echo(f"containers may be left on {line}", err=True)


def _greet(cluster: Cluster, kubeconfig: Path | None, state: str, detach: bool) -> None:
    cluster.confirm()
    listed = cluster.forget_nodes()
    shown = cluster.admin_conf
    if kubeconfig is not None:
        from control.pki.files import PRIVATE, replace

        kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        replace(kubeconfig, cluster.admin_conf.read_bytes(), PRIVATE)
        shown = kubeconfig
    plan = cluster.planned()
    parts = f"{_counted(len(plan.masters), 'master')}, {_counted(plan.node_count, 'node')}"
    end = f"fluyt down --data-dir {cluster.folder}" if detach else "Ctrl-C"
    click.echo(
        f"""{state}: {parts}, API at {", ".join(plan.api_urls)}

  export KUBECONFIG={shown}
  kubectl get all -A                 # or: fluyt kube get all -A

Data and logs: {cluster.folder}. End: {end}"""
    )
    if listed:
        nodes = " ".join(listed)
        click.echo(f"Warning: ended, but still listed: {nodes}; remove by: kubectl delete node {nodes}", err=True)
    changed = cluster.changed()
    if changed:
        click.echo(
            f"Warning: {', '.join(changed)} run on as they were started; what was changed applies after: {end}",
            err=True,
        )
    for kind, names in _pressed(cluster).items():
        nodes = ", ".join(names)
        click.echo(f"Warning: new pods stay Pending on {nodes}: {kind}, this machine runs short of it", err=True)
    sys.stdout.flush()


def _pressed(cluster: Cluster) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, kinds in sorted(cluster.pressed.items()):
        for kind in kinds:
            found.setdefault(kind, []).append(name)
    return found


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
