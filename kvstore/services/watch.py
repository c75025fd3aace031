"""etcdserverpb.Watch: one bidirectional stream with any number of watches.

Order on the stream: `created` before anything else of a watch; a progress report after every event that it covers. The
hub shares the encoded events between streams; here only the header and the watch id are put before them.

Faults assumed: clients that do not read (their watches fall back to history, the earlier the more waits on their
connection, and their requests are refused at CONTROL_BOUND), clients that send nonsense, streams that end at any
moment. Follows etcd's Watch RPC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import random
from typing import TYPE_CHECKING

from kvstore.errors import Code, EtcdError, error
from kvstore.mvcc.types import DELETE, PUT
from kvstore.mvcc.watch import WatchRefused
from kvstore.mvcc.watch_batch import Batch
from kvstore.mvcc.watch_group import Watcher
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.access import identify
from kvstore.services.big_range import HELD_BYTES
from kvstore.services.guard import parse
from kvstore.services.leader_guard import LeaderGuard
from kvstore.services.watch_pump import WatchPump

if TYPE_CHECKING:
    import asyncio

    from kvstore.member.member import Member
    from kvstore.wire.grpc.call import Call
    from kvstore.wire.server import GrpcServer

INVALID_ID = -1
SHORTEST_INTERVAL = 0.1  # seconds between progress reports
# What a response may be over the request limit before a fragmenting watch splits it.
OVERHEAD = 512 * 1024
# Bytes unread by a client at which its further requests are refused: nothing it sends may grow the heap.
CONTROL_BOUND = 16 << 20

# From this size on a batch's bytes are shared by the streams that send it, and not copied for each.
SHARED = 4096

_FRAGMENT = b"\x38\x01"
# The codes that a check may end with, as grpc-go spells them.
_CODES = {
    Code.INVALID_ARGUMENT: "InvalidArgument",
    Code.PERMISSION_DENIED: "PermissionDenied",
    Code.UNAUTHENTICATED: "Unauthenticated",
}
# WatchCreateRequest.FilterType → event type that it leaves out.
_FILTERS = {pb.WatchCreateRequest.NOPUT: PUT, pb.WatchCreateRequest.NODELETE: DELETE}


class WatchService:
    """Makes the streams, drives the hub and plans the progress reports."""

    def __init__(self, member: Member, random: Callable[[], float] = random) -> None:
        """random: in [0, 1), spreads the progress reports of streams that began together."""
        self.member = member
        self.guard = LeaderGuard(member)
        self.pump = WatchPump(member.watches, member.loop.call_soon)
        self.fragment_bytes = member.config.max_request_bytes + OVERHEAD
        self._interval = max(member.config.watch_progress_interval, SHORTEST_INTERVAL)
        self._random = random

    def register(self, server: GrpcServer) -> None:
        """Serve etcdserverpb.Watch."""
        server.stream("/etcdserverpb.Watch/Watch", self.watch)

    def watch(self, call: Call) -> WatchStream:
        """A new stream on the call. Raises NO_LEADER, NOT_SUPPORTED_FOR_LEARNER."""
        self.guard.admit(call)
        stream = WatchStream(self, call)
        call.on_drain = stream.drained
        return stream

    def tick_later(self, tick: Callable[[], None]) -> asyncio.TimerHandle:
        """Plan a stream's next progress report, up to a tenth late so that not all streams report at once."""
        return self.member.loop.call_later(self._interval * (1 + self._random() / 10), tick)


