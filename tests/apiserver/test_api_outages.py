"""When the store fails, when servers come and go: refusals with a time to come back, no hang, no lost change."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from harness.api_site import Api, Site, config_map
from harness.wait import wait_until


@pytest.fixture(scope="module")
def fragile() -> Iterator[Site]:
    """A site that the tests of this file break."""
    with Site(flags=["--store-timeout", "1s"]) as running:
        yield running


@pytest.fixture
def api(fragile: Site) -> Api:
    return fragile.api()


def test_a_dead_store_is_told_and_survived(fragile: Site, api: Api) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    made = api.create(path, config_map("before"))
    with api.watch(path, resourceVersion=made["metadata"]["resourceVersion"]) as events:
        fragile.store.kill(0)
        started = time.monotonic()
        write = api.ask("POST", path, config_map("during"))
        assert write.code in (503, 504)
        # What may have been done must not ask to be repeated: clients do as they are told.
        assert ("retry-after" in write.headers) == (write.code == 503)
        assert write.obj["kind"] == "Status"
        assert time.monotonic() - started < 12
        assert api.ask("GET", "/livez").code == 200
        assert api.ask("GET", "/readyz").code == 500
        assert len(api.get(path, resourceVersion="0")["items"]) >= 1
        fragile.store.restart(0)
        wait_until(lambda: api.ask("GET", "/readyz").code == 200, "the server to be ready again")
        assert api.get(f"{path}/before")["metadata"]["uid"] == made["metadata"]["uid"]
        wait_until(lambda: api.ask("POST", path, config_map("after")).code == 201, "a write to work again")
        names = [next(events)["object"]["metadata"]["name"]]
        if names == ["during"]:
            assert write.code == 504, "a write that was refused for good was done"
            names.append(next(events)["object"]["metadata"]["name"])
        assert names[-1] == "after"


def test_a_hanging_store_does_not_hang_the_server(fragile: Site, api: Api) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    fragile.store.pause(0)
    try:
        started = time.monotonic()
        reply = api.ask("POST", path, config_map("hung"))
        assert reply.code in (503, 504)
        assert time.monotonic() - started < 12
        assert api.ask("GET", "/livez").code == 200
    finally:
        fragile.store.resume(0)
    wait_until(lambda: api.ask("GET", "/readyz").code == 200, "the server to be ready again")
    # Its fate was unknown; asking again is safe in either case.
    assert api.ask("POST", path, config_map("hung")).code in (201, 409)


def test_servers_stop_in_order(fragile: Site) -> None:
    index = fragile.add_server()
    api = fragile.api(index)
    ended = threading.Event()

    def follow() -> None:
        with api.watch("/api/v1/configmaps", resourceVersion="0") as events:
            for _ in events:
                pass
        ended.set()

    follower = threading.Thread(target=follow)
    follower.start()
    metric = 'apiserver_longrunning_requests{resource="configmaps"} 1.0'
    wait_until(lambda: metric in api.ask("GET", "/metrics").body.decode(), "the watch to stand")
    started = time.monotonic()
    assert fragile.servers[index].stop() == 0
    follower.join(20)
    assert ended.is_set(), "the watch was torn instead of ended"
    assert time.monotonic() - started < 20
    output = fragile.servers[index].output()
    assert "Traceback" not in output, output


def test_many_servers_start_at_once(fragile: Site) -> None:
    indexes = [fragile.add_server(wait=False) for _ in range(2)]
    for index in indexes:
        fragile.wait_ready(index)
    first, *others = [fragile.api(index) for index in (0, *indexes)]
    made = first.create("/api/v1/namespaces/default/configmaps", config_map("seen"))
    for other in others:
        assert other.get("/api/v1/namespaces/default/configmaps/seen") == made
        assert other.get("/api/v1/namespaces/default/services/kubernetes")["spec"]["clusterIP"] == "10.96.0.1"

    def ports() -> set[int]:
        subsets = first.get("/api/v1/namespaces/default/endpoints/kubernetes")["subsets"]
        return {subset["ports"][0]["port"] for subset in subsets}

    def in_slices() -> set[int]:
        items = first.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices")["items"]
        return {item["ports"][0]["port"] for item in items}

    running = {fragile.ports[index] for index in (0, *indexes)}
    wait_until(lambda: ports() >= running, "all servers to be in the Endpoints")
    assert fragile.servers[indexes[0]].stop() == 0
    wait_until(lambda: fragile.ports[indexes[0]] not in ports(), "a server that stopped to leave the Endpoints")
    # Proxies read the slices: pods must reach every server through the Service, and only those that run.
    wait_until(lambda: in_slices() == ports(), "the slices to be as the Endpoints")
    assert len(in_slices()) == 2


def test_starting_without_a_store_says_so(fragile: Site) -> None:
    flags = ("--etcd-servers", "http://127.0.0.1:1", "--store-timeout", "100ms")
    process_index = fragile.add_server(*flags, wait=False)
    assert fragile.servers[process_index].wait(60) == 1
    assert "cannot be" in fragile.servers[process_index].output()


def test_flags_that_do_not_do(fragile: Site) -> None:
    for flags, words in (
        (("--service-cluster-ip-range", "10.0.0.0/99"), "--service-cluster-ip-range"),
        (("--authorization-mode", "Maybe"), "--authorization-mode"),
        (("--tls-cert-file", "/nowhere.crt"), "/nowhere.crt"),
    ):
        index = fragile.add_server(*flags, wait=False)
        assert fragile.servers[index].wait(60) == 2
        assert words in fragile.servers[index].output()
