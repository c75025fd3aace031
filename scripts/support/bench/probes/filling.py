"""Many keys, written by transactions of a hundred puts: how a store is filled where filling is not what is measured."""

from __future__ import annotations

from collections.abc import Iterator

from kvstore.pb.etcd_pb2 import PutRequest, RequestOp, TxnRequest
from support.bench.load.calls import Request, closed_loop, spread
from support.bench.probes.site import TXN, VALUE

_BATCH = 100
# Encoded at once; more would cost the generator gigabytes.
_CHUNK = 50_000


def fill(endpoint: str, prefix: bytes, count: int) -> None:
    """Put prefix0000000 and on, `count` keys of 256 bytes. RuntimeError if a transaction was refused."""
    for start in range(0, count, _CHUNK):
        numbers = range(start, min(start + _CHUNK, count))
        closed_loop(spread(endpoint, _transactions(prefix, numbers), -(-len(numbers) // _BATCH), 4, 4))


def _transactions(prefix: bytes, numbers: range) -> Iterator[Request]:
    for at in range(0, len(numbers), _BATCH):
        puts = [PutRequest(key=b"%s%07d" % (prefix, n), value=VALUE) for n in numbers[at : at + _BATCH]]
        yield TXN, TxnRequest(success=[RequestOp(request_put=put) for put in puts]).SerializeToString()
