"""The membership that Raft starts with is the one as of the applied index, wherever the process was killed.

The log's snapshot, the backend and the log's entries each know a membership; a start that mixed them up would count
votes of members that are gone, or forget one that has acknowledged writes.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from member_site import Site, change, leader_of, put, settled, until, value

from kvstore.errors import EtcdError
from kvstore.member.apply.state import State
from kvstore.member.config import Config
from kvstore.member.membership import encode_add, encode_id, raft_change
from kvstore.member.requests import RequestKind, encode_head, encode_request
from kvstore.pb.etcd_pb2 import Member as MemberInfo
from kvstore.raft.types import ConfChange, ConfState, Transition
from kvstore.storage.backend import Backend


def adding(number: int, *, learner: bool = True, most: int = 9, url: str = "") -> tuple[int, bytes]:
    info = MemberInfo(ID=number, peerURLs=[url or f"http://127.0.0.1:{number}"], isLearner=learner)
    return RequestKind.MEMBER_ADD, encode_add(info, most)


def removing(number: int) -> tuple[int, bytes]:
    return RequestKind.MEMBER_REMOVE, encode_id(number)


async def busy_life(site: Site) -> None:
    """Learners come and go between writes, some in joint changes; a kill could come anywhere."""
    member = site.member
    await until(lambda: member.is_leader, "the only member to lead")
    await put(member, b"k", b"0")
    await change(member, adding(2))
    await put(member, b"k", b"1")
    await change(member, adding(3), adding(4))  # joint, and left by itself
    await until(lambda: not member.raw.conf_state.voters_outgoing, "the joint configuration to be left")
    await change(member, removing(2))
    with pytest.raises(EtcdError, match="member not found"):
        await change(member, removing(2))
    await put(member, b"k", b"2")
    await change(member, adding(5), removing(3))
    await until(lambda: not member.raw.conf_state.voters_outgoing, "the joint configuration to be left")
    await put(member, b"k", b"3")


@pytest.mark.parametrize(("commits", "snapshot_count"), [("in time", 100_000), ("at every entry", 1)])
def test_killed_after_every_entry(tmp_path: Path, commits: str, snapshot_count: int) -> None:
    """Images of the disk after each entry; the backend is behind by some entries, or by none and the log's meta too."""

    async def live() -> dict[int, ConfState]:
        site = Site(tmp_path / "site", "a", snapshot_count=snapshot_count)

        def killed(index: int) -> None:
            if commits == "at every entry":
                # As the committer does it, but now.
                committer = site.member.committer
                site.member.state.save_position()
                site.member.state.backend.commit()
                site.member.state.backend.sync()
                committer._durable(site.member.state.saved_position.index)
            site.image(tmp_path / f"image-{index:03d}")

        site.after_apply = killed
        await site.start()
        if commits == "at every entry":
            site.member.committer.hold(True)
        await busy_life(site)
        await site.stop()
        return site.history

    history = asyncio.run(live())
    joint = [index for index, state in history.items() if state.voters_outgoing]
    assert len(joint) >= 2, "some images are of the middle of a joint configuration"
    final = history[max(history)]
    for index in sorted(history):
        asyncio.run(comes_back(tmp_path, f"image-{index:03d}", history, final if index == max(history) else None))


async def comes_back(tmp_path: Path, image: str, history: dict[int, ConfState], final: ConfState | None) -> None:
    found = OnDisk(tmp_path / image)
    site = Site(tmp_path / image, "a")
    site.url = found.url  # as it was founded
    member = await site.start()
    opened = site._opened
    started_at = opened.raw.applied_index
    expected = history.get(started_at)
    if expected is not None:
        assert (found.conf_state, found.applied) == (expected, started_at)
    snapshot = opened.log.snapshot_meta()
    if snapshot.index in history:
        assert snapshot.conf_state == history[snapshot.index], "the log pairs an index with the membership as of it"
    await until(lambda: member.is_leader, "the only member to lead again")
    await put(member, b"again", image.encode())
    await until(lambda: not member.raw.conf_state.voters_outgoing, "a joint configuration to be left")
    table = member.cluster.conf_state()
    assert (table.voters, table.learners) == (member.raw.conf_state.voters, member.raw.conf_state.learners)
    assert member.state.conf_state() == member.raw.conf_state
    if final is not None:
        assert member.raw.conf_state == final
    await site.stop()


class OnDisk:
    """What an image says before anybody starts from it."""

    def __init__(self, path: Path) -> None:
        backend = Backend.open(path / "backend", fsync=False)
        state = State(backend, 1, Config())
        self.applied, self.conf_state = state.applied_index, state.conf_state()
        self.url = next(url for m in state.cluster.members.values() if not m.isLearner for url in m.peerURLs)
        backend.close()


