"""Finding what a request is about: the pod, the container, its run. Refusals are HTTP answers with plain text."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from node_agent.pod import spec
from node_agent.pod.observed import Container, Sandbox
from node_agent.pod.spec import Object
from node_agent.shell.agent import NodeAgent
from node_agent.shell.worker import Worker


@dataclass(frozen=True, slots=True)
class Found:
    agent: NodeAgent
    worker: Worker
    container: Container


class Directory:
    """The pods of the nodes that one server answers for: one, or as many as are simulated in this process."""

    def __init__(self, agents: list[NodeAgent]) -> None:
        self.agents = agents

    def agent_at(self, address: str) -> NodeAgent:
        """The node that was called at this address; the first one when none has it. Raises HTTPServiceUnavailable."""
        for agent in self.agents:
            if address in agent.settings.ips:
                return agent
        if not self.agents:
            raise web.HTTPServiceUnavailable(text="the agent is starting")
        return self.agents[0]

    def pod(self, namespace: str, name: str, uid: str = "") -> tuple[NodeAgent, Worker]:
        """Raises HTTPNotFound."""
        for agent in self.agents:
            for worker in agent.dispatch.workers.values():
                pod = worker.pod
                same = spec.name(pod) == name and spec.namespace(pod) == namespace
                if same and uid in ("", spec.uid(pod), spec.metadata(pod).get("uid")):
                    return agent, worker
        raise web.HTTPNotFound(text=f'pod "{name}" not found')

    def container(self, namespace: str, name: str, container: str, uid: str = "") -> Found:
        """The present run of a container. Raises HTTPNotFound."""
        agent, worker = self.pod(namespace, name, uid)
        current = agent.view.of(worker.uid).containers.get(container)
        if not current:
            raise _no_container(worker.pod, container)
        return Found(agent, worker, current[0])

    def running(self, namespace: str, name: str, container: str, uid: str = "") -> Found:
        """The same, which runs. Raises HTTPNotFound, in words without a colon: kubectl would take them for YAML."""
        agent, worker = self.pod(namespace, name, uid)
        current = agent.view.of(worker.uid).containers.get(container)
        if not current or not current[0].running:
            raise web.HTTPNotFound(text=f'container not found ("{container}")')
        return Found(agent, worker, current[0])

    def previous(self, namespace: str, name: str, container: str) -> Found:
        """The run before the present one; of a container that waits for its restart the one that ended last."""
        agent, worker = self.pod(namespace, name)
        runs = agent.view.of(worker.uid).containers.get(container) or ()
        ended = [run for run in runs if run.ended]
        if runs and runs[0].ended and len(ended) > 1 and spec.terminal(worker.pod):
            ended = ended[1:]
        if not ended:
            if spec.container(worker.pod, container) is None:
                raise _no_container(worker.pod, container)
            raise web.HTTPBadRequest(text=f'previous terminated container "{container}" in pod "{name}" not found')
        return Found(agent, worker, ended[0])

    def sandbox(self, namespace: str, name: str) -> tuple[NodeAgent, Worker, Sandbox]:
        """The sandbox of a pod that runs. Raises HTTPNotFound."""
        agent, worker = self.pod(namespace, name)
        sandboxes = agent.view.of(worker.uid).sandboxes
        if not sandboxes or not sandboxes[0].ready:
            raise web.HTTPNotFound(text=f'pod "{name}" does not run')
        return agent, worker, sandboxes[0]


# What the kubelet says in place of a reason.
_PULLING = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}


def _no_container(pod: Object, container: str) -> web.HTTPException:
    described = spec.container(pod, container)
    if described is None:
        return web.HTTPNotFound(text=f'container "{container}" not found in pod "{spec.name(pod)}"')
    waiting = next(
        (
            (entry.get("state") or {}).get("waiting") or {}
            for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
            for entry in spec.status(pod).get(field) or []
            if entry.get("name") == container
        ),
        {},
    )
    reason = waiting.get("reason") or "ContainerCreating"
    reason = _PULLING.get(reason, reason)
    return web.HTTPBadRequest(text=f'container "{container}" in pod "{spec.name(pod)}" is waiting to start: {reason}')
