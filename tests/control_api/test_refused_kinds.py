"""Every kind's own rules: one change to its valid example, and the cause with its exact path and words."""

# ruff: noqa: E501 - the words of Kubernetes are as long as they are

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import pytest
from control_api.examples_of_kinds import created, manifest

from control.api.catalogue import BUILTIN
from control.api.decode import decode
from control.api.defaults import apply_defaults
from control.api.kind import Kind
from control.api.validate import check_body, create_causes, update_causes

GONE = object()


def put(obj: dict[str, Any], path: str, value: Any) -> None:
    """Set or (GONE) remove the value at a path as "spec.ports[0].name"."""
    steps: list[Any] = [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path)]
    at: Any = obj
    for step in steps[:-1]:
        at = at[step] if isinstance(step, int) else at.setdefault(step, {})
    if value is GONE:
        del at[steps[-1]]
    else:
        at[steps[-1]] = value


def kind_of(name: str) -> Kind:
    obj = manifest(name)
    kind = BUILTIN.by_kind(obj["apiVersion"], obj["kind"])
    assert kind is not None
    return kind


DEPLOYMENT, JOB, CRON, SERVICE = "deployments.apps.v1", "jobs.batch.v1", "cronjobs.batch.v1", "services.v1"
HPA, PDB, INGRESS = (
    "horizontalpodautoscalers.autoscaling.v2",
    "poddisruptionbudgets.policy.v1",
    "ingresses.networking.k8s.io.v1",
)
ROLE, BINDING = "roles.rbac.authorization.k8s.io.v1", "rolebindings.rbac.authorization.k8s.io.v1"
HOOK = "validatingwebhookconfigurations.admissionregistration.k8s.io.v1"
SLICE, CLAIM, SETS, DAEMONS = (
    "endpointslices.discovery.k8s.io.v1",
    "persistentvolumeclaims.v1",
    "statefulsets.apps.v1",
    "daemonsets.apps.v1",
)

