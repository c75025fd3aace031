"""Who waits for the rest of an entry that is half applied is told when nothing of it will be applied any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from member_site import Site, until

from kvstore.errors import error
from kvstore.member.consensus import committed
from kvstore.member.requests import RequestKind
from kvstore.pb import etcd_pb2 as pb

DELETE = pb.DeleteRangeRequest(key=b"k", range_end=b"l")
PUT = pb.PutRequest(key=b"x")


def half_applied(
    path: Path, monkeypatch: pytest.MonkeyPatch, ends: Callable[[Site], Any], broken: int | None = None
) -> list[Any]:
    """Answers of a large delete and of ten puts behind it in one entry, of which a part is applied when it ends so.

    broken: of which put the answer raises.
    """
    answers: list[Any] = []

    def waiter(name: object) -> Callable[[Any, Any], None]:
        def done(result: Any, problem: Any) -> None:
            if name == broken:
                raise RuntimeError("the client's connection is odd")
            answers.append((name, problem and problem.message))

        return done

    async def main() -> None:
        site = Site(path, "a")
        member = await site.start()
        await until(lambda: member.is_leader, "a leader")
        for number in range(3000):
            body = pb.PutRequest(key=b"k%05d" % number).SerializeToString()
            member.propose(RequestKind.PUT, body, None, lambda result, problem: None)
        await until(lambda: member.store.key_count == 3000, "3000 keys")
        with monkeypatch.context() as patch:
            patch.setattr(committed, "SLICE_SECONDS", -1.0)  # every look at the clock finds it late
            member.propose(RequestKind.DELETE_RANGE, DELETE.SerializeToString(), DELETE, waiter("delete"))
            for number in range(10):
                member.propose(RequestKind.PUT, PUT.SerializeToString(), PUT, waiter(number))
            await until(lambda: member.applying.under_way, "a half-applied entry")
        assert answers == []
        if (ending := ends(site)) is not None:
            await ending
        told = list(answers)
        await site.stop()
        assert answers == told, "each once"

    asyncio.run(main())
    return answers


def test_a_snapshot_takes_the_place_of_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the rest was in it, nobody can say."""
    answers = half_applied(tmp_path, monkeypatch, lambda site: site.member.applying.forget())
    lost = error("TIMEOUT_LEADER_FAIL").message
    assert answers == [("delete", lost), *((number, lost) for number in range(10))]


def test_the_member_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = half_applied(tmp_path, monkeypatch, lambda site: site.member.stop())
    stopped = error("STOPPED").message
    assert answers == [("delete", stopped), *((number, stopped) for number in range(10))]


def test_an_answer_that_fails_keeps_none_from_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = half_applied(tmp_path, monkeypatch, lambda site: site.member.applying.forget(), broken=4)
    assert [name for name, _ in answers] == ["delete", 0, 1, 2, 3, 5, 6, 7, 8, 9]
