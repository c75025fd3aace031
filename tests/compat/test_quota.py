"""The quota: calls meet the same errors here as in etcd, before the alarm, while it is on, and after it is disarmed.

The oracle is etcd 3.4.23: like 3.5.7 and later, and unlike 3.5.1, it lets transactions through that put nothing.
It also lets a put in a nested transaction through, as etcd no longer does: that one is not compared.
"""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from harness.answers import ask
from harness.binaries import Kind
from harness.cluster import ClusterFactory
from harness.stubs import Stub
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb

QUOTA = 16 << 20
VALUE = b"v" * (512 << 10)
EXCEEDED = {"code": "RESOURCE_EXHAUSTED", "details": "etcdserver: mvcc: database space exceeded"}


def operation(request: Message) -> pb.RequestOp:
    """The request as an operation of a transaction."""
    if isinstance(request, pb.PutRequest):
        return pb.RequestOp(request_put=request)
    if isinstance(request, pb.RangeRequest):
        return pb.RequestOp(request_range=request)
    if isinstance(request, pb.TxnRequest):
        return pb.RequestOp(request_txn=request)
    assert isinstance(request, pb.DeleteRangeRequest)
    return pb.RequestOp(request_delete_range=request)


PUT = operation(pb.PutRequest(key=b"t", value=b"v"))
GET = operation(pb.RangeRequest(key=b"k/0000"))
DELETE = operation(pb.DeleteRangeRequest(key=b"k/0001"))
ABSENT = pb.Compare(key=b"absent", target=pb.Compare.VERSION, version=0)
CALLS: list[tuple[str, Message]] = [
    ("Put", pb.PutRequest(key=b"x")),
    ("Put", pb.PutRequest(key=b"k/0000", ignore_value=True)),
    ("Txn", pb.TxnRequest(success=[PUT])),
    ("Txn", pb.TxnRequest(compare=[ABSENT], success=[GET], failure=[PUT])),
    ("Txn", pb.TxnRequest(success=[GET])),
    ("Txn", pb.TxnRequest(success=[GET, DELETE])),
    ("LeaseGrant", pb.LeaseGrantRequest(ID=77, TTL=100)),
    ("LeaseRevoke", pb.LeaseRevokeRequest(ID=76)),
    ("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=75)),
    ("Range", pb.RangeRequest(key=b"k/0000", keys_only=True)),
    ("DeleteRange", pb.DeleteRangeRequest(key=b"k/0002")),
    ("Compact", pb.CompactionRequest(revision=3)),
]


def codes(stub: Stub, calls: list[tuple[str, Message]]) -> list[Any]:
    """What each call ends with: its error, or "OK"."""
    return [
        f"{number} {rpc}: {answer.get('code', 'OK')} {answer.get('details', '')}"
        for number, (rpc, answer) in enumerate((rpc, ask(stub, rpc, request)) for rpc, request in calls)
    ]


def fill(stub: Stub) -> None:
    """Put until the quota is used up."""
    for number in range(200):
        answer = ask(stub, "Put", pb.PutRequest(key=b"k/%04d" % number, value=VALUE))
        if "code" in answer:
            assert answer == EXCEEDED
            return
    raise AssertionError(f"{200 * len(VALUE)} bytes went into a quota of {QUOTA}")


def alarms(stub: Stub) -> list[int]:
    """The kinds of the alarms that are on."""
    return [alarm.alarm for alarm in stub.Alarm(pb.AlarmRequest()).alarms]


def story(stub: Stub) -> list[Any]:
    """What happens to a store that is filled, looked at, disarmed too early, cleaned up, and disarmed."""
    told: list[Any] = []
    stub.LeaseGrant(pb.LeaseGrantRequest(ID=76, TTL=100))
    told.append(alarms(stub))
    fill(stub)
    wait_until(lambda: alarms(stub) == [pb.NOSPACE], "the alarm")
    told.append(codes(stub, CALLS))
    disarm = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, alarm=pb.NOSPACE)
    disarm.memberID = stub.Status(pb.StatusRequest()).header.member_id
    told.append([alarm.alarm for alarm in stub.Alarm(disarm).alarms])
    told.append(ask(stub, "Put", pb.PutRequest(key=b"big", value=VALUE)))  # too early: still full
    wait_until(lambda: alarms(stub) == [pb.NOSPACE], "the alarm again")
    revision = stub.DeleteRange(pb.DeleteRangeRequest(key=b"k/", range_end=b"k0")).header.revision
    stub.Compact(pb.CompactionRequest(revision=revision, physical=True))
    stub.Defragment(pb.DefragmentRequest(), timeout=30)
    told.append(ask(stub, "Put", pb.PutRequest(key=b"x")))  # there is space, but the alarm stays until it is disarmed
    stub.Alarm(disarm)
    told.append(alarms(stub))

    def accepted() -> bool:
        return "code" not in ask(stub, "Put", pb.PutRequest(key=b"big", value=VALUE))

    wait_until(accepted, "a put after the alarm was disarmed")
    told.append(alarms(stub))
    return told


def test_the_same_story_in_both(new_cluster: ClusterFactory) -> None:
    kinds: tuple[Kind, ...] = ("etcd-3.4", "fluyt")
    theirs, ours = (
        story(new_cluster(kind, members=1, flags=["--quota-backend-bytes", str(QUOTA)]).stub()) for kind in kinds
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one == other


@pytest.mark.parametrize("kind", ["etcd-3.5", "fluyt"])
def test_without_a_quota_nothing_is_refused(kind: Kind, new_cluster: ClusterFactory) -> None:
    stub = new_cluster(kind, members=1, flags=["--quota-backend-bytes", "-1"]).stub()
    for number in range(40):
        assert "code" not in ask(stub, "Put", pb.PutRequest(key=b"k/%04d" % number, value=VALUE))
    assert alarms(stub) == []
