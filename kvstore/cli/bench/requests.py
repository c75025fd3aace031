"""What the clients of `fluyt bench` ask: puts, gets, both, compare-and-swap transactions, leases.

Keys of one run stand below one prefix. A work that must know its last answer belongs to one client; the others are
shared by all, so that every key is written in turn, however unevenly the clients are served.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import count

from kvstore.pb import etcd_pb2 as pb

PUT, RANGE, TXN = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range", "/etcdserverpb.KV/Txn"


@dataclass(frozen=True)
class Keys:
    """The keys of a run: `space` different ones (0: every put has a new one), of `size` bytes behind the prefix.

    Numbers that need more digits than `size` make longer keys.
    """

    prefix: bytes
    size: int
    space: int

    def key(self, number: int) -> bytes:
        """The key of that number."""
        return self.prefix + b"%0*d" % (self.size, number % self.space if self.space else number)

    def drawn(self) -> bytes:
        """One of them by chance."""
        return self.key(random.randrange(self.space or 1))


class Puts:
    """Puts of the same value to one key after the other; shared by all clients."""

    def __init__(self, keys: Keys, value: bytes) -> None:
        self._keys, self._value = keys, value
        self._numbers = count()

    def request(self) -> tuple[str, bytes]:
        """The next put."""
        key = self._keys.key(next(self._numbers))
        return PUT, pb.PutRequest(key=key, value=self._value).SerializeToString()

    def answered(self, message: bytes) -> str:
        """Nothing to check."""
        return ""


class Gets:
    """Gets of keys drawn by chance, which are there."""

    def __init__(self, keys: Keys, serializable: bool) -> None:
        self._keys, self._serializable = keys, serializable

    def request(self) -> tuple[str, bytes]:
        """The next get."""
        message = pb.RangeRequest(key=self._keys.drawn(), serializable=self._serializable)
        return RANGE, message.SerializeToString()

    def answered(self, message: bytes) -> str:
        """A missing key costs less than one that is there."""
        return "" if pb.RangeResponse.FromString(message).kvs else "key not found"


class Mixed:
    """The gets and puts of one client. reads: per cent of the calls that are gets."""

    def __init__(self, gets: Gets, puts: Puts, reads: int) -> None:
        self._gets, self._puts, self._reads = gets, puts, reads
        self._last: Gets | Puts = gets

    def request(self) -> tuple[str, bytes]:
        """One or the other."""
        self._last = self._gets if random.randrange(100) < self._reads else self._puts
        return self._last.request()

    def answered(self, message: bytes) -> str:
        """As its kind has it."""
        return self._last.answered(message)


class Swaps:
    """Compare-and-swap of one key: it is written if nobody else has written it since this client last saw it."""

    def __init__(self, key: bytes, value: bytes) -> None:
        self._key, self._value = key, value
        # The key's modification revision as this client knows it; 0: it is not there.
        self._seen = 0
        self.conflicts = 0

    def request(self) -> tuple[str, bytes]:
        """If it is as it was seen, put; else get."""
        compare = pb.Compare(result=pb.Compare.EQUAL, target=pb.Compare.MOD, key=self._key, mod_revision=self._seen)
        put = pb.RequestOp(request_put=pb.PutRequest(key=self._key, value=self._value))
        get = pb.RequestOp(request_range=pb.RangeRequest(key=self._key))
        return TXN, pb.TxnRequest(compare=[compare], success=[put], failure=[get]).SerializeToString()

    def answered(self, message: bytes) -> str:
        """What was seen now."""
        answer = pb.TxnResponse.FromString(message)
        if answer.succeeded:
            self._seen = answer.header.revision
        else:
            self.conflicts += 1
            found = answer.responses[0].response_range.kvs
            self._seen = found[0].mod_revision if found else 0
        return ""


class Grants:
    """Grants of leases that the store numbers."""

    path = "/etcdserverpb.Lease/LeaseGrant"

    def __init__(self, ttl: int, granted: list[int]) -> None:
        self._message = pb.LeaseGrantRequest(TTL=ttl).SerializeToString()
        self._granted = granted

    def request(self) -> tuple[str, bytes]:
        """The next grant."""
        return self.path, self._message

    def answered(self, message: bytes) -> str:
        """The id is kept, so that the lease can be renewed and revoked."""
        self._granted.append(pb.LeaseGrantResponse.FromString(message).ID)
        return ""


class Revokes:
    """The end of every lease of a list, which is emptied."""

    path = "/etcdserverpb.Lease/LeaseRevoke"

    def __init__(self, granted: list[int]) -> None:
        self._granted = granted

    def request(self) -> tuple[str, bytes]:
        """The next one."""
        return self.path, pb.LeaseRevokeRequest(ID=self._granted.pop()).SerializeToString()

    def answered(self, message: bytes) -> str:
        """Nothing to check."""
        return ""


class Renewals:
    """Renewals of leases in turn, each a stream of one message there and one back."""

    path = "/etcdserverpb.Lease/LeaseKeepAlive"

    def __init__(self, leases: list[int], first: int, step: int) -> None:
        own = leases[first::step] or leases
        self._messages = [pb.LeaseKeepAliveRequest(ID=lease).SerializeToString() for lease in own]
        self._next = 0

    def request(self) -> tuple[str, bytes]:
        """The next renewal."""
        self._next = (self._next + 1) % len(self._messages)
        return self.path, self._messages[self._next]

    def answered(self, message: bytes) -> str:
        """A lease that is gone is renewed to nothing."""
        return "" if pb.LeaseKeepAliveResponse.FromString(message).TTL > 0 else "lease not found"
