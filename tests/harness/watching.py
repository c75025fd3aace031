"""A Watch stream driven by a test: requests go out when told, responses are kept in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from harness.answers import normalise
from harness.stubs import Stub
from kvstore.pb.etcd_pb2 import (
    WatchCancelRequest,
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
    WatchResponse,
)


class WatchSession:
    """One Watch call. `responses` grows on a thread of its own; `error` is set when the call ends with one."""

    def __init__(self, stub: Stub, metadata: Any = None) -> None:
        self.responses: list[WatchResponse] = []
        self.error: grpc.RpcError | None = None
        self._changed = threading.Condition()
        self._requests: queue.SimpleQueue[WatchRequest | None] = queue.SimpleQueue()
        self._call = stub.Watch(self._outgoing(), metadata=metadata)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _outgoing(self) -> Iterator[WatchRequest]:
        while (request := self._requests.get()) is not None:
            yield request

    def _read(self) -> None:
        try:
            for response in self._call:
                with self._changed:
                    self.responses.append(response)
                    self._changed.notify_all()
        except grpc.RpcError as failure:
            with self._changed:
                self.error = failure
                self._changed.notify_all()

    def create(self, **fields: Any) -> WatchResponse:
        """Create a watcher and return its `created` response."""
        before = len(self.responses)
        self._requests.put(WatchRequest(create_request=WatchCreateRequest(**fields)))
        created: WatchResponse = self.wait(
            lambda: next((r for r in self.responses[before:] if r.created), None), "a watcher to be created"
        )
        return created

    def cancel(self, watch_id: int) -> None:
        """Ask for the end of one watcher."""
        self._requests.put(WatchRequest(cancel_request=WatchCancelRequest(watch_id=watch_id)))

    def progress(self) -> None:
        """Ask how far the stream is."""
        self._requests.put(WatchRequest(progress_request=WatchProgressRequest()))

    def send(self, request: WatchRequest) -> None:
        """Send a request as it is."""
        self._requests.put(request)

    def wait(self, condition: Callable[[], Any], reason: str, timeout: float = 15.0) -> Any:
        """Wait until `condition` returns something true (it is asked after every response) and return that."""
        with self._changed:
            self._changed.wait_for(lambda: self.error or condition(), timeout)
            found = condition()
            if found:
                return found
            if self.error is not None:
                raise AssertionError(f"the watch ended while waiting for {reason}: {self.error}")
            raise TimeoutError(
                f"waited {timeout:g} s for {reason}; so far: {[normalise(r) for r in self.responses[-4:]]}"
            )

    def of(self, watch_id: int) -> list[WatchResponse]:
        """The responses of one watcher so far."""
        return [r for r in self.responses if r.watch_id == watch_id]

    def events(self, watch_id: int) -> list[dict[str, Any]]:
        """Its events, normalised, however they were spread over responses."""
        return [normalise(event) for r in self.of(watch_id) for event in r.events]

    def seen(self, watch_id: int) -> int:
        """The highest mod_revision among its events."""
        return max((e.kv.mod_revision for r in self.of(watch_id) for e in r.events), default=0)

    def canceled(self, watch_id: int) -> WatchResponse | None:
        """The response that ended it, if it has ended."""
        return next((r for r in self.of(watch_id) if r.canceled), None)

    def close(self) -> None:
        """End the call."""
        self._requests.put(None)
        self._call.cancel()
        self._reader.join(5)


class KeepAlive:
    """A LeaseKeepAlive stream: one answer for each request, in order."""

    def __init__(self, stub: Stub) -> None:
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._answers = stub.LeaseKeepAlive(iter(self._requests.get, None))

    def ask(self, request: Any) -> dict[str, Any]:
        """Send one keep-alive and return its normalised answer or the stream's error."""
        self._requests.put(request)
        try:
            return normalise(next(self._answers))
        except grpc.RpcError as failure:
            return {"code": failure.code().name, "details": failure.details()}

    def close(self) -> None:
        """End the stream."""
        self._requests.put(None)
        self._answers.cancel()
