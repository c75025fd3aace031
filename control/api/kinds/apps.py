"""The group apps, v1: what keeps pods running."""

from __future__ import annotations

from control.api.kind import Kind, Scale
from control.api.kinds.columns import AGE, CONTAINERS, IMAGES, NAME, SELECTOR, number, text

DEPLOYMENT = Kind(
    "apps", "v1", "Deployment", "deployments", "apps.v1.Deployment",
    short_names=("deploy",), categories=("all",), subresources=("scale", "status"), scale=Scale(),
    columns=(
        NAME,
        text("Ready", "replicas_ready", "ready pods of wanted pods"),
        number("Up-to-date", ".status.updatedReplicas", "pods of the newest template"),
        number("Available", ".status.availableReplicas", "pods ready for at least minReadySeconds"),
        AGE, CONTAINERS, IMAGES, SELECTOR,
    ),
)  # fmt: skip

REPLICA_SET = Kind(
    "apps", "v1", "ReplicaSet", "replicasets", "apps.v1.ReplicaSet",
    short_names=("rs",), categories=("all",), subresources=("scale", "status"), selectable=("status.replicas",),
    scale=Scale(),
    columns=(
        NAME,
        number("Desired", ".spec.replicas", "wanted pods"),
        number("Current", ".status.replicas", "pods there are"),
        number("Ready", ".status.readyReplicas", "ready pods"),
        AGE, CONTAINERS, IMAGES, SELECTOR,
    ),
)  # fmt: skip

STATEFUL_SET = Kind(
    "apps", "v1", "StatefulSet", "statefulsets", "apps.v1.StatefulSet",
    short_names=("sts",), categories=("all",), subresources=("scale", "status"), scale=Scale(),
    columns=(NAME, text("Ready", "replicas_ready", "ready pods of wanted pods"), AGE, CONTAINERS, IMAGES),
)  # fmt: skip

DAEMON_SET = Kind(
    "apps", "v1", "DaemonSet", "daemonsets", "apps.v1.DaemonSet",
    short_names=("ds",), categories=("all",), subresources=("status",),
    columns=(
        NAME,
        number("Desired", ".status.desiredNumberScheduled", "nodes that should run the pod"),
        number("Current", ".status.currentNumberScheduled", "nodes that should and do"),
        number("Ready", ".status.numberReady", "ready pods"),
        number("Up-to-date", ".status.updatedNumberScheduled", "pods of the newest template"),
        number("Available", ".status.numberAvailable", "pods ready for at least minReadySeconds"),
        text("Node Selector", "node_selector", "labels of the nodes"),
        AGE, CONTAINERS, IMAGES, SELECTOR,
    ),
)  # fmt: skip

CONTROLLER_REVISION = Kind(
    "apps", "v1", "ControllerRevision", "controllerrevisions", "apps.v1.ControllerRevision",
    columns=(
        NAME,
        text("Controller", "controller", "the object whose state it keeps"),
        number("Revision", ".revision", "number of the state"),
        AGE,
    ),
)  # fmt: skip

KINDS = (CONTROLLER_REVISION, DAEMON_SET, DEPLOYMENT, REPLICA_SET, STATEFUL_SET)
