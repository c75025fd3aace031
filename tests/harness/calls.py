"""Short spellings of calls, for tables of cases: each makes (rpc name, request)."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from kvstore.pb import etcd_pb2 as pb

Call = tuple[str, Message]


class Now:
    """Marks a revision field to be filled in when the case runs: the case's base revision plus an offset."""

    def __init__(self, offset: int) -> None:
        self.offset = offset


def put(key: bytes, value: bytes = b"v", **more: Any) -> Call:
    """A Put."""
    return "Put", pb.PutRequest(key=key, value=value, **more)


def delete(key: bytes, range_end: bytes = b"", **more: Any) -> Call:
    """A DeleteRange."""
    return "DeleteRange", pb.DeleteRangeRequest(key=key, range_end=range_end, **more)


def get(key: bytes, range_end: bytes = b"", **more: Any) -> Call:
    """A Range."""
    return "Range", pb.RangeRequest(key=key, range_end=range_end, **more)


def txn(compare: Any = (), success: Any = (), failure: Any = ()) -> Call:
    """A Txn: compares as dicts of Compare fields, operations as calls."""

    def operations(calls: Any) -> list[pb.RequestOp]:
        return [operation(rpc, request) for rpc, request in calls]

    return "Txn", pb.TxnRequest(
        compare=[pb.Compare(**c) for c in compare], success=operations(success), failure=operations(failure)
    )


def operation(rpc: str, request: Message) -> pb.RequestOp:
    """The call as an operation of a transaction."""
    name = {
        "Put": "request_put",
        "Range": "request_range",
        "DeleteRange": "request_delete_range",
        "Txn": "request_txn",
        "Nothing": "",
    }[rpc]
    return pb.RequestOp(**{name: request}) if name else pb.RequestOp()  # type: ignore[arg-type]


def compact(offset: int, physical: bool = False) -> tuple[str, Any]:
    """Compact at the case's base revision + offset."""
    return "Compact", (pb.CompactionRequest(physical=physical), Now(offset))


def get_at(offset: int, key: bytes, range_end: bytes = b"", **more: Any) -> tuple[str, Any]:
    """A Range at the case's base revision + offset."""
    return "Range", (pb.RangeRequest(key=key, range_end=range_end, **more), Now(offset))


def grant(ttl: int, lease: int) -> Call:
    """A LeaseGrant, ttl in seconds."""
    return "LeaseGrant", pb.LeaseGrantRequest(TTL=ttl, ID=lease)


def revoke(lease: int) -> Call:
    """A LeaseRevoke."""
    return "LeaseRevoke", pb.LeaseRevokeRequest(ID=lease)


def time_to_live(lease: int, keys: bool = True) -> Call:
    """A LeaseTimeToLive."""
    return "LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=lease, keys=keys)