class WatchStream:
    """One client's stream: the sink of its watchers."""

    def __init__(self, service: WatchService, call: Call) -> None:
        self._service = service
        self._call = call
        self._member = service.member
        self._hub = service.member.watches
        # Compacted watches stay until the client cancels them, as in etcd: their id is not free before.
        self._watchers: dict[int, Watcher] = {}
        self._next_id = 0
        self._ended = False
        self._ticker: asyncio.TimerHandle | None = None

    # ---- from the wire

    def message(self, data: bytes) -> None:
        """One WatchRequest. Raises, and so ends the stream, for bytes that are none, and TOO_MANY_REQUESTS."""
        if self._ended:
            return
        if self._call.buffered > CONTROL_BOUND:
            raise error("TOO_MANY_REQUESTS")
        request = parse(pb.WatchRequest, data)
        kind = request.WhichOneof("request_union")
        if kind == "create_request":
            self._create(request.create_request)
        elif kind == "cancel_request":
            self._cancel(request.cancel_request.watch_id)
        elif kind == "progress_request":
            self._hub.request_progress(self, self._watchers.values())

    def half_close(self) -> None:
        """The client will send nothing more, and goes on to read."""

    def closed(self) -> None:
        """The stream is over, whoever ended it."""
        if self._ended:
            return
        self._ended = True
        for watcher in self._watchers.values():
            self._hub.cancel(watcher)
        self._watchers.clear()
        self._hub.forget(self)
        self._service.guard.release(self._call)
        if self._ticker is not None:
            self._ticker.cancel()

    def drained(self) -> None:
        """The client reads again."""
        if not self._ended:
            self._hub.drained(self)

    # ---- from the hub

    @property
    def buffered(self) -> int:
        """Bytes that wait for the client: on this stream, or on its connection if they are many there.

        So of a client that looks away from hundreds of streams each holds one response, and none waits for another.
        """
        own = self._call.buffered
        if not own:
            return 0
        together = self._call.buffered_on_connection
        return together if together > HELD_BYTES else own

    def deliver(self, watcher: Watcher, batch: Batch) -> None:
        """Events of a watcher. Hot: it runs for every watcher of every published batch."""
        head = batch.head
        if head is None:
            # The first stream encodes the header for all the others.
            head = batch.head = self._member.header_field(batch.revision)
        watcher.quiet = False
        if watcher.fragment:
            self._deliver_fragments(watcher, head, batch.parts())
            return
        body = batch.body()
        if len(body) < SHARED:
            self._call.send(b"%b%b%b" % (head, watcher.prefix, body))
        else:
            self._call.send_parts([head + watcher.prefix, body])

    def hasten(self) -> None:
        """What was sent leaves now."""
        self._call.flush()

    def compacted(self, watcher: Watcher, revision: int) -> None:
        """The watcher's next revision was compacted."""
        # etcd's header says revision 0 here.
        self._respond(pb.WatchResponse(watch_id=watcher.id, canceled=True, compact_revision=revision), 0)

    def progress(self, revision: int) -> None:
        """The answer to a progress request."""
        self._respond(pb.WatchResponse(watch_id=INVALID_ID), revision)

    # ---- requests

    def _create(self, request: pb.WatchCreateRequest) -> None:
        if request.start_revision < 0:
            self._refuse(error("COMPACTED").message)
            return
        if self._member.auth.enabled and (problem := self._forbidden(request)):
            self._refuse(problem)
            return
        next_id = self._next_id
        try:
            id = self._choose_id(request.watch_id)
            watcher = self._watch(id, request)
        except WatchRefused as refusal:
            self._next_id = next_id  # a refused watch takes no id
            self._refuse(str(refusal))
            return
        watcher.prefix = pb.WatchResponse(watch_id=id).SerializeToString()
        self._watchers[id] = watcher
        self._respond(pb.WatchResponse(watch_id=id, created=True))
        if watcher.progress and self._ticker is None:
            self._ticker = self._service.tick_later(self._tick)

    def _forbidden(self, request: pb.WatchCreateRequest) -> str:
        """Why the client may not watch these keys, in the words of etcd's cancel_reason; empty if it may."""
        try:
            identity = identify(self._member, self._call)
            self._member.checks.read(identity, request.key or b"\0", request.range_end)
        except EtcdError as problem:
            return f"rpc error: code = {_CODES[problem.code]} desc = {problem.message}"
        return ""

    def _watch(self, id: int, request: pb.WatchCreateRequest) -> Watcher:
        return self._hub.watch(
            self,
            id,
            request.key or b"\0",
            request.range_end,
            request.start_revision,
            [_FILTERS[kind] for kind in request.filters if kind in _FILTERS],
            request.prev_kv,
            request.fragment,
            request.progress_notify,
        )

    def _choose_id(self, wanted: int) -> int:
        if wanted:
            if wanted in self._watchers:
                raise WatchRefused("mvcc: duplicate watch ID provided on the WatchStream")
            return wanted
        while self._next_id in self._watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _cancel(self, id: int) -> None:
        watcher = self._watchers.pop(id, None)
        if watcher is None:
            return
        # What was published before the cancel is still the watcher's.
        self._hub.flush()
        self._hub.cancel(watcher)
        self._respond(pb.WatchResponse(watch_id=id, canceled=True))

    def _refuse(self, reason: str) -> None:
        self._respond(pb.WatchResponse(watch_id=INVALID_ID, created=True, canceled=True, cancel_reason=reason))

    # ---- responses

    def _respond(self, response: pb.WatchResponse, revision: int | None = None) -> None:
        head = self._member.header_field(self._hub.revision if revision is None else revision)
        self._call.send(head + response.SerializeToString())

    def _deliver_fragments(self, watcher: Watcher, head: bytes, parts: Sequence[bytes]) -> None:
        limit = self._service.fragment_bytes
        start = head + watcher.prefix
        if len(start) + sum(map(len, parts)) < limit:
            self._call.send(start + b"".join(parts))
            return
        begin = 0
        while begin < len(parts):
            end, size = begin + 1, len(start) + len(_FRAGMENT) + len(parts[begin])
            while end < len(parts) and size + len(parts[end]) < limit:
                size += len(parts[end])
                end += 1
            more = _FRAGMENT if end < len(parts) else b""
            self._call.send(start + more + b"".join(parts[begin:end]))
            begin = end

    def _tick(self) -> None:
        self._hub.flush()
        for watcher in list(self._watchers.values()):
            if watcher.progress and not watcher.done:
                if watcher.quiet and self._hub.caught_up(watcher) and self.buffered == 0:
                    self._respond(pb.WatchResponse(watch_id=watcher.id))
                watcher.quiet = True
        self._ticker = None if self._ended else self._service.tick_later(self._tick)
