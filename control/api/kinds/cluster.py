"""Small groups that the cluster's own parts live on: discovery, coordination, scheduling, events, metrics."""

from __future__ import annotations

from dataclasses import replace

from control.api.kind import Column, Kind
from control.api.kinds.columns import AGE, NAME, number, text
from control.api.kinds.core import EVENT as CORE_EVENT

ENDPOINT_SLICE = Kind(
    "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "discovery.v1.EndpointSlice",
    columns=(
        NAME,
        text("AddressType", ".addressType", "IPv4, IPv6 or FQDN"),
        text("Ports", "slice_ports", "ports of all endpoints"),
        text("Endpoints", "slice_endpoints", "addresses"),
        AGE,
    ),
)  # fmt: skip

LEASE = Kind(
    "coordination.k8s.io", "v1", "Lease", "leases", "coordination.v1.Lease", put_creates=True,
    columns=(NAME, text("Holder", ".spec.holderIdentity", "who holds it"), AGE),
)  # fmt: skip

PRIORITY_CLASS = Kind(
    "scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "scheduling.v1.PriorityClass",
    namespaced=False, short_names=("pc",),
    columns=(
        NAME,
        number("Value", ".value", "the priority"),
        Column("Global-Default", ".globalDefault", "boolean", description="whether pods without a class get it"),
        AGE,
        text("PreemptionPolicy", ".preemptionPolicy", "whether its pods push others away"),
    ),
)  # fmt: skip

EVENT = replace(
    CORE_EVENT, group="events.k8s.io", type="events.v1.Event", storage_version="v1",
    selectable=(
        "regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid", "regarding.apiVersion",
        "regarding.resourceVersion", "regarding.fieldPath", "reason", "reportingController", "type",
    ),
)  # fmt: skip

NODE_METRICS = Kind(
    "metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", "metrics.v1beta1.NodeMetrics",
    namespaced=False, verbs=("get", "list"), stored=False,
    columns=(
        NAME,
        text("CPU", ".usage.cpu", "CPU in use"),
        text("Memory", ".usage.memory", "memory in use"),
        text("Window", ".window", "time the figures cover"),
    ),
)  # fmt: skip

POD_METRICS = Kind(
    "metrics.k8s.io", "v1beta1", "PodMetrics", "pods", "metrics.v1beta1.PodMetrics",
    verbs=("get", "list"), stored=False,
    columns=(
        NAME,
        text("CPU", "pod_cpu", "CPU in use"),
        text("Memory", "pod_memory", "memory in use"),
        text("Window", ".window", "time the figures cover"),
    ),
)  # fmt: skip

KINDS = (ENDPOINT_SLICE, LEASE, PRIORITY_CLASS, EVENT, NODE_METRICS, POD_METRICS)
