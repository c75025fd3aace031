"""A node agent over the simulated runtime and a fake API, and pods to give it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from agent_fake_api import FakeApi, Object

from control.client.informer import Informer
from node_agent.node.facts import Machine
from node_agent.node.settings import NodeSettings
from node_agent.probes.pretended import PretendedHandlers
from node_agent.runtime.interface import Runtime
from node_agent.runtime.simulated import SimulatedRuntime, World
from node_agent.shell.agent import NodeAgent, Parts
from node_agent.shell.pretended import NoSources, NoVolumes
from node_agent.shell.records import Recorder

T = TypeVar("T")

MACHINE = Machine(cpu=4000, memory=8 << 30, disk=100 << 30, architecture="amd64", kernel="6.1")


def pod(name: str, *containers: Object, simulate: str = "", **spec: Any) -> Object:
    """A pod bound to node n1, with the defaults that the server would have filled in."""
    annotations = {"fluyt.dev/simulate": simulate} if simulate else {}
    chosen = list(containers) or [{"name": "web"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {
            "nodeName": "n1",
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "containers": [{"image": "nginx:1", "imagePullPolicy": "IfNotPresent", **c} for c in chosen],
            **spec,
        },
        "status": {"phase": "Pending"},
    }


def settings(**more: Any) -> NodeSettings:
    return NodeSettings(**{"name": "n1", "ips": ("10.0.0.1",), "status_frequency": 0.05, **more})


def new_agent(api: FakeApi, runtime: Runtime, **more: Any) -> NodeAgent:
    recorder: Recorder = api
    parts = Parts(
        client=api,
        pods=Informer(api, "pods", field_selector="spec.nodeName=n1"),
        runtime=runtime,
        recorder=recorder,
        lookup=NoSources(),
        volumes=NoVolumes(),
        handlers=PretendedHandlers(runtime),
        log_root="/var/log/pods",
        root=Path("/"),
        whole_machine=False,
    )
    for name in [name for name in more if hasattr(parts, name)]:
        setattr(parts, name, more.pop(name))
    retry = more.pop("retry", 0.5)
    agent = NodeAgent(settings(**more), MACHINE, parts)
    agent.context.retry = retry
    return agent


@contextlib.asynccontextmanager
async def one_node(
    world: World | None = None, **more: Any
) -> AsyncIterator[tuple[FakeApi, SimulatedRuntime, NodeAgent]]:
    """A started agent of node n1; more: settings, or parts by their names."""
    api = more.pop("api", None) or FakeApi()
    world = world or World()
    runtime = SimulatedRuntime(world, "n1")
    agent = new_agent(api, runtime, **more)
    await agent.start()
    try:
        yield api, runtime, agent
    finally:
        await agent.stop()


async def until(condition: Callable[[], T | None], reason: str, timeout: float = 10.0) -> T:
    """Wait until the condition returns something true, and return that."""
    async with asyncio.timeout(timeout):
        while True:
            value = condition()
            if value:
                return value
            await asyncio.sleep(0.005)
    raise AssertionError(reason)


def status(api: FakeApi, name: str) -> Object:
    found = api.of("pods", name, "default")
    return (found or {}).get("status") or {}


def container(api: FakeApi, name: str, index: int = 0) -> Object:
    entries = status(api, name).get("containerStatuses") or []
    return entries[index] if len(entries) > index else {}
