"""One run: a seed makes a cluster, its clients and its faults; then all is healed and life must come back."""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import dataclass
from typing import Any

from sim_checks import Checks, Violation, require
from sim_clients import Clients
from sim_cluster import Cluster
from sim_faults import Faults
from sim_member import Ground
from sim_world import World

from kvstore.errors import EtcdError
from kvstore.member.requests import RequestKind
from kvstore.pb import etcd_pb2 as pb

# Of a heartbeat's length in seconds: the usual, and slower ones, which simulate more hours in the same time.
BEATS = (0.1, 1.0, 5.0, 5.0)


@dataclass
class Outcome:
    """What a run was and did. seconds: simulated, of the whole cluster. cpu: of this machine."""

    seed: int
    members: int
    beat: float
    seconds: float
    cpu: float
    events: int
    applied: int
    acknowledged: int
    reads: int
    terms: int
    lives: int
    snapshots: int
    changes: int
    refused: int
    digest: int
    faults: tuple[str, ...]

    @property
    def hours(self) -> float:
        """Simulated cluster-hours."""
        return self.seconds / 3600


class SimulationFailed(AssertionError):
    """A run did not hold; the message has its seed and the last lines of its trace."""


class Run:
    """Everything of one run."""

    def __init__(self, seed: int, beat: float | None = None, beats: int = 400) -> None:
        """beat: seconds of a heartbeat, drawn if None. beats: how many the faults go on for."""
        self.world = world = World(seed)
        dice = world.random
        self.size = dice.choice((3, 3, 3, 5, 5, 7))
        drawn = dice.choice(BEATS)
        self.beat = beat if beat is not None else drawn
        self.beats = beats
        self.scale = self.beat / 0.1
        election_ticks = dice.choice((5, 10, 10, 20))
        settings: dict[str, Any] = {
            "heartbeat_interval": round(self.beat * 1000),
            "election_timeout": min(round(self.beat * 1000) * election_ticks, 50_000),
            "snapshot_count": dice.choice((5, 20, 60, 1000)),
            "auto_compaction_mode": "revision",
            "auto_compaction_retention": dice.choice(("0", "50")),
            "pre_vote": dice.random() < 0.85,
        }
        self.election = settings["election_timeout"] / 1000
        self.checks = Checks(world)
        self.ground = Ground(world, list(range(1, self.size + 4)), dice.choice((2048, 8192, 65536)))
        self.cluster = Cluster(world, self.ground, self.checks, self.size, settings)
        self.clients = Clients(world, self.cluster, self.checks, keys=dice.choice((3, 20, 200)))
        self.clients.shortest_ttl = max(1, int(self.election * 1.5) + 1)
        self.faults = Faults(world, self.cluster, self.clients, self.beat)
        self.request_rate = dice.choice((0.1, 0.3, 1.0, 3.0)) / self.beat
        self.fault_every = self.election * dice.choice((0.7, 2.0, 6.0))

    def run(self) -> Outcome:
        """The whole of it. SimulationFailed."""
        began = time.process_time()
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            with self.ground.installed(self.scale):
                self._run()
        except BaseException as problem:
            if isinstance(problem, KeyboardInterrupt):
                raise
            raise SimulationFailed(self._story(problem)) from problem
        finally:
            asyncio._set_running_loop(outer)
            for process in self.cluster.processes:
                if process.life is not None:
                    process.life.end()
            gc.collect(0)
        return self._outcome(time.process_time() - began)

    def _run(self) -> None:
        world = self.world
        for process in self.cluster.processes:
            process.start()
        world.at(self.election, None, self._request)
        world.at(self.election * 2, None, self._fault)
        world.at(self.election * 2, None, self._recovery)
        world.run(self.beats * self.beat + self.election * 2)
        self._healing = True
        self.faults.heal()
        self._prove_life()
        self._compare()

    _healing = False

    def _request(self) -> None:
        if not self._healing:
            self.clients.act()
            self.world.at(self.world.now + self.world.random.expovariate(self.request_rate), None, self._request)

    def _fault(self) -> None:
        if not self._healing:
            self.faults.act()
            self.world.at(self.world.now + self.world.random.expovariate(1 / self.fault_every), None, self._fault)

    def _recovery(self) -> None:
        if not self._healing:
            self.faults.recover()
            pace = self.fault_every / 3 + self.election / 3
            self.world.at(self.world.now + self.world.random.expovariate(1 / pace), None, self._recovery)

    # ---- after all faults

    def _prove_life(self) -> None:
        """Within a few election timeouts every member of the group takes and applies a write."""
        world = self.world
        deadline = world.now + self.election * 60 + 30
        waiting = {p.number for p in self.cluster.processes if p.enlisted and not p.removed}
        asked: dict[int, float] = {}

        def settled() -> bool:
            leader = self.cluster.leader()
            if leader is None or leader.member is None:
                return False
            conf = leader.member.raw.conf_state
            group = {*conf.voters, *conf.learners, *conf.voters_outgoing}
            waiting.intersection_update(n for n, m in self.cluster.ids.items() if m in group)
            top = self.checks.top
            return not waiting and all(
                p.member is not None and p.member.state.applied_index >= top
                for p in self.cluster.processes
                if self.cluster.ids.get(p.number) in group
            )

        while world.now < deadline:
            for process in self.cluster.running():
                number = process.number
                alarmed = process.member is not None and process.member.alarms.no_space
                if number in waiting and (alarmed or asked.get(number, -1e9) < world.now - self.election * 12 - 6):
                    asked[number] = world.now
                    self._ask(process, waiting)
            if world.run(world.now + self.beat, settled):
                return
        raise Violation(f"no life after all faults ended; m{sorted(waiting)} cannot write")

    def _ask(self, process: Any, waiting: set[int]) -> None:
        number, member = process.number, process.member
        if member.alarms.no_space:
            self.world.enter(process.life, self.clients.disarm, process)
        body, request = self.clients._marked(pb.PutRequest(key=b"alive", value=b"%d" % number))
        self.checks.proposed.add(body)

        def done(result: Any, problem: EtcdError | None) -> None:
            if problem is None:
                self.checks.written_ok(RequestKind.PUT, body, 0)
                waiting.discard(number)

        self.world.enter(process.life, member.propose, RequestKind.PUT, body, request, done)

    def _compare(self) -> None:
        """All members hold the same, to the byte, where compaction's progress does not show."""
        tops = [p for p in self.cluster.running() if p.member and p.member.state.applied_index == self.checks.top]
        require(tops, "nobody stands at the top")
        require(self.checks.top >= self.checks.max_acknowledged, "an acknowledged write is gone")
        first: Any = None
        for process in tops:
            assert process.member is not None
            member = process.member
            tables = self.ground.tables[process.number].data
            picture = {name: dict(tables.get(name, {})) for name in ("keys", "leases", "members", "alarms")}
            found = (picture, member.store.revision, member.store.hash_kv(member.store.revision))
            if first is None:
                first = found
            require(found[:2] == first[:2], f"m{process.number} holds another state")
            require(found[2].hash == first[2].hash, f"m{process.number} has another hash")

    # ---- the report

    def _story(self, problem: BaseException) -> str:
        lines = "\n  ".join(self.world.trace)
        cause = f"{type(problem).__name__}: {problem}"
        about = f"{self.size} members, heartbeat {self.beat:g} s, faults: {' '.join(sorted(self.faults.kinds))}"
        return f"seed {self.world.seed}: {cause}\n  {about}\n  {lines}\n  repeat: scripts/sim --seed {self.world.seed}"

    def _outcome(self, cpu: float) -> Outcome:
        checks, processes = self.checks, self.cluster.processes
        return Outcome(
            seed=self.world.seed,
            members=self.size,
            beat=self.beat,
            seconds=self.world.now,
            cpu=cpu,
            events=self.world.events,
            applied=checks.top,
            acknowledged=checks.acknowledged,
            reads=checks.reads,
            terms=len(checks.leaders),
            lives=sum(p.lives for p in processes),
            snapshots=checks.snapshots,
            changes=checks.changes,
            refused=sum(p.refused for p in processes),
            digest=self.world.digest,
            faults=tuple(sorted(self.faults.kinds)),
        )


def simulate(seed: int, **options: Any) -> Outcome:
    """One run of a seed. SimulationFailed."""
    return Run(seed, **options).run()
