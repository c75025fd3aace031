"""The demonstration: every claim is shown by doing it, and checked; a claim that fails makes the exit code 1."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from harness.binaries import find
from harness.cluster import Cluster
from harness.history import check_all
from harness.process import Process, clean_environment
from harness.wait import wait_until
from harness.workload import Workload
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from support.quickstart_cluster import ControlPlane

PREFIX = b"demo/"
_USUAL_PORTS = [(12379, 12380), (22379, 22380), (32379, 32380)]


def demonstrate(stay: bool) -> int:
    """Run it all; with `stay` the cluster runs on until Ctrl-C."""
    demo = Demonstration(Console(highlight=False, soft_wrap=not sys.stdout.isatty()))
    try:
        demo.run()
        if stay and not demo.failed:
            demo.stay()
    except KeyboardInterrupt:
        demo.console.print("\nstopped")
    finally:
        demo.control.close()
        demo.cluster.close()
    return 1 if demo.failed else 0


class Demonstration:
    """One cluster and what is shown of it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.cluster = Cluster("fluyt", 3, ports=_USUAL_PORTS if _all_free() else ())
        self.control = ControlPlane(console, self.cluster.directory / "control")
        self.failed = False
        self.verdict = ""

    def run(self) -> None:
        """All steps; the summary at the end."""
        self.console.print(Panel("[bold]Fluyt[/]: three masters, one store", expand=False))
        for title, step in self._steps():
            self.console.print(f"\n[bold]{title}[/]")
            try:
                result = step()
            except (AssertionError, TimeoutError, RuntimeError, OSError, subprocess.TimeoutExpired) as problem:
                self.failed = True
                self.console.print(Text(f"  ✗ {problem}", style="red"))
                self._show_logs()
                break
            self.console.print(f"  [green]✓[/] {result}")
        self._summary()

    def _steps(self) -> list[tuple[str, Callable[[], str]]]:
        return [
            ("1  Three masters start", self._start),
            ("2  A key is put at one and read at another", self._put_and_get),
            ("3  A watch sees every change", self._watch),
            ("4  The leader is killed (kill -9) while four writers write", self._kill_the_leader),
            *self.control.steps(),
        ]

    def _start(self) -> str:
        started = time.monotonic()
        self.cluster.start()
        took = time.monotonic() - started
        leader = self.cluster.members[self.cluster.leader()].name
        return f"ready after {took:.2f} s at {', '.join(self.cluster.endpoints)}; {leader} leads"

    def _put_and_get(self) -> str:
        first, second = self.cluster.endpoints[0], self.cluster.endpoints[1]
        self._fluyt(first, "put", "greeting", "hello from the first master")
        shown = self._fluyt(second, "get", "greeting")
        assert shown == "greeting\nhello from the first master", f"the second master answered {shown!r}"
        return "the second master answers what was put at the first"

    def _watch(self) -> str:
        log = self.cluster.directory / "watch.log"
        self._say("fluyt watch --prefix fruit/", " &")
        watcher = Process(self._command(self.cluster.endpoints[2], "watch", "--prefix", "fruit/", "--rev", "1"), log)
        for command in (["put", "fruit/apple", "red"], ["put", "fruit/apple", "green"], ["del", "fruit/apple"]):
            self._fluyt(self.cluster.endpoints[0], *command)
        lines = wait_until(lambda: _lines_of(log, 8), "the watch to print three events")
        watcher.kill()
        self.console.print(Text("\n".join(f"    {line}" for line in lines), style="cyan"))
        expected = ["PUT", "fruit/apple", "red", "PUT", "fruit/apple", "green", "DELETE", "fruit/apple"]
        assert lines == expected, f"the watch printed {lines}"
        return "three events, in order"

    def _kill_the_leader(self) -> str:
        with Workload(self.cluster, writers=4, readers=1, prefix=PREFIX) as load:
            load.wait_for_more(500)
            leader = self.cluster.leader()
            process = self.cluster.members[leader].process
            self._say(
                f"kill -9 {process.pid if process else 0}", f"   # {self.cluster.members[leader].name}, the leader"
            )
            self.cluster.kill(leader)
            load.wait_for_more(500)
            successor = self.cluster.leader(other_than=leader)
            self.cluster.restart(leader)
            load.wait_for_more(200)
        history = load.history
        check_all(history, self.cluster.stub(leader), PREFIX)
        self.verdict = f"leader killed, {history.outage() * 1000:.0f} ms without a write, nothing lost"
        names = [self.cluster.members[i].name for i in (leader, successor)]
        return (
            f"{names[1]} took over from {names[0]}: {history.outage() * 1000:.0f} ms without a write;\n    "
            f"all {len(history.acknowledged):,} acknowledged writes found again, the watch missed none, "
            f"none of {len(history.reads):,} reads was stale"
        )

    def stay(self) -> None:
        """Leave it running, with words on how to use it, until Ctrl-C."""
        endpoints = ",".join(self.cluster.endpoints)
        self.console.print(f"\nThe cluster runs until [bold]Ctrl-C[/]. In another terminal:\n\n"
            f"  export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={endpoints}\n"
            f"  etcdctl put a b && etcdctl get a\n"
            f"  {_relative(find('fluyt') or 'fluyt')} watch --prefix a\n"
            f"  {_relative(find('fluyt') or 'fluyt')} endpoint status --cluster -w table\n\n"
            f"  export KUBECONFIG={self.control.admin_conf}\n"
            f"  kubectl get all -o wide            # or: {_relative(find('fluyt') or 'fluyt')} kube get pods\n"
            f"  {_relative(find('fluyt') or 'fluyt')} why deployment/web\n")  # fmt: skip
        threading.Event().wait()

    # ---- showing ----

    def _command(self, endpoint: str, *words: str) -> list[str]:
        return [find("fluyt") or "fluyt", "--endpoints", endpoint, *words]

    def _fluyt(self, endpoint: str, *words: str) -> str:
        self._say(shlex.join(["fluyt", "--endpoints", endpoint, *words]))
        run = subprocess.run(
            self._command(endpoint, *words),
            capture_output=True,
            text=True,
            timeout=30,
            env=clean_environment(),
            check=False,
        )
        assert run.returncode == 0, f"fluyt {' '.join(words)}: {run.stderr.strip()}"
        output = run.stdout.strip()
        self.console.print(Text("\n".join(f"    {line}" for line in output.splitlines()), style="cyan"))
        return output

    def _say(self, command: str, comment: str = "") -> None:
        self.console.print(Text.assemble("  $ ", (command, "bold"), (comment, "dim")))

    def _show_logs(self) -> None:
        for index, member in enumerate(self.cluster.members):
            self.console.print(Text(f"--- {member.name}\n{self.cluster.log_tail(index, 8, 160)}", style="dim"))

    def _summary(self) -> None:
        """One line at the end: the numbers, or what did not hold."""
        if self.failed:
            self.console.print(Panel("[red]not all of it held[/]; the members' logs are above", expand=False))
        else:
            self.console.print(Panel(f"[green]all of it held[/]: {self.verdict}\n{self.control.verdict}", expand=False))


def _lines_of(log: Path, count: int) -> list[str]:
    """The lines after the command itself, once there are `count`; a DELETE's empty value is no line here."""
    lines = log.read_text().rstrip().splitlines()[1:]
    return lines if len(lines) >= count else []


def _all_free() -> bool:
    """Whether the usual ports are free; another cluster may have them."""
    for port in (p for pair in _USUAL_PORTS for p in pair):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def _relative(path: str) -> str:
    with contextlib.suppress(ValueError):
        return os.path.relpath(path, Path.cwd()) if sys.platform != "win32" else path
    return path
