"""/stats/summary, /metrics and /metrics/resource: what the node and its pods use.

Source: the Summary API of the kubelet (stats/v1alpha1), and its resource metrics endpoint; names are theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from node_agent.machine.pressure import disk_usage
from node_agent.pod import spec
from node_agent.pod.labels import CONTAINER_NAME
from node_agent.pod.spec import time_of
from node_agent.runtime.errors import RuntimeFault
from node_agent.runtime.types import FsUsage
from node_agent.server.directory import Directory
from node_agent.shell.agent import NodeAgent
from node_agent.shell.usage import Sample, Used

Json = dict[str, Any]


class Figures:
    """The handlers of one server."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def _agent(self, request: web.Request) -> NodeAgent:
        """The node that was called: simulated nodes have addresses of their own on one port."""
        transport = request.transport
        name = transport.get_extra_info("sockname") if transport is not None else None
        return self._directory.agent_at(name[0] if name else "")

    async def summary(self, request: web.Request) -> web.Response:
        agent = self._agent(request)
        try:
            sample = await agent.usage.sample()
            images = await agent.parts.runtime.image_fs()
        except RuntimeFault as problem:
            raise web.HTTPServiceUnavailable(text=f"the container runtime does not answer: {problem}") from None
        return web.json_response(summary(agent, sample, images))

    async def resource(self, request: web.Request) -> web.Response:
        agent = self._agent(request)
        try:
            sample = await agent.usage.sample()
            metrics = list(_resource_metrics(agent, sample))
        except RuntimeFault:
            metrics = [GaugeMetricFamily("scrape_error", "1 if there was an error while getting figures", value=1)]
        return _text(metrics)

    async def metrics(self, request: web.Request) -> web.Response:
        return _text(list(_agent_metrics(self._agent(request))))


def summary(agent: NodeAgent, sample: Sample, images: FsUsage) -> Json:
    """The document of /stats/summary."""
    pods = [
        _pod(agent, worker.pod, sample.pods.get(uid, []), sample.at)
        for uid, worker in agent.dispatch.workers.items()
        if uid in sample.pods
    ]
    return {"node": _node(agent, sample, images), "pods": pods}


def _node(agent: NodeAgent, sample: Sample, images: FsUsage) -> Json:
    total, used, free = disk_usage(agent.parts.root)
    at = time_of(sample.at)
    if sample.memory:
        available, capacity = sample.memory.get("MemAvailable", 0), sample.memory.get("MemTotal", 0)
        working = capacity - available
    else:
        working = sum(u.stats.memory_working_set for found in sample.pods.values() for u in found)
        available = max(agent.machine.memory - working, 0)
    memory = {"time": at, "availableBytes": available, "workingSetBytes": working, "usageBytes": working}
    image_fs = {
        "time": at,
        "availableBytes": images.available,
        "capacityBytes": images.capacity,
        "usedBytes": images.used,
        "inodesFree": images.inodes_free,
        "inodes": images.inodes,
        "inodesUsed": images.inodes_used,
    }
    return {
        "nodeName": agent.settings.name,
        "startTime": time_of(agent.began),
        "cpu": {
            "time": at,
            "usageNanoCores": sample.node_nanocores,
            "usageCoreNanoSeconds": sample.node_cpu_nanoseconds,
        },
        "memory": memory,
        "fs": {"time": at, "availableBytes": free, "capacityBytes": total, "usedBytes": used},
        "runtime": {"imageFs": image_fs},
    }


def _pod(agent: NodeAgent, pod: spec.Object, used: list[Used], at: float) -> Json:
    containers = [_container(agent, spec.uid(pod), each) for each in used]
    moment = time_of(at)
    return {
        "podRef": {"name": spec.name(pod), "namespace": spec.namespace(pod), "uid": spec.uid(pod)},
        "startTime": spec.status(pod).get("startTime"),
        "containers": containers,
        "cpu": {
            "time": moment,
            "usageNanoCores": sum(u.nanocores for u in used),
            "usageCoreNanoSeconds": sum(u.stats.cpu_nanoseconds for u in used),
        },
        "memory": {
            "time": moment,
            "usageBytes": sum(u.stats.memory_usage for u in used),
            "workingSetBytes": sum(u.stats.memory_working_set for u in used),
            "rssBytes": sum(u.stats.memory_rss for u in used),
        },
        "ephemeral-storage": {"time": moment, "usedBytes": sum(u.stats.fs_used for u in used)},
        "process_stats": {"process_count": sum(u.stats.pids for u in used)},
    }


