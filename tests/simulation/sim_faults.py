"""What goes wrong: each kind of fault at its own rate, which the seed draws; some runs have few kinds, some all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sim_clients import Clients
from sim_cluster import Cluster, Process
from sim_net import Weather, url_of
from sim_world import World

from kvstore.errors import EtcdError
from kvstore.member.membership import encode_add, encode_id
from kvstore.member.peers.joining import Joined
from kvstore.member.requests import RequestKind
from kvstore.pb import etcd_pb2 as pb


class Faults:
    """The adversary of one run."""

    def __init__(self, world: World, cluster: Cluster, clients: Clients, beat: float) -> None:
        """beat: seconds of a heartbeat."""
        self.world = world
        self.cluster = cluster
        self.clients = clients
        self.beat = beat
        kinds: dict[str, tuple[Callable[[], None], float]] = {
            "kill": (self.kill, 1.0),
            "power": (self.power, 0.7),
            "torn": (self.torn, 1.0),
            "stop": (self.stop, 0.4),
            "pause": (self.pause, 1.0),
            "partition": (self.partition, 1.2),
            "breaks": (self.breaks, 1.0),
            "fsync": (self.fsync, 0.4),
            "full": (self.full, 0.4),
            "slow": (self.slow, 0.6),
            "rot": (self.rot, 0.3),
            "wall": (self.wall, 0.3),
            "transfer": (self.transfer, 1.0),
            "change": (self.change, 1.0),
            "weather": (self.weather, 0.8),
        }
        dice = world.random
        share = dice.choice((0.15, 0.4, 0.7, 1.0))
        self.kinds = {name: kind for name, kind in kinds.items() if dice.random() < share}
        self.hostile = dice.random() < 0.4
        self.weather()

    def act(self) -> None:
        """One fault of some kind."""
        if self.kinds:
            works, weights = zip(*self.kinds.values(), strict=True)
            self.world.random.choices(works, weights)[0]()

    def recover(self) -> None:
        """Somebody starts what is down, or opens what is cut; many times as often as faults happen."""
        dice = self.world.random
        down = [p for p in self.cluster.processes if p.life is None and p.enlisted and not p.removed]
        if down and dice.random() < 0.5:
            process = dice.choice(down)
            if process.rotten is not None and dice.random() < 0.3:
                self._repair(process)
            process.start()
        if self.cluster.ground.net.blocked and dice.random() < 0.4:
            self.world.note("the network is whole")
            self.cluster.ground.net.open()
        for disk in self.cluster.ground.disks.values():
            if disk.full and dice.random() < 0.2:
                disk.full = False
        alarmed = [p for p in self.cluster.running() if p.member is not None and p.member.alarms.no_space]
        if alarmed and dice.random() < 0.3:
            process = dice.choice(alarmed)
            assert process.life is not None
            self.world.enter(process.life, self.clients.disarm, process)

    def _someone(self) -> Process | None:
        running = self.cluster.running()
        leader = self.cluster.leader()
        if leader is not None and self.world.random.random() < 0.4:
            return leader
        return self.world.random.choice(running) if running else None

    def kill(self) -> None:
        if process := self._someone():
            process.kill(power_loss=False)

    def power(self) -> None:
        victims = self.cluster.running()
        if self.world.random.random() < 0.8:
            victims = victims and [self.world.random.choice(victims)]
        for process in victims:
            process.kill(power_loss=True)

    def torn(self) -> None:
        """The machine ends during one of its next disk calls."""
        if process := self._someone():
            process.disk.cut_after = self.world.random.randrange(12)
            process.power_lost = process.power_lost or self.world.random.random() < 0.7
            self.world.note(f"m{process.number} ends in {process.disk.cut_after} disk calls")

    def stop(self) -> None:
        if process := self._someone():
            process.stop()

    def pause(self) -> None:
        if (process := self._someone()) and process.life is not None:
            seconds = self.beat * self.world.random.choice((2, 8, 15, 40))
            self.world.note(f"m{process.number} stands still for {seconds:g} s")
            process.life.busy_until = self.world.now + seconds

    def partition(self) -> None:
        dice = self.world.random
        everyone = [p.number for p in self.cluster.processes]
        kind = dice.choice(("halves", "one", "deaf", "mute", "link", "one-way", "bridge"))
        a, b = dice.sample(everyone, 2)
        others = [n for n in everyone if n != a]
        if kind == "halves":
            side = set(dice.sample(everyone, dice.randrange(1, len(everyone))))
            pairs = {(x, y) for x in everyone for y in everyone if (x in side) != (y in side)}
        elif kind == "one":
            pairs = {(a, x) for x in others} | {(x, a) for x in others}
        elif kind == "deaf":
            pairs = {(x, a) for x in others}
        elif kind == "mute":
            pairs = {(a, x) for x in others}
        elif kind == "bridge":  # everybody talks to `a`, nobody else to each other
            pairs = {(x, y) for x in others for y in others if x != y}
        else:
            pairs = {(a, b)} if kind == "one-way" else {(a, b), (b, a)}
        self.world.note(f"partition ({kind}) {sorted(pairs)}")
        self.cluster.ground.net.block(pairs)

    def breaks(self) -> None:
        self.cluster.ground.net.break_some(self.world.random.choice((0.1, 0.5, 1.0)))

    def fsync(self) -> None:
        if process := self._someone():
            self.world.note(f"m{process.number}: the next fsync fails")
            process.disk.fail_sync = True
            process.power_lost = process.power_lost or self.world.random.random() < 0.3

    def full(self) -> None:
        if process := self._someone():
            self.world.note(f"m{process.number}: disk full")
            process.disk.full = True

    def slow(self) -> None:
        if process := self._someone():
            process.disk.sync_seconds = self.world.random.choice((0.0002, 0.0002, 0.005, 0.05, self.beat))

    def rot(self) -> None:
        down = [
            p for p in self.cluster.processes if p.life is None and p.enlisted and not p.removed and p.rotten is None
        ]
        if down:
            process = self.world.random.choice(down)
            process.disk.restart(process.power_lost)
            process.power_lost = False
            process.rotten = process.disk.rot(self.world.random)
            self.world.note(f"m{process.number}: a bit rots")

    def _repair(self, process: Process) -> None:
        if process.rotten is not None:
            process.disk.repair(*process.rotten)
            process.rotten = None

    def wall(self) -> None:
        """The wall clock of everybody is set."""
        self.world.wall_offset = 1_700_000_000.0 + self.world.random.uniform(-1e6, 1e6)

    def transfer(self) -> None:
        leader = self.cluster.leader()
        if leader is not None and leader.member is not None and leader.life is not None:
            target = self.world.random.choice(sorted(leader.member.raw.conf_state.voters))
            self.world.enter(leader.life, leader.member.raw.transfer_leader, target)
            self.world.enter(leader.life, leader.member.driver.wake)

    def change(self) -> None:
        """The operator adds a machine, promotes a learner, or takes a member out."""
        leader, dice = self.cluster.leader(), self.world.random
        if leader is None or leader.member is None or leader.life is None:
            return
        table = leader.member.cluster
        voters = sorted(m.ID for m in table.members.values() if not m.isLearner)
        learners = sorted(m.ID for m in table.members.values() if m.isLearner)
        spares = [p for p in self.cluster.processes if not p.enlisted]
        kind = dice.choice(("add", "add", "promote", "remove"))
        if kind == "add" and spares and len(table.members) < 7:
            self._add(leader, dice.choice(spares), learner=dice.random() < 0.6)
        elif kind == "promote" and learners:
            identity = dice.choice(learners)
            self._propose_change(leader, RequestKind.MEMBER_PROMOTE, encode_id(identity), lambda: None)
        elif kind == "remove" and len(voters) > 3:
            identity = dice.choice(voters + learners)
            self._propose_change(leader, RequestKind.MEMBER_REMOVE, encode_id(identity), lambda: None)

    def _add(self, leader: Process, spare: Process, learner: bool) -> None:
        member = leader.member
        assert member is not None
        identity = self.world.random.randrange(1, 1 << 63)
        info = pb.Member(ID=identity, peerURLs=[url_of(spare.number)], isLearner=learner)
        spare.enlisted = True  # for good: whether the change is through may stay unknown

        def added() -> None:
            spare.joined = Joined(member.cluster.id, identity, list(member.cluster.members.values()))
            self.cluster.ids[spare.number] = identity
            self.world.at(self.world.now + 0.1, None, spare.start)

        # Until it is told that it is in, it must not start.
        spare.removed = True

        def done() -> None:
            spare.removed = False
            added()

        self._propose_change(leader, RequestKind.MEMBER_ADD, encode_add(info, 3), done)

    def _propose_change(self, leader: Process, kind: int, body: bytes, then: Callable[[], None]) -> None:
        def done(result: Any, problem: EtcdError | None) -> None:
            self.world.note(f"{RequestKind(kind).name} {problem or 'is through'}")
            if problem is None:
                then()

        def propose() -> None:
            assert leader.member is not None
            leader.member.propose_change([(kind, body)], done)

        assert leader.life is not None
        self.world.enter(leader.life, propose)

    def weather(self) -> None:
        """The network is another one from now on."""
        dice = self.world.random
        hostile = self.hostile and dice.random() < 0.7
        self.cluster.ground.net.weather = Weather(
            delay=dice.choice((0.0003, 0.001, 0.02)) * dice.choice((1.0, 1.0, self.beat / 0.1)),
            loss=dice.choice((0.0, 0.02, 0.1, 0.3)) if hostile else 0.0,
            repeat=dice.choice((0.0, 0.05, 0.3)) if hostile else 0.0,
            reorder=dice.choice((0.0, 0.1, 0.5)) if hostile else 0.0,
            keepalive=self.beat * 50,
        )

    def heal(self) -> None:
        """Nothing goes wrong any more, and everybody runs."""
        self.world.note("heal")
        net = self.cluster.ground.net
        net.weather = Weather(keepalive=self.beat * 50)
        net.open()
        for process in self.cluster.processes:
            process.disk.full = process.disk.fail_sync = False
            process.disk.cut_after = -1
            process.disk.sync_seconds = 0.0002
            if process.life is not None:
                process.life.busy_until = min(process.life.busy_until, self.world.now)
                if process.member is None or process.told_to_stop:
                    process.kill(power_loss=False)
            self._repair(process)
            process.start()
