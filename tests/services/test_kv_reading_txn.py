"""Which transactions that only read may be answered from what this member has applied, and which ask the leader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from service_fakes import FakeCall, FakeMember

from kvstore.errors import EtcdError
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.kv import KvService

FRESH = pb.RequestOp(request_range=pb.RangeRequest(key=b"a"))
STALE = pb.RequestOp(request_range=pb.RangeRequest(key=b"a", serializable=True))


class AskingMember(FakeMember):
    """Notes what wants to be linearizable, and lets it wait."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Callable[[EtcdError | None], Any]] = []

    def linearizable(self, ready: Callable[[EtcdError | None], Any]) -> None:
        self.asked.append(ready)


def nested(*operations: pb.RequestOp) -> pb.RequestOp:
    return pb.RequestOp(request_txn=pb.TxnRequest(success=operations))


@pytest.mark.parametrize(
    ("success", "failure", "fresh"),
    [
        ([FRESH], [], True),
        ([STALE], [], False),
        ([STALE], [STALE], False),
        ([STALE], [FRESH], True),
        ([nested(FRESH)], [STALE], True),
        ([nested(STALE)], [], False),
        # Nothing in it has said that stale will do.
        ([], [], True),
        ([nested()], [], True),
    ],
)
def test_only_what_asks_for_stale_answers_gets_them(
    success: list[pb.RequestOp], failure: list[pb.RequestOp], fresh: bool
) -> None:
    member, call = AskingMember(), FakeCall()
    service = KvService(member)  # type: ignore[arg-type]
    compare = pb.Compare(target=pb.Compare.VERSION, key=b"a", version=0)
    request = pb.TxnRequest(compare=[compare], success=success, failure=failure)
    service.txn(call, request.SerializeToString())  # type: ignore[arg-type]
    assert len(member.asked) == int(fresh)
    assert call.closed != fresh
    for ready in member.asked:
        ready(None)
    assert call.closed
    assert call.taken(pb.TxnResponse).succeeded
