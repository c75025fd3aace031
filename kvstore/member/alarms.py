"""Alarms: what stops writes on the whole cluster until a person has looked. One row of the table `alarms` each."""

from __future__ import annotations

from kvstore.mvcc.types import Tables
from kvstore.pb import etcd_pb2 as pb


class Alarms:
    """The active alarms as this member has applied them."""

    def __init__(self, tables: Tables) -> None:
        self._table = tables.table("alarms")
        self._active: set[tuple[int, int]] = set()
        self.no_space = False
        self.corrupt = False
        self.load()

    def load(self) -> None:
        """Read the table again, after start or after a snapshot took its place."""
        self._active = {(int.from_bytes(k[:8], "big"), k[8]) for k, _ in self._table.scan()}
        self._summarise()

    def apply(self, request: pb.AlarmRequest) -> list[pb.AlarmMember]:
        """Carry out an AlarmRequest; the alarms it listed, raised or cleared."""
        wanted = [
            (m, a) for m, a in sorted(self._active) if request.alarm in (pb.NONE, a) and request.memberID in (0, m)
        ]
        if request.action == pb.AlarmRequest.GET:
            return [pb.AlarmMember(memberID=m, alarm=pb.AlarmType.Name(a)) for m, a in wanted]
        if request.action == pb.AlarmRequest.ACTIVATE:
            wanted = [(request.memberID, int(request.alarm))] if request.alarm != pb.NONE else []
            for member, alarm in wanted:
                self._active.add((member, alarm))
                self._table.put(member.to_bytes(8, "big") + bytes((alarm,)), b"")
        else:
            for member, alarm in wanted:
                self._active.discard((member, alarm))
                self._table.delete(member.to_bytes(8, "big") + bytes((alarm,)))
        self._summarise()
        return [pb.AlarmMember(memberID=m, alarm=pb.AlarmType.Name(a)) for m, a in wanted]

    def has(self, member: int, alarm: int) -> bool:
        """Whether that member has raised that alarm."""
        return (member, alarm) in self._active

    def active(self) -> list[pb.AlarmMember]:
        """All alarms, by member."""
        return self.apply(pb.AlarmRequest(action=pb.AlarmRequest.GET))

    def _summarise(self) -> None:
        kinds = {alarm for _, alarm in self._active}
        self.no_space = pb.NOSPACE in kinds
        self.corrupt = pb.CORRUPT in kinds
