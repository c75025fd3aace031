"""Calls to a CRI runtime: gRPC on its socket, one method a name, its errors in our words.

Every call has a deadline, so a runtime that hangs is RuntimeUnavailable and not a hang of ours. Credentials travel
in requests only; nothing here logs requests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from node_agent.pb import cri_pb2 as pb
from node_agent.runtime.errors import ImageNotFound, NotFound, PullFailed, RuntimeFault, RuntimeUnavailable, Unsupported

_Answer = TypeVar("_Answer", bound=Message)

# method → (service, answer, seconds)
_METHODS: dict[str, tuple[str, type[Message], float]] = {
    "Version": ("Runtime", pb.VersionResponse, 10),
    "Status": ("Runtime", pb.StatusResponse, 10),
    "RunPodSandbox": ("Runtime", pb.RunPodSandboxResponse, 240),
    "StopPodSandbox": ("Runtime", pb.Empty, 120),
    "RemovePodSandbox": ("Runtime", pb.Empty, 120),
    "PodSandboxStatus": ("Runtime", pb.PodSandboxStatusResponse, 30),
    "ListPodSandbox": ("Runtime", pb.ListPodSandboxResponse, 30),
    "CreateContainer": ("Runtime", pb.ContainerId, 240),
    "StartContainer": ("Runtime", pb.Empty, 120),
    "StopContainer": ("Runtime", pb.Empty, 120),
    "RemoveContainer": ("Runtime", pb.Empty, 120),
    "ListContainers": ("Runtime", pb.ListContainersResponse, 30),
    "ContainerStatus": ("Runtime", pb.ContainerStatusResponse, 30),
    "UpdateContainerResources": ("Runtime", pb.Empty, 30),
    "ReopenContainerLog": ("Runtime", pb.Empty, 30),
    "ExecSync": ("Runtime", pb.ExecSyncResponse, 120),
    "Exec": ("Runtime", pb.StreamUrl, 30),
    "Attach": ("Runtime", pb.StreamUrl, 30),
    "PortForward": ("Runtime", pb.StreamUrl, 30),
    "ListContainerStats": ("Runtime", pb.ListContainerStatsResponse, 30),
    "ListImages": ("Image", pb.ListImagesResponse, 30),
    "ImageStatus": ("Image", pb.ImageStatusResponse, 30),
    "PullImage": ("Image", pb.PullImageResponse, 1800),
    "RemoveImage": ("Image", pb.Empty, 120),
    "ImageFsInfo": ("Image", pb.ImageFsInfoResponse, 30),
}
_MAX_MESSAGE = 16 * 2**20 + 65536
_AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


class CallFailed(RuntimeFault):
    """The runtime refused; the caller says what that means."""


class CriConnection:
    """`endpoint` as kubelet's --container-runtime-endpoint: unix:///run/containerd/containerd.sock."""

    def __init__(self, endpoint: str) -> None:
        path = endpoint.removeprefix("unix://") if endpoint.startswith("unix://") else endpoint.removeprefix("unix:")
        self.endpoint = f"unix://{path}"
        self.socket = path
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, Any] = {}

    def open(self) -> None:
        """Does not wait for the runtime."""
        if self._channel is None:
            options = [
                ("grpc.max_receive_message_length", _MAX_MESSAGE),
                ("grpc.default_authority", "localhost"),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ]
            self._channel = grpc.aio.insecure_channel(self.endpoint, options=options)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel, self._calls = None, {}

    async def call(self, method: str, request: Message, answer: type[_Answer], seconds: float = 0.0) -> _Answer:
        """Raises NotFound, RuntimeUnavailable, Unsupported, CallFailed."""
        _, expected, usual = _METHODS[method]
        assert expected is answer
        try:
            result: _Answer = await self._stub(method)(request, timeout=seconds or usual)
        except grpc.aio.AioRpcError as problem:
            raise self._in_words(method, problem) from problem
        return result

    def _stub(self, method: str) -> Any:
        self.open()
        if method not in self._calls:
            service, answer, _ = _METHODS[method]
            assert self._channel is not None
            self._calls[method] = self._channel.unary_unary(
                f"/runtime.v1.{service}Service/{method}",
                request_serializer=_serialized,
                response_deserializer=answer.FromString,
            )
        return self._calls[method]

    async def events(self) -> AsyncIterator[pb.ContainerEventResponse]:
        """Ends when the runtime has none (before containerd 1.7) or goes away."""
        self.open()
        assert self._channel is not None
        call = self._channel.unary_stream(
            "/runtime.v1.RuntimeService/GetContainerEvents",
            request_serializer=_serialized,
            response_deserializer=pb.ContainerEventResponse.FromString,
        )(pb.Empty())
        try:
            async for event in call:
                yield event
        except grpc.aio.AioRpcError:
            return
        finally:
            call.cancel()

    def _in_words(self, method: str, problem: grpc.aio.AioRpcError) -> RuntimeFault:
        code, details = problem.code(), problem.details() or ""
        if code in _AWAY:
            return RuntimeUnavailable(f"{self.endpoint} does not answer {method}: {details}")
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return Unsupported(
                f"{self.endpoint} knows no CRI v1 method {method}: its CRI plugin is off, or it is too old"
            )
        if code is grpc.StatusCode.NOT_FOUND:
            return NotFound(details)
        return CallFailed(details or code.name)


def pull_failure(name: str, problem: RuntimeFault) -> RuntimeFault:
    """What a failed pull means: the image is nowhere, or it could not be had."""
    text = str(problem)
    if isinstance(problem, NotFound) or "not found" in text or "does not exist" in text or "access denied" in text:
        return ImageNotFound(f'image "{name}" not found: {text}')
    if isinstance(problem, RuntimeUnavailable):
        return problem
    return PullFailed(f'image "{name}" cannot be pulled: {text}')
