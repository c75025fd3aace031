"""The demonstration's second half: a control plane whose containers outlive masters and nodes."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.binaries import find
from harness.process import clean_environment
from harness.wait import wait_until
from rich.console import Console
from rich.text import Text

from control.client import kubeconfig
from control.up.cluster import Cluster

Object = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
# A node that says nothing for so long is given up; Kubernetes waits 40 seconds, and a demonstration is short.
_GRACE = "5s"
_FLAGS = (f"controllers.node-monitor-grace-period={_GRACE}", "agent.node-lease-duration-seconds=4")
_PODS = "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb"
_PATIENCE = 60.0


class ControlPlane:
    """Three masters and two nodes below a folder; each step returns what it showed, or raises why it did not hold."""

    def __init__(self, console: Console, folder: Path) -> None:
        self.console, self.folder = console, folder
        self._fluyt = find("fluyt") or "fluyt"
        self._kubectl = find("kubectl-1.32")
        self._started = False
        self._masters: list[str] = []
        self.verdict = ""

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """Titles and what to do."""
        return [
            ("5  A control plane: three masters, two nodes", self._start),
            ("6  A web server is applied, and scaled", self._apply),
            ("7  The leading master is killed (kill -9), all of it", self._kill_the_master),
            ("8  A node is killed, with all that ran on it", self._kill_the_node),
        ]

    @property
    def admin_conf(self) -> Path:
        """The kubeconfig of the first master that lives: each has one, with its own API server."""
        first = self._masters[0] if self._masters else "m1"
        return self.folder / "admin.conf" if first == "m1" else self.folder / first / "admin.conf"

    def close(self) -> None:
        """End it, containers too."""
        if self._started:
            self._run([self._fluyt, "down", "--data-dir", str(self.folder), "--wipe"])

    # ---- steps ----

    def _start(self) -> str:
        self._started = True
        extra = [word for entry in _FLAGS for word in ("--extra-config", entry)]
        words = ["up", "--masters", "3", "--nodes", "2", "--data-dir", str(self.folder), "--detach", *extra]
        self._say("fluyt up --masters 3 --nodes 2 --detach …")
        began = time.monotonic()
        self._checked([self._fluyt, *words])
        self._cluster = Cluster(self.folder)
        self._masters = [master.name for master in self._cluster.planned().masters]
        return (
            f"14 processes, ready after {time.monotonic() - began:.1f} s; kubectl works: KUBECONFIG={self.admin_conf}"
        )

    def _apply(self) -> str:
        began = time.monotonic()
        self._kube("apply", "-f", str(ROOT / "examples" / "web.yaml"))
        self._until_ready(3)
        applied, began = time.monotonic() - began, time.monotonic()
        self._kube("scale", "deployment/web", "--replicas=5")
        pods = self._until_ready(5)
        scaled = time.monotonic() - began
        said = _ask(pods[0])
        self.console.print(Text(f"    {said}", style="cyan"))
        assert said.startswith("Ahoy from web-"), f"the web server said {said!r}"
        return f"three pods answer {applied:.1f} s after apply, five {scaled:.1f} s after scale: {_places(pods)}"

    def _kill_the_master(self) -> str:
        leader = self._leader()
        self._say(f"kill -9 {leader}'s store, API server, controllers and scheduler")
        before = {_name(pod) for pod in self._pods()}
        began = time.monotonic()
        for role in ("store", "apiserver", "controllers", "scheduler"):
            self._kill(f"{leader}-{role}")
        self._masters.remove(leader)
        self._kube("scale", "deployment/web", "--replicas=6")
        pods = self._until_ready(6)
        took = time.monotonic() - began
        assert before <= {_name(pod) for pod in pods}, "a pod that ran was not left alone"
        self.verdict = f"leading master killed, the next change was in force after {took:.1f} s"
        return f"{took:.1f} s later a sixth pod answers; the five others were not touched"

    def _kill_the_node(self) -> str:
        doomed = [pod for pod in self._pods() if pod["spec"]["nodeName"] == "n2"]
        assert doomed, "the scheduler has given n2 no pod"
        self._say(f"kill -9 n2's agent and its {len(doomed)} pods", f"   # given up after {_GRACE} of silence")
        began = time.monotonic()
        self._kill("n2-agent")
        _kill_all(self.folder / "n2")
        pods = self._until_ready(6, {"n1"})
        took = time.monotonic() - began
        self.verdict += f"\nnode killed, its {len(doomed)} pods ran elsewhere after {took:.1f} s"
        self.console.print(Text(f"    {_ask(pods[-1])}", style="cyan"))
        return f"{took:.1f} s later its {len(doomed)} pods run on the other node: {_places(pods)}"

    # ---- looking and doing ----

    def _until_ready(self, count: int, nodes: set[str] | None = None) -> list[Object]:
        def look() -> list[Object] | None:
            pods = [pod for pod in self._pods() if nodes is None or pod["spec"].get("nodeName") in nodes]
            ready = [pod for pod in pods if _is_ready(pod)]
            return ready if len(ready) == count and all(_ask(pod) for pod in ready) else None

        try:
            return list(wait_until(look, f"{count} pods of the web server to answer", _PATIENCE, 0.05))
        except TimeoutError as late:
            reasons = sorted({_why_not(pod) for pod in self._pods()} - {""})
            raise TimeoutError("\n    ".join([str(late), *reasons])) from None

    def _pods(self) -> list[Object]:
        """Those that are not being deleted, from any API server that answers."""
        tls = kubeconfig.load(self.admin_conf).ssl_context()
        for master, url in zip(self._cluster.planned().masters, self._cluster.planned().api_urls, strict=True):
            if master.name not in self._masters:
                continue
            parts = urlsplit(url)
            connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=5, context=tls)
            try:
                connection.request("GET", _PODS)
                items = json.loads(connection.getresponse().read()).get("items") or []
                return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]
            except (OSError, http.client.HTTPException):
                continue
            finally:
                connection.close()
        return []

    def _leader(self) -> str:
        """The master whose controllers act: the oldest candidate in the store."""
        pki = self.folder / "pki"
        files = ["--cacert", f"{pki}/etcd/ca.crt", "--cert", f"{pki}/apiserver-etcd-client.crt"]
        files += ["--key", f"{pki}/apiserver-etcd-client.key"]
        query = ["get", "--prefix", "/fluyt/leaders/controllers/", "--sort-by", "CREATE", "--order", "ASCEND"]
        query += ["--limit", "1"]
        servers = ",".join(self._cluster.planned().store_urls)
        said = self._checked([self._fluyt, "--endpoints", servers, *files, *query, "--print-value-only"])
        for master in self._masters:
            pid = self._cluster.children.pid(f"{master}-controllers")
            if pid and f"-{pid}" in said:
                return master
        raise AssertionError(f"no master's controllers lead: {said!r}")

    def _kill(self, name: str) -> None:
        pid = self._cluster.children.pid(name)
        assert pid is not None, f"{name} does not run"
        os.kill(pid, signal.SIGKILL)

    def _kube(self, *words: str) -> None:
        """kubectl, or what does the same where there is none."""
        shown = [str(Path(word).relative_to(ROOT)) if word.startswith(f"{ROOT}/") else word for word in words]
        self._say(
            shlex.join(["kubectl" if self._kubectl else "fluyt kube", *shown]).replace("'fluyt kube'", "fluyt kube")
        )
        self._checked([self._kubectl, *words] if self._kubectl else [self._fluyt, "kube", *words])

    def _checked(self, words: list[str]) -> str:
        run = self._run(words)
        assert run.returncode == 0, f"{Path(words[0]).name} {words[1]}: {run.stderr.strip()}"
        return run.stdout

    def _run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        environment = clean_environment({"KUBECONFIG": str(self.admin_conf)})
        return subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment, check=False)

    def _say(self, command: str, comment: str = "") -> None:
        self.console.print(Text.assemble("  $ ", (command, "bold"), (comment, "dim")))


def _why_not(pod: Object) -> str:
    """What holds the pod up, in the words of its conditions and containers; "" when nothing does."""
    status = pod.get("status") or {}
    waiting = [entry.get("state", {}).get("waiting") or {} for entry in status.get("containerStatuses") or ()]
    said = [entry for entry in (*status.get("conditions", ()), *waiting) if entry.get("status") != "True"]
    words = [f"{entry.get('reason', '')}: {entry['message']}" for entry in said if entry.get("message")]
    return "; ".join(words)


def _is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def _places(pods: list[Object]) -> str:
    nodes = [pod["spec"]["nodeName"] for pod in pods]
    return ", ".join(f"{nodes.count(node)} on {node}" for node in sorted(set(nodes)))


def _ask(pod: Object) -> str:
    """What the pod's web server says; "" when it does not."""
    connection = http.client.HTTPConnection(pod["status"]["podIP"], 8080, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode().strip()
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def _kill_all(folder: Path) -> None:
    """Every process that was started for this folder, as the end of a machine would."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(word.startswith(f"{folder}/") for word in words):
            os.kill(int(path.parent.name), signal.SIGKILL)
