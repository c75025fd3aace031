"""Defaults that depend on other fields. Each function fills in one object of its type, in place.

They run after the type's own default= values and before those of the types within it.

Source: the defaults in Kubernetes' API reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from control.api.schema import Object

Rule = Callable[[Object], None]
_RBAC: Final = "rbac.authorization.k8s.io"
_MAX_INT32: Final = 2**31 - 1


def image_tag(image: str) -> str:
    """The tag of an image's name: "latest" when it has neither tag nor digest, "" when it has a digest only."""
    name, _, digest = image.partition("@")
    last = name.rsplit("/", 1)[-1]
    _, colon, tag = last.partition(":")
    if colon:
        return tag
    return "" if digest else "latest"


def _container(container: Object) -> None:
    if "imagePullPolicy" not in container:
        latest = image_tag(container.get("image", "")) == "latest"
        container["imagePullPolicy"] = "Always" if latest else "IfNotPresent"


def _volume(volume: Object) -> None:
    if len(volume) == ("name" in volume):
        volume["emptyDir"] = {}


def _image_volume(source: Object) -> None:
    if "pullPolicy" not in source:
        source["pullPolicy"] = "Always" if image_tag(source.get("reference", "")) == "latest" else "IfNotPresent"


def _pod_spec(spec: Object) -> None:
    """The old name of serviceAccountName is kept equal to it."""
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account


def containers(spec: Object) -> Iterator[Object]:
    """The init containers and containers of a pod spec."""
    yield from spec.get("initContainers", ())
    yield from spec.get("containers", ())


def _pod(pod: Object) -> None:
    """What only pods get, and templates do not: a request for each limit, service links, ports of the node."""
    spec = pod.get("spec")
    if spec is None:
        return
    spec.setdefault("enableServiceLinks", True)
    if spec.get("hostNetwork"):
        for container in containers(spec):
            for port in container.get("ports", ()):
                port.setdefault("hostPort", port.get("containerPort", 0))
    for container in containers(spec):
        resources = container["resources"]
        limits = resources.get("limits")
        if limits:
            resources["requests"] = {**limits, **resources.get("requests", {})}


def _deployment_strategy(strategy: Object) -> None:
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {})


def _stateful_set_spec(spec: Object) -> None:
    for claim in spec.get("volumeClaimTemplates", ()):
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        claim.setdefault("status", {})


def _replication_controller(controller: Object) -> None:
    """Selector and labels come from the template's labels, where they are not given."""
    spec = controller.get("spec")
    if spec is None:
        return
    spec.setdefault("replicas", 1)
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        spec.setdefault("selector", dict(labels))
        controller.setdefault("metadata", {}).setdefault("labels", dict(labels))


def _job_spec(spec: Object) -> None:
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    if "backoffLimit" not in spec:
        spec["backoffLimit"] = _MAX_INT32 if "backoffLimitPerIndex" in spec else 6
    spec.setdefault("podReplacementPolicy", "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed")


def _service_spec(spec: Object) -> None:
    kind = spec["type"]
    for port in spec.get("ports", ()):
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
    if kind in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if kind != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
        _service_addresses(spec)


def _service_addresses(spec: Object) -> None:
    """clusterIP is the first of clusterIPs; the family is that of the address, IPv4 where none is given."""
    if spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec["clusterIP"] = spec["clusterIPs"][0]
    address = spec.get("clusterIP")
    if address:
        spec.setdefault("clusterIPs", [address])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    spec.setdefault("ipFamilies", ["IPv6" if address and ":" in address else "IPv4"])


def _limit_range_item(item: Object) -> None:
    """For containers: limits default to the maximum, requests to the limits, or else to the minimum."""
    if item.get("type") != "Container":
        return
    default = {**item.get("max", {}), **item.get("default", {})}
    requests = {**item.get("min", {}), **default, **item.get("defaultRequest", {})}
    for field, value in (("default", default), ("defaultRequest", requests)):
        if value:
            item[field] = value


def _namespace(namespace: Object) -> None:
    metadata = namespace.setdefault("metadata", {})
    if metadata.get("name"):
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]


def _node_status(status: Object) -> None:
    if status.get("capacity") and "allocatable" not in status:
        status["allocatable"] = dict(status["capacity"])


def _autoscaler_v2(autoscaler: Object) -> None:
    spec = autoscaler.get("spec")
    if spec is not None and "metrics" not in spec:
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _autoscaler_v1(autoscaler: Object) -> None:
    annotations = (autoscaler.get("metadata") or {}).get("annotations") or {}
    spec = autoscaler.get("spec")
    if spec is not None and "autoscaling.alpha.kubernetes.io/metrics" not in annotations:
        spec.setdefault("targetCPUUtilizationPercentage", 80)


def _behavior(behavior: Object) -> None:
    up = behavior.setdefault("scaleUp", {})
    up.setdefault("stabilizationWindowSeconds", 0)
    up.setdefault(
        "policies",
        [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ],
    )
    down = behavior.setdefault("scaleDown", {})
    down.setdefault("policies", [{"type": "Percent", "value": 100, "periodSeconds": 15}])


def _network_policy_spec(spec: Object) -> None:
    if "policyTypes" not in spec:
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _subject(subject: Object) -> None:
    if "apiGroup" not in subject and subject.get("kind") in ("User", "Group"):
        subject["apiGroup"] = _RBAC


def _crd_spec(spec: Object) -> None:
    names = spec.get("names")
    if isinstance(names, dict) and names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")


TYPE_RULES: Final[dict[str, Rule]] = {
    "core.v1.Container": _container,
    "core.v1.EphemeralContainer": _container,
    "core.v1.Volume": _volume,
    "core.v1.ImageVolumeSource": _image_volume,
    "core.v1.PodSpec": _pod_spec,
    "core.v1.ReplicationController": _replication_controller,
    "core.v1.ServiceSpec": _service_spec,
    "core.v1.LimitRangeItem": _limit_range_item,
    "core.v1.Namespace": _namespace,
    "core.v1.NodeStatus": _node_status,
    "apps.v1.DeploymentStrategy": _deployment_strategy,
    "apps.v1.StatefulSetUpdateStrategy": _deployment_strategy,
    "apps.v1.DaemonSetUpdateStrategy": _deployment_strategy,
    "apps.v1.StatefulSetSpec": _stateful_set_spec,
    "batch.v1.JobSpec": _job_spec,
    "autoscaling.v2.HorizontalPodAutoscaler": _autoscaler_v2,
    "autoscaling.v1.HorizontalPodAutoscaler": _autoscaler_v1,
    "autoscaling.v2.HorizontalPodAutoscalerBehavior": _behavior,
    "networking.v1.NetworkPolicySpec": _network_policy_spec,
    "rbac.v1.Subject": _subject,
    "apiextensions.v1.CustomResourceDefinitionSpec": _crd_spec,
}
"""By the full name of the type."""

KIND_RULES: Final[dict[str, Rule]] = {"pods": _pod}
"""By resource: what a kind gets as a whole, after all its parts."""
