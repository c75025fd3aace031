"""Keys and values: get, range, put, delete, transactions, compaction."""

from __future__ import annotations

from typing import Unpack

from kvstore.client import rpcs
from kvstore.client.requests import (
    Bytes,
    DeleteOptions,
    PutOptions,
    RangeOptions,
    ReadOptions,
    delete_request,
    put_request,
    range_request,
)
from kvstore.client.transport import Transport
from kvstore.client.txn import OnDoubt, Txn, only_reads
from kvstore.pb import etcd_pb2 as pb


class KV:
    """The KV calls of a client. Every method raises what transport.Transport.unary does."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def get(self, key: Bytes, *, revision: int = 0, serializable: bool = False) -> pb.KeyValue | None:
        """The key-value (now, or at a revision), None if there is none.

        Linearizable unless `serializable`. Raises Compacted, FutureRevision.
        """
        answer = await self.range(key, revision=revision, serializable=serializable)
        return answer.kvs[0] if answer.kvs else None

    async def range(
        self, key: Bytes, range_end: Bytes | None = None, **options: Unpack[RangeOptions]
    ) -> pb.RangeResponse:
        """The key-values of [key, range_end), or as the options say. Raises Compacted, FutureRevision."""
        return await self.send_range(range_request(key, range_end, **options))

    async def get_prefix(self, prefix: Bytes, **options: Unpack[ReadOptions]) -> pb.RangeResponse:
        """The key-values of every key with the prefix; all keys when it is empty."""
        return await self.range(prefix, prefix=True, **options)

    async def put(self, key: Bytes, value: Bytes = b"", **options: Unpack[PutOptions]) -> pb.PutResponse:
        """Write one key. Raises MaybeApplied when it was sent and its fate is unknown; LeaseNotFound, NoSpace."""
        return await self.send_put(put_request(key, value, **options))

    async def delete(
        self, key: Bytes, range_end: Bytes | None = None, **options: Unpack[DeleteOptions]
    ) -> pb.DeleteRangeResponse:
        """Delete keys; `.deleted` of the answer counts them. Raises MaybeApplied."""
        return await self.send_delete(delete_request(key, range_end, **options))

    def txn(self) -> Txn:
        """A transaction to build and commit; see kvstore.client.txn."""
        return Txn(self.send_txn)

    async def compact(
        self, revision: int, *, physical: bool = False, timeout: float | None = None
    ) -> pb.CompactionResponse:
        """Forget history below the revision. physical: wait until it is gone from the disk.

        Raises Compacted if that was done before, FutureRevision.
        """
        request = pb.CompactionRequest(revision=revision, physical=physical)
        return await self._transport.unary(rpcs.COMPACT, request, timeout=timeout)

    # ---- the same with the wire's own messages, as read from a file or a command line ----

    async def send_range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        """A Range as it stands."""
        return await self._transport.unary(rpcs.SERIALIZABLE_RANGE if request.serializable else rpcs.RANGE, request)

    async def send_put(self, request: pb.PutRequest) -> pb.PutResponse:
        """A Put as it stands."""
        return await self._transport.unary(rpcs.PUT, request)

    async def send_delete(self, request: pb.DeleteRangeRequest) -> pb.DeleteRangeResponse:
        """A DeleteRange as it stands."""
        return await self._transport.unary(rpcs.DELETE_RANGE, request)

    async def send_txn(
        self, request: pb.TxnRequest, repeatable: bool = False, on_doubt: OnDoubt = None
    ) -> pb.TxnResponse:
        """A Txn as it stands; see Txn.commit for `repeatable` and `on_doubt`."""
        rpc = rpcs.REPEATABLE_TXN if repeatable or only_reads(request) else rpcs.TXN
        return await self._transport.unary(rpc, request, on_doubt=on_doubt)
