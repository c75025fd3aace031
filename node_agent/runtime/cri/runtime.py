"""containerd, CRI-O and whatever else speaks CRI v1, behind our interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from node_agent.pb import cri_pb2 as pb
from node_agent.runtime import ownership
from node_agent.runtime.cri.connection import CallFailed
from node_agent.runtime.cri.container_calls import ContainerCalls
from node_agent.runtime.cri.streams import CriPort, CriStream
from node_agent.runtime.errors import ExecTimeout, NotRunning, RuntimeFault, RuntimeUnavailable
from node_agent.runtime.refusals import refusal_code
from node_agent.runtime.streams import ByteStream, ProcessStream
from node_agent.runtime.types import (
    ContainerState,
    EventType,
    ExecResult,
    Health,
    RuntimeEvent,
    SandboxState,
    Version,
)

_EVENTS = {
    pb.CONTAINER_CREATED_EVENT: EventType.CREATED,
    pb.CONTAINER_STARTED_EVENT: EventType.STARTED,
    pb.CONTAINER_STOPPED_EVENT: EventType.STOPPED,
    pb.CONTAINER_DELETED_EVENT: EventType.DELETED,
}
_SLACK = 10.0
_FOR_EVER = 24 * 3600.0
_LOOKS, _BETWEEN = 40, 0.05


class CriRuntime(ContainerCalls):
    """`CriRuntime("unix:///run/containerd/containerd.sock", owner="node-1")`; see interface.Runtime."""

    async def open(self) -> None:
        self.cri.open()
        await self.version()

    async def close(self) -> None:
        await self.cri.close()

    async def version(self) -> Version:
        answer = await self.cri.call("Version", pb.VersionRequest(), pb.VersionResponse)
        return Version(answer.runtime_name, answer.runtime_version, answer.runtime_api_version)

    async def health(self) -> Health:
        try:
            answer = await self.cri.call("Status", pb.StatusRequest(), pb.StatusResponse)
        except RuntimeFault as problem:
            return Health(ready=False, network_ready=False, reason="RuntimeUnavailable", message=str(problem))
        conditions = {each.type: each for each in answer.status.conditions}
        runtime, network = conditions.get("RuntimeReady"), conditions.get("NetworkReady")
        troubled = next((each for each in (runtime, network) if each is not None and not each.status), None)
        return Health(
            ready=runtime is not None and runtime.status,
            network_ready=network is not None and network.status,
            reason=troubled.reason if troubled else "",
            message=troubled.message if troubled else "",
        )

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        async for event in self.cri.events():
            sandbox = event.pod_sandbox_status
            if sandbox.labels.get(ownership.OWNER) == self.owner:
                type_ = _EVENTS[event.container_event_type]
                container = "" if event.container_id == sandbox.id else event.container_id
                yield RuntimeEvent(type_, sandbox.id, container, event.created_at / 1e9)

    # streams

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float = 0.0) -> ExecResult:
        await self.running(container_id)
        seconds = max(1, round(timeout)) if timeout else 0
        request = pb.ExecSyncRequest(container_id=container_id, cmd=command, timeout=seconds)
        try:
            answer = await self.cri.call(
                "ExecSync", request, pb.ExecSyncResponse, timeout + _SLACK if timeout else _FOR_EVER
            )
        except (CallFailed, RuntimeUnavailable) as problem:
            return self._not_run(problem, command, timeout)
        return ExecResult(answer.exit_code, answer.stdout, answer.stderr)

    def _not_run(self, problem: RuntimeFault, command: Sequence[str], timeout: float) -> ExecResult:
        text = str(problem)
        if timeout and ("timed out" in text or "timeout" in text or "deadline" in text.lower()):
            raise ExecTimeout(f"command {' '.join(command)[:200]!r} timed out after {timeout:g} s") from problem
        if isinstance(problem, RuntimeUnavailable):
            raise problem
        if "not running" in text or "no running" in text:
            raise NotRunning(text) from problem
        return ExecResult(refusal_code(text), b"", text.encode() + b"\n")

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool = False, stdin: bool = False
    ) -> ProcessStream:
        await self.running(container_id)
        request = pb.ExecRequest(
            container_id=container_id, cmd=command, tty=tty, stdin=stdin, stdout=True, stderr=not tty
        )
        url = await self._url("Exec", request)

        async def succeeded() -> int:
            return 0

        return await CriStream.open(url, tty=tty, stdin=stdin, code=succeeded)

    async def attach(self, container_id: str, *, stdin: bool = False) -> ProcessStream:
        await self.running(container_id)
        tty = await self._has_terminal(container_id)
        request = pb.AttachRequest(container_id=container_id, stdin=stdin, tty=tty, stdout=True, stderr=not tty)
        url = await self._url("Attach", request)

        async def containers() -> int:
            """Its streams end a moment before it does."""
            for _ in range(_LOOKS):
                status = await self.container_status(container_id)
                if status.state is ContainerState.EXITED:
                    return status.exit_code
                await asyncio.sleep(_BETWEEN)
            return 0

        return await CriStream.open(url, tty=tty, stdin=stdin, attached=True, code=containers)

    async def _has_terminal(self, container_id: str) -> bool:
        annotations = await self.annotations_of(container_id)
        return ownership.ours(annotations, "tty") == "true"

    async def port_forward(self, sandbox_id: str, port: int) -> ByteStream:
        if (await self.sandbox_status(sandbox_id)).state is not SandboxState.READY:
            raise NotRunning(f"sandbox {sandbox_id[:12]} does not run")
        url = await self._url("PortForward", pb.PortForwardRequest(pod_sandbox_id=sandbox_id, port=[port]))
        return await CriPort.open(url, port)

    async def _url(self, method: str, request: pb.ExecRequest | pb.AttachRequest | pb.PortForwardRequest) -> str:
        try:
            return (await self.cri.call(method, request, pb.StreamUrl)).url
        except CallFailed as problem:
            raise NotRunning(str(problem)) from problem
