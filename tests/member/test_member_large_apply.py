"""What is too large for one turn of the loop: others have their turns, and a kill in between loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from member_site import Site, until

from kvstore.errors import EtcdError
from kvstore.member.apply import applier
from kvstore.member.consensus import committed
from kvstore.member.member import Member
from kvstore.member.requests import RequestKind
from kvstore.pb import etcd_pb2 as pb

KEYS = [b"k/%03d" % number for number in range(60)]
ALL_K = pb.DeleteRangeRequest(key=b"k/", range_end=b"k0")
LEASE = 7


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every turn is over at once, and ten keys make a large delete."""
    monkeypatch.setattr(applier, "LARGE_DELETE", 10)
    monkeypatch.setattr(applier, "SLICE_KEYS", 4)
    monkeypatch.setattr(committed, "SLICE_SECONDS", -1.0)


def proposed(member: Member, kind: int, request: Any) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = member.loop.create_future()

    def done(result: Any, problem: EtcdError | None) -> None:
        future.set_exception(problem) if problem is not None else future.set_result(result)

    member.propose(kind, request.SerializeToString(), request, done)
    return future


async def filled(member: Member) -> None:
    """All in one turn, so that they are one entry."""
    await until(lambda: member.is_leader, "the only member to lead")
    await proposed(member, RequestKind.LEASE_GRANT, pb.LeaseGrantRequest(ID=LEASE, TTL=1000))
    puts = [pb.PutRequest(key=key, value=b"v", lease=LEASE) for key in KEYS]
    await asyncio.gather(*(proposed(member, RequestKind.PUT, put) for put in puts))


def state_of(member: Member) -> tuple[int, int, int, list[int]]:
    store = member.store
    return store.revision, store.hash_kv().hash, store.key_count, member.lessor.leases()


async def killed_in_the_middle(
    site: Site, begin: Callable[[Member], asyncio.Future[Any]], half: Callable[[Member], bool]
) -> None:
    """A kill while the request that `begin` makes is half applied, and that half is committed."""
    member = await site.start()
    await filled(member)
    answer = begin(member)
    while not half(member) or member.committer.busy:
        assert not answer.done(), "it was over before it could be committed"
        await asyncio.sleep(0)
    member.committer.flush(lambda: None)  # commits at once, in this turn
    image = site.path.with_name("image")
    site.image(image)
    await answer
    expected, index = state_of(member), member.state.applied_index
    await site.stop()
    site.use(image)
    member = await site.start()
    await until(lambda: member.state.applied_index >= index, "the log to be applied")
    assert state_of(member) == expected
    await site.stop()


@pytest.mark.parametrize("kind", ["delete", "revoke"])
def test_killed_in_a_large_delete(tmp_path: Path, small_slices: None, kind: str) -> None:
    requests: dict[str, tuple[int, Any]] = {
        "delete": (RequestKind.DELETE_RANGE, ALL_K),
        "revoke": (RequestKind.LEASE_REVOKE, pb.LeaseRevokeRequest(ID=LEASE)),
    }

    def begin(member: Member) -> asyncio.Future[Any]:
        # Requests before and behind it in the same entry must each be applied once.
        first = proposed(member, RequestKind.PUT, pb.PutRequest(key=b"before"))
        answer = proposed(member, *requests[kind])
        last = proposed(member, RequestKind.PUT, pb.PutRequest(key=b"k/000"))
        return asyncio.ensure_future(asyncio.gather(first, answer, last))

    asyncio.run(killed_in_the_middle(Site(tmp_path / "site", "a"), begin, lambda member: member.store.unfinished))


def test_killed_in_the_middle_of_an_entry(tmp_path: Path, small_slices: None) -> None:
    def begin(member: Member) -> asyncio.Future[Any]:
        puts = [pb.PutRequest(key=b"again", value=b"%d" % number) for number in range(300)]
        return asyncio.ensure_future(asyncio.gather(*(proposed(member, RequestKind.PUT, put) for put in puts)))

    asyncio.run(
        killed_in_the_middle(
            Site(tmp_path / "site", "a"), begin, lambda member: 0 < member.state.applied_requests < 200
        )
    )


def test_reads_wait_and_the_loop_turns(tmp_path: Path, small_slices: None) -> None:
    async def live() -> None:
        site = Site(tmp_path / "site", "a")
        member = await site.start()
        await filled(member)
        seen: list[int] = []
        answer = proposed(member, RequestKind.DELETE_RANGE, ALL_K)
        while not member.store.unfinished:
            await asyncio.sleep(0)
        member.linearizable(lambda problem: seen.append(member.store.key_count))
        member.applying.when_readable(lambda: seen.append(member.store.key_count))
        turns = 0
        while not answer.done():
            assert not seen
            turns += 1
            await asyncio.sleep(0)
        assert turns >= len(KEYS) // 4 - 2
        await until(lambda: len(seen) == 2, "the reads")
        assert seen == [0, 0]
        assert (await answer).deleted == len(KEYS)
        assert member.readable
        await site.stop()

    asyncio.run(live())
