"""The plugins that decide from memory, by value."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from security_fakes import ADMIN, ALICE, FakeCluster, named, pod, review

from control.api.status import StatusError
from control.apiserver.admission.chain import ORDER, AdmissionChain, chosen
from control.apiserver.admission.default_storage_class import DefaultStorageClass
from control.apiserver.admission.default_tolerations import DefaultTolerationSeconds
from control.apiserver.admission.limit_ranger import LimitRanger
from control.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from control.apiserver.admission.owner_references import OwnerReferencesPermissionEnforcement
from control.apiserver.admission.pod_security import PodSecurity
from control.apiserver.admission.priority import CLASSES, Priority
from control.apiserver.admission.service_account import MOUNT_PATH, ServiceAccount
from control.apiserver.admission.storage_protection import StorageObjectInUseProtection
from control.apiserver.admission.taint_nodes import TaintNodesByCondition
from control.apiserver.request import Attributes, Decision, Operation, Review, User

Object = dict[str, Any]


def refused(code: int, says: str) -> Any:
    class Check:
        def __enter__(self) -> None:
            self.raises = pytest.raises(StatusError, match=says)
            self.info = self.raises.__enter__()

        def __exit__(self, *exc: Any) -> bool:
            result = self.raises.__exit__(*exc)
            assert self.info.value.code == code
            return bool(result)

    return Check()


# ---- NamespaceLifecycle ----


def namespaces(*objects: Object) -> NamespaceLifecycle:
    cluster = FakeCluster(*[("namespaces", obj) for obj in objects])
    cluster.hidden.add(("namespaces", "", "new"))
    return NamespaceLifecycle(cluster, cluster.store)


LIVE, NEW = named("ns"), named("new")
GOING = named("going", deletionTimestamp="2026-01-02T03:04:05Z")


def test_namespaces_must_be_there_and_stay() -> None:
    plugin = namespaces(LIVE, NEW, GOING)
    asyncio.run(plugin.validate(review("configmaps", named("c", "ns"))))
    asyncio.run(plugin.validate(review("configmaps", named("c", "new"))))
    asyncio.run(plugin.validate(review("nodes", named("n"))))
    asyncio.run(plugin.validate(review("configmaps", named("c", "going"), operation="UPDATE")))
    asyncio.run(plugin.validate(review("configmaps", operation="DELETE", old=named("c", "going"))))
    with refused(404, 'namespaces "gone" not found'):
        asyncio.run(plugin.validate(review("configmaps", named("c", "gone"))))
    with refused(403, "unable to create new content in namespace going because it is being terminated"):
        asyncio.run(plugin.validate(review("configmaps", named("c", "going"))))


def test_labels_of_a_namespace_that_memory_does_not_know_yet_count() -> None:
    """It was made a moment ago on another server."""
    cluster = FakeCluster(("namespaces", named("ns", labels={f"{PREFIX}enforce": "baseline"})))
    cluster.hidden.add(("namespaces", "", "ns"))
    asked = review("pods", pod(hostNetwork=True))
    chain = AdmissionChain([NamespaceLifecycle(cluster, cluster.store), PodSecurity(cluster)])
    with refused(403, "violates PodSecurity"):
        asyncio.run(chain.validate(asked))


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_some_namespaces_are_never_deleted(name: str) -> None:
    with refused(403, "this namespace may not be deleted"):
        asyncio.run(namespaces().validate(review("namespaces", operation="DELETE", old=named(name), user=ADMIN)))


# ---- ServiceAccount ----


def accounts(**fields: Any) -> ServiceAccount:
    cluster = FakeCluster(("serviceaccounts", named("default", "ns", **fields)))
    return ServiceAccount(cluster, cluster.store, entropy=lambda count: bytes(count))


def admitted(plugin: Any, obj: Object) -> Object:
    asked = review("pods", obj)
    asyncio.run(AdmissionChain([plugin]).mutate(asked))
    assert asked.object is not None
    return asked.object["spec"]  # type: ignore[no-any-return]


def test_a_pod_gets_the_default_account_and_its_token() -> None:
    spec = admitted(accounts(imagePullSecrets=[{"name": "reg"}]), pod(initContainers=[{"name": "i"}]))
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("default", "default")
    assert spec["imagePullSecrets"] == [{"name": "reg"}]
    [volume] = spec["volumes"]
    assert volume["name"] == "kube-api-access-bbbbb"
    assert [next(iter(source)) for source in volume["projected"]["sources"]] == [
        "serviceAccountToken",
        "configMap",
        "downwardAPI",
    ]
    mount = {"name": "kube-api-access-bbbbb", "readOnly": True, "mountPath": MOUNT_PATH}
    assert spec["containers"][0]["volumeMounts"] == [mount]
    assert spec["initContainers"][0]["volumeMounts"] == [mount]


def test_the_second_time_nothing_is_added() -> None:
    plugin = accounts()
    once = admitted(plugin, pod())
    twice = admitted(plugin, {"metadata": {"name": "p", "namespace": "ns"}, "spec": once})
    assert len(twice["volumes"]) == len(twice["containers"][0]["volumeMounts"]) == 1


@pytest.mark.parametrize(
    ("account", "spec", "wanted"),
    [
        ({"automountServiceAccountToken": False}, {}, False),
        ({"automountServiceAccountToken": False}, {"automountServiceAccountToken": True}, True),
        ({}, {"automountServiceAccountToken": False}, False),
        ({}, {"containers": [{"name": "c", "volumeMounts": [{"name": "mine", "mountPath": MOUNT_PATH}]}]}, False),
    ],
)
def test_who_wants_no_token_gets_none(account: Object, spec: Object, wanted: bool) -> None:
    assert ("volumes" in admitted(accounts(**account), pod(**spec))) is wanted


def test_an_account_that_is_not_there() -> None:
    with refused(403, 'error looking up service account ns/builder: serviceaccount "builder" not found'):
        admitted(accounts(), pod(serviceAccountName="builder"))


def test_the_default_account_is_waited_for() -> None:
    cluster = FakeCluster()
    plugin = ServiceAccount(cluster, cluster.store)

    async def run() -> None:
        waiting = asyncio.create_task(plugin.mutate(review("pods", pod())))
        await asyncio.sleep(0)
        cluster.put("serviceaccounts", named("default", "ns"))
        await waiting

    asyncio.run(run())


VAULT = {"name": "vault"}
IN_VOLUME = {"volumes": [{"name": "v", "secret": {"secretName": "vault"}}]}
PROJECTED = {"volumes": [{"name": "v", "projected": {"sources": [{"secret": VAULT}]}}]}
AS_VARIABLE = [{"name": "c", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {**VAULT, "key": "a"}}}]}]
AS_VARIABLES = [{"name": "c", "envFrom": [{"secretRef": VAULT}]}]
ENFORCED = {"kubernetes.io/enforce-mountable-secrets": "true"}


def judged(account: Object, spec: Object, subresource: str = "") -> None:
    asked = review("pods", pod(**{"serviceAccountName": "default", **spec}), subresource=subresource)
    asked.operation = "UPDATE" if subresource else "CREATE"
    asyncio.run(AdmissionChain([accounts(**account)]).validate(asked))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (IN_VOLUME, "secrets"),
        (PROJECTED, "secrets"),
        ({"containers": AS_VARIABLE}, "secrets"),
        ({"containers": AS_VARIABLES}, "secrets"),
        ({"initContainers": AS_VARIABLES}, "secrets"),
        ({"imagePullSecrets": [VAULT]}, "imagePullSecrets"),
    ],
)
def test_an_account_may_list_the_secrets_of_its_pods(spec: Object, field: str) -> None:
    judged({}, spec)
    judged({"annotations": {**ENFORCED, "kubernetes.io/enforce-mountable-secrets": "false"}}, spec)
    judged({"annotations": ENFORCED, field: [{"name": "other"}, VAULT]}, spec)
    what = field.removesuffix("s")
    says = f'{what} "vault" is not allowed because service account default does not reference that {what}'
    with refused(403, says):
        judged({"annotations": ENFORCED, field: [{"name": "other"}]}, spec)


def test_an_ephemeral_container_gets_the_listed_secrets_only() -> None:
    added = {"ephemeralContainers": AS_VARIABLES}
    with refused(403, 'secret "vault" is not allowed'):
        judged({"annotations": ENFORCED}, added, "ephemeralcontainers")
    judged({"annotations": ENFORCED, "secrets": [VAULT]}, added, "ephemeralcontainers")
    judged({"annotations": ENFORCED}, IN_VOLUME, "ephemeralcontainers")  # what was there was judged when it came


def test_a_pod_keeps_an_account() -> None:
    """Whatever webhooks made of it."""
    with refused(403, "no service account specified for pod ns/p"):
        judged({}, {"serviceAccountName": ""})
    with refused(403, 'serviceaccount "gone" not found'):
        judged({}, {"serviceAccountName": "gone"})


# ---- Priority ----


def priorities() -> Priority:
    return Priority(
        FakeCluster(
            (CLASSES, named("high", value=1000, preemptionPolicy="Never")),
            (CLASSES, named("usual", value=5, globalDefault=True)),
        )
    )


def test_priorities() -> None:
    assert admitted(priorities(), pod())["priority"] == 5
    high = admitted(priorities(), pod(priorityClassName="high"))
    assert (high["priority"], high["preemptionPolicy"]) == (1000, "Never")
    critical = admitted(priorities(), pod(priorityClassName="system-node-critical"))
    assert (critical["priority"], critical["preemptionPolicy"]) == (2_000_001_000, "PreemptLowerPriority")
    assert admitted(Priority(FakeCluster()), pod())["priority"] == 0
    with refused(403, "no PriorityClass with name gone was found"):
        admitted(priorities(), pod(priorityClassName="gone"))
    with refused(403, "must not be provided in pod spec"):
        admitted(priorities(), pod(priorityClassName="high", priority=2000))


@pytest.mark.parametrize(
    ("obj", "says"),
    [
        (named("other", value=1, globalDefault=True), "usual is already marked as default"),
        (named("system-mine", value=1), "are the system's"),
        (named("big", value=1_000_000_001), "are the system's"),
    ],
)
def test_priority_classes_that_cannot_be(obj: Object, says: str) -> None:
    priorities().validate(review(CLASSES, named("fine", value=10)))
    priorities().validate(review(CLASSES, named("system-node-critical", value=2_000_001_000)))
    with refused(403, says):
        priorities().validate(review(CLASSES, obj))


# ---- storage classes ----


def storage_class(name: str, made: str, default: bool) -> Object:
    annotations = {"storageclass.kubernetes.io/is-default-class": str(default).lower()}
    marked = named(name, annotations=annotations)
    return {**marked, "metadata": {**marked["metadata"], "creationTimestamp": made}}


def test_a_claim_without_a_class_gets_the_newest_default() -> None:
    classes = (
        storage_class("a-old", "2026-01-01T00:00:00Z", True),
        storage_class("new", "2026-01-02T00:00:00Z", True),
        storage_class("other", "2026-01-03T00:00:00Z", False),
    )
    plugin = DefaultStorageClass(FakeCluster(*(("storageclasses.storage.k8s.io", each) for each in classes)))

    def given(operation: Operation = "CREATE", plugin: DefaultStorageClass = plugin, **spec: Any) -> Any:
        asked = review("persistentvolumeclaims", {**named("data", "ns"), "spec": spec}, operation=operation)
        plugin.mutate(asked)
        assert asked.object is not None
        return asked.object["spec"].get("storageClassName")

    assert given() == "new"
    assert given(storageClassName="mine") == "mine"
    assert given(storageClassName="") == "", "it wants none"
    assert given("UPDATE") is None
    assert given(plugin=DefaultStorageClass(FakeCluster())) is None


@pytest.mark.parametrize(
    ("resource", "finalizer"),
    [
        ("persistentvolumeclaims", "kubernetes.io/pvc-protection"),
        ("persistentvolumes", "kubernetes.io/pv-protection"),
        ("pods", None),
    ],
)
def test_storage_is_made_with_the_finalizer_that_keeps_it_while_it_is_used(resource: str, finalizer: str) -> None:
    def given(*had: str, operation: Operation = "CREATE") -> list[str]:
        made = {"metadata": {"name": "data", "finalizers": list(had)}}
        asked = review(resource, made, operation=operation)
        StorageObjectInUseProtection().mutate(asked)
        assert asked.object is not None
        return list(asked.object["metadata"].get("finalizers") or ())

    mine = [finalizer] if finalizer else []
    assert given() == mine
    assert given("example.org/backup") == ["example.org/backup", *mine]
    assert given(*mine) == mine, "once is enough"
    assert given(operation="UPDATE") == [], "the controllers take it off"


# ---- tolerations and taints ----


def test_default_tolerations() -> None:
    keys = [(t["key"], t["tolerationSeconds"]) for t in admitted(DefaultTolerationSeconds(), pod())["tolerations"]]
    assert keys == [("node.kubernetes.io/not-ready", 300), ("node.kubernetes.io/unreachable", 300)]
    mine = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
    assert len(admitted(DefaultTolerationSeconds(), pod(tolerations=[mine]))["tolerations"]) == 2
    everything = {"operator": "Exists"}
    assert admitted(DefaultTolerationSeconds(), pod(tolerations=[everything]))["tolerations"] == [everything]
    applied = review("pods", pod(tolerations=[{"key": "a", "operator": "Exists"}]), operation="UPDATE")
    DefaultTolerationSeconds().mutate(applied)
    assert applied.object is not None
    assert len(applied.object["spec"]["tolerations"]) == 3


def test_a_new_node_is_not_ready() -> None:
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    asked = review("nodes", named("n"))
    for _ in range(2):
        TaintNodesByCondition().mutate(asked)
    assert asked.object is not None
    assert asked.object["spec"]["taints"] == [taint]


def test_a_taint_that_evicts_says_since_when() -> None:
    """kubectl taint writes no time: without one, pods that tolerate it for a while stayed for ever."""
    evicts, keeps = {"key": "x", "effect": "NoExecute"}, {"key": "y", "effect": "NoSchedule"}
    old = named("n", spec={"taints": [{**evicts, "timeAdded": "2026-01-01T00:00:00Z"}]})
    plugin = TaintNodesByCondition(lambda: datetime(2026, 2, 3, tzinfo=UTC))

    def after(*taints: Object) -> list[Object]:
        asked = review("nodes", named("n", spec={"taints": list(taints)}), operation="UPDATE", old=old)
        plugin.mutate(asked)
        assert asked.object is not None
        found: list[Object] = asked.object["spec"]["taints"]
        return found

    assert after(evicts, keeps) == [{**evicts, "timeAdded": "2026-01-01T00:00:00Z"}, keeps]
    assert after({**evicts, "value": "v"})[0]["timeAdded"] == "2026-02-03T00:00:00Z"
    assert after({**evicts, "timeAdded": "2026-01-05T00:00:00Z"})[0]["timeAdded"] == "2026-01-05T00:00:00Z"


# ---- LimitRanger ----

RANGE = named(
    "limits",
    "ns",
    spec={
        "limits": [
            {
                "type": "Container",
                "default": {"cpu": "500m", "memory": "256Mi"},
                "defaultRequest": {"cpu": "100m"},
                "max": {"cpu": "1"},
                "min": {"memory": "64Mi"},
                "maxLimitRequestRatio": {"cpu": "8"},
            },
            {"type": "Pod", "max": {"memory": "1Gi"}},
            {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "10Gi"}},
        ]
    },
)


def ranger() -> LimitRanger:
    return LimitRanger(FakeCluster(("limitranges", RANGE)))


def container(name: str = "c", **resources: Object) -> Object:
    return {"name": name, "resources": resources}


def test_limit_defaults() -> None:
    asked = review("pods", pod(containers=[container(), container("d", limits={"cpu": "300m", "memory": "1Gi"})]))
    ranger().mutate(asked)
    assert asked.object is not None
    first, second = (c["resources"] for c in asked.object["spec"]["containers"])
    assert first == {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "100m"}}
    assert second == {"limits": {"cpu": "300m", "memory": "1Gi"}, "requests": {"cpu": "100m"}}
    annotation = asked.object["metadata"]["annotations"]["kubernetes.io/limit-ranger"]
    assert annotation.startswith(
        "LimitRanger plugin set: cpu request for container c; cpu, memory limit for container c"
    )


GOOD = {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}}


@pytest.mark.parametrize(
    ("resources", "says"),
    [
        ({"limits": {"cpu": "2", "memory": "128Mi"}}, "maximum cpu usage per Container is 1, but limit is 2"),
        ({"limits": {"memory": "128Mi"}}, r"maximum cpu usage per Container is 1\.  No limit is specified"),
        ({"limits": {"cpu": "1", "memory": "32Mi"}}, "minimum memory usage per Container is 64Mi, but request is 32Mi"),
        ({"limits": {"cpu": "1"}}, "minimum memory usage per Container is 64Mi.  No request is specified"),
        (
            {"limits": {"cpu": "900m", "memory": "64Mi"}, "requests": {"cpu": "100m"}},
            "cpu max limit to request ratio per Container is 8, but provided ratio is 9.0",
        ),
        ({"limits": {"cpu": "1", "memory": "2Gi"}}, "maximum memory usage per Pod is 1Gi, but limit is 2Gi"),
    ],
)
def test_limits_refuse(resources: Object, says: str) -> None:
    ranger().validate(review("pods", pod(containers=[container(**GOOD)])))
    with refused(403, says):
        ranger().validate(review("pods", pod(containers=[container(**resources)])))


def test_limits_of_claims() -> None:
    def claim(size: str) -> Review:
        return review("persistentvolumeclaims", named("c", "ns", spec={"resources": {"requests": {"storage": size}}}))

    ranger().validate(claim("5Gi"))
    with refused(403, "maximum storage usage per PersistentVolumeClaim is 10Gi, but request is 11Gi"):
        ranger().validate(claim("11Gi"))
    with refused(403, "minimum storage usage"):
        ranger().validate(claim("500Mi"))


# ---- PodSecurity ----

PREFIX = "pod-security.kubernetes.io/"
SAFE: Object = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {"name": "c", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    ],
}


def secured(**labels: str) -> PodSecurity:
    found = {f"{PREFIX}{mode}": level for mode, level in labels.items()}
    return PodSecurity(FakeCluster(("namespaces", named("ns", labels=found)), ("pods", pod("old", hostNetwork=True))))


def with_context(**context: Any) -> Object:
    return {"containers": [{"name": "c", "securityContext": context}]}


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"hostNetwork": True, "hostPID": True}, r"host namespaces \(hostNetwork=true, hostPID=true\)"),
        (with_context(privileged=True), r'privileged \(container "c" must not set securityContext.privileged=true\)'),
        (with_context(capabilities={"add": ["NET_ADMIN"]}), 'container "c" must not include "NET_ADMIN" in'),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, r'hostPath volumes \(volume "v"\)'),
        ({"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}, r'hostPort \(container "c" uses hostPort 80\)'),
        (with_context(seLinuxOptions={"type": "spc_t"}), "seLinuxOptions"),
        (with_context(procMount="Unmasked"), "procMount"),
        (with_context(seccompProfile={"type": "Unconfined"}), "seccompProfile"),
        (with_context(windowsOptions={"hostProcess": True}), "hostProcess"),
        (with_context(appArmorProfile={"type": "Unconfined"}), "AppArmor"),
        ({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}}, r"forbidden sysctls \(kernel.msgmax\)"),
        ({"ephemeralContainers": [{"name": "e", "securityContext": {"privileged": True}}]}, "privileged"),
    ],
)
def test_baseline(spec: Object, says: str) -> None:
    secured(enforce="privileged").validate(review("pods", pod(**spec)))
    secured(enforce="baseline").validate(review("pods", pod()))
    with refused(403, f'violates PodSecurity "baseline:latest": .*{says}'):
        secured(enforce="baseline").validate(review("pods", pod(**spec)))


def test_restricted() -> None:
    secured(enforce="restricted").validate(review("pods", pod(**SAFE)))
    with pytest.raises(StatusError, match="restricted:latest") as error:
        secured(enforce="restricted").validate(review("pods", pod()))
    for words in (
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)',
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"])',
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)',
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or',
    ):
        assert words in error.value.message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"securityContext": {**SAFE["securityContext"], "runAsUser": 0}}, "runAsUser=0"),
        ({"volumes": [{"name": "v", "nfs": {}}]}, 'volume "v" uses restricted volume type "nfs"'),
    ],
)
def test_restricted_refuses(change: Object, says: str) -> None:
    with refused(403, says):
        secured(enforce="restricted").validate(review("pods", pod(**{**SAFE, **change})))


def test_workloads_are_warned_of() -> None:
    deployment = named("d", "ns", spec={"template": {"spec": {"hostPID": True, "containers": []}}})
    asked = review("deployments.apps", deployment)
    secured(enforce="baseline", warn="baseline", audit="restricted").validate(asked)
    assert asked.warnings == ['would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)']
    assert "restricted:latest" in asked.audit[f"{PREFIX}audit-violations"]


def test_labels_that_mean_nothing_and_a_warning_for_pods_that_are_there() -> None:
    with refused(422, "must be one of privileged, baseline, restricted"):
        secured().validate(review("namespaces", named("ns", labels={f"{PREFIX}enforce": "strict"})))
    new = named("ns", labels={f"{PREFIX}enforce": "baseline"})
    asked = review("namespaces", new, operation="UPDATE", old=named("ns"))
    secured().validate(asked)
    assert asked.warnings[0].endswith('violate the new PodSecurity enforce level "baseline:latest"')
    assert asked.warnings[1] == "old: host namespaces"


def test_an_update_of_an_image_is_not_looked_at_again() -> None:
    old = pod(hostNetwork=True)
    secured(enforce="baseline").validate(review("pods", pod(hostNetwork=True), operation="UPDATE", old=old))
    new = pod(hostNetwork=True, containers=[{"name": "c", "image": "busybox:2"}], tolerations=[{"operator": "Exists"}])
    secured(enforce="baseline").validate(review("pods", new, operation="UPDATE", old=old))


@pytest.mark.parametrize(
    "spec",
    [
        {"hostNetwork": True},
        with_context(privileged=True),
        {"initContainers": [{"name": "i", "securityContext": {"privileged": True}}]},
    ],
)
@pytest.mark.parametrize("subresource", ["", "ephemeralcontainers"])
def test_any_other_update_is(spec: Object, subresource: str) -> None:
    asked = review("pods", pod(**spec), operation="UPDATE", old=pod(), subresource=subresource)
    with refused(403, "violates PodSecurity"):
        secured(enforce="baseline").validate(asked)


def test_a_level_that_there_is_not_is_the_strictest() -> None:
    """Labels that a namespace's status brought were not checked."""
    asked = review("pods", pod())
    with refused(403, 'violates PodSecurity "restricted:latest"'):
        secured(enforce="restricte").validate(asked)
    asked = review("pods", pod())
    secured(warn="strict", audit="strict").validate(asked)
    assert (asked.warnings, list(asked.audit)) == ([], [f"{PREFIX}enforce-policy"])


