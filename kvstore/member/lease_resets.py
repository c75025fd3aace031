"""Takes checkpoints back before their leases are renewed.

A checkpoint says in the log how much of a long lease is left, and a new leader goes by it. So a renewal of such a lease
is promised only once an entry that takes the checkpoint back is applied: whoever leads later has it, too. At most two
entries a lease in each checkpoint interval, as in etcd, however often it is renewed.
Until that entry is applied no further checkpoint of the lease is proposed: it would come behind it, and stand.

Faults assumed: the lead is lost meanwhile, the entry never applied, no more requests taken: whoever waits is told.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from kvstore.errors import EtcdError
from kvstore.member.requests import RequestKind
from kvstore.pb import etcd_pb2 as pb

if TYPE_CHECKING:
    from kvstore.member.member import Member

ResetDone = Callable[[EtcdError | None], None]


class LeaseResets:
    """Those under way on one member, one a lease."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._waiting: dict[int, list[ResetDone]] = {}

    def reset(self, lease: int, done: ResetDone) -> None:
        """done(None) once the lease has its whole time again, by the log."""
        waiting = self._waiting.setdefault(lease, [])
        waiting.append(done)
        # With each: the lead may have been lost, and won back, since the entry was proposed.
        self._member.lessor.begin_reset(lease)
        if len(waiting) > 1:
            return
        request = pb.LeaseCheckpointRequest(checkpoints=[pb.LeaseCheckpoint(ID=lease, remaining_TTL=0)])
        over = partial(self._over, lease)
        try:
            self._member.propose(RequestKind.LEASE_CHECKPOINT, request.SerializeToString(), request, over)
        except EtcdError as problem:
            over(None, problem)

    def _over(self, lease: int, result: Any, problem: EtcdError | None) -> None:
        if problem is None:  # else it may be applied yet, and nobody will say when
            self._member.lessor.end_reset(lease)
        for done in self._waiting.pop(lease):
            done(problem)
