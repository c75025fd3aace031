"""What a request needs to be permitted: looked at when it is applied, and for reads when they are answered.

Each check raises USER_EMPTY, AUTH_OLD_REVISION or PERMISSION_DENIED, and changes nothing. Follows etcd's auth applier
as it is since its 3.5 line closed the gaps (nested transactions, prev_kv and leases inside transactions).
"""

from __future__ import annotations

from collections.abc import Iterable

from kvstore.auth.permissions import Permissions
from kvstore.auth.store import AuthStore
from kvstore.auth.types import Identity, LeaseKeys
from kvstore.errors import EtcdError, error
from kvstore.pb import etcd_pb2 as pb

_NOTHING = b""


class Checks:
    """The checks over one auth store. With auth off everything is permitted."""

    def __init__(self, store: AuthStore, leases: LeaseKeys) -> None:
        self._store = store
        self._leases = leases

    def read(self, identity: Identity | None, key: bytes, range_end: bytes) -> None:
        """May they read these keys?"""
        if self._store.enabled:
            _read(self._of(identity), key, range_end)

    def put(self, identity: Identity | None, request: pb.PutRequest) -> None:
        """May they put this key, with this lease?"""
        if self._store.enabled:
            self._put(self._of(identity), request)

    def delete_range(self, identity: Identity | None, request: pb.DeleteRangeRequest) -> None:
        """May they delete these keys, and see what they were?"""
        if self._store.enabled:
            _delete(self._of(identity), request)

    def txn(self, identity: Identity | None, request: pb.TxnRequest) -> None:
        """May they do everything in it, whichever branches are taken?"""
        if self._store.enabled and (request.compare or request.success or request.failure):
            self._txn(self._of(identity), request)

    def lease_write(self, identity: Identity | None, lease: int) -> None:
        """May they end or renew the lease: may they write every key that hangs on it?

        Root may, however old their revision is (as in etcd).
        """
        keys = self._leases.keys(lease) if self._store.enabled else []
        if keys and not self._is_root(identity):
            self._write_all(self._of(identity), keys)

    def lease_read(self, identity: Identity | None, lease: int) -> None:
        """May they see the names of the lease's keys? Root may, as in lease_write."""
        keys = self._leases.keys(lease) if self._store.enabled else []
        if keys and not self._is_root(identity):
            user = self._of(identity)
            for key in keys:
                _read(user, key, _NOTHING)

    def _is_root(self, identity: Identity | None) -> bool:
        found = self._store.permissions(identity.user) if identity is not None else None
        return found is not None and found.all

    def _of(self, identity: Identity | None) -> Permissions:
        self._store.check_current(identity)
        found = self._store.permissions(identity.user) if identity is not None else None
        if found is None:
            raise error("PERMISSION_DENIED")
        return found

    def _put(self, user: Permissions, request: pb.PutRequest) -> None:
        if not user.may_write(request.key, _NOTHING):
            raise error("PERMISSION_DENIED")
        if request.lease and not user.all:
            # Who may not revoke a lease may not hang a key on it, either.
            self._write_all(user, self._leases.keys(request.lease))
        if request.prev_kv:
            _read(user, request.key, _NOTHING)

    def _write_all(self, user: Permissions, keys: Iterable[bytes]) -> None:
        if not user.all and not all(user.may_write(key, _NOTHING) for key in keys):
            raise error("PERMISSION_DENIED")

    def _txn(self, user: Permissions, request: pb.TxnRequest) -> None:
        for compare in request.compare:
            _read(user, compare.key, compare.range_end)
        for op in (*request.success, *request.failure):
            match op.WhichOneof("request"):
                case "request_range":
                    _read(user, op.request_range.key, op.request_range.range_end)
                case "request_put":
                    self._put(user, op.request_put)
                case "request_delete_range":
                    _delete(user, op.request_delete_range)
                case "request_txn":
                    self._txn(user, op.request_txn)


def _read(user: Permissions, key: bytes, range_end: bytes) -> None:
    if not user.may_read(key, range_end):
        raise error("PERMISSION_DENIED")


def _delete(user: Permissions, request: pb.DeleteRangeRequest) -> None:
    if not user.may_write(request.key, request.range_end):
        raise error("PERMISSION_DENIED")
    if request.prev_kv:
        _read(user, request.key, request.range_end)


def check_user_get(store: AuthStore, identity: Identity | None, name: str) -> None:
    """Everybody may look at themselves, root at all. Raises what check_root raises."""
    _root_or(store, identity, (identity.user if identity else "") == name)


def check_role_get(store: AuthStore, identity: Identity | None, role: str) -> None:
    """Everybody may look at roles of theirs, root at all. Raises what check_root raises."""
    _root_or(store, identity, identity is not None and store.has_role(identity.user, role))


def _root_or(store: AuthStore, identity: Identity | None, otherwise: bool) -> None:
    try:
        store.check_root(identity)
    except EtcdError:
        if not otherwise:
            raise