# ---- OwnerReferencesPermissionEnforcement, the chain ----


class May:
    """An authorizer that allows these (verb, resource, subresource)."""

    def __init__(self, *allowed: tuple[str, str, str]) -> None:
        self.allowed = allowed

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        return Decision((attributes.verb, attributes.resource, attributes.subresource) in self.allowed)


OWNER = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u", "blockOwnerDeletion": True}


def test_owner_references_need_rights() -> None:
    owned = named("c", "ns", ownerReferences=[OWNER])
    create = review("configmaps", owned)
    with refused(403, "a resource you can't set finalizers on"):
        OwnerReferencesPermissionEnforcement(May()).validate(create)
    OwnerReferencesPermissionEnforcement(May(("update", "deployments", "finalizers"))).validate(create)
    update = review("configmaps", owned, operation="UPDATE", old=named("c", "ns"))
    with refused(403, "a resource you can't delete"):
        OwnerReferencesPermissionEnforcement(May()).validate(update)


def test_which_plugins_are_on() -> None:
    assert "ServiceAccount" in chosen((), ())
    assert "ServiceAccount" not in chosen((), ("ServiceAccount",))
    assert "OwnerReferencesPermissionEnforcement" not in chosen((), ())
    assert "OwnerReferencesPermissionEnforcement" in chosen(("OwnerReferencesPermissionEnforcement",), ())
    assert "RBACEscalation" in chosen((), ("RBACEscalation",))
    assert "StorageObjectInUseProtection" in chosen((), ())
    assert chosen(("DefaultStorageClass",), ("RuntimeClass",))
    with pytest.raises(ValueError, match="Servicaccount do not exist"):
        chosen(("Servicaccount",), ())
    with pytest.raises(ValueError, match="both"):
        chosen(("Priority",), ("Priority",))


def test_plugins_run_in_order_changing_ones_first() -> None:
    seen: list[str] = []

    class Plugin:
        def __init__(self, name: str) -> None:
            self.name = name

        def mutate(self, asked: Review) -> None:
            seen.append(f"mutate {self.name}")

        async def validate(self, asked: Review) -> None:
            seen.append(f"validate {self.name}")

    chain = AdmissionChain(Plugin(name) for name in reversed(ORDER))
    asyncio.run(chain.mutate(review("pods", pod(), user=ALICE)))
    asyncio.run(chain.validate(review("pods", pod(), user=ALICE)))
    assert seen == [*(f"mutate {name}" for name in ORDER), *(f"validate {name}" for name in ORDER)]
