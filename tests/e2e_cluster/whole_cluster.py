"""A whole cluster of processes as `fluyt up` makes it: seen by kubectl, broken by signals, counted at the end.

Its store is its own, or what FLUYT_TEST_STORE names; then that one's members are its m1-store, m2-store …
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from harness.cluster import Cluster as Store
from harness.process import Process, clean_environment
from harness.real_store import external_store, up_words
from harness.wait import wait_until
from whole_engines import Engine

from control.client import kubeconfig
from control.up.cluster import Cluster

Object = dict[str, Any]
FLUYT = str(Path(sys.prefix, "bin", "fluyt"))
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATHS = {
    "pods": "/api/v1/namespaces/default/pods",
    "nodes": "/api/v1/nodes",
    "endpointslices": "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
    "deployments": "/apis/apps/v1/namespaces/default/deployments",
    "replicasets": "/apis/apps/v1/namespaces/default/replicasets",
    "jobs": "/apis/batch/v1/namespaces/default/jobs",
    "horizontalpodautoscalers": "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
}
# A small machine under other load may be silent for seconds; less than this would be mistaken for a failure.
GRACE = 6.0
FLAGS = (
    f"controllers.node-monitor-grace-period={GRACE:g}s",
    "controllers.node-eviction-rate=1",
    "controllers.horizontal-pod-autoscaler-sync-period=2s",
    "agent.node-lease-duration-seconds=4",
)


class WholeCluster:
    """The cluster in a folder. kubectl: the program. engine: what its containers run on."""

    def __init__(self, folder: Path, kubectl: str, engine: Engine | None = None) -> None:
        self.folder, self._kubectl, self.engine = folder, kubectl, engine or Engine()
        self.home = folder.parent
        self._children: list[Process] = []
        self._store: Store | None = None
        self._kept = threading.local()
        # Containers and sandboxes that there were, and nodes.
        self.known: set[str] = set()
        self.nodes: set[str] = set()

    # ---- life ----

    def up(self, *flags: str, extra: Sequence[str] = FLAGS) -> None:
        """Start it, or what of it does not run."""
        more = [word for entry in extra for word in ("--extra-config", entry)]
        self._ensure_store(flags)
        self.fluyt("up", "--detach", "--data-dir", str(self.folder), *flags, *up_words(self._store), *more)
        self.cluster = Cluster(self.folder)
        self._tls = kubeconfig.load(self.cluster.admin_conf).ssl_context()

    def down(self) -> None:
        """End it, and whatever a test started beside it."""
        for child in self._children:
            child.kill()
        self.note()
        if (self.folder / "cluster.json").exists():
            self.fluyt("down", "--data-dir", str(self.folder))
        if self._store:
            self._store.close()
            self._store = None

    def note(self) -> None:
        """Remember what there is now, to be looked for at the end."""
        for kind in ("containers", "sandboxes"):
            self.known |= {path.name for path in self.folder.glob(f"n*/runtime/{kind}/*")}
        self.nodes |= {path.parent.name for path in self.folder.glob("n*/runtime")}

    def _ensure_store(self, flags: Sequence[str]) -> None:
        """The members of a store that is not ours run; as many as there are masters."""
        if not self.folder.exists() and "--etcd-servers" not in flags:
            self._store = external_store(int(dict(itertools.pairwise(flags)).get("--masters", 1)))
        for index, member in enumerate(self._store.members if self._store else ()):
            if self._store and not member.running:
                self._store.restart(index)

    def fluyt(self, *words: str, code: int | None = 0) -> str:
        """Standard output of a command that must end with that code; None: any."""
        done = subprocess.run(
            [FLUYT, *words], capture_output=True, text=True, timeout=110, env=clean_environment(), check=False
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done.stdout

    # ---- kubectl and the API ----

    def kubectl(self, *words: str, stdin: str | None = None, code: int | None = 0) -> str:
        """Standard output of a command that must end with that code (None: any); with another code both outputs."""
        done = subprocess.run(
            [self._kubectl, *words],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=80,
            env=self.environment(),
            check=False,
        )
        said = f"kubectl {' '.join(words)}\n{done.stdout}{done.stderr}"
        assert code is None or done.returncode == code, said
        return done.stdout if code == 0 else done.stdout + done.stderr

    def environment(self) -> dict[str, str]:
        return clean_environment({"KUBECONFIG": str(self.admin_conf), "HOME": str(self.home)})

    @property
    def admin_conf(self) -> Path:
        """Of a master whose API server runs: kubectl knows but one, as behind a load balancer that knows who lives."""
        for number, master in enumerate(self.cluster.planned().masters):
            if self.cluster.children.pid(f"{master.name}-apiserver") is not None:
                return (self.folder / master.name if number else self.folder) / "admin.conf"
        return self.cluster.admin_conf

    def spawn(self, *words: str, log: str) -> Process:
        """A kubectl that runs on, its outputs in a file; ended with the cluster at the latest."""
        child = Process([self._kubectl, *words], self.home / log, self.environment())
        self._children.append(child)
        return child

    def apply(self, *objects: Object) -> None:
        """Their containers as the engine can run them."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(self.engine.fit(objects)))

    def get(self, path: str) -> Any:
        """What any API server answers: JSON. TimeoutError when none does."""
        return wait_until(lambda: self._get(path), f"an answer to {path}", 20)

    def _get(self, path: str) -> Any:
        for url in self.cluster.planned().api_urls:
            connection = self._connection(url)
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                continue
            if answer.status == 200:
                return json.loads(body)
        return None

    def _connection(self, url: str) -> http.client.HTTPSConnection:
        """Kept for the next request of this thread; it connects again by itself once it was closed."""
        kept = self._kept.__dict__.setdefault("connections", {})
        if url not in kept:
            parts = urlsplit(url)
            kept[url] = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=5, context=self._tls)
        return kept[url]  # type: ignore[no-any-return]

    def list(self, resource: str, selector: str = "") -> list[Object]:
        found = self.get(PATHS[resource] + (f"?labelSelector={selector.replace('=', '%3D')}" if selector else ""))
        return list(found["items"])

    def pods(self, app: str) -> list[Object]:
        return sorted(self.list("pods", f"app={app}"), key=lambda pod: str(pod["metadata"]["name"]))

    def wait(self, condition: Callable[[], Any], reason: str, timeout: float = 40.0) -> Any:
        """With the cluster's pods in the message when it is in vain."""
        try:
            return wait_until(condition, reason, timeout, 0.1)
        except TimeoutError as late:
            shown = self.kubectl("get", "pods,nodes,deployments", "-o", "wide", code=None)
            events = self.kubectl("get", "events", "--sort-by=.lastTimestamp", code=None).splitlines()[-15:]
            raise AssertionError(f"{late}\n{shown}\n" + "\n".join(events)) from None

    def wait_ready(self, app: str, count: int, timeout: float = 40.0) -> list[Object]:
        """Until the app has that many pods, all ready, and no others."""

        def look() -> list[Object] | None:
            found = self.pods(app)
            return found if len(found) == count and all(is_ready(pod) for pod in found) else None

        return list(self.wait(look, f"{count} ready pods of {app}", timeout))

    # ---- processes ----

    def pid(self, name: str) -> int:
        found = self._pid(name)
        assert found is not None, f"{name} does not run"
        return found

    def _pid(self, name: str) -> int | None:
        if self._store and name.endswith("-store"):
            (member,) = (each for each in self._store.members if each.name == name.partition("-")[0])
            return member.process.pid if member.process and member.running else None
        return self.cluster.children.pid(name)

    def signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self.pid(name), number)
        if number is signal.SIGKILL:
            wait_until(lambda: self._pid(name) is None, f"the end of {name}")

    def leader(self, role: str) -> str:
        """The name of the process that acts as that role: the oldest candidate in the store."""
        return str(wait_until(lambda: self._leader(role), f"a leader of the {role}", 20))

    def _leader(self, role: str) -> str | None:
        pki = self.folder / "pki"
        plan = self.cluster.planned()
        files = ["--cacert", f"{pki}/etcd/ca.crt"]
        files += ["--cert", f"{pki}/apiserver-etcd-client.crt", "--key", f"{pki}/apiserver-etcd-client.key"]
        # Without an order etcd, and so our store, sorts only the first keys.
        query = [
            "get",
            "--prefix",
            f"/fluyt/leaders/{role}/",
            "--sort-by",
            "CREATE",
            "--order",
            "ASCEND",
            "--limit",
            "1",
        ]
        words = [*([] if plan.etcd else files), *query, "--print-value-only"]
        # In vain while the store chooses a leader of its own; then it is asked again.
        answer = self.fluyt("--endpoints", ",".join(plan.store_urls), *words, code=None)
        pids = {self.cluster.children.pid(f"{m.name}-{role}"): f"{m.name}-{role}" for m in plan.masters}
        return next((name for pid, name in pids.items() if pid and f"-{pid}" in answer), None)


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or []
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def example(name: str) -> list[Object]:
    """The objects of a file in examples/."""
    return [found for found in yaml.safe_load_all((EXAMPLES / name).read_text()) if found]


def named(objects: list[Object], kind: str) -> Object:
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def elapsed(since: float) -> str:
    return f"{time.monotonic() - since:.1f} s"
