"""Auth in the apply loop: may the request be applied, and what the requests of the Auth service do.

Permissions are looked at here, and not only where a request came in, because users and roles may have changed between
the two; every member comes to the same end, for it sees the same store at the same entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvstore.auth.checks import Checks
from kvstore.auth.store import AuthStore
from kvstore.auth.types import Identity
from kvstore.member.requests import RequestKind
from kvstore.member.tokens import Tokens
from kvstore.pb import etcd_pb2 as pb

Check = Callable[[Identity | None, Any], None]


class AuthApplier:
    """What Applier asks before it applies, and the work of the kinds that change the auth store."""

    def __init__(self, store: AuthStore, checks: Checks, tokens: Tokens) -> None:
        self.store = store
        self._tokens = tokens
        # The index of the entry that is being applied; simple tokens are named after it.
        self.index = 0
        self.table: dict[int, tuple[Any, Callable[[Any], Any]]] = {
            RequestKind.AUTH_ENABLE: (pb.AuthEnableRequest.FromString, self._enable),
            RequestKind.AUTH_DISABLE: (pb.AuthDisableRequest.FromString, self._disable),
            RequestKind.AUTHENTICATE: (pb.InternalAuthenticateRequest.FromString, self._authenticate),
            RequestKind.USER_ADD: (pb.AuthUserAddRequest.FromString, store.user_add),
            RequestKind.USER_DELETE: (pb.AuthUserDeleteRequest.FromString, self._user_delete),
            RequestKind.USER_CHANGE_PASSWORD: (pb.AuthUserChangePasswordRequest.FromString, self._change_password),
            RequestKind.USER_GRANT_ROLE: (pb.AuthUserGrantRoleRequest.FromString, store.user_grant_role),
            RequestKind.USER_REVOKE_ROLE: (pb.AuthUserRevokeRoleRequest.FromString, store.user_revoke_role),
            RequestKind.ROLE_ADD: (pb.AuthRoleAddRequest.FromString, store.role_add),
            RequestKind.ROLE_DELETE: (pb.AuthRoleDeleteRequest.FromString, store.role_delete),
            RequestKind.ROLE_GRANT_PERMISSION: (
                pb.AuthRoleGrantPermissionRequest.FromString,
                store.role_grant_permission,
            ),
            RequestKind.ROLE_REVOKE_PERMISSION: (
                pb.AuthRoleRevokePermissionRequest.FromString,
                store.role_revoke_permission,
            ),
        }
        self._checks: dict[int, Check] = {
            RequestKind.PUT: checks.put,
            RequestKind.DELETE_RANGE: checks.delete_range,
            RequestKind.TXN: checks.txn,
            RequestKind.LEASE_REVOKE: lambda identity, request: checks.lease_write(identity, request.ID),
        }
        for kind in self.table.keys() - {RequestKind.AUTHENTICATE}:
            self._checks[kind] = lambda identity, request: store.check_root(identity)

    def check(self, kind: int, identity: Identity | None, request: Any) -> None:
        """May it be applied? Kinds without a check were checked where they came in, or come from a member.

        Raises USER_EMPTY, AUTH_OLD_REVISION, PERMISSION_DENIED.
        """
        check = self._checks.get(kind)
        if check is not None:
            check(identity, request)

    def _enable(self, request: pb.AuthEnableRequest) -> None:
        self.store.enable()

    def _disable(self, request: pb.AuthDisableRequest) -> None:
        self.store.disable()
        self._tokens.provider.clear()

    def _authenticate(self, request: pb.InternalAuthenticateRequest) -> str:
        self.store.authenticated(request.name)
        return self._tokens.assign(request.name, request.simple_token, self.index)

    def _user_delete(self, request: pb.AuthUserDeleteRequest) -> None:
        self.store.user_delete(request)
        self._tokens.provider.invalidate(request.name)

    def _change_password(self, request: pb.AuthUserChangePasswordRequest) -> None:
        self.store.user_change_password(request)
        self._tokens.provider.invalidate(request.name)
