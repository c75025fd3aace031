"""Who may open a stream, and which streams end when the cluster has no leader.

Clients that send `hasleader: true` are refused at once where no leader is known. A stream that runs already goes on
through an election, because reconnecting costs more than waiting; it fails after three election timeouts without a
leader, as etcd's do, and the client tries another member.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvstore.errors import error
from kvstore.services.guard import check_leader, refuse_learner

if TYPE_CHECKING:
    import asyncio

    from kvstore.member.member import Member
    from kvstore.wire.grpc.call import Call

PATIENCE = 3  # election timeouts


class LeaderGuard:
    """The calls of one service that must not outlive the leader for long."""

    def __init__(self, member: Member) -> None:
        """Watches the member's leader from now on."""
        self._member = member
        self._patience = PATIENCE * member.config.election_timeout / 1000
        self._calls: dict[Call, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        member.on_leader_change(self._leader_changed)
        self._leader_changed()

    def admit(self, call: Call) -> None:
        """Take a new stream under guard if its client asked for it. Raises NO_LEADER, NOT_SUPPORTED_FOR_LEARNER."""
        refuse_learner(self._member)
        check_leader(self._member, call)
        if call.metadata.get("hasleader") == "true":
            self._calls[call] = None

    def release(self, call: Call) -> None:
        """The stream has ended."""
        self._calls.pop(call, None)

    def _leader_changed(self) -> None:
        if self._member.leader_id and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif not self._member.leader_id and self._timer is None:
            self._timer = self._member.loop.call_later(self._patience, self._give_up)

    def _give_up(self) -> None:
        self._timer = None
        calls, self._calls = self._calls, {}
        problem = error("NO_LEADER")
        for call in calls:
            call.fail(problem.code, problem.message)
