"""One member under test whose peers are played by the test, and small groups that start from given logs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from raft_memory_log import MemoryLog

from kvstore.raft.codec import decode_conf_change
from kvstore.raft.config import Config
from kvstore.raft.node import RawNode
from kvstore.raft.types import ConfState, Entry, EntryKind, HardState, Message, MessageKind, Role


def entries(terms: Iterable[int], first: int = 1) -> list[Entry]:
    """Entries with these terms, from index `first` on; their data say where they come from."""
    return [Entry(term, index, EntryKind.NORMAL, f"{term}/{index}".encode()) for index, term in enumerate(terms, first)]


class Alone:
    """Member 1 of a group of `voters`."""

    def __init__(
        self,
        voters: Iterable[int] = (1, 2, 3),
        *,
        terms: Iterable[int] = (),
        hard: HardState | None = None,
        learners: Iterable[int] = (),
        outgoing: Iterable[int] = (),
        me: int = 1,
        pre_vote: bool = False,
        check_quorum: bool = False,
        randrange: Callable[[int], int] = lambda _: 0,
    ) -> None:
        """terms: of the entries in the log; hard: what was saved, by default the last entry's term and nothing
        committed.
        """
        state = ConfState(voters=tuple(voters), learners=tuple(learners), voters_outgoing=tuple(outgoing))
        self.log = MemoryLog(state)
        self.log.held = entries(terms)
        self.log.hard = hard or HardState(self.log.held[-1].term if self.log.held else 0, 0, 0)
        self.log.sync()
        config = Config(
            id=me,
            randrange=randrange,
            election_ticks=10,
            heartbeat_ticks=1,
            pre_vote=pre_vote,
            check_quorum=check_quorum,
        )
        self.node = RawNode(config, self.log)
        self.applied: list[Entry] = []
        self.read: list[tuple[bytes, int]] = []

    def step(self, kind: MessageKind, from_: int, term: int | None = None, **fields: object) -> list[Message]:
        """A peer says something (in our term, unless told otherwise); what comes out once everything is saved."""
        message = Message(kind, to=self.node.id, from_=from_, term=self.node.term if term is None else term)
        for name, value in fields.items():
            setattr(message, name, value)
        self.node.step(message)
        return self.drain()

    def drain(self) -> list[Message]:
        """Save and apply whatever there is to; every message that came out of it."""
        out: list[Message] = []
        while self.node.has_ready():
            ready = self.node.ready()
            self.log.write(ready)
            self.log.sync()
            self.node.saved(ready)
            out += ready.messages + ready.messages_after_save
            for entry in ready.committed:
                self.applied.append(entry)
                if entry.kind == EntryKind.CONF_CHANGE:
                    self.node.apply_conf_change(decode_conf_change(entry.data))
            if ready.committed:
                self.node.applied(ready.committed[-1].index)
            self.read += [(state.context, state.index) for state in ready.read_states]
        return out

    def tick(self, count: int = 1) -> list[Message]:
        """Time passes; what comes out."""
        for _ in range(count):
            self.node.tick()
        return self.drain()

    def elect(self, *, acknowledge: bool = True) -> Alone:
        """Become leader with everybody's vote, and have the term's first entry acknowledged by everybody."""
        self.node.campaign()
        self.drain()
        for peer in self.peers():
            if self.node.role is not Role.LEADER:
                self.step(MessageKind.VOTE_REPLY, peer)
        assert self.node.role is Role.LEADER
        for peer in self.peers() if acknowledge else ():
            self.step(MessageKind.APPEND_REPLY, peer, index=self.node.last_index)
        return self

    def peers(self) -> list[int]:
        """Everybody else, learners too."""
        state = self.node.conf_state
        return sorted({*state.voters, *state.learners, *state.voters_outgoing} - {self.node.id})

    def terms(self) -> list[int]:
        """The terms of the log's entries."""
        return [entry.term for entry in self.log.held]


class Group:
    """Members that start from given logs and talk to each other, except over links that are cut."""

    def __init__(self, logs: dict[int, list[int]], terms: dict[int, int] | None = None) -> None:
        """logs: the terms of each member's entries; terms: its current term, by default its last entry's."""
        self.members = {}
        for member, log in logs.items():
            hard = HardState((terms or {}).get(member, log[-1] if log else 0), 0, 0)
            self.members[member] = Alone(logs, terms=log, hard=hard, me=member)
        self.down: set[int] = set()

    def settle(self, pending: list[Message] | None = None) -> None:
        """Deliver until nobody has anything more to say."""
        messages = list(pending or [])
        while True:
            for member, alone in self.members.items():
                if member not in self.down:
                    messages += alone.drain()
            if not messages:
                return
            now, messages = messages, []
            for message in now:
                if not {message.from_, message.to} & self.down:
                    self.members[message.to].node.step(message)

    def tick(self, member: int, count: int = 1) -> None:
        """Time passes for one member, then everything is delivered."""
        for _ in range(count):
            self.members[member].node.tick()
        self.settle()
