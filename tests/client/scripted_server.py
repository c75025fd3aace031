"""A gRPC server (grpcio's own) that answers unary calls from a script and counts what it was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.message import Message

from kvstore.errors import Code, error

# What one call gets: an answer, a failure, or whatever a function makes of it.
Step = Message | Exception | Callable[[bytes, Any], Message]

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class ScriptedServer(grpc.GenericRpcHandler):
    """Answers every path with the next step of its script, the last one again and again."""

    def __init__(self, **scripts: list[Step]) -> None:
        """scripts: RPC name ("Put") → steps."""
        self._scripts = {name: list(steps) for name, steps in scripts.items()}
        self.asked: Counter[str] = Counter()
        self.requests: list[tuple[str, bytes]] = []
        self._server = grpc.server(ThreadPoolExecutor(4), handlers=(self,))
        self.endpoint = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def service(self, details: Any) -> Any:
        """grpc's question for a handler."""
        name = details.method.rpartition("/")[2]
        if name not in self._scripts:
            return None
        if name == "Snapshot":
            return grpc.unary_stream_rpc_method_handler(lambda request, _: self._stream(request))
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._answer(name, request, context))

    def _answer(self, name: str, request: bytes, context: Any) -> bytes:
        self.asked[name] += 1
        self.requests.append((name, request))
        steps = self._scripts[name]
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        if isinstance(step, Exception):
            code: Any = getattr(step, "code", Code.UNKNOWN)
            context.abort(_CODES[int(code)], getattr(step, "message", str(step)))
        answer = step if isinstance(step, Message) else step(request, context)  # type: ignore[operator]
        return answer.SerializeToString()

    def _stream(self, request: bytes) -> Iterator[bytes]:
        for step in self._scripts["Snapshot"]:
            assert isinstance(step, Message)
            yield step.SerializeToString()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(None).wait()


def refusal(name: str) -> Exception:
    """etcd's error of that name as a step."""
    return error(name)
