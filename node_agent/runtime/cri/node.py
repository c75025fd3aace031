"""What the calls of a CRI runtime stand on: the connection, whose things are ours, what is known of sandboxes.

What a runtime forgets (a sandbox's log directory, its namespaces) stands in an annotation of ours on the sandbox,
because the CRI wants it again with every container.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from node_agent.pb import cri_pb2 as pb
from node_agent.runtime import ownership
from node_agent.runtime.cri import messages
from node_agent.runtime.cri.connection import CriConnection
from node_agent.runtime.errors import NotFound
from node_agent.runtime.stored import sandbox_config
from node_agent.runtime.types import SandboxConfig

_NOTE = ownership.PREFIX + "config"
_LEFT_OUT = ("labels", "annotations")


class CriNode:
    """`owner`: the node's name; see ownership.py."""

    def __init__(self, endpoint: str, owner: str) -> None:
        self.cri = CriConnection(endpoint)
        self.owner = owner
        self.configs: dict[str, SandboxConfig] = {}

    def message(self, config: SandboxConfig) -> pb.PodSandboxConfig:
        """As RunPodSandbox and CreateContainer take it."""
        note = {name: value for name, value in asdict(config).items() if name not in _LEFT_OUT}
        return messages.sandbox_message(config, self.owner, json.dumps(note))

    def remember(self, sandbox_id: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> SandboxConfig:
        """The configuration that it was made with; NotFound when it is none of ours."""
        known = self.configs.get(sandbox_id)
        if known is not None:
            return known
        if labels.get(ownership.OWNER) != self.owner:
            raise NotFound(f"sandbox {sandbox_id[:12]} is not this node's")
        try:
            note = json.loads(annotations.get(_NOTE, ""))
            rest = {"labels": ownership.visible(labels), "annotations": ownership.visible(annotations)}
            config = sandbox_config({**note, **rest})
        except (ValueError, KeyError, TypeError) as problem:
            raise NotFound(f"sandbox {sandbox_id[:12]} was not made by this agent") from problem
        self.configs[sandbox_id] = config
        return config

    async def status_of(self, sandbox_id: str) -> tuple[pb.PodSandboxStatus, SandboxConfig]:
        """Raises NotFound, RuntimeUnavailable."""
        answer = await self.cri.call(
            "PodSandboxStatus", pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id), pb.PodSandboxStatusResponse
        )
        return answer.status, self.remember(sandbox_id, answer.status.labels, answer.status.annotations)
