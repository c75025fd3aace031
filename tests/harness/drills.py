"""Drills: one fault each, on a private cluster under load, with the whole history checked afterwards.

A drill is a function of a Scene; it makes the fault, waits for writes to go on, and mends it. Tests and
scripts/partition run the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from linearizability.proof import prove
from linearizability.traffic import Traffic

from harness.binaries import Kind
from harness.cluster import Cluster
from harness.network import Network
from harness.wait import wait_until


@dataclass
class Scene:
    """What a drill acts on."""

    cluster: Cluster
    load: Traffic
    network: Network | None = None

    @property
    def net(self) -> Network:
        """The network of a drill that needs one."""
        assert self.network is not None
        return self.network

    def go_on(self, writes: int = 100) -> None:
        """Wait for so many more acknowledged writes."""
        self.load.wait_for_more(writes, timeout=60)

    def others(self, *those: int) -> list[int]:
        """All members but those."""
        return [i for i in range(len(self.cluster.members)) if i not in those]


def kill_leader(scene: Scene) -> None:
    """kill -9 of the leader, then it comes back."""
    leader = scene.cluster.leader()
    scene.cluster.kill(leader)
    scene.go_on()
    scene.cluster.restart(leader)


def kill_follower(scene: Scene) -> None:
    """kill -9 of a follower, then it comes back."""
    follower = scene.cluster.followers()[0]
    scene.cluster.kill(follower)
    scene.go_on()
    scene.cluster.restart(follower)


def kill_all(scene: Scene) -> None:
    """kill -9 of every member at once."""
    scene.cluster.kill_all()
    for index in scene.others():
        scene.cluster.launch(index)
    scene.go_on()


def pause_leader(scene: Scene) -> None:
    """The leader sleeps (SIGSTOP) until another leads, then wakes."""
    leader = scene.cluster.leader()
    scene.cluster.pause(leader)
    scene.cluster.leader(other_than=leader)
    scene.go_on()
    scene.cluster.resume(leader)


def pause_follower(scene: Scene) -> None:
    """A follower sleeps and wakes."""
    follower = scene.cluster.followers()[0]
    scene.cluster.pause(follower)
    scene.go_on(300)
    scene.cluster.resume(follower)


def leader_alone(scene: Scene) -> None:
    """The leader hears nobody; clients still reach it."""
    leader = scene.cluster.leader()
    scene.net.split([leader], scene.others(leader))
    _another_leads(scene, leader)
    scene.go_on()
    scene.net.heal()


def follower_alone(scene: Scene) -> None:
    """A follower hears nobody; it must not disturb the others when it is back."""
    leader = scene.cluster.leader()
    follower = scene.others(leader)[0]
    before = scene.cluster.status(leader)
    scene.net.split([follower], scene.others(follower))
    scene.go_on(300)
    scene.net.heal()
    wait_until(lambda: scene.cluster.healthy(follower), "the follower to be back")
    after = scene.cluster.status(leader)
    assert before is not None
    assert after is not None
    assert after.raftTerm == before.raftTerm, "the follower that was alone forced an election"


def leader_deaf(scene: Scene) -> None:
    """Words of the leader arrive, answers do not: check-quorum must end its term."""
    leader = scene.cluster.leader()
    for other in scene.others(leader):
        scene.net.cut(other, leader)
    _another_leads(scene, leader)
    scene.go_on()
    scene.net.heal()


def leader_mute(scene: Scene) -> None:
    """The leader hears all, and nobody hears it."""
    leader = scene.cluster.leader()
    for other in scene.others(leader):
        scene.net.cut(leader, other)
    _another_leads(scene, leader)
    scene.go_on()
    scene.net.heal()


def follower_deaf(scene: Scene) -> None:
    """A follower is heard but hears nothing: without pre-vote it would force elections for ever."""
    leader = scene.cluster.leader()
    follower = scene.others(leader)[0]
    for other in scene.others(follower):
        scene.net.cut(other, follower)
    scene.go_on(300)
    scene.net.heal()


def one_link_down(scene: Scene) -> None:
    """Two members lose each other, the third hears both: a majority can talk, so writes go on."""
    leader = scene.cluster.leader()
    scene.net.split([leader], scene.others(leader)[:1])
    scene.go_on(300)
    scene.net.heal()


def halves_of_five(scene: Scene) -> None:
    """Five members fall into two and three, the leader among the two."""
    leader = scene.cluster.leader()
    few = [leader, scene.others(leader)[0]]
    scene.net.split(few, scene.others(*few))
    _another_leads(scene, *few)
    scene.go_on()
    scene.net.heal()


def bridge_of_five(scene: Scene) -> None:
    """Two and two that do not hear each other, and one between them that hears all: no election is forced."""
    leader = scene.cluster.leader()
    before = scene.cluster.status(leader)
    others = scene.others(leader)
    scene.net.split([leader, others[0]], others[2:])
    scene.go_on(300)
    after = scene.cluster.status(leader)
    scene.net.heal()
    assert before is not None
    assert after is not None
    assert after.raftTerm == before.raftTerm, "those who could not hear the leader deposed it"
    for index in others[2:]:
        wait_until(lambda index=index: scene.cluster.healthy(index), "the far side to be back")  # type: ignore[misc]


def _another_leads(scene: Scene, *cut_off: int) -> None:
    """Wait until a member on the other side leads there."""
    side = scene.others(*cut_off)

    def leads() -> bool:
        answers = {i: scene.cluster.status(i, timeout=1.0) for i in side}
        return any(s is not None and s.leader == s.header.member_id for s in answers.values())

    wait_until(leads, "the majority to have a leader", timeout=40)


@dataclass(frozen=True)
class Drill:
    """A drill and what it needs."""

    run: Callable[[Scene], None]
    members: int = 3
    network: bool = False

    @property
    def about(self) -> str:
        """What happens, in one line."""
        return (self.run.__doc__ or "").strip()


DRILLS: dict[str, Drill] = {
    "kill-leader": Drill(kill_leader),
    "kill-follower": Drill(kill_follower),
    "kill-all": Drill(kill_all),
    "pause-leader": Drill(pause_leader),
    "pause-follower": Drill(pause_follower),
    "leader-alone": Drill(leader_alone, network=True),
    "follower-alone": Drill(follower_alone, network=True),
    "leader-deaf": Drill(leader_deaf, network=True),
    "leader-mute": Drill(leader_mute, network=True),
    "follower-deaf": Drill(follower_deaf, network=True),
    "one-link-down": Drill(one_link_down, network=True),
    "bridge-of-five": Drill(bridge_of_five, members=5, network=True),
    "halves-of-five": Drill(halves_of_five, members=5, network=True),
}


@dataclass(frozen=True)
class Outcome:
    """What a drill that held showed."""

    outage: float  # seconds
    writes: int
    reads: int
    events: int


def perform(drill: Drill, kind: Kind, seed: int = 0) -> Outcome:
    """Run one drill on a new cluster; seed: of what the clients ask.

    AssertionError, TimeoutError or RuntimeError if something did not hold.
    """
    with ExitStack() as stack:
        network = stack.enter_context(Network(drill.members)) if drill.network else None
        hosts = network.hosts if network else ()
        prefixes = network.prefixes if network else ()
        cluster = stack.enter_context(Cluster(kind, drill.members, hosts=hosts, prefixes=prefixes))
        with Traffic(cluster.endpoints, seed, clients=2 * drill.members) as load:
            load.wait_for_more(100)
            drill.run(Scene(cluster, load, network))
            load.wait_for_more(100)
        cluster.wait_healthy()
        proved = prove(load, cluster)
        return Outcome(proved.outage, proved.acknowledged, proved.answered - proved.acknowledged, proved.events)
