"""The core group, v1."""

from __future__ import annotations

from control.api.kind import ALL_VERBS, Kind, Scale
from control.api.kinds.columns import AGE, CONTAINERS, CREATED, IMAGES, NAME, SELECTOR, number, text

_POD_COLUMNS = (
    NAME,
    text("Ready", "pod_ready", "ready containers of all containers"),
    text("Status", "pod_status", "what the pod is doing, or why it does not run"),
    text("Restarts", "pod_restarts", "restarts of the pod's containers, and when the last one was"),
    AGE,
    text("IP", "pod_ip", "the pod's address", wide=True),
    text("Node", "pod_node", "the node it runs on", wide=True),
    text("Nominated Node", "pod_nominated_node", "the node preemption makes room on", wide=True),
    text("Readiness Gates", "pod_readiness_gates", "true extra readiness conditions of all", wide=True),
)

POD = Kind(
    "", "v1", "Pod", "pods", "core.v1.Pod",
    short_names=("po",), categories=("all",), columns=_POD_COLUMNS,
    subresources=(
        "attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "status",
    ),
    selectable=(
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName",
    ),
)  # fmt: skip

NODE = Kind(
    "", "v1", "Node", "nodes", "core.v1.Node",
    namespaced=False, short_names=("no",), subresources=("proxy", "status"), selectable=("spec.unschedulable",),
    columns=(
        NAME,
        text("Status", "node_status", "Ready, NotReady or Unknown, and whether pods may be scheduled"),
        text("Roles", "node_roles", "roles from the node-role.kubernetes.io labels"),
        AGE,
        text("Version", ".status.nodeInfo.kubeletVersion", "version of the node's agent"),
        text("Internal-IP", "node_internal_ip", "address within the cluster", wide=True),
        text("External-IP", "node_external_ip", "address from outside", wide=True),
        text("OS-Image", "node_os_image", "operating system", wide=True),
        text("Kernel-Version", "node_kernel", "kernel release", wide=True),
        text("Container-Runtime", "node_runtime", "container runtime and its version", wide=True),
    ),
)  # fmt: skip

NAMESPACE = Kind(
    "", "v1", "Namespace", "namespaces", "core.v1.Namespace",
    namespaced=False, short_names=("ns",), subresources=("finalize", "status"), selectable=("status.phase", "name"),
    verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    columns=(NAME, text("Status", ".status.phase", "Active or Terminating"), AGE),
)  # fmt: skip

SERVICE = Kind(
    "", "v1", "Service", "services", "core.v1.Service",
    short_names=("svc",), categories=("all",), subresources=("proxy", "status"), put_creates=True,
    selectable=("spec.clusterIP", "spec.type"),
    columns=(
        NAME,
        text("Type", ".spec.type", "how the service is exposed"),
        text("Cluster-IP", "service_cluster_ip", "address within the cluster"),
        text("External-IP", "service_external_ip", "addresses from outside"),
        text("Port(s)", "service_ports", "ports, with their node ports"),
        AGE,
        SELECTOR,
    ),
)  # fmt: skip

ENDPOINTS = Kind(
    "", "v1", "Endpoints", "endpoints", "core.v1.Endpoints",
    short_names=("ep",), put_creates=True,
    columns=(NAME, text("Endpoints", "endpoints", "ready addresses with ports"), AGE),
)  # fmt: skip

CONFIG_MAP = Kind(
    "", "v1", "ConfigMap", "configmaps", "core.v1.ConfigMap",
    short_names=("cm",), columns=(NAME, number("Data", "data_count", "number of keys"), AGE),
)  # fmt: skip

SECRET = Kind(
    "", "v1", "Secret", "secrets", "core.v1.Secret",
    selectable=("type",),
    columns=(NAME, text("Type", ".type", "what the secret holds"), number("Data", "data_count", "number of keys"), AGE),
)  # fmt: skip

SERVICE_ACCOUNT = Kind(
    "", "v1", "ServiceAccount", "serviceaccounts", "core.v1.ServiceAccount",
    short_names=("sa",), subresources=("token",),
    columns=(NAME, number("Secrets", "secrets_count", "number of secrets it lists"), AGE),
)  # fmt: skip

EVENT = Kind(
    "", "v1", "Event", "events", "core.v1.Event",
    short_names=("ev",), put_creates=True,
    selectable=(
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
        "reportingComponent", "source", "type",
    ),
    columns=(
        text("Last Seen", "event_last_seen", "time since it happened last"),
        text("Type", "event_type", "Normal or Warning"),
        text("Reason", "event_reason", "short CamelCase cause"),
        text("Object", "event_object", "the object it is about"),
        text("Subobject", "event_subobject", "the part of the object", wide=True),
        text("Source", "event_source", "who reported it", wide=True),
        text("Message", "event_message", "what happened"),
        text("First Seen", "event_first_seen", "time since it happened first", wide=True),
        text("Count", "event_count", "how often it happened", wide=True),
        text("Name", ".metadata.name", "name of the event", wide=True),
    ),
)  # fmt: skip

