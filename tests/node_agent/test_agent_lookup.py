"""Config maps, secrets, services and tokens by need; many simulated nodes on one connection."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agent_fake_api import FakeApi
from agent_one_node import container, pod, settings, status, until

from control.client.errors import Unreachable
from node_agent.settings import AgentSettings
from node_agent.shell.lookup import Lookup
from node_agent.simulated_nodes import SimulatedNodes, address_of

Object = dict[str, Any]


def config(name: str, **values: str) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, "data": values}


def reader(*names: str, env: str = "") -> Object:
    """A pod whose volumes show these config maps, and whose environment names another."""
    of = pod("p", volumes=[{"name": name, "configMap": {"name": name}} for name in names])
    of["metadata"]["uid"] = "u1"
    if env:
        of["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": env}}]
    return of


def test_what_volumes_show_is_followed_and_nothing_else() -> None:
    async def work() -> None:
        api, changed = FakeApi(), list[str]()
        for name in ("shown", "read", "other"):
            api.put("configmaps", config(name, a="1"))
        lookup = Lookup(api, changed.append, lambda: 0.0)
        of = reader("shown", env="read")
        found = await lookup.sources(of)
        assert found.find("configmaps", "shown") is not None
        assert found.find("configmaps", "read") is not None
        assert found.find("configmaps", "other") is None
        assert ("list", "configmaps", "") not in api.log
        await until(lambda: len(api._watchers) == 2, "the object and the services are watched")
        changed.clear()
        api.put("configmaps", config("other", a="2"))
        api.put("configmaps", config("read", a="2"))
        api.put("configmaps", config("shown", a="2"))
        await until(lambda: changed == ["u1"], "the pod is told")
        found = await lookup.sources(of)
        assert [found.find("configmaps", n)["data"] for n in ("shown", "read")] == [{"a": "2"}] * 2  # type: ignore[index]
        api.drop("configmaps", "shown", "default")
        await until(lambda: len(changed) == 2, "it is told again")
        assert (await lookup.sources(of)).find("configmaps", "shown") is None
        lookup.release(of)
        await until(lambda: len(api._watchers) == 1, "nothing of it is watched any more")
        await lookup.close()
        assert api._watchers == []

    asyncio.run(work())


def test_a_restart_in_an_outage_gets_what_was_given_before() -> None:
    async def work() -> None:
        api = FakeApi()
        api.put("configmaps", config("read", a="1"))
        lookup, of = Lookup(api, lambda uid: None, lambda: 0.0), reader(env="read")
        await lookup.sources(of)
        api.down = True
        assert (await lookup.sources(of)).find("configmaps", "read")["data"] == {"a": "1"}  # type: ignore[index]
        other = reader(env="read")
        other["metadata"]["uid"] = "u2"
        with pytest.raises(Unreachable):
            await lookup.sources(other)
        api.down = False
        api.drop("configmaps", "read", "default")
        assert (await lookup.sources(of)).find("configmaps", "read") is None
        api.down = True
        with pytest.raises(Unreachable):
            await lookup.sources(of)
        lookup.release(of)
        await lookup.close()

    asyncio.run(work())


def test_an_outage_reaches_who_asks() -> None:
    async def work() -> None:
        api = FakeApi()
        api.down = True
        lookup = Lookup(api, lambda uid: None, lambda: 0.0)
        with pytest.raises(Unreachable):
            await lookup.sources(reader(env="read"))
        await lookup.close()

    asyncio.run(work())


def test_tokens_are_asked_for_once_and_renewed_in_time() -> None:
    async def work() -> None:
        api, now = FakeApi(), 1000.0
        lookup = Lookup(api, lambda uid: None, lambda: now)
        source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
        of = pod("p", volumes=[{"name": "v", "projected": {"sources": [source]}}], serviceAccountName="robot")
        of["metadata"]["uid"] = "u1"
        first = (await lookup.sources(of)).tokens
        assert (await lookup.sources(of)).tokens == first
        assert [name for verb, _, name in api.log if verb == "create"] == ["robot"]
        assert lookup.tokens_due() == []
        now += 90_000
        assert lookup.tokens_due() == ["u1"]
        assert (await lookup.sources(of)).tokens != first
        now += 90_000
        services = lookup._services
        assert services is not None
        api.down = True
        with pytest.raises(Unreachable):
            await lookup.find("configmaps", "x", "default")
        last = (await lookup.sources(of)).tokens
        assert last
        await lookup.close()

    asyncio.run(work())


def test_many_nodes_share_one_connection(tmp_path: Path) -> None:
    async def work() -> None:
        api = FakeApi()
        wanted = AgentSettings(node=settings(name="sim", port=10250), root=tmp_path, simulated_nodes=30)
        nodes = SimulatedNodes(wanted, api)  # type: ignore[arg-type]
        await nodes.start()
        assert len(api.objects["nodes"]) == 30
        for number in range(90):
            made = pod(f"p{number}")
            made["spec"]["nodeName"] = f"sim-{number % 30}"
            made["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "absent"}}]
            api.put("pods", made)
        await until(lambda: all(status(api, f"p{n}").get("phase") == "Running" for n in range(90)), "all run", 20)
        assert len({status(api, f"p{n}")["hostIP"] for n in range(90)}) == 30
        assert container(api, "p0")["ready"] is True
        pods_lists = [entry for entry in api.log if entry[:2] == ("list", "pods")]
        assert len(pods_lists) == 1
        api.drop("pods", "p7", "default")
        agent = nodes.agents[7]
        await until(lambda: len(agent.dispatch.workers) == 2, "one went")
        await nodes.stop()

    asyncio.run(work())


def test_addresses_of_simulated_nodes_are_distinct() -> None:
    found = [address_of(number) for number in range(50_000)]
    assert found[0] == "127.1.0.1"
    assert len(set(found)) == 50_000
    assert all(0 <= int(part) < 256 for address in found for part in address.split("."))
