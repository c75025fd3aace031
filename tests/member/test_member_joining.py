"""Who may join: what --initial-cluster says must be what the members say; and who was removed is told so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from member_site import Site, change, put, settled, until, value

from kvstore.member.bootstrap import MemberRemoved
from kvstore.member.config import Config, ConfigError
from kvstore.member.membership import encode_add, encode_id
from kvstore.member.peers.dial import Dialer
from kvstore.member.peers.joining import find_cluster, fitting
from kvstore.member.requests import RequestKind
from kvstore.pb.etcd_pb2 import Member as MemberInfo
from kvstore.pb.raft_pb2 import MembersReply
from kvstore.wire.tls import TlsFiles

A, B, C = "http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"


def config(cluster: dict[str, list[str]], name: str = "c") -> Config:
    return Config(name=name, data_dir="c.fluyt", initial_cluster=cluster, initial_cluster_state="existing")


def reply(*members: tuple[str, list[str]], started: tuple[str, ...] = ("a", "b")) -> MembersReply:
    answer = MembersReply(cluster_id=7)
    for number, (name, urls) in enumerate(members):
        known = name if name in started else ""
        answer.members.add(ID=number + 1, name=known, peerURLs=urls, clientURLs=["http://c:1"] if known else [])
    return answer


THREE = reply(("a", [A]), ("b", [B]), ("c", [C]))


def test_a_member_finds_its_id_by_its_urls() -> None:
    """Names do not matter, nor the order of URLs."""
    joined = fitting(config({"x": [B], "y": [A], "c": [C]}), THREE)
    assert (joined.cluster_id, joined.member_id) == (7, 3)
    assert [(m.ID, m.name, list(m.peerURLs)) for m in joined.members] == [(1, "a", [A]), (2, "b", [B]), (3, "", [C])]
    two = reply(("a", [A]), ("c", [C, B]))
    assert fitting(config({"a": [A], "c": [B, C]}), two).member_id == 2


@pytest.mark.parametrize(
    ("cluster", "answer", "says"),
    [
        ({"a": [A], "c": [C]}, THREE, "member count is unequal"),
        ({"a": [A], "b": [B], "c": [C], "d": ["http://127.0.0.1:4"]}, THREE, "member count is unequal"),
        ({"a": [A], "b": ["http://127.0.0.1:9"], "c": [C]}, THREE, "no match found for b"),
        ({"a": [A], "b": [B], "c": ["http://127.0.0.1:9"]}, THREE, "no match found for c"),
        ({"a": [A], "b": [B], "c": [C]}, reply(("a", [A]), ("b", [B]), ("c", [C]), started=("a", "b", "c")), "before"),
    ],
)
def test_who_does_not_fit_is_refused_in_one_line(
    cluster: dict[str, list[str]], answer: MembersReply, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        fitting(config(cluster), answer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cluster", "says"),
    [
        ({"c": [C]}, "names only this one"),
        ({"a": [A], "c": [A]}, "duplicate url"),
        ({"a": ["http://127.0.0.1:1"], "c": [C]}, "cannot fetch cluster info from peer urls"),
    ],
)
def test_without_anybody_to_ask(cluster: dict[str, list[str]], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        asyncio.run(find_cluster(config(cluster), Dialer(TlsFiles())))


def test_a_member_joins_by_a_snapshot_and_is_removed_again(tmp_path: Path) -> None:
    """Its log begins behind the snapshot; once removed, its directory is refused and left as it is."""

    async def run() -> None:
        a, b = Site(tmp_path / "a", "a"), Site(tmp_path / "b", "b")
        await a.start()
        await settled(a)
        await put(a.member, b"k", b"v")
        added = MemberInfo(ID=99, peerURLs=[b.url])
        await change(a.member, (RequestKind.MEMBER_ADD, encode_add(added, 1)))
        everybody = {"a": [a.url], "b": [b.url]}
        await b.start(everybody, joins=True)
        assert b.member.id == 99
        assert b.member.raw.conf_state.voters == ()
        await until(lambda: value(b.member, b"k") == b"v", "the new member to have the data")
        assert b._opened.log.first_index() > 2, "it has no entry of before it came"
        await settled(a, b)
        await until(lambda: a.member.cluster.members[99].name == "b", "the new member to say its name")
        await b.stop()
        await b.start(everybody, joins=True)
        assert set(b.member.raw.conf_state.voters) == {a.member.id, 99}
        await settled(a, b)
        await change(a.member, (RequestKind.MEMBER_REMOVE, encode_id(99)))
        await until(lambda: b.removed, "the removed member to hear it")
        await b.stop()
        await put(a.member, b"k", b"w")
        await a.stop()

    asyncio.run(run())


def test_a_member_that_applied_its_removal_says_so_at_every_start(tmp_path: Path) -> None:
    async def run() -> None:
        sites = [Site(tmp_path / name, name) for name in "abc"]
        founders = {site.name: [site.url] for site in sites}
        for site in sites:
            await site.start(founders)
        leader = await settled(*sites)
        gone = leader.member.id
        await change(leader.member, (RequestKind.MEMBER_REMOVE, encode_id(gone)))
        await until(lambda: leader.removed, "the leader to hear that it is out")
        leader.member.state.save_position()
        leader.member.state.backend.commit()
        await leader.stop()
        rest = [site for site in sites if site is not leader]
        await settled(*rest)
        for _ in range(2):
            with pytest.raises(MemberRemoved, match=f"member {gone:x} was permanently removed"):
                await leader.start(founders)
        for site in rest:
            await site.stop()

    asyncio.run(run())
