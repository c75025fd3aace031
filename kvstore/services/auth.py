"""etcdserverpb.Auth: users, roles, permissions, on and off, and tokens for passwords.

What changes something goes through the log and is checked there; what only looks is answered after everything that was
acknowledged before. Passwords never get that far: they are hashed or checked here, in a thread (member/passwords.py).
Authenticating is etcd's optimistic way: the password is checked against the users as they are, a token is made, and if
users or roles changed in between it is all done again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
from collections.abc import Callable
from functools import partial
from typing import Any

from kvstore.auth.checks import check_role_get, check_user_get
from kvstore.auth.store import no_password_user
from kvstore.errors import EtcdError, error
from kvstore.member.awaited import linearizable
from kvstore.member.member import Member
from kvstore.member.requests import RequestKind
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.guard import Parser, check_leader, parse, refuse_learner
from kvstore.services.tasks import proposed, run
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

log = logging.getLogger(__name__)

PREFIX = "/etcdserverpb.Auth/"
# RPC → the request's message and kind: those that need nothing before they are proposed.
_CHANGES: dict[str, tuple[Parser[Any], RequestKind]] = {
    "AuthEnable": (pb.AuthEnableRequest, RequestKind.AUTH_ENABLE),
    "AuthDisable": (pb.AuthDisableRequest, RequestKind.AUTH_DISABLE),
    "UserDelete": (pb.AuthUserDeleteRequest, RequestKind.USER_DELETE),
    "UserGrantRole": (pb.AuthUserGrantRoleRequest, RequestKind.USER_GRANT_ROLE),
    "UserRevokeRole": (pb.AuthUserRevokeRoleRequest, RequestKind.USER_REVOKE_ROLE),
    "RoleAdd": (pb.AuthRoleAddRequest, RequestKind.ROLE_ADD),
    "RoleDelete": (pb.AuthRoleDeleteRequest, RequestKind.ROLE_DELETE),
    "RoleGrantPermission": (pb.AuthRoleGrantPermissionRequest, RequestKind.ROLE_GRANT_PERMISSION),
    "RoleRevokePermission": (pb.AuthRoleRevokePermissionRequest, RequestKind.ROLE_REVOKE_PERMISSION),
}
_TOKEN_LETTERS = 16


class AuthService:
    """The handlers of one member."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._store = member.auth
        self._passwords = member.passwords

    def register(self, server: GrpcServer) -> None:
        """Serve the methods of etcdserverpb.Auth."""
        for name, (message, kind) in _CHANGES.items():
            server.unary(PREFIX + name, partial(self._change, message, kind))
        for name, look in {
            "AuthStatus": self._status,
            "UserGet": self._user_get,
            "UserList": self._user_list,
            "RoleGet": self._role_get,
            "RoleList": self._role_list,
        }.items():
            server.unary(PREFIX + name, partial(self._look, look))
        server.unary(PREFIX + "Authenticate", self.authenticate)
        server.unary(PREFIX + "UserAdd", self.user_add)
        server.unary(PREFIX + "UserChangePassword", self.change_password)

    # ---- changes

    def _change(self, message: Parser[Any], kind: RequestKind, call: Call, data: bytes) -> None:
        request = parse(message, data)
        self._check(call)
        self._member.propose(kind, data, request, partial(self._changed, call), call.user)

    def _changed(self, call: Call, result: Any, problem: EtcdError | None) -> None:
        if problem is not None:
            call.fail(problem.code, problem.message)
        else:
            # Every response to a change is a header and nothing else.
            call.reply(self._member.header_field(self._member.store.revision))

    def user_add(self, call: Call, data: bytes) -> None:
        """UserAdd; a user without a password can only come with a certificate."""
        request = parse(pb.AuthUserAddRequest, data)
        self._check(call)
        self._store.check_root(call.user)
        run(self._member, call, self._with_hash(call, RequestKind.USER_ADD, request, not request.options.no_password))

    def change_password(self, call: Call, data: bytes) -> None:
        """UserChangePassword."""
        request = parse(pb.AuthUserChangePasswordRequest, data)
        self._check(call)
        self._store.check_root(call.user)
        hashes = bool(request.password)
        run(self._member, call, self._with_hash(call, RequestKind.USER_CHANGE_PASSWORD, request, hashes))

    async def _with_hash(self, call: Call, kind: RequestKind, request: Any, hashes: bool) -> bytes:
        """The log gets the hash in place of the password."""
        if hashes:
            request.hashedPassword = await self._passwords.hash(request.password)
        request.ClearField("password")
        await proposed(self._member, kind, request, call.user)
        return self._member.header_field(self._member.store.revision)

    # ---- tokens

    def authenticate(self, call: Call, data: bytes) -> None:
        """Authenticate: a token for a password."""
        request = parse(pb.AuthenticateRequest, data)
        self._check(call)
        run(self._member, call, self._authenticate(request))

    async def _authenticate(self, request: pb.AuthenticateRequest) -> bytes:
        await linearizable(self._member)
        while True:
            revision = await self._check_password(request.name, request.password)
            token = await self._make_token(request.name, revision)
            if revision == self._store.revision:
                break
        answer = pb.AuthenticateResponse(token=token)
        return self._member.header_field(self._member.store.revision) + answer.SerializeToString()

    async def _check_password(self, name: str, password: str) -> int:
        """The auth revision at which the password was right.

        Raises AUTH_NOT_ENABLED, AUTH_FAILED, TOO_MANY_REQUESTS, and etcd's error for a user without one.
        """
        store = self._store
        if not store.enabled:
            raise error("AUTH_NOT_ENABLED")
        user, revision = store.user(name), store.revision
        if user is None:
            log.warning("authentication failed: there is no user %.64r", name)
            raise error("AUTH_FAILED")
        if user.options.no_password:
            raise no_password_user()
        if not await self._passwords.check(name, user.password, password):
            log.warning("authentication failed: wrong password for user %.64r", name)
            raise error("AUTH_FAILED")
        return revision

    async def _make_token(self, name: str, revision: int) -> str:
        tokens = self._member.tokens
        if not tokens.provider.through_log:
            return await asyncio.to_thread(tokens.sign, name, revision)
        request = pb.InternalAuthenticateRequest(name=name, simple_token=_random_letters())
        return str(await proposed(self._member, RequestKind.AUTHENTICATE, request, None))

    # ---- questions

    def _look(self, answer: Callable[[Call, bytes], Any], call: Call, data: bytes) -> None:
        self._check(call)

        def done(problem: EtcdError | None) -> None:
            try:
                if problem is not None:
                    raise problem
                rest = answer(call, data).SerializeToString()
                call.reply(self._member.header_field(self._member.store.revision) + rest)
            except Exception as fault:
                call.fail_with(fault)

        self._member.linearizable(done)

    def _status(self, call: Call, data: bytes) -> pb.AuthStatusResponse:
        parse(pb.AuthStatusRequest, data)
        self._store.check_root(call.user)
        return pb.AuthStatusResponse(enabled=self._store.enabled, authRevision=self._store.revision)

    def _user_get(self, call: Call, data: bytes) -> pb.AuthUserGetResponse:
        name = parse(pb.AuthUserGetRequest, data).name
        check_user_get(self._store, call.user, name)
        return self._store.user_get(name)

    def _user_list(self, call: Call, data: bytes) -> pb.AuthUserListResponse:
        parse(pb.AuthUserListRequest, data)
        self._store.check_root(call.user)
        return self._store.user_list()

    def _role_get(self, call: Call, data: bytes) -> pb.AuthRoleGetResponse:
        role = parse(pb.AuthRoleGetRequest, data).role
        check_role_get(self._store, call.user, role)
        return self._store.role_get(role)

    def _role_list(self, call: Call, data: bytes) -> pb.AuthRoleListResponse:
        parse(pb.AuthRoleListRequest, data)
        self._store.check_root(call.user)
        return self._store.role_list()

    def _check(self, call: Call) -> None:
        check_leader(self._member, call)
        refuse_learner(self._member)


def _random_letters() -> str:
    """Letters from 128 random bits, of which 16 letters hold 91: each as likely as any other, to 2 to the -37."""
    number = int.from_bytes(secrets.token_bytes(16), "big")
    letters = []
    for _ in range(_TOKEN_LETTERS):
        number, letter = divmod(number, len(string.ascii_letters))
        letters.append(string.ascii_letters[letter])
    return "".join(letters)