def test_restarts_in_the_middle_of_a_joint_configuration(tmp_path: Path) -> None:
    """Four members: one is to be replaced jointly, and everybody stops between entering and leaving."""

    async def run() -> None:
        sites = [Site(tmp_path / name, name) for name in "abc"]
        founders = {site.name: [site.url] for site in sites}
        for site in sites:
            await site.start(founders)
        leader = await settled(*sites)
        await put(leader.member, b"k", b"before")
        d = await enter_joint_by_hand(leader, sites, tmp_path)
        everybody = [*sites, d]
        joint = leader.member.raw.conf_state
        for site in everybody:
            await site.stop()
        for site in everybody:
            await site.start({**founders, site.name: [site.url]}, joins=site is d)
        leader = await settled(*everybody)
        await put(leader.member, b"k", b"in between")
        for site in everybody:
            await until(lambda s=site: s.member.raw.conf_state == joint, "everybody to be in the joint configuration")
        gone = next(s for s in everybody if s.member.id in set(joint.voters_outgoing) - set(joint.voters))
        assert gone.member.id in leader.member.cluster.members, "its address is needed until the joint one is left"
        await leave_by_hand(everybody)
        await until(lambda: gone.removed, "the one that is out to hear it")
        rest = [site for site in everybody if site is not gone]
        await gone.stop()
        leader = await settled(*rest)
        await put(leader.member, b"k", b"after")
        for site in rest:
            await until(lambda s=site: value(s.member, b"k") == b"after", "everybody to have the last write")
            assert site.member.raw.conf_state == leader.member.raw.conf_state
            assert gone.member.id in site.member.cluster.removed
        for site in rest:
            await site.stop()

    asyncio.run(run())


async def enter_joint_by_hand(leader: Site, sites: list[Site], tmp_path: Path) -> Site:
    """Replace a follower by a new member in one explicit joint change, which stays until it is left by hand."""
    d = Site(tmp_path / "d", "d")
    gone = next(site for site in sites if site is not leader)
    requests = [adding(4_000, learner=False, url=d.url), removing(gone.member.id)]
    context = encode_head(0, 1) + b"".join(encode_request(kind, body) for kind, body in requests)
    raw = leader.member.raw
    assert raw.propose_conf_change(
        ConfChange(tuple(raft_change(*r) for r in requests), Transition.JOINT_EXPLICIT, context)
    )
    leader.member.driver.wake()
    await until(lambda: raw.conf_state.voters_outgoing, "the joint configuration")
    await d.start({**{s.name: [s.url] for s in sites}, "d": [d.url]}, joins=True)
    await until(lambda: value(d.member, b"k") == b"before", "the new member to have the data")
    for site in (*sites, d):
        await until(lambda s=site: s.member.raw.conf_state == raw.conf_state, "all to know the joint configuration")
    return d


async def leave_by_hand(sites: list[Site]) -> None:
    leader = leader_of(*sites)
    assert leader.member.raw.propose_conf_change(ConfChange())
    leader.member.driver.wake()
    raw = leader.member.raw
    await until(lambda: not raw.conf_state.voters_outgoing, "the joint configuration to be left")


def test_two_removals_at_once_leave_one_voter_and_an_answer_for_both(tmp_path: Path) -> None:
    """The second can never fit; it is refused through the log, and nothing stays stuck behind it."""

    async def run() -> None:
        sites = [Site(tmp_path / name, name) for name in "ab"]
        founders = {site.name: [site.url] for site in sites}
        for site in sites:
            await site.start(founders)
        leader = await settled(*sites)
        other = next(site for site in sites if site is not leader)
        ids = [other.member.id, leader.member.id]
        outcomes = await asyncio.gather(
            *(change(leader.member, removing(identity)) for identity in ids), return_exceptions=True
        )
        assert outcomes[0] is None
        assert isinstance(outcomes[1], EtcdError)
        assert "not enough started members" in outcomes[1].message
        await change(leader.member, adding(7))
        await put(leader.member, b"k", b"v")
        await until(lambda: other.removed, "the removed one to hear it")
        for site in sites:
            await site.stop()

    asyncio.run(run())


def test_changes_from_followers_are_made_once_whoever_leads(tmp_path: Path) -> None:
    """Ten changes from a follower while the leadership moves: each is applied once, or again, never twice."""

    async def run() -> None:
        sites = [Site(tmp_path / name, name) for name in "abc"]
        founders = {site.name: [site.url] for site in sites}
        for site in sites:
            await site.start(founders)
        first = await settled(*sites)
        asker = next(site for site in sites if site is not first)
        pending = [asyncio.ensure_future(change(asker.member, adding(100 + n, most=50))) for n in range(10)]
        third = next(site for site in sites if site not in (first, asker))
        first.member.raw.transfer_leader(third.member.id)
        first.member.driver.wake()
        outcomes = await asyncio.gather(*pending, return_exceptions=True)
        assert outcomes == [None] * 10, outcomes
        await settled(*sites)
        for site in sites:
            await until(lambda s=site: len(s.member.raw.conf_state.learners) == 10, "all ten to be known everywhere")
        for site in sites:
            await site.stop()

    asyncio.run(run())
