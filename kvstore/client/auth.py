"""Users, roles and permissions."""

from __future__ import annotations

from typing import Unpack

from kvstore.client import rpcs
from kvstore.client.requests import Bytes, KeyOptions, key_range, to_bytes
from kvstore.client.transport import Transport
from kvstore.pb import etcd_pb2 as pb


class Auth:
    """The auth calls of a client. Changes raise MaybeApplied when their fate is unknown; PermissionDenied."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def enable(self) -> pb.AuthEnableResponse:
        """From now on every call needs a user. There must be a user root with the role root."""
        return await self._transport.unary(rpcs.AUTH_ENABLE, pb.AuthEnableRequest())

    async def disable(self) -> pb.AuthDisableResponse:
        """From now on nobody is asked who they are."""
        return await self._transport.unary(rpcs.AUTH_DISABLE, pb.AuthDisableRequest())

    async def status(self) -> pb.AuthStatusResponse:
        """Whether authentication is on."""
        return await self._transport.unary(rpcs.AUTH_STATUS, pb.AuthStatusRequest())

    async def user_add(self, name: str, password: str | None) -> pb.AuthUserAddResponse:
        """A new user. password None: one that can only come with a certificate."""
        options = pb.UserAddOptions(no_password=password is None)
        return await self._transport.unary(
            rpcs.USER_ADD, pb.AuthUserAddRequest(name=name, password=password or "", options=options)
        )

    async def user_get(self, name: str) -> pb.AuthUserGetResponse:
        """The user's roles."""
        return await self._transport.unary(rpcs.USER_GET, pb.AuthUserGetRequest(name=name))

    async def user_list(self) -> pb.AuthUserListResponse:
        """Every user's name."""
        return await self._transport.unary(rpcs.USER_LIST, pb.AuthUserListRequest())

    async def user_delete(self, name: str) -> pb.AuthUserDeleteResponse:
        """Remove a user."""
        return await self._transport.unary(rpcs.USER_DELETE, pb.AuthUserDeleteRequest(name=name))

    async def user_change_password(self, name: str, password: str) -> pb.AuthUserChangePasswordResponse:
        """Give a user another password."""
        request = pb.AuthUserChangePasswordRequest(name=name, password=password)
        return await self._transport.unary(rpcs.USER_CHANGE_PASSWORD, request)

    async def user_grant_role(self, user: str, role: str) -> pb.AuthUserGrantRoleResponse:
        """Give a user a role."""
        return await self._transport.unary(rpcs.USER_GRANT_ROLE, pb.AuthUserGrantRoleRequest(user=user, role=role))

    async def user_revoke_role(self, user: str, role: str) -> pb.AuthUserRevokeRoleResponse:
        """Take a role from a user."""
        return await self._transport.unary(rpcs.USER_REVOKE_ROLE, pb.AuthUserRevokeRoleRequest(name=user, role=role))

    async def role_add(self, name: str) -> pb.AuthRoleAddResponse:
        """A new role, without permissions."""
        return await self._transport.unary(rpcs.ROLE_ADD, pb.AuthRoleAddRequest(name=name))

    async def role_get(self, name: str) -> pb.AuthRoleGetResponse:
        """The role's permissions."""
        return await self._transport.unary(rpcs.ROLE_GET, pb.AuthRoleGetRequest(role=name))

    async def role_list(self) -> pb.AuthRoleListResponse:
        """Every role's name."""
        return await self._transport.unary(rpcs.ROLE_LIST, pb.AuthRoleListRequest())

    async def role_delete(self, name: str) -> pb.AuthRoleDeleteResponse:
        """Remove a role."""
        return await self._transport.unary(rpcs.ROLE_DELETE, pb.AuthRoleDeleteRequest(role=name))

    async def role_grant_permission(
        self,
        role: str,
        kind: pb.Permission.Type,
        key: Bytes,
        range_end: Bytes | None = None,
        **options: Unpack[KeyOptions],
    ) -> pb.AuthRoleGrantPermissionResponse:
        """Let a role READ, WRITE or READWRITE a key, a range or a prefix."""
        start, end = key_range(key, range_end, **options)
        permission = pb.Permission(permType=kind, key=start, range_end=end)
        request = pb.AuthRoleGrantPermissionRequest(name=role, perm=permission)
        return await self._transport.unary(rpcs.ROLE_GRANT_PERMISSION, request)

    async def role_revoke_permission(
        self, role: str, key: Bytes, range_end: Bytes = b""
    ) -> pb.AuthRoleRevokePermissionResponse:
        """Take exactly this permission back."""
        request = pb.AuthRoleRevokePermissionRequest(role=role, key=to_bytes(key), range_end=to_bytes(range_end))
        return await self._transport.unary(rpcs.ROLE_REVOKE_PERMISSION, request)
