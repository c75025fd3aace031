"""Figures of whole clusters, as `fluyt up` makes them: idle, with pods that are processes, with many fake nodes."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.cluster import make_directory
from harness.process import clean_environment
from harness.require import require

from control.client import kubeconfig
from control.up.cluster import Cluster
from support.bench.figures import Figure, cpu_of, pss, rss
from support.bench.https_load import Target, Watches, ask

_DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
_PODS = "/api/v1/namespaces/default/pods"
_PER_DEPLOYMENT = 1_000
# Seconds without another pod Running: where others want the cores too, the first of ten thousand may take a while.
_PATIENCE = 180.0


class Machine:
    """A cluster that runs."""

    def __init__(self, folder: Path) -> None:
        self._cluster = Cluster(folder)
        url = self._cluster.planned().api_urls[0]
        context = kubeconfig.load(self._cluster.admin_conf).ssl_context()
        assert context is not None
        self.target = Target(urlsplit(url).port or 0, context)
        self.pids = {row.name: self._pid(row.name) for row in self._cluster.rows}

    def _pid(self, name: str) -> int:
        pid = self._cluster.children.pid(name)
        if pid is None:
            raise RuntimeError(f"{name} ended: {self._cluster.children.last_words(name)}")
        return pid

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU by process so far."""
        return {name: cpu_of(pid) for name, pid in self.pids.items()}


@contextmanager
def running(*flags: str) -> Iterator[Machine]:
    """A fresh cluster for the length of the block. RuntimeError when it does not come up."""
    folder = make_directory("bench-cluster")
    try:
        _fluyt("up", "--detach", "--data-dir", str(folder), *flags)
        yield Machine(folder)
    finally:
        _fluyt("down", "--data-dir", str(folder), "--wipe")
        shutil.rmtree(folder, ignore_errors=True)


def _fluyt(*words: str) -> None:
    done = subprocess.run([require("fluyt"), *words], capture_output=True, text=True, env=clean_environment())
    if done.returncode:
        raise RuntimeError(f"fluyt {words[0]} failed: {done.stderr.strip() or done.stdout.strip()}")


# ---- three masters and two nodes ----


def measure_small(quick: bool) -> Iterator[Figure]:
    """What three masters and two nodes cost while nothing happens, and how soon a hundred processes run."""
    pods, settle, window = (20, 10.0, 5.0) if quick else (100, 30.0, 20.0)
    began = time.monotonic()
    with running("--masters", "3", "--nodes", "2", "--runtime", "process") as machine:
        told = f"{time.monotonic() - began:.1f} s, {sum(machine.cpu().values()):.1f} s CPU of all processes"
        yield Figure("idle", "three masters and two nodes, from `fluyt up` to ready", told)
        time.sleep(settle)  # what a start leaves to be done is no idling
        yield from _idle(machine, window)
        yield from _one_master(machine)
        yield _processes(machine, pods)


def _idle(machine: Machine, seconds: float) -> Iterator[Figure]:
    before, began = machine.cpu(), time.monotonic()
    time.sleep(seconds)
    taken, after = time.monotonic() - began, machine.cpu()
    parts: dict[str, float] = {}
    for name in after:
        role = name.rpartition("-")[2]
        parts[role] = parts.get(role, 0.0) + (after[name] - before[name]) / taken * 100
    whole = "three masters and two nodes"
    yield Figure("idle", f"{whole}, CPU", f"{sum(parts.values()):.1f} % of a core", "≤ 5 %")
    told = ", ".join(f"{role} {value:.1f} %" for role, value in sorted(parts.items(), key=itemgetter(1), reverse=True))
    yield Figure("idle", "of that, all of a kind together", told)


def _one_master(machine: Machine) -> Iterator[Figure]:
    own = {name: pid for name, pid in machine.pids.items() if name.startswith("m1-")}
    sizes = ", ".join(f"{name.removeprefix('m1-')} {rss(pid)} / {pss(pid)}" for name, pid in own.items())
    total, shared = sum(map(rss, own.values())), sum(map(pss, own.values()))
    yield Figure("idle", "one master of them, memory (RSS / PSS)", f"{total} / {shared} MB", "≤ 250 MB RSS")
    yield Figure("idle", "of that", f"{sizes} MB")
    others = ", ".join(f"{name} {rss(pid)}" for name, pid in machine.pids.items() if name not in own)
    yield Figure("idle", "the other processes (RSS)", f"{others} MB")


def _processes(machine: Machine, count: int) -> Figure:
    container = {"name": "c", "image": "host", "command": ["sleep", "3600"]}
    taken = _rollout(machine, [_deployment("bench", count, container)], count)
    return Figure("pods", f"{count} pods of the runtime process Running, from apply", f"{taken:.1f} s")


# ---- fake nodes ----


def measure_large(quick: bool) -> Iterator[Figure]:
    """Many fake nodes and ten pods for each."""
    nodes = 100 if quick else 1_000
    pods = nodes * 10
    began = time.monotonic()
    with running("--masters", "1", "--nodes", str(nodes), "--runtime", "simulated") as machine:
        yield Figure("scale", f"{nodes:,} fake nodes Ready, from `fluyt up`", f"{time.monotonic() - began:.1f} s")
        before = machine.cpu()
        container = {"name": "c", "image": "app:1"}
        each = min(_PER_DEPLOYMENT, pods)
        wanted = [_deployment(f"bench-{n}", each, container) for n in range(pods // each)]
        taken = _rollout(machine, wanted, pods)
        used = machine.cpu()
        yield Figure("scale", f"{pods:,} pods Running, from apply", f"{taken:.1f} s, {pods / taken:,.0f} pods/s")
        for name, pid in machine.pids.items():
            value = f"{used[name] - before[name]:.1f} s CPU, {rss(pid)} MB RSS"
            yield Figure("scale", name.rpartition("-")[2], value)


def _deployment(name: str, replicas: int, container: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def _rollout(machine: Machine, deployments: list[dict[str, Any]], count: int) -> float:
    """Seconds from the first Deployment's creation until so many pods run.

    Pods enter the watch's selection when they are Running; none of these leaves it again.
    """
    target = machine.target
    path = f"{_PODS}?watch=1&fieldSelector=status.phase%3DRunning&resourceVersion={_revision(target)}"
    with Watches(target, path, 1, b'{"type":"ADDED"') as watches:
        began = time.perf_counter()
        for deployment in deployments:
            ask(target, "POST", _DEPLOYMENTS, deployment)
        watches.await_events(count, _PATIENCE)
        return time.perf_counter() - began


def _revision(target: Target) -> str:
    return str(json.loads(ask(target, "GET", f"{_PODS}?limit=1"))["metadata"]["resourceVersion"])
