"""Applies committed requests to the state machine: the only writer of the store.

Everything here is deterministic: the same entries give the same state on every member. An EtcdError is a result like
any other; it too is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from kvstore.errors import EtcdError, error
from kvstore.failpoints import armed, hit
from kvstore.member.alarms import Alarms
from kvstore.member.apply.auth_applier import AuthApplier
from kvstore.member.cluster import Cluster
from kvstore.member.membership import members_updated
from kvstore.member.requests import RequestKind, unsign
from kvstore.mvcc.lease import Lessor
from kvstore.mvcc.results import TxnResult
from kvstore.mvcc.store import Store
from kvstore.mvcc.swap import Swap, read_swap
from kvstore.pb import etcd_pb2 as pb

Apply = Callable[[Any], Any]

# Deletes of more keys than that are applied in slices of so many (mvcc/large_delete.py). Neither shows in the result.
LARGE_DELETE = 1_000
SLICE_KEYS = 64

_PUT, _TXN = int(RequestKind.PUT), int(RequestKind.TXN)

# What a cluster whose members differ refuses, so that they do not differ more; reads are served.
_NOT_WHEN_CORRUPT = frozenset(
    {
        RequestKind.PUT,
        RequestKind.DELETE_RANGE,
        RequestKind.TXN,
        RequestKind.COMPACT,
        RequestKind.LEASE_GRANT,
        RequestKind.LEASE_REVOKE,
        RequestKind.LEASE_EXPIRE,
    }
)


class Applier:
    """Request kind → what it does to the store."""

    def __init__(self, store: Store, lessor: Lessor, cluster: Cluster, alarms: Alarms, auth: AuthApplier) -> None:
        self._store = store
        self._lessor = lessor
        self._cluster = cluster
        self._alarms = alarms
        self._auth = auth
        self._auth_store = auth.store
        self._now = 0.0
        # Since the start, for metrics.
        self.expired_leases = 0
        # Told when there are revisions to be removed from the tables.
        self.compacted: Callable[[], None] = lambda: None
        # Told when the table of members is another one.
        self.membership_changed: Callable[[], None] = lambda: None
        self._table: dict[int, tuple[Any, Apply]] = {
            RequestKind.PUT: (pb.PutRequest.FromString, self._put),
            RequestKind.DELETE_RANGE: (pb.DeleteRangeRequest.FromString, self._delete_range),
            RequestKind.TXN: (_read_txn, self._txn),
            RequestKind.COMPACT: (pb.CompactionRequest.FromString, self._compact),
            RequestKind.LEASE_GRANT: (pb.LeaseGrantRequest.FromString, self._grant),
            RequestKind.LEASE_REVOKE: (pb.LeaseRevokeRequest.FromString, self._revoke),
            RequestKind.LEASE_EXPIRE: (pb.LeaseRevokeRequest.FromString, self._expire),
            RequestKind.LEASE_CHECKPOINT: (pb.LeaseCheckpointRequest.FromString, lessor.checkpoint),
            RequestKind.ALARM: (pb.AlarmRequest.FromString, self._alarms.apply),
            RequestKind.MEMBER_ATTRIBUTES: (pb.Member.FromString, self._attributes),
            RequestKind.MEMBER_UPDATE: (pb.Member.FromString, self._update_member),
            **auth.table,
        }

    @property
    def revision(self) -> int:
        """The store's current main revision."""
        return self._store.revision

    def begin(self, now: float, index: int) -> None:
        """The requests of one entry follow.

        now: the monotonic time (seconds) that leases granted from here on begin to run at; it never reaches the stored
        state. index: the entry's.
        """
        self._now = now
        self._auth.index = index

    def apply(self, kind: int, body: bytes, request: Any = None) -> Any:
        """Apply one request.

        `request` is its parsed form if the caller has it. Returns the result, or the EtcdError, or a generator that
        applies a part of a large delete whenever it is advanced and returns the result: nothing else may be applied
        before that.
        """
        identity = None
        if kind not in self._table:
            kind, body, identity = unsign(kind, body)
        parse, work = self._table[kind]
        try:
            if request is None:
                request = parse(body)
            if self._auth_store.enabled:
                if isinstance(request, Swap):
                    request = pb.TxnRequest.FromString(body)
                self._auth.check(kind, identity, request)
            if self._alarms.corrupt and kind in _NOT_WHEN_CORRUPT:
                raise error("CORRUPT")
            return work(request)
        except EtcdError as problem:
            return problem

    @property
    def foreseen(self) -> int:
        """The revision of the next put, if that is of a key and a value and no more: none is refused, and nobody waits
        for its event. 0 if that is not sure."""
        alarms = self._alarms
        return 0 if self._auth_store.enabled or alarms.no_space or alarms.corrupt else self._store.unwatched_revision

    def put_run(self, requests: Sequence[Any], start: int, end: int) -> int:
        """Apply the plain puts that requests[start:end] begins with, in one go; how many those are.

        requests: each begins with its kind and body. 0 if the first is to be given to `apply`.
        """
        if self._auth_store.enabled or self._alarms.no_space or self._alarms.corrupt:
            return 0
        return self._store.put_run(requests, start, end, _PUT)

    def swap_run(self, requests: Sequence[Any], start: int, end: int) -> list[TxnResult]:
        """The same with the transactions at the beginning that are swaps; a result for each."""
        if self._auth_store.enabled or self._alarms.no_space or self._alarms.corrupt:
            return []
        return self._store.swap_run(requests, start, end, _TXN)

    def _put(self, request: pb.PutRequest) -> Any:
        if self._alarms.no_space:
            raise error("NO_SPACE")
        return self._store.put(request)

    def _delete_range(self, request: pb.DeleteRangeRequest) -> Any:
        store = self._store
        if store.unfinished or store.delete_size(request) > LARGE_DELETE:
            return store.delete_range_slices(request, SLICE_KEYS)
        return store.delete_range(request)

    def _txn(self, request: pb.TxnRequest | Swap) -> Any:
        if self._alarms.no_space and (request.puts if isinstance(request, Swap) else writes(request)):
            raise error("NO_SPACE")
        return self._store.txn(request)

    def _compact(self, request: pb.CompactionRequest) -> Any:
        if armed:
            hit("apply-before-compact")
        self._store.compact(request.revision)
        self.compacted()
        return self._store.revision

    def _grant(self, request: pb.LeaseGrantRequest) -> Any:
        if self._alarms.no_space:
            raise error("NO_SPACE")
        if armed:
            hit("apply-before-grant")
        return self._lessor.grant(request.ID, request.TTL, self._now)

    def _revoke(self, request: pb.LeaseRevokeRequest) -> Any:
        if self._store.unfinished or self._lessor.key_count(request.ID) > LARGE_DELETE:
            return self._revoke_slices(request.ID)
        keys = self._lessor.revoke(request.ID)
        _between_lease_and_keys()
        if keys:
            self._store.delete_keys(keys)
        return self._store.revision

    def _revoke_slices(self, lease: int) -> Generator[None, None, int]:
        """The lease goes with the last of its keys: until then what is in the tables fits together."""
        yield from self._store.delete_keys_slices(self._lessor.unsorted_keys(lease), SLICE_KEYS)
        _between_lease_and_keys()
        self._lessor.revoke(lease)
        return self._store.revision

    def _expire(self, request: pb.LeaseRevokeRequest) -> Any:
        revision = self._revoke(request)
        self.expired_leases += 1
        return revision

    def _attributes(self, request: pb.Member) -> Any:
        self._cluster.set_attributes(request.ID, request.name, request.clientURLs)

    def _update_member(self, request: pb.Member) -> Any:
        self._cluster.switch(members_updated(self._cluster, request), self._cluster.leaving)
        self.membership_changed()


def _between_lease_and_keys() -> None:
    if armed:
        hit("apply-mid-revoke")


def _read_txn(body: bytes) -> pb.TxnRequest | Swap:
    return read_swap(body) or pb.TxnRequest.FromString(body)


def writes(request: pb.TxnRequest) -> bool:
    """Whether either branch of a transaction puts anything, at any depth."""
    for op in (*request.success, *request.failure):
        which = op.WhichOneof("request")
        if which == "request_put" or (which == "request_txn" and writes(op.request_txn)):
            return True
    return False
