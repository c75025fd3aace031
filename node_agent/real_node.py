"""A node that runs containers of its own: the agent and all that belongs to it, started and stopped in order."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from control.client.client import Client
from control.client.informer import Informer
from control.client.objects import slim
from control.client.recorder import EventRecorder
from node_agent.machine.facts import read_machine
from node_agent.network.node import NodeNetwork
from node_agent.pod import spec
from node_agent.pod.spec import Object
from node_agent.probes.handlers import Handlers
from node_agent.probes.pretended import PretendedHandlers
from node_agent.runtime.errors import RuntimeFault
from node_agent.runtime.types import ContainerStatus
from node_agent.runtimes import new_runtime
from node_agent.settings import AgentSettings
from node_agent.shell.agent import NodeAgent, Parts, node_facts
from node_agent.shell.checkpoint import Checkpoint
from node_agent.shell.housekeeping import Housekeeping
from node_agent.shell.last_words import last_words
from node_agent.shell.lookup import Lookup
from node_agent.shell.records import NORMAL, WARNING, node_reference
from node_agent.shell.static_pods import StaticPods
from node_agent.volumes.files import shows_other_metadata
from node_agent.volumes.keeper import VolumeKeeper

log = logging.getLogger(__name__)


class RealNode:
    """start(), then stop(); `agent` in between."""

    def __init__(self, settings: AgentSettings, client: Client) -> None:
        """Raises ValueError for a runtime that there is not."""
        self._settings = settings
        root, node = settings.root, settings.node
        self._recorder = EventRecorder(client, "kubelet", node.name)
        self.network = NodeNetwork(settings, client, self._network_changed, self._warn)
        runtime = new_runtime(settings.runtime, settings.endpoint, root, node.name, self.network.bridge)
        machine = read_machine(root)
        log_root = str(settings.log_root or root / "logs" / "pods")
        self._lookup = Lookup(client, self._volumes_changed, time.time)
        self._handlers = Handlers(runtime)
        facts = node_facts(node, machine, log_root)
        by_path = settings.runtime in ("docker", "cri")
        self._volumes = VolumeKeeper(root, self._lookup, lambda: self.agent.registration.node, facts, by_path=by_path)
        parts = Parts(
            client=client,
            pods=Informer(client, "pods", field_selector=f"spec.nodeName={node.name}", transform=slim),
            runtime=runtime,
            recorder=self._recorder,
            lookup=self._lookup,
            volumes=self._volumes,
            handlers=PretendedHandlers(runtime) if settings.runtime == "simulated" else self._handlers,
            log_root=log_root,
            root=root,
            memory=Checkpoint(root),
            last_words=self._last_words,
        )
        self.agent = NodeAgent(node, machine, parts)
        self._static = self._static_pods(settings.static_pods) if settings.static_pods is not None else None
        self.agent.before_pods = self._before_pods
        self._housekeeping = Housekeeping(self.agent, self._volumes, self._lookup.tokens_due)

    def _volumes_changed(self, uid: str) -> None:
        self._housekeeping.volumes_changed(uid)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and shows_other_metadata(old, new):
            self._volumes_changed(spec.uid(new))

    def _network_changed(self, fault: str) -> None:
        """fault: why pods can have no network, "" when they can."""
        self.agent.context.node = replace(self.agent.context.node, dns=self.network.pods_dns)
        self.agent.fault("network", fault)

    def _warn(self, about: dict[str, Any], reason: str, message: str) -> None:
        self._recorder.record(about, WARNING, reason, message)

    def _last_words(self, status: ContainerStatus) -> str:
        return last_words(status, self._volumes.message_file)

    async def start(self) -> None:
        """Raises OSError when the agent's folder cannot be made."""
        await self._volumes.open()
        await self._recorder.start()
        await self.network.start()
        self.agent.context.node = replace(self.agent.context.node, dns=self.network.pods_dns)
        await self.agent.start()
        self._recorder.record(node_reference(self._settings.node.name), NORMAL, "Starting", "Starting kubelet.")
        if self._static is not None:
            self.agent.also(self._follow_static(self._static), "static pods")
        self.agent.parts.pods.subscribe(self._pod_changed)
        self.agent.also(self._housekeeping.run(), "housekeeping")

    async def _before_pods(self) -> None:
        """Clear away what the network has of pods that are gone; take up those of other sources than the API server.

        Not sooner: a runtime that has not been opened yet knows of no pods, and those that run would be cut off.
        """
        try:
            await self.network.clean(await self.agent.parts.runtime.list_sandboxes())
        except RuntimeFault as problem:
            log.warning("leftovers of the pods' network stay until the next start: %s", problem)
        if self._static is not None:
            await self._static.scan()

    def _static_pods(self, folder: Path) -> StaticPods:
        dispatch, name, period = self.agent.dispatch, self._settings.node.name, self._settings.static_period
        return StaticPods(folder, name, dispatch.desired, dispatch.removed, self.agent.mirrors.wanted, period)

    async def _follow_static(self, static: StaticPods) -> None:
        await self.agent.looked.wait()
        await static.run()

    async def stop(self) -> None:
        """Let go; containers go on."""
        await self.agent.stop()
        await self.network.stop()
        await self._handlers.close()
        await self._lookup.close()
        await self._recorder.close()
        await self._volumes.close()
