"""The quota counts what is in the backend and what waits to be applied, and nothing that was refused or given up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from member_site import Site, put, until

from kvstore.errors import EtcdError, error
from kvstore.member.member import Member
from kvstore.member.requests import RequestKind
from kvstore.pb import etcd_pb2 as pb

QUOTA = 4 << 20
REQUEST = pb.PutRequest(key=b"the same key", value=bytes(200_000))
BODY = REQUEST.SerializeToString()
NO_SPACE = error("NO_SPACE").message


def tries(site: Site, count: int) -> list[str]:
    """As the KV service does; what they were refused with, at once or later."""
    member, refused = site.member, []
    for _ in range(count):
        try:
            member.check_space(len(BODY))
            member.propose(
                RequestKind.PUT, BODY, REQUEST, lambda result, problem: problem and refused.append(problem.message)
            )
        except EtcdError as problem:
            refused.append(problem.message)
    return refused


def refuses(member: Member, size: int) -> bool:
    """Whether a request of so many bytes has no place."""
    try:
        member.check_space(size)
    except EtcdError as problem:
        return problem.message == NO_SPACE
    return False


def test_tries_without_a_quorum_do_not_use_up_the_quota(tmp_path: Path) -> None:
    """Else the alarm comes for the whole cluster as soon as there is a quorum again, and only a person clears it."""

    async def main() -> None:
        sites = [Site(tmp_path / name, name, quota_backend_bytes=QUOTA) for name in "abc"]
        founders = {site.name: [site.url] for site in sites}
        member = await sites[0].start(founders)
        for _ in range(10):
            refused = tries(sites[0], 10)
            member.waiting.expire(member.loop.time() + 10)
            assert len(refused) == 10
            assert NO_SPACE not in refused
        for site in sites[1:]:
            await site.start(founders)
        await until(lambda: member.leader_id and member.state.applied_index > 3, "a quorum")
        await put(member, b"k", b"v")
        assert not any(site.member.alarms.no_space for site in sites)
        for site in sites:
            await site.stop()

    asyncio.run(main())


def test_what_waits_to_be_applied_counts(tmp_path: Path) -> None:
    async def main() -> None:
        site = Site(tmp_path / "a", "a", quota_backend_bytes=QUOTA)
        await site.start({"a": [site.url], "b": ["http://127.0.0.1:1"]})
        refused = tries(site, 22)
        fitting = (QUOTA - site.member.state.backend.size_in_use()) // len(BODY)
        assert refused == [NO_SPACE] * (22 - fitting)
        await site.stop()

    asyncio.run(main())


@pytest.mark.parametrize("size", [1, 200_000])
def test_a_quota_that_is_used_up_raises_the_alarm(tmp_path: Path, size: int) -> None:
    async def main() -> None:
        site = Site(tmp_path / "a", "a", quota_backend_bytes=QUOTA)
        member = await site.start()
        await until(lambda: member.is_leader, "a leader")
        for number in range(25):
            await put(member, b"%d" % number, bytes(200_000))
        # What others sent is known with the next commit of the backend.
        await until(lambda: refuses(member, size), "the refusal")
        await until(lambda: member.alarms.no_space, "the alarm")
        await site.stop()

    asyncio.run(main())
