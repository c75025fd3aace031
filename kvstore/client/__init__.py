"""The Python client of the store, and of any etcd v3 store: asynchronous (connect) and blocking (Client).

from kvstore.client import Client, put, version

with Client("127.0.0.1:2379,127.0.0.1:22379") as client:
    client.put("greeting", "hello")
    client.txn().when(version("greeting") == 1).then(put("greeting", "hallo")).commit()
    with client.lock("printer", ttl=10) as lock:
        ...
"""

from kvstore.client.aio import AsyncClient, connect
from kvstore.client.errors import (
    AuthenticationFailed,
    BadCertificates,
    ChecksumMismatch,
    ClientError,
    Compacted,
    FutureRevision,
    InvalidToken,
    KeyNotFound,
    LeaseExists,
    LeaseLost,
    LeaseNotFound,
    MaybeApplied,
    MemberNotFound,
    NoElectionLeader,
    NoLeader,
    NoSpace,
    NotLeader,
    PermissionDenied,
    StoreError,
    TimedOut,
    TooManyRequests,
    Unreachable,
    WatchCanceled,
)
from kvstore.client.settings import Settings, Tls
from kvstore.client.sync import Client
from kvstore.client.txn import create_revision, delete, get, lease_of, mod_revision, put, value, version

__all__ = [
    "AsyncClient",
    "AuthenticationFailed",
    "BadCertificates",
    "ChecksumMismatch",
    "Client",
    "ClientError",
    "Compacted",
    "FutureRevision",
    "InvalidToken",
    "KeyNotFound",
    "LeaseExists",
    "LeaseLost",
    "LeaseNotFound",
    "MaybeApplied",
    "MemberNotFound",
    "NoElectionLeader",
    "NoLeader",
    "NoSpace",
    "NotLeader",
    "PermissionDenied",
    "Settings",
    "StoreError",
    "TimedOut",
    "Tls",
    "TooManyRequests",
    "Unreachable",
    "WatchCanceled",
    "connect",
    "create_revision",
    "delete",
    "get",
    "lease_of",
    "mod_revision",
    "put",
    "value",
    "version",
]
