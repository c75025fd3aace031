"""A cluster's processes: started, stopped and killed, on machines that outlive them."""

from __future__ import annotations

from typing import Any

from sim_checks import Checks, EventCheck, Violation
from sim_member import Ground, SimMember
from sim_net import Server, url_of
from sim_os import ROOT
from sim_world import Life, PowerCut, World

from kvstore.member.bootstrap import MemberRemoved, Opened, open_member
from kvstore.member.config import Config
from kvstore.member.peers.joining import Joined
from kvstore.services.watch_pump import WatchPump
from kvstore.storage.data_dir import DataDir
from kvstore.storage.errors import LogDamaged, StorageError


class Process:
    """One member's machine, and the process on it if it runs."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster = cluster
        self.number = number
        self.life: Life | None = None
        self.member: SimMember | None = None
        self.opened: Opened | None = None
        self.rotten: tuple[str, int, int, int] | None = None
        self.power_lost = False
        # Its SIGTERM is on the way, but one that stands still has not heard it yet.
        self.told_to_stop = False
        self.lives = 0
        self.refused = 0
        # A machine that is not part of the cluster yet is no founder; one that was removed never runs again.
        self.enlisted = True
        self.joined: Joined | None = None
        self.removed = False

    @property
    def disk(self) -> Any:
        """Its disk."""
        return self.cluster.ground.disks[self.number]

    @property
    def running(self) -> bool:
        """Whether a process is there that serves."""
        return self.member is not None

    def start(self) -> None:
        """Start the process, if none runs. One that cannot start is not there afterwards."""
        if self.life is not None or not self.enlisted or self.removed:
            return
        world = self.cluster.world
        self.disk.restart(self.power_lost)
        self.power_lost = False
        self.told_to_stop = False
        self.lives += 1
        self.life = life = Life(world, self.number, offset=world.random.uniform(0, 1e6))
        world.enter(life, self._boot)

    def _boot(self) -> None:
        cluster, life = self.cluster, self.life
        assert life is not None
        config = cluster.config(self.number)
        try:
            self.opened = opened = open_member(config, DataDir.open(config.data_dir), self.joined)
        except MemberRemoved:
            self.retire()
            return
        except StorageError as problem:
            allowed = self.disk.full or self.disk.fail_sync or self.rotten is not None
            if not allowed:
                raise AssertionError(f"m{self.number} cannot start: {problem}") from problem
            self.refused += isinstance(problem, LogDamaged)
            cluster.world.note(f"m{self.number} cannot start: {type(problem).__name__}")
            self._gone(0.0)
            return
        member = SimMember.__new__(SimMember)
        member.observer = cluster.checks
        member.__init__(config, opened, failed=self._failed, removed=self._removed)  # type: ignore[misc]
        cluster.checks.names[member.id] = self.number
        cluster.ids[self.number] = member.id
        if cluster.checks.top == 0:
            cluster.checks.founded(opened.state.applied_index, opened.state.applied_term)
        server = Server()
        member.register_peer(server)  # type: ignore[arg-type]
        cluster.ground.net.listen(life, server)
        WatchPump(member.watches, life.loop.call_soon)
        sink = EventCheck(cluster.checks, f"watch on m{self.number}", member.store.revision)
        member.watches.watch(sink, 1, b"\0", b"\0")
        self.member = member
        member.start()
        cluster.world.note(f"m{self.number} starts at {opened.state.applied_index}")

    def _failed(self, problem: BaseException) -> None:
        if isinstance(problem, Violation):
            raise problem
        if not isinstance(problem, StorageError):
            raise AssertionError(f"m{self.number} gave up: {problem!r}") from problem
        self.cluster.world.note(f"m{self.number} stops: {type(problem).__name__}")
        assert self.life is not None
        self.life.cut = True

    def died(self, life: Life) -> None:
        """The process ended in the middle of something."""
        if life is self.life:
            self._gone(self.cluster.world.random.choice((0.001, self.cluster.ground.net.weather.keepalive / 2)))

    def kill(self, power_loss: bool) -> None:
        """SIGKILL, or the machine loses power."""
        if self.life is None:
            return
        self.cluster.world.note(f"m{self.number} {'loses power' if power_loss else 'is killed'}")
        self.power_lost = self.power_lost or power_loss
        self._gone(self.cluster.ground.net.weather.keepalive / 2 if power_loss else 0.001)

    def _gone(self, heard_after: float) -> None:
        life, self.life, self.member, self.opened = self.life, None, None, None
        assert life is not None
        self.cluster.ground.net.gone(life, heard_after)
        self.disk.dead = True
        life.end()

    def _removed(self) -> None:
        self.cluster.world.note(f"m{self.number} hears that it is out")
        self.removed = True
        assert self.life is not None
        self.life.cut = True

    def retire(self) -> None:
        """The member was removed: its process ends for good."""
        self.cluster.world.note(f"m{self.number} is out")
        self.removed = True
        if self.life is not None:
            self._gone(0.001)

    def stop(self) -> None:
        """SIGTERM."""
        life, member, opened = self.life, self.member, self.opened
        if life is None or member is None or opened is None or self.told_to_stop:
            return
        self.told_to_stop = True
        self.cluster.world.note(f"m{self.number} is told to stop")

        async def shut_down() -> None:
            await member.stop()
            try:
                member.state.save_position()
                member.state.backend.commit()
                member.state.backend.sync()
                opened.close()
            except StorageError:
                pass  # a full or failing disk: the next start goes back to what was durable
            life.cut = True

        self.cluster.world.enter(life, lambda: life.loop.create_task(shut_down()))


class Cluster:
    """All members."""

    def __init__(self, world: World, ground: Ground, checks: Checks, size: int, settings: dict[str, Any]) -> None:
        self.world = world
        self.ground = ground
        self.checks = checks
        self.size = size
        self.settings = settings
        self.ids: dict[int, int] = {}
        self.processes = [Process(self, number) for number in sorted(ground.disks)]
        for spare in self.processes[size:]:
            spare.enlisted = False
        world.on_death = self._died
        ground.watch_log = self._watch_log

    def config(self, number: int) -> Config:
        """The flags of one member."""
        founders = self.processes[: self.size]
        peers = {f"m{p.number}": [url_of(p.number)] for p in {*founders, self.processes[number - 1]}}
        config = Config(
            name=f"m{number}",
            data_dir=f"{ROOT}{number}/data",
            listen_peer_urls=[url_of(number)],
            initial_advertise_peer_urls=[url_of(number)],
            initial_cluster=dict(sorted(peers.items())),
            initial_cluster_state="new" if number <= self.size else "existing",
            **self.settings,
        )
        config.validate()
        return config

    def _died(self, life: Life) -> None:
        self.processes[life.member - 1].died(life)

    def _watch_log(self, previous: int, entries: Any) -> None:
        life = self.world.life
        if life is not None:
            self.checks.appended(self.ids.get(life.member, 0), previous, entries)

    def running(self) -> list[Process]:
        """Those that serve."""
        return [p for p in self.processes if p.member is not None]

    def leader(self) -> Process | None:
        """Who leads the highest term."""
        leading = [p for p in self.running() if p.member is not None and p.member.is_leader]
        return max(leading, key=lambda p: p.member.raw.term if p.member else 0, default=None)


__all__ = ["Cluster", "PowerCut", "Process"]
