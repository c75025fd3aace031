"""A group of members in one process, driven by the commands of a trace file.

Nothing happens by itself: members tick, handle Readys and get messages only when a command says so (`stabilize` does
it until nothing is left to do). Election timeouts are not random: election_ticks, for everybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from raft_format import SIGN, change_text, conf_text, entry_text, message_text, ready_lines, status_lines
from raft_memory_log import MemoryLog

from kvstore.raft.codec import decode_conf_change, decode_message, encode_message
from kvstore.raft.config import Config
from kvstore.raft.node import RawNode
from kvstore.raft.types import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfState,
    Entry,
    EntryKind,
    Message,
    SnapshotMeta,
    Transition,
)

TRANSITIONS = {"implicit": Transition.JOINT_IMPLICIT, "explicit": Transition.JOINT_EXPLICIT}


@dataclass
class Host:
    """One member with its disk; without a node it is down."""

    config: Config
    log: MemoryLog
    slow_disk: bool
    node: RawNode
    up: bool = True
    conf_at: dict[int, ConfState] = field(default_factory=dict)
    applied: list[Entry] = field(default_factory=list)

    def conf_as_of(self, index: int) -> ConfState:
        """The membership after index was applied."""
        return self.conf_at[max(at for at in self.conf_at if at <= index)]


class Interaction:
    """`run(line)` executes one command and gives the lines it printed."""

    def __init__(self) -> None:
        self.hosts: dict[int, Host] = {}
        self.net: list[Message] = []
        self.cut: set[tuple[int, int]] = set()
        self.out: list[str] = []

    def run(self, line: str) -> list[str]:
        """Raises AttributeError for a command that does not exist."""
        words = line.split()
        options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        arguments = [word for word in words[1:] if "=" not in word]
        self.out = []
        getattr(self, "do_" + words[0].replace("-", "_"))(arguments, options)
        return self.out or ["ok"]

    # ---- the group ----

    def do_add_nodes(self, arguments: list[str], options: dict[str, str]) -> None:
        """add-nodes COUNT [voters=1,2] [learners=3] [index=N]: voters default to all; index: compacted up to there."""
        count = int(arguments[0])
        new = range(len(self.hosts) + 1, len(self.hosts) + count + 1)
        state = ConfState(voters=_ids(options.get("voters"), new), learners=_ids(options.get("learners"), ()))
        index = int(options.get("index", 0))
        for member in new:
            config = _config(member, options)
            log = MemoryLog(state, index, min(index, 1))
            host = Host(config, log, "slow-disk" in arguments, RawNode(config, log, index), conf_at={index: state})
            self.hosts[member] = host

    def do_status(self, arguments: list[str], options: dict[str, str]) -> None:
        """status [ID …]"""
        for host in self._chosen(arguments):
            self.out += status_lines(host.node.status())

    def do_log(self, arguments: list[str], options: dict[str, str]) -> None:
        """log [ID …]: what a log holds, on disk or not."""
        for host in self._chosen(arguments):
            log = host.log
            point = f"{host.config.id}: compacted to {log.point.term}/{log.point.index}"
            self.out.append(", ".join([point, *map(entry_text, log.held)]))

    def _chosen(self, arguments: Iterable[str]) -> list[Host]:
        chosen = [self.hosts[int(a)] for a in arguments if a.isdigit()]
        return [host for host in chosen or self.hosts.values() if host.up]

    # ---- what a member is asked to do ----

    def do_campaign(self, arguments: list[str], options: dict[str, str]) -> None:
        """campaign ID"""
        self._answer(self._node(arguments).campaign())

    def do_propose(self, arguments: list[str], options: dict[str, str]) -> None:
        """propose ID DATA …"""
        for data in arguments[1:]:
            self._answer(self._node(arguments).propose(data.encode()))

    def do_propose_conf_change(self, arguments: list[str], options: dict[str, str]) -> None:
        """propose-conf-change ID [implicit|explicit] [v4|l4|r4 …]"""
        transition = next((TRANSITIONS[a] for a in arguments if a in TRANSITIONS), Transition.AUTO)
        singles = tuple(
            ConfChangeSingle(ConfChangeKind(SIGN[a[0]]), int(a[1:])) for a in arguments[1:] if a not in TRANSITIONS
        )
        self._answer(self._node(arguments).propose_conf_change(ConfChange(singles, transition)))

    def do_read_index(self, arguments: list[str], options: dict[str, str]) -> None:
        """read-index ID CONTEXT …"""
        for context in arguments[1:]:
            self._answer(self._node(arguments).read_index(context.encode()))

    def do_transfer_leadership(self, arguments: list[str], options: dict[str, str]) -> None:
        """transfer-leadership ID TO"""
        self._node(arguments).transfer_leader(int(arguments[1]))

    def do_tick(self, arguments: list[str], options: dict[str, str]) -> None:
        """tick ID [COUNT]"""
        for _ in range(int(arguments[1]) if len(arguments) > 1 else 1):
            self._node(arguments).tick()

    def do_tick_election(self, arguments: list[str], options: dict[str, str]) -> None:
        """tick-election ID …: an election timeout for each."""
        for host in self._chosen(arguments):
            for _ in range(host.config.election_ticks):
                host.node.tick()

    def do_peer_lost(self, arguments: list[str], options: dict[str, str]) -> None:
        """peer-lost ID PEER"""
        self._node(arguments).peer_lost(int(arguments[1]))

    def do_report_unreachable(self, arguments: list[str], options: dict[str, str]) -> None:
        """report-unreachable ID PEER"""
        self._node(arguments).report_unreachable(int(arguments[1]))

    def do_report_snapshot(self, arguments: list[str], options: dict[str, str]) -> None:
        """report-snapshot ID PEER ok|failed"""
        self._node(arguments).report_snapshot(int(arguments[1]), arguments[2] == "ok")

    def _node(self, arguments: list[str]) -> RawNode:
        return self.hosts[int(arguments[0])].node

    def _answer(self, taken: bool) -> None:
        if not taken:
            self.out.append("dropped")

    # ---- disks ----

    def do_compact(self, arguments: list[str], options: dict[str, str]) -> None:
        """compact ID INDEX"""
        host, index = self.hosts[int(arguments[0])], int(arguments[1])
        host.log.compact(SnapshotMeta(index, host.log.term(index), host.conf_as_of(index)))

    def do_save(self, arguments: list[str], options: dict[str, str]) -> None:
        """save ID …: what a slow disk was given is on it now."""
        for host in self._chosen(arguments):
            self._save(host)

    def do_crash(self, arguments: list[str], options: dict[str, str]) -> None:
        """crash ID …: what is not saved is lost."""
        for host in self._chosen(arguments):
            host.log.crash()
            host.up = False

    def do_restart(self, arguments: list[str], options: dict[str, str]) -> None:
        """restart ID …: the state machine begins at the compaction point."""
        for host in map(self.hosts.__getitem__, map(int, arguments)):
            start = host.log.point
            host.conf_at = {start.index: start.conf_state}
            host.applied = []
            host.node = RawNode(host.config, host.log, start.index)
            host.up = True

    # ---- messages ----

    def do_cut(self, arguments: list[str], options: dict[str, str]) -> None:
        """cut A->B …: nothing arrives on that way; cut A: nothing to or from A."""
        for word in arguments:
            ends = [int(end) for end in word.split("->")]
            others = [host for host in self.hosts if host != ends[0]]
            around = [pair for other in others for pair in ((ends[0], other), (other, ends[0]))]
            self.cut.update([(ends[0], ends[1])] if len(ends) == 2 else around)

    def do_mend(self, arguments: list[str], options: dict[str, str]) -> None:
        """mend: every way is open again."""
        self.cut.clear()

    def do_drop_msgs(self, arguments: list[str], options: dict[str, str]) -> None:
        """drop-msgs [ID …]: messages under way to these are lost."""
        self._take(arguments, "lost ")

    def do_deliver_msgs(self, arguments: list[str], options: dict[str, str]) -> None:
        """deliver-msgs [ID …]: messages under way to these arrive."""
        self._deliver(arguments)

    def do_repeat_msgs(self, arguments: list[str], options: dict[str, str]) -> None:
        """repeat-msgs: every message under way is there twice."""
        self.net += self.net

    def _take(self, arguments: Iterable[str], note: str) -> list[Message]:
        wanted = {host.config.id for host in self._chosen(arguments)}
        taken = [m for m in self.net if m.to in wanted]
        self.net = [m for m in self.net if m.to not in wanted]
        self.out += [note + message_text(m) for m in taken]
        return taken

    def _deliver(self, arguments: Iterable[str]) -> bool:
        taken = self._take(arguments, "")
        for message in taken:
            # Over the wire's encoding, so that no two members share an object.
            self.hosts[message.to].node.step(decode_message(encode_message(message)))
        return bool(taken)

    def _send(self, messages: list[Message]) -> None:
        for message in messages:
            reachable = message.to in self.hosts and self.hosts[message.to].up
            if reachable and (message.from_, message.to) not in self.cut:
                self.net.append(message)

    # ---- Readys ----

    def do_process_ready(self, arguments: list[str], options: dict[str, str]) -> None:
        """process-ready [ID …]"""
        for host in self._chosen(arguments):
            self._process(host)

    def do_stabilize(self, arguments: list[str], options: dict[str, str]) -> None:
        """stabilize [quiet] [ID …]: until none of these has anything to do. Slow disks are not waited for."""
        busy = True
        while busy:
            busy = False
            for host in self._chosen(arguments):
                if host.node.has_ready():
                    busy = True
                    self._process(host)
            for host in self._chosen(arguments):
                if self._deliver([str(host.config.id)]):
                    busy = True
        if "quiet" in arguments:
            self.out = []

    def _process(self, host: Host) -> None:
        ready = host.node.ready()
        self.out.append(f"{host.config.id} has a Ready")
        self.out += ["  " + line for line in ready_lines(ready)]
        host.log.write(ready)
        if ready.snapshot is not None:
            host.conf_at[ready.snapshot.index] = ready.snapshot.conf_state
        self._send(ready.messages)
        for entry in ready.committed:
            self._apply(host, entry)
        if ready.committed:
            host.node.applied(ready.committed[-1].index)
        if not host.slow_disk:
            self._save(host)

    def _apply(self, host: Host, entry: Entry) -> None:
        host.applied.append(entry)
        if entry.kind == EntryKind.CONF_CHANGE:
            change = decode_conf_change(entry.data)
            state = host.node.apply_conf_change(change)
            host.conf_at[entry.index] = state
            self.out.append(f"  {change_text(change)}: {conf_text(state)}")

    def _save(self, host: Host) -> None:
        done = host.log.sync()
        if host.slow_disk and done:
            self.out.append(f"{host.config.id} has saved {len(done)}")
        for ready in done:
            host.node.saved(ready)
            self._send(ready.messages_after_save)


def _ids(text: str | None, default: Iterable[int]) -> tuple[int, ...]:
    return tuple(default) if text is None else tuple(int(part) for part in text.split(",") if part)


def _config(member: int, options: dict[str, str]) -> Config:
    return Config(
        id=member,
        randrange=lambda _: 0,
        election_ticks=int(options.get("election-ticks", 3)),
        max_inflight_messages=int(options.get("inflight", 256)),
        max_message_bytes=int(options.get("message-bytes", 1 << 20)),
        max_uncommitted_bytes=int(options.get("uncommitted-bytes", 0)),
        max_committed_bytes=int(options.get("committed-bytes", 1 << 20)),
        pre_vote=options.get("pre-vote", "on") == "on",
        check_quorum=options.get("check-quorum", "on") == "on",
    )
