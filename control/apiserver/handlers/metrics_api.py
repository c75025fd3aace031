"""metrics.k8s.io: what nodes and pods use now, from the agents' summaries.

Each agent is asked at most once in some seconds, however many ask us; an agent that does not answer has no figures.
Source: "Resource metrics pipeline" in the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from control.api.schema import Object
from control.api.selectors import parse_label_selector
from control.api.status import method_not_allowed, not_found
from control.apiserver.answer import Answer
from control.apiserver.call import Call
from control.apiserver.negotiate import form_of
from control.apiserver.rendering import show, show_objects
from control.apiserver.summaries import FRESH_SECONDS

VERSION: Final = "metrics.k8s.io/v1beta1"


async def serve(call: Call) -> Answer:
    """NodeMetrics or PodMetrics, one or all. StatusError 404: no such node or pod, or no figures of it yet."""
    if call.info.verb not in ("get", "list"):
        raise method_not_allowed(call.of.resource, call.info.verb)
    nodes = list(call.server.resources.list("nodes"))
    call.server.summaries.keep_only({node["metadata"]["name"] for node in nodes})
    form = form_of(call.headers.get("accept", ""))
    single = call.info.verb == "get"
    found = await (_nodes(call, nodes) if call.of.name == "NodeMetrics" else _pods(call, nodes))
    if single:
        for item in found:
            if item["metadata"]["name"] == call.info.name:
                return show(call.of, item, form)
        raise not_found(call.of.resource, call.info.name)
    selector = parse_label_selector(call.info.parameter("labelSelector"))
    chosen = [item for item in found if selector.matches(item["metadata"].get("labels"))]
    return show_objects(call.of, chosen, form, call.info.parameter("includeObject") or "Metadata")


async def _nodes(call: Call, nodes: list[Object]) -> list[Object]:
    wanted = [node for node in nodes if call.info.name in ("", node["metadata"]["name"])]
    summaries = await asyncio.gather(*(call.server.summaries.of(call.server.agents, node) for node in wanted))
    found = []
    for node, summary in zip(wanted, summaries, strict=True):
        usage = usage_of(_part(summary, "node"))
        if usage is not None:
            found.append(_item("NodeMetrics", node["metadata"], usage[0], {"usage": usage[1]}))
    return found


async def _pods(call: Call, nodes: list[Object]) -> list[Object]:
    pods = {
        (pod["metadata"]["namespace"], pod["metadata"]["name"]): pod
        for pod in call.server.resources.list("pods", call.namespace)
        if call.info.name in ("", pod["metadata"]["name"])
    }
    hosts = {pod["spec"].get("nodeName") for pod in pods.values()}
    wanted = [node for node in nodes if node["metadata"]["name"] in hosts]
    summaries = await asyncio.gather(*(call.server.summaries.of(call.server.agents, node) for node in wanted))
    found = []
    for node, summary in zip(wanted, summaries, strict=True):
        for entry in entries(summary):
            reference = entry["podRef"]
            pod = pods.get((str(reference.get("namespace")), str(reference.get("name"))))
            # An agent speaks for the pods of its own node only.
            if pod is not None and pod["spec"].get("nodeName") == node["metadata"]["name"]:
                item = _pod_item(pod, entry)
                found += [item] if item is not None else []
    return sorted(found, key=lambda item: (item["metadata"]["namespace"], item["metadata"]["name"]))


def entries(summary: Any) -> list[Object]:
    """The pods of a summary, as far as it has the form of one."""
    pods = summary.get("pods") if isinstance(summary, dict) else None
    entries = pods if isinstance(pods, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("podRef"), dict)]


def _pod_item(pod: Object, entry: Object) -> Object | None:
    containers, latest = [], ""
    given = entry.get("containers")
    for container in given if isinstance(given, list) else []:
        usage = usage_of(container)
        if usage is None:
            return None
        latest = max(latest, usage[0])
        containers.append({"name": container.get("name", ""), "usage": usage[1]})
    return _item("PodMetrics", pod["metadata"], latest, {"containers": containers}) if containers else None


def usage_of(stats: Any) -> tuple[str, Object] | None:
    """(time, usage as quantities) of a node's or container's figures; None when they are not complete."""
    cpu, memory = _part(stats, "cpu"), _part(stats, "memory")
    nanocores, working_set = cpu.get("usageNanoCores"), memory.get("workingSetBytes")
    if not isinstance(nanocores, int) or not isinstance(working_set, int):
        return None
    when = str(cpu.get("time") or memory.get("time") or "")
    return when, {"cpu": f"{nanocores}n", "memory": f"{working_set // 1024}Ki"}


def _part(stats: Any, name: str) -> Object:
    part = stats.get(name) if isinstance(stats, dict) else None
    return part if isinstance(part, dict) else {}


def _item(kind: str, metadata: Object, when: str, rest: Object) -> Object:
    kept: Object = {field: metadata[field] for field in ("name", "namespace", "labels") if field in metadata}
    kept["creationTimestamp"] = when or metadata["creationTimestamp"]
    return {
        "kind": kind,
        "apiVersion": VERSION,
        "metadata": kept,
        "timestamp": when or metadata["creationTimestamp"],
        "window": f"{int(FRESH_SECONDS)}s",
        **rest,
    }
