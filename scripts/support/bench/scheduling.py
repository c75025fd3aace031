"""Figures of the scheduler: its decisions alone, and pods bound through an API server; nodes are objects only."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from harness.api_site import Site, pod
from harness.process import Process
from harness.require import require

from control.scheduler.model import Model
from support.bench.api_server import target_of
from support.bench.figures import Figure, cpu_of, rss
from support.bench.https_load import Watches, ask, request, run

PART = "scheduler"
_PODS = "/api/v1/namespaces/default/pods"


def measure(quick: bool) -> Iterator[Figure]:
    """All figures."""
    nodes, pods, bound, windows = (500, 500, 200, 2) if quick else (5_000, 3_000, 2_000, 3)
    rate, cost = min((_alone(nodes, pods) for _ in range(windows)), key=lambda window: window[1])
    yield Figure(PART, f"alone, {nodes:,} nodes", f"{rate:,.0f} pods/s, {cost:.0f} µs CPU each", "≥ 1,000/s")
    yield from _through_the_api(nodes, bound)


def node_object(number: int) -> dict[str, Any]:
    """A node with a zone and room for 110 pods."""
    name = f"node-{number:05}"
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{number % 3}"}
    room = {"cpu": "32", "memory": "64Gi", "pods": "110"}
    ready = {"type": "Ready", "status": "True", "reason": "Bench", "message": "an object only"}
    status = {"allocatable": room, "capacity": room, "conditions": [ready]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


def pod_object(number: int) -> dict[str, Any]:
    """A pod of a ReplicaSet that asks for something: what most pods are."""
    container = {"name": "c", "image": "app:1", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}
    body = pod(f"p{number}", containers=[container])
    body["metadata"] |= {"labels": {"app": f"app-{number % 20}"}}
    return body


def _alone(nodes: int, pods: int) -> tuple[float, float]:
    """(pods a second, µs of CPU a pod): all decisions in this process, as the scheduler's shell asks for them."""
    model = Model(frozenset({"default-scheduler"}))
    for number in range(nodes):
        model.node_changed(None, node_object(number), 0.0)
    for number in range(pods):
        one = pod_object(number)
        one["metadata"] |= {"uid": f"uid-{number}", "namespace": "default"}
        model.pod_changed(None, {**one, "status": {}}, 0.0)
    placed, began, used = 0, time.perf_counter(), time.process_time()
    while waiting := model.queue.take(0.0):
        decision = model.decide(waiting)
        if not decision.node:
            raise RuntimeError(f"no node for {waiting.name}")
        model.assume(waiting, decision.node)
        model.bound(waiting)
        placed += 1
    if placed != pods:
        raise RuntimeError(f"{placed} of {pods} pods were placed")
    return pods / (time.perf_counter() - began), (time.process_time() - used) / pods * 1e6


def _through_the_api(nodes: int, pods: int) -> Iterator[Figure]:
    """Pods wait before the scheduler starts; the clock runs from its first binding to its last."""
    with Site() as site:
        target = target_of(site)
        ask(target, "POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        run(target, [request("POST", "/api/v1/nodes", node_object(number)) for number in range(nodes)], 32)
        run(target, [request("POST", _PODS, pod_object(number)) for number in range(pods)], 32)
        since = json.loads(ask(target, "GET", f"{_PODS}?limit=1"))["metadata"]["resourceVersion"]
        unbound = f"{_PODS}?watch=1&fieldSelector=spec.nodeName%3D&resourceVersion={since}"
        scheduler = Process(_arguments(site), site.folder / "scheduler.log")
        try:
            before = cpu_of(site.servers[0].pid)
            with Watches(target, unbound, 1) as watches:
                rate = _first_to_last(watches, pods)
            used = cpu_of(site.servers[0].pid) - before
            costs = f"{cpu_of(scheduler.pid) / pods * 1e3:.2f} ms CPU each, {used / pods * 1e3:.2f} in the API server"
            value = f"{rate:,.0f} pods/s, {costs} (start included)"
            yield Figure(PART, f"bound through the API, {nodes:,} nodes", value)
            yield Figure(PART, f"memory, {nodes:,} nodes (RSS)", f"{rss(scheduler.pid)} MB")
        finally:
            scheduler.kill()


def _arguments(site: Site) -> list[str]:
    store = ",".join(f"http://{endpoint}" for endpoint in site.store.endpoints)
    flags = ["--kubeconfig", str(site.folder / "scheduler.conf"), "--master", f"https://127.0.0.1:{site.ports[0]}"]
    return [require("fluyt"), "scheduler", *flags, "--etcd-servers", store, "--secure-port", "-1"]


def _first_to_last(watches: Watches, pods: int) -> float:
    """Pods bound a second. The watch is of pods without a node, so each of its events is one that got its node."""
    watches.await_events(1)
    started, before = time.perf_counter(), watches.seen
    watches.await_events(pods)
    return (pods - before) / (time.perf_counter() - started)