CREATED: list[tuple[str, str, Any, str]] = [
    (DEPLOYMENT, "spec.replicas", -1, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
    (DEPLOYMENT, "spec.selector", GONE, "spec.selector: Required value"),
    (DEPLOYMENT, "spec.template.spec", GONE, "spec.template.spec.containers: Required value"),
    (DEPLOYMENT, "spec.selector", {}, "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
    (DEPLOYMENT, "spec.template", GONE, "spec.template: Required value"),
    (
        DEPLOYMENT,
        "spec.selector.matchLabels.app",
        "db",
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
    ),
    (
        DEPLOYMENT,
        "spec.selector.matchExpressions",
        [{"key": "a", "operator": "Is"}],
        'spec.selector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator',
    ),
    (
        DEPLOYMENT,
        "spec.template.spec.restartPolicy",
        "Never",
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
    ),
    (
        DEPLOYMENT,
        "spec.template.spec.containers[0].image",
        "",
        "spec.template.spec.containers[0].image: Required value",
    ),
    (
        DEPLOYMENT,
        "spec.strategy",
        {"type": "Recreate", "rollingUpdate": {}},
        "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
    ),
    (
        DEPLOYMENT,
        "spec.strategy",
        {"type": "Slow"},
        'spec.strategy.type: Unsupported value: "Slow": supported values: "Recreate", "RollingUpdate"',
    ),
    (
        DEPLOYMENT,
        "spec.strategy.rollingUpdate",
        {"maxUnavailable": 0, "maxSurge": "0%"},
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
    ),
    (
        DEPLOYMENT,
        "spec.strategy.rollingUpdate",
        {"maxUnavailable": "101%"},
        'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%',
    ),
    (
        DEPLOYMENT,
        "spec.strategy.rollingUpdate",
        {"maxSurge": "half"},
        'spec.strategy.rollingUpdate.maxSurge: Invalid value: "half": a valid percent string must be',
    ),
    (
        DEPLOYMENT,
        "spec.progressDeadlineSeconds",
        0,
        "spec.progressDeadlineSeconds: Invalid value: 0: must be greater than minReadySeconds",
    ),
    (
        DEPLOYMENT,
        "spec.template.metadata.labels.x",
        "a b",
        'spec.template.metadata.labels: Invalid value: "a b": a valid label must be',
    ),
    (
        SETS,
        "spec.updateStrategy",
        {"type": "OnDelete", "rollingUpdate": {}},
        "spec.updateStrategy.rollingUpdate: Invalid value",
    ),
    (
        SETS,
        "spec.updateStrategy",
        {"type": "RollingUpdate", "rollingUpdate": {"partition": -1}},
        "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1",
    ),
    (SETS, "spec.podManagementPolicy", "Any", 'spec.podManagementPolicy: Unsupported value: "Any"'),
    (
        SETS,
        "spec.volumeClaimTemplates[0].spec.accessModes",
        ["Some"],
        'spec.volumeClaimTemplates[0].spec.accessModes[0]: Unsupported value: "Some"',
    ),
    (
        SETS,
        "spec.volumeClaimTemplates[0].metadata.name",
        "other",
        'spec.template.spec.containers[0].volumeMounts[0].name: Not found: "data"',
    ),
    (SETS, "metadata.name", "a.b", 'metadata.name: Invalid value: "a.b"'),
    (
        DAEMONS,
        "spec.updateStrategy.rollingUpdate",
        {"maxUnavailable": 1, "maxSurge": 1},
        "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
    ),
    (
        DAEMONS,
        "spec.updateStrategy.rollingUpdate",
        {"maxUnavailable": 0},
        "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0 when maxSurge is 0",
    ),
    ("replicationcontrollers.v1", "spec.selector", {"app": "x"}, "spec.template.metadata.labels: Invalid value"),
    ("controllerrevisions.apps.v1", "revision", -1, "revision: Invalid value: -1"),
    (
        JOB,
        "spec.template.spec.restartPolicy",
        GONE,
        'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
    ),
    (JOB, "spec.parallelism", -1, "spec.parallelism: Invalid value: -1: must be greater than or equal to 0"),
    (
        JOB,
        "spec.completionMode",
        "Sorted",
        'spec.completionMode: Unsupported value: "Sorted": supported values: "Indexed", "NonIndexed"',
    ),
    (JOB, "spec.maxFailedIndexes", 1, "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode"),
    (
        JOB,
        "spec.podFailurePolicy",
        {"rules": [{"action": "Ignore"}]},
        'spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when podFailurePolicy is specified',
    ),
    (CRON, "spec.schedule", "* * * *", 'spec.schedule: Invalid value: "* * * *": expected exactly 5 fields, found 4'),
    (CRON, "spec.schedule", "61 * * * *", 'spec.schedule: Invalid value: "61 * * * *"'),
    (CRON, "spec.schedule", "", "spec.schedule: Required value"),
    (
        CRON,
        "spec.schedule",
        "TZ=UTC * * * * *",
        'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule',
    ),
    (
        CRON,
        "spec.timeZone",
        "Mars/Olympus",
        'spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus',
    ),
    (CRON, "spec.timeZone", "../../etc/passwd", "spec.timeZone: Invalid value"),
    (CRON, "spec.concurrencyPolicy", "Perhaps", 'spec.concurrencyPolicy: Unsupported value: "Perhaps"'),
    (
        CRON,
        "spec.jobTemplate.spec.selector",
        {"matchLabels": {"a": "b"}},
        "spec.jobTemplate.spec.selector: Invalid value",
    ),
    (
        CRON,
        "spec.jobTemplate.spec.template.spec.restartPolicy",
        GONE,
        "spec.jobTemplate.spec.template.spec.restartPolicy: Required value",
    ),
    (CRON, "metadata.name", "a" * 53, "metadata.name: Invalid value"),
    (SERVICE, "spec.ports", [], "spec.ports: Required value"),
    (SERVICE, "spec.ports[0].name", "", "spec.ports[0].name: Required value"),
    (SERVICE, "spec.ports[1].name", "http", 'spec.ports[1].name: Duplicate value: "http"'),
    (SERVICE, "spec.ports[1].port", 80, 'spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}'),
    (SERVICE, "spec.ports[0].port", 0, "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
    (
        SERVICE,
        "spec.ports[0].nodePort",
        30000,
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    ),
    (SERVICE, "spec.clusterIP", "nowhere", 'spec.clusterIPs[0]: Invalid value: "nowhere": must be a valid IP address'),
    (
        SERVICE,
        "spec.type",
        "Magic",
        'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
    ),
    (SERVICE, "spec.type", "ExternalName", "spec.externalName: Required value"),
    (SERVICE, "spec.externalTrafficPolicy", "Local", "spec.externalTrafficPolicy: Invalid value"),
    (SERVICE, "metadata.name", "1web", 'metadata.name: Invalid value: "1web": a DNS-1035 label must'),
    ("endpoints.v1", "subsets[0].addresses[0].ip", "x", 'subsets[0].addresses[0].ip: Invalid value: "x"'),
    (
        "endpoints.v1",
        "subsets[0].addresses",
        [],
        "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
    ),
    (SLICE, "addressType", "MAC", 'addressType: Unsupported value: "MAC": supported values: "FQDN", "IPv4", "IPv6"'),
    (
        SLICE,
        "endpoints[0].addresses",
        ["fd::1"],
        'endpoints[0].addresses[0]: Invalid value: "fd::1": must be a valid IPv4 address',
    ),
    (SLICE, "addressType", GONE, "addressType: Required value"),
    ("configmaps.v1", "data", {"a/b": "x"}, 'data[a/b]: Invalid value: "a/b": a valid config key must'),
    (
        "configmaps.v1",
        "data",
        {"logo": "x"},
        'data[logo]: Invalid value: "logo": duplicate of key present in binaryData',
    ),
    ("configmaps.v1", "data", {"a": "x" * (1 << 20)}, ": Too long: may not be more than 1048576 bytes"),
    ("secrets.v1", "type", "kubernetes.io/tls", "data[tls.crt]: Required value"),
    ("secrets.v1", "type", "kubernetes.io/basic-auth", ""),
    (
        "secrets.v1",
        "type",
        "kubernetes.io/service-account-token",
        "metadata.annotations[kubernetes.io/service-account.name]: Required value",
    ),
    (
        "events.v1",
        "involvedObject.namespace",
        "other",
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace',
    ),
    ("events.events.k8s.io.v1", "eventTime", GONE, "eventTime: Required value"),
    ("events.events.k8s.io.v1", "action", "", "action: Required value"),
    ("namespaces.v1", "metadata.name", "a.b", 'metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label'),
    (
        "leases.coordination.k8s.io.v1",
        "spec.leaseDurationSeconds",
        0,
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
    ),
    (
        "nodes.v1",
        "spec.taints[0].effect",
        "Maybe",
        'spec.taints[0].effect: Unsupported value: "Maybe": supported values: "NoExecute", "NoSchedule", "PreferNoSchedule"',
    ),
    ("nodes.v1", "spec.taints", [{"key": "a", "effect": "NoExecute"}] * 2, "spec.taints[1]: Duplicate value"),
    (
        "resourcequotas.v1",
        "spec.hard.pods",
        "-1",
        'spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0',
    ),
    ("resourcequotas.v1", "spec.scopes", ["BestEffort", "NotBestEffort"], "spec.scopes: Invalid value"),
    (
        "limitranges.v1",
        "spec.limits[0].min.cpu",
        "3",
        'spec.limits[0].min[cpu]: Invalid value: "3": min value 3 is greater than',
    ),
    ("persistentvolumes.v1", "spec.hostPath", GONE, "spec: Required value: must specify a volume type"),
    ("persistentvolumes.v1", "spec.capacity", GONE, "spec.capacity: Required value"),
    ("persistentvolumes.v1", "spec.accessModes", ["Never"], 'spec.accessModes[0]: Unsupported value: "Never"'),
    (CLAIM, "spec.accessModes", GONE, "spec.accessModes: Required value: at least 1 access mode is required"),
    (CLAIM, "spec.resources", GONE, "spec.resources[storage]: Required value"),
    (
        CLAIM,
        "spec.resources.requests.storage",
        "0",
        'spec.resources[storage]: Invalid value: "0": must be greater than zero',
    ),
    (HPA, "spec.maxReplicas", 1, "spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`"),
    (HPA, "spec.minReplicas", 0, "spec.minReplicas: Invalid value: 0: must be greater than 0"),
    (HPA, "spec.scaleTargetRef.name", "", "spec.scaleTargetRef.name: Required value"),
    (HPA, "spec.metrics[0].type", "Guess", 'spec.metrics[0].type: Unsupported value: "Guess"'),
    (
        HPA,
        "spec.metrics[0].resource.target.averageUtilization",
        GONE,
        "spec.metrics[0].resource.target.averageUtilization: Required value",
    ),
    (
        HPA,
        "spec.behavior.scaleDown.stabilizationWindowSeconds",
        4000,
        "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 4000",
    ),
    (PDB, "spec.maxUnavailable", 1, "spec: Invalid value"),
    (PDB, "spec.minAvailable", "fifty%", 'spec.minAvailable: Invalid value: "fifty%": a valid percent string must be'),
    (
        "priorityclasses.scheduling.k8s.io.v1",
        "value",
        2_000_000_000,
        "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
    ),
    (
        "priorityclasses.scheduling.k8s.io.v1",
        "metadata.name",
        "system-mine",
        "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only",
    ),
    (ROLE, "rules[0].verbs", [], "rules[0].verbs: Required value: verbs must contain at least one value"),
    (
        ROLE,
        "rules[0].resources",
        GONE,
        "rules[0].resources: Required value: resource rules must supply at least one resource",
    ),
    (ROLE, "rules[0].nonResourceURLs", ["/x"], "rules[0].nonResourceURLs: Invalid value"),
    (
        BINDING,
        "roleRef.kind",
        "Group",
        'roleRef.kind: Unsupported value: "Group": supported values: "ClusterRole", "Role"',
    ),
    (BINDING, "subjects[1].namespace", GONE, "subjects[1].namespace: Required value"),
    (
        BINDING,
        "subjects[0].kind",
        "Robot",
        'subjects[0].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User"',
    ),
    (INGRESS, "spec.rules", GONE, "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"),
    (
        INGRESS,
        "spec.rules[0].http.paths[0].path",
        "x",
        'spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path',
    ),
    (INGRESS, "spec.rules[0].http.paths[0].pathType", GONE, "spec.rules[0].http.paths[0].pathType: Required value"),
    (
        INGRESS,
        "spec.rules[0].http.paths[0].pathType",
        "Regex",
        'spec.rules[0].http.paths[0].pathType: Unsupported value: "Regex"',
    ),
    (
        INGRESS,
        "spec.rules[0].host",
        "10.0.0.1",
        'spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address',
    ),
    (
        INGRESS,
        "spec.rules[0].http.paths[0].backend.service.port",
        {},
        "spec.rules[0].http.paths[0].backend.service.port: Required value",
    ),
    (
        "networkpolicies.networking.k8s.io.v1",
        "spec.ingress[0].from[1].ipBlock.cidr",
        "x",
        'spec.ingress[0].from[1].ipBlock.cidr: Invalid value: "x": must be a valid CIDR value',
    ),
    (
        "networkpolicies.networking.k8s.io.v1",
        "spec.policyTypes",
        ["Sideways"],
        'spec.policyTypes[0]: Unsupported value: "Sideways"',
    ),
    (
        HOOK,
        "webhooks[0].name",
        "guard",
        'webhooks[0].name: Invalid value: "guard": should be a domain with at least three segments separated by dots',
    ),
    (
        HOOK,
        "webhooks[0].clientConfig",
        {},
        "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
    ),
    (
        HOOK,
        "webhooks[0].clientConfig.url",
        "http://x",
        "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme",
    ),
    (
        HOOK,
        "webhooks[0].clientConfig.url",
        "https://a:b@x/y",
        'webhooks[0].clientConfig.url: Invalid value: "": user information is not permitted in the URL',
    ),
    (
        HOOK,
        "webhooks[0].sideEffects",
        "Some",
        'webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"',
    ),
    (
        HOOK,
        "webhooks[0].timeoutSeconds",
        31,
        "webhooks[0].timeoutSeconds: Invalid value: 31: must be between 1 and 30, inclusive",
    ),
    (HOOK, "webhooks[0].rules[0].operations", ["*", "CREATE"], "webhooks[0].rules[0].operations: Invalid value"),
    (
        HOOK,
        "webhooks[0].failurePolicy",
        "Maybe",
        'webhooks[0].failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore"',
    ),
]


@pytest.mark.parametrize(("name", "path", "value", "words"), CREATED, ids=[f"{c[0]}-{c[1]}" for c in CREATED])
def test_refused(name: str, path: str, value: Any, words: str) -> None:
    kind, obj = kind_of(name), manifest(name)
    put(obj, path, value)
    found = [str(cause) for cause in create_causes(kind, created(kind, obj))]
    if words:
        assert any(text.startswith(words.removeprefix(": ")) for text in found), found
    else:
        assert found == []


JOB_TEMPLATE = "spec.template.spec.containers[0].image"
UPDATED: list[tuple[str, str, Any, str]] = [
    (DEPLOYMENT, "spec.selector.matchLabels.x", "y", "spec.selector: Invalid value"),
    (DEPLOYMENT, "spec.replicas", 9, ""),
    ("replicasets.apps.v1", "spec.selector.matchLabels", {"app": "web"}, "spec.selector: Invalid value"),
    (DAEMONS, "spec.selector.matchLabels.x", "y", "spec.selector: Invalid value"),
    (
        SETS,
        "spec.serviceName",
        "other",
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    ),
    (SETS, "spec.replicas", 9, ""),
    (SETS, "spec.volumeClaimTemplates[0].status", {"phase": "Bound"}, ""),
    (JOB, JOB_TEMPLATE, "other", "spec.template: Invalid value"),
    (JOB, "spec.completions", 9, "spec.completions: Invalid value: 9: field is immutable"),
    (JOB, "spec.parallelism", 9, ""),
    (JOB, "spec.suspend", True, ""),
    (CRON, "spec.schedule", "@daily", ""),
    (SERVICE, "spec.clusterIP", "10.0.0.8", "spec.clusterIPs[0]: Invalid value"),
    ("secrets.v1", "type", "other", 'type: Invalid value: "other": field is immutable'),
    ("persistentvolumes.v1", "spec.hostPath.path", "/other", "spec.persistentvolumesource: Forbidden"),
    ("persistentvolumes.v1", "spec.persistentVolumeReclaimPolicy", "Delete", ""),
    (
        CLAIM,
        "spec.accessModes",
        ["ReadWriteMany"],
        "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
    ),
    (CLAIM, "spec.volumeName", "disk-1", ""),
    (CLAIM, "spec.resources.requests.storage", "2Gi", "spec: Forbidden"),
    (BINDING, "roleRef.name", "other", "roleRef: Invalid value"),
    (BINDING, "subjects", [], ""),
    (SLICE, "addressType", "FQDN", 'addressType: Invalid value: "FQDN": field is immutable'),
    ("priorityclasses.scheduling.k8s.io.v1", "value", 5, "value: Forbidden: may not be changed in an update."),
    ("storageclasses.storage.k8s.io.v1", "provisioner", "x/y", "provisioner: Forbidden: updates to provisioner"),
    ("storageclasses.storage.k8s.io.v1", "parameters", {"path": "/x"}, "parameters: Forbidden: updates to parameters"),
    (
        "storageclasses.storage.k8s.io.v1",
        "reclaimPolicy",
        "Delete",
        "reclaimPolicy: Forbidden: updates to",
    ),
    ("storageclasses.storage.k8s.io.v1", "volumeBindingMode", "Immediate", "volumeBindingMode: Invalid value"),
    ("resourcequotas.v1", "spec.scopes", ["BestEffort"], "spec.scopes: Invalid value"),
    ("nodes.v1", "spec.podCIDR", "10.9.0.0/24", "spec.podCIDR: Forbidden"),
    ("controllerrevisions.apps.v1", "data.spec", {}, "data: Invalid value"),
    ("configmaps.v1", "data.hello", "you", ""),
]


@pytest.mark.parametrize(("name", "path", "value", "words"), UPDATED, ids=[f"{c[0]}-{c[1]}" for c in UPDATED])
def test_changes(name: str, path: str, value: Any, words: str) -> None:
    kind = kind_of(name)
    old = created(kind, manifest(name))
    if name == SERVICE:
        old["spec"].update(clusterIP="10.0.0.9", clusterIPs=["10.0.0.9"])
    new = deepcopy(old)
    put(new, path, value)
    found = [str(cause) for cause in update_causes(kind, new, old)]
    if words:
        assert any(text.startswith(words) for text in found), found
    else:
        assert found == []


@pytest.mark.parametrize("name", ["configmaps.v1", "secrets.v1"])
def test_what_was_made_immutable_stays(name: str) -> None:
    kind = kind_of(name)
    old = created(kind, {**manifest(name), "immutable": True})
    new = deepcopy(old)
    new["data"] = {"other": "aGk="}
    del new["immutable"]
    assert [str(cause) for cause in update_causes(kind, new, old)] == [
        "immutable: Forbidden: field is immutable when `immutable` is set",
        "data: Forbidden: field is immutable when `immutable` is set",
    ]


def test_a_suspended_job_may_still_choose_its_nodes() -> None:
    kind = kind_of(JOB)
    job = manifest(JOB)
    job["spec"]["suspend"] = True
    old = created(kind, job)
    new = deepcopy(old)
    new["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "fast"}
    assert update_causes(kind, new, old) == []
    old["status"] = {"startTime": "2026-01-02T03:04:05Z"}
    assert [cause.field for cause in update_causes(kind, new, old)] == ["spec.template"]


def test_bound_claims_grow_and_never_shrink() -> None:
    kind = kind_of(CLAIM)
    old = created(kind, manifest(CLAIM))
    old["status"] = {"phase": "Bound"}
    for size, words in (
        ("2Gi", []),
        ("500Mi", ["spec.resources.requests.storage: Forbidden: field can not be less than previous value"]),
    ):
        new = deepcopy(old)
        new["spec"]["resources"]["requests"]["storage"] = size
        assert [str(cause) for cause in update_causes(kind, new, old)] == words


def test_secrets_never_show_in_refusals() -> None:
    kind = kind_of("secrets.v1")
    secret = {
        "metadata": {"name": "s"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": "c3dvcmRmaXNo"},
    }
    found = [str(cause) for cause in create_causes(kind, created(kind, secret))]
    assert found == ['data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": must be JSON']


BODIES: list[tuple[str, str, Any, str]] = [
    (
        "scale.autoscaling.v1",
        "spec.replicas",
        -1,
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    ),
    (
        "tokenrequest.authentication.k8s.io.v1",
        "spec.expirationSeconds",
        60,
        "spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes",
    ),
    (
        "subjectaccessreviews.authorization.k8s.io.v1",
        "spec.user",
        "",
        'spec.user: Invalid value: "": at least one of user or group must be specified',
    ),
    (
        "selfsubjectaccessreviews.authorization.k8s.io.v1",
        "spec",
        {},
        "spec.resourceAttributes: Invalid value: null: exactly one of",
    ),
    (
        "localsubjectaccessreviews.authorization.k8s.io.v1",
        "spec.resourceAttributes.namespace",
        "x",
        'spec.resourceAttributes.namespace: Invalid value: "x": must match metadata.namespace',
    ),
    ("bindings.v1", "target.name", "", "target.name: Required value"),
    ("tokenreviews.authentication.k8s.io.v1", "spec.token", "", "spec.token: Required value"),
]


@pytest.mark.parametrize(("name", "path", "value", "words"), BODIES, ids=[case[0] for case in BODIES])
def test_bodies(name: str, path: str, value: Any, words: str) -> None:
    kind, obj = kind_of(name), manifest(name)
    put(obj, path, value)
    with pytest.raises(Exception, match=re.escape(words)):
        check_body(kind, apply_defaults(kind, decode(kind, obj).object))
