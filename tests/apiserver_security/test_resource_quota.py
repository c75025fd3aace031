"""ResourceQuota: what is counted, what is refused, and that nothing slips through side by side."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from security_fakes import FakeCluster, named, pod, review

from control.api.quota import counted_resources, namespace_usage, usage
from control.api.status import StatusError
from control.apiserver.admission.resource_quota import ResourceQuota

Object = dict[str, Any]


def quota(name: str = "q", used: Object | None = None, **spec: Any) -> tuple[str, Object]:
    hard = spec.pop("hard")
    fields: Object = {"spec": {"hard": hard, **spec}}
    if used is not None:
        fields["status"] = {"hard": hard, "used": used}
    return "resourcequotas", named(name, "ns", **fields)


def asking(cpu: str = "", memory: str = "", name: str = "p", **spec: Any) -> Object:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    return pod(name, containers=[{"name": "c", "resources": {"requests": requests}}], **spec)


def texts(found: dict[str, Any]) -> dict[str, str]:
    return {name: str(amount) for name, amount in found.items()}


def test_what_objects_use() -> None:
    assert texts(usage("pods", asking("250m", "1Gi"))) == {
        "count/pods": "1",
        "pods": "1",
        "cpu": "250m",
        "requests.cpu": "250m",
        "memory": "1Gi",
        "requests.memory": "1Gi",
    }
    assert texts(usage("pods", {**asking("1"), "status": {"phase": "Succeeded"}})) == {"count/pods": "1"}
    assert texts(usage("deployments.apps", named("d", "ns"))) == {"count/deployments.apps": "1"}
    balanced = named("s", "ns", spec={"type": "LoadBalancer", "ports": [{}, {}]})
    assert texts(usage("services", balanced)) == {
        "count/services": "1",
        "services": "1",
        "services.loadbalancers": "1",
        "services.nodeports": "2",
    }
    claim = named("c", "ns", spec={"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}})
    assert texts(usage("persistentvolumeclaims", claim))["fast.storageclass.storage.k8s.io/requests.storage"] == "5Gi"


def test_init_containers_sidecars_and_overhead_count_as_they_run() -> None:
    def container(name: str, cpu: str, **more: str) -> Object:
        return {"name": name, "resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "initContainers": [container("side", "100m", restartPolicy="Always"), container("init", "900m")],
        "containers": [container("a", "300m"), container("b", "300m")],
        "overhead": {"cpu": "50m"},
    }
    assert texts(usage("pods", pod(**spec)))["requests.cpu"] == "1050m"
    spec["initContainers"][1]["resources"] = {"requests": {"cpu": "200m"}}  # type: ignore[index]
    assert texts(usage("pods", pod(**spec)))["requests.cpu"] == "750m"


@pytest.mark.parametrize(
    ("spec", "used"),
    [
        ({"hard": {"pods": "9"}}, {"pods": "3"}),
        ({"hard": {"pods": "9"}, "scopes": ["BestEffort"]}, {"pods": "1"}),
        ({"hard": {"pods": "9"}, "scopes": ["NotBestEffort"]}, {"pods": "2"}),
        ({"hard": {"pods": "9"}, "scopes": ["Terminating"]}, {"pods": "1"}),
        ({"hard": {"pods": "9"}, "scopes": ["NotTerminating", "NotBestEffort"]}, {"pods": "1"}),
        (
            {
                "hard": {"requests.cpu": "9"},
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
                },
            },
            {"requests.cpu": "2"},
        ),
    ],
)
def test_scopes(spec: Object, used: Object) -> None:
    pods = [asking(name="a"), asking("1", name="b", activeDeadlineSeconds=5), asking("2", priorityClassName="high")]
    _, obj = quota(**spec)
    assert texts(namespace_usage(obj, [("pods", found) for found in pods])) == used
    assert counted_resources(obj) == {"pods"}


def admit(plugin: ResourceQuota, resource: str, obj: Object, **more: Any) -> Any:
    asked = review(resource, obj, **more)
    asyncio.run(plugin.validate(asked))
    return asked


def used_of(cluster: FakeCluster, name: str = "q") -> Object:
    return cluster.objects["resourcequotas", "ns", name]["status"]["used"]  # type: ignore[no-any-return]


def test_what_fits_is_reserved_and_what_does_not_is_refused() -> None:
    cluster = FakeCluster(quota(hard={"pods": "2", "requests.cpu": "1"}, used={"pods": "1", "requests.cpu": "600m"}))
    plugin = ResourceQuota(cluster, cluster.store)
    with pytest.raises(StatusError) as refused:
        admit(plugin, "pods", asking("500m", name="web"))
    assert refused.value.code == 403
    assert refused.value.message == (
        'pods "web" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, '
        "limited: requests.cpu=1"
    )
    admit(plugin, "pods", asking("400m"))
    assert used_of(cluster) == {"pods": "2", "requests.cpu": "1"}
    admit(plugin, "configmaps", named("c", "ns"))
    admit(plugin, "pods", asking("1", name="x") | {"metadata": {"name": "x", "namespace": "other"}})


def test_a_quota_that_nobody_counted_yet_holds_at_once() -> None:
    cluster = FakeCluster(quota(hard={"count/configmaps": "3"}), ("configmaps", named("old", "ns")))
    plugin = ResourceQuota(cluster, cluster.store)
    admit(plugin, "configmaps", named("a", "ns"))
    assert used_of(cluster) == {"count/configmaps": "2"}


def test_a_pod_must_say_what_it_takes() -> None:
    cluster = FakeCluster(quota(hard={"limits.memory": "1Gi", "cpu": "1"}))
    with pytest.raises(StatusError, match=r"failed quota: q: must specify cpu for: c; limits\.memory for: c"):
        admit(ResourceQuota(cluster, cluster.store), "pods", asking(memory="1Mi"))


def test_a_dry_run_reserves_nothing_and_is_refused_as_well() -> None:
    cluster = FakeCluster(quota(hard={"pods": "1"}, used={"pods": "0"}))
    plugin = ResourceQuota(cluster, cluster.store)
    admit(plugin, "pods", pod(), dry_run=True)
    assert cluster.writes == 0
    admit(plugin, "pods", pod())
    with pytest.raises(StatusError, match="exceeded quota"):
        admit(plugin, "pods", pod(), dry_run=True)


def test_updates_count_the_difference() -> None:
    def claim(size: str) -> Object:
        return named("c", "ns", spec={"resources": {"requests": {"storage": size}}})

    cluster = FakeCluster(quota(hard={"requests.storage": "10Gi"}, used={"requests.storage": "6Gi"}))
    plugin = ResourceQuota(cluster, cluster.store)
    admit(plugin, "persistentvolumeclaims", claim("8Gi"), operation="UPDATE", old=claim("4Gi"))
    assert used_of(cluster) == {"requests.storage": "10Gi"}
    with pytest.raises(StatusError, match="exceeded quota"):
        admit(plugin, "persistentvolumeclaims", claim("9Gi"), operation="UPDATE", old=claim("8Gi"))


def test_what_was_not_written_is_given_back() -> None:
    cluster = FakeCluster(quota(hard={"pods": "5"}, used={"pods": "0"}))
    plugin = ResourceQuota(cluster, cluster.store)

    async def run() -> None:
        asked = review("pods", pod())
        await plugin.validate(asked)
        await plugin.validate(asked)  # again under another generated name
        assert used_of(cluster) == {"pods": "1"}
        [undo] = asked.after_failure
        undo()
        await until(lambda: used_of(cluster) == {"pods": "0"})

    asyncio.run(run())


def test_the_second_quota_refuses_and_the_first_gets_its_own_back() -> None:
    cluster = FakeCluster(
        quota("a", hard={"pods": "5"}, used={"pods": "0"}), quota("b", hard={"pods": "1"}, used={"pods": "1"})
    )
    plugin = ResourceQuota(cluster, cluster.store)

    async def run() -> None:
        asked = review("pods", pod())
        with pytest.raises(StatusError, match="exceeded quota: b"):
            await plugin.validate(asked)
        assert not asked.after_failure
        await until(lambda: used_of(cluster, "a") == {"pods": "0"})

    asyncio.run(run())


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


def test_creates_side_by_side_on_two_servers_never_exceed_it() -> None:
    cluster = FakeCluster(quota(hard={"pods": "10"}, used={"pods": "0"}))
    servers = [ResourceQuota(cluster, cluster.store) for _ in range(2)]
    meddling = [3]

    def meddle(found: Object) -> None:
        """Somebody else writes between the read and the write: what was summed up is void."""
        if meddling[0]:
            meddling[0] -= 1
            cluster.put("resourcequotas", copy.deepcopy(found))

    cluster.before_update = meddle

    async def one(number: int) -> bool:
        try:
            await servers[number % 2].validate(review("pods", pod(f"p{number}")))
        except StatusError as problem:
            return problem.code != 403
        return True

    async def run() -> list[bool]:
        return await asyncio.gather(*(one(number) for number in range(50)))

    assert sum(asyncio.run(run())) == 10
    assert used_of(cluster) == {"pods": "10"}
    assert cluster.writes <= 4


def test_a_store_that_fails_is_said_to_all_who_wait() -> None:
    cluster = FakeCluster(quota(hard={"pods": "10"}, used={"pods": "0"}))

    def fail(found: Object) -> None:
        raise StatusError(503, "ServiceUnavailable", "no store")

    cluster.before_update = fail
    plugin = ResourceQuota(cluster, cluster.store)

    async def run() -> list[Any]:
        asked = [plugin.validate(review("pods", pod(f"p{number}"))) for number in range(5)]
        return await asyncio.gather(*asked, return_exceptions=True)

    assert [getattr(answer, "code", 0) for answer in asyncio.run(run())] == [503] * 5