def _container(agent: NodeAgent, uid: str, used: Used) -> Json:
    stats = used.stats
    moment, name = time_of(stats.at), stats.labels.get(CONTAINER_NAME, stats.name)
    runs = agent.view.of(uid).containers.get(name, ())
    return {
        "name": name,
        "startTime": time_of(runs[0].started) if runs else None,
        "cpu": {
            "time": moment,
            "usageNanoCores": used.nanocores,
            "usageCoreNanoSeconds": stats.cpu_nanoseconds,
        },
        "memory": {
            "time": moment,
            "usageBytes": stats.memory_usage,
            "workingSetBytes": stats.memory_working_set,
            "rssBytes": stats.memory_rss,
        },
        "rootfs": {"time": moment, "usedBytes": stats.fs_used, "inodesUsed": stats.fs_inodes},
    }


# ---- Prometheus ----


def _resource_metrics(agent: NodeAgent, sample: Sample) -> Iterator[Metric]:
    names = ["container", "namespace", "pod"]
    cpu = CounterMetricFamily("container_cpu_usage_seconds", "Cumulative cpu time consumed", labels=names)
    memory = GaugeMetricFamily("container_memory_working_set_bytes", "Current working set", labels=names)
    began = GaugeMetricFamily("container_start_time_seconds", "Start time since unix epoch", labels=names)
    pod_cpu = CounterMetricFamily("pod_cpu_usage_seconds", "Cumulative cpu time consumed", labels=names[1:])
    pod_memory = GaugeMetricFamily("pod_memory_working_set_bytes", "Current working set", labels=names[1:])
    for uid, used in sample.pods.items():
        worker = agent.dispatch.workers.get(uid)
        if worker is None:
            continue
        pod = [spec.namespace(worker.pod), spec.name(worker.pod)]
        for each in used:
            name = each.stats.labels.get(CONTAINER_NAME, each.stats.name)
            runs = agent.view.of(uid).containers.get(name, ())
            cpu.add_metric([name, *pod], each.stats.cpu_nanoseconds / 1e9)
            memory.add_metric([name, *pod], each.stats.memory_working_set)
            began.add_metric([name, *pod], runs[0].started if runs else 0.0)
        pod_cpu.add_metric(pod, sum(u.stats.cpu_nanoseconds for u in used) / 1e9)
        pod_memory.add_metric(pod, sum(u.stats.memory_working_set for u in used))
    yield from (cpu, memory, began, pod_cpu, pod_memory)
    node_memory = sample.memory.get("MemTotal", 0) - sample.memory.get("MemAvailable", 0)
    yield CounterMetricFamily(
        "node_cpu_usage_seconds", "Cumulative cpu time consumed", value=sample.node_cpu_nanoseconds / 1e9
    )
    yield GaugeMetricFamily("node_memory_working_set_bytes", "Current working set", value=node_memory)
    yield GaugeMetricFamily("scrape_error", "1 if there was an error while getting figures", value=0)


def _agent_metrics(agent: NodeAgent) -> Iterator[Metric]:
    workers = agent.dispatch.workers
    yield GaugeMetricFamily("kubelet_running_pods", "Pods that have a running sandbox", value=_running_pods(agent))
    states = GaugeMetricFamily("kubelet_running_containers", "Containers by state", labels=["container_state"])
    for state in ("created", "running", "exited", "unknown"):
        count = sum(c.state == state for seen in agent.view.seen.values() for c in seen.every_container())
        states.add_metric([state], count)
    yield states
    yield GaugeMetricFamily("kubelet_working_pods", "Pods the agent has a worker for", value=len(workers))
    probes = CounterMetricFamily("prober_probe", "Probe attempts", labels=["probe_type", "result"])
    for (kind, result), count in agent.prober.counts.items():
        probes.add_metric([kind.capitalize(), result], count)
    yield probes
    name = GaugeMetricFamily("kubelet_node_name", "The node's name", labels=["node"])
    name.add_metric([agent.settings.name], 1)
    yield name


def _running_pods(agent: NodeAgent) -> int:
    return sum(bool(seen.sandboxes and seen.sandboxes[0].ready) for seen in agent.view.seen.values())


class _Collected:
    """Metrics that were made already, as prometheus_client wants them."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _text(metrics: list[Metric]) -> web.Response:
    registry = CollectorRegistry()
    registry.register(_Collected(metrics))
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