BINDING = Kind("", "v1", "Binding", "bindings", "core.v1.Binding", verbs=("create",), stored=False)

COMPONENT_STATUS = Kind(
    "", "v1", "ComponentStatus", "componentstatuses", "core.v1.ComponentStatus",
    namespaced=False, short_names=("cs",), verbs=("get", "list"), stored=False,
    deprecated="v1 ComponentStatus is deprecated in v1.19+",
    columns=(
        NAME,
        text("Status", "component_status", "Healthy or Unhealthy"),
        text("Message", "component_message", "what it said"),
        text("Error", "component_error", "why it could not be asked"),
    ),
)  # fmt: skip

RESOURCE_QUOTA = Kind(
    "", "v1", "ResourceQuota", "resourcequotas", "core.v1.ResourceQuota",
    short_names=("quota",), subresources=("status",),
    columns=(
        NAME,
        text("Request", "quota_requests", "used of allowed, for requests and counts"),
        text("Limit", "quota_limits", "used of allowed, for limits"),
        AGE,
    ),
)  # fmt: skip

LIMIT_RANGE = Kind(
    "", "v1", "LimitRange", "limitranges", "core.v1.LimitRange",
    short_names=("limits",), put_creates=True, columns=(NAME, CREATED),
)  # fmt: skip

POD_TEMPLATE = Kind(
    "", "v1", "PodTemplate", "podtemplates", "core.v1.PodTemplate",
    columns=(
        NAME,
        text("Containers", "container_names", "names of the template's containers"),
        text("Images", "container_images", "images of the template's containers"),
        text("Pod Labels", "template_labels", "labels of the template"),
    ),
)  # fmt: skip

REPLICATION_CONTROLLER = Kind(
    "", "v1", "ReplicationController", "replicationcontrollers", "core.v1.ReplicationController",
    short_names=("rc",), categories=("all",), subresources=("scale", "status"), selectable=("status.replicas",),
    scale=Scale(),
    columns=(
        NAME,
        number("Desired", ".spec.replicas", "wanted pods"),
        number("Current", ".status.replicas", "pods there are"),
        number("Ready", ".status.readyReplicas", "ready pods"),
        AGE, CONTAINERS, IMAGES, SELECTOR,
    ),
)  # fmt: skip

PERSISTENT_VOLUME = Kind(
    "", "v1", "PersistentVolume", "persistentvolumes", "core.v1.PersistentVolume",
    namespaced=False, short_names=("pv",), subresources=("status",),
    columns=(
        NAME,
        text("Capacity", "volume_capacity", "size"),
        text("Access Modes", "volume_access_modes", "ways it can be mounted"),
        text("Reclaim Policy", ".spec.persistentVolumeReclaimPolicy", "what happens when its claim goes"),
        text("Status", "volume_status", "Available, Bound, Released or Failed"),
        text("Claim", "volume_claim", "the claim it is bound to"),
        text("StorageClass", "storage_class", "its class"),
        text("VolumeAttributesClass", "volume_attributes_class", "its attributes class"),
        text("Reason", ".status.reason", "why it is in that state"),
        AGE,
        text("VolumeMode", "volume_mode", "Filesystem or Block", wide=True),
    ),
)  # fmt: skip

PERSISTENT_VOLUME_CLAIM = Kind(
    "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "core.v1.PersistentVolumeClaim",
    short_names=("pvc",), subresources=("status",),
    columns=(
        NAME,
        text("Status", "volume_status", "Pending, Bound or Lost"),
        text("Volume", ".spec.volumeName", "the volume it is bound to"),
        text("Capacity", "claim_capacity", "size it was given"),
        text("Access Modes", "claim_access_modes", "ways it can be mounted"),
        text("StorageClass", "storage_class", "its class"),
        text("VolumeAttributesClass", "volume_attributes_class", "its attributes class"),
        AGE,
        text("VolumeMode", "volume_mode", "Filesystem or Block", wide=True),
    ),
)  # fmt: skip

KINDS = (
    BINDING, COMPONENT_STATUS, CONFIG_MAP, ENDPOINTS, EVENT, LIMIT_RANGE, NAMESPACE, NODE, PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    POD, POD_TEMPLATE, REPLICATION_CONTROLLER, RESOURCE_QUOTA, SECRET, SERVICE, SERVICE_ACCOUNT,
)  # fmt: skip
