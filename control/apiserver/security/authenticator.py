"""Who is it? The authenticators in their order; then impersonation, and the groups that everybody is in.

Order: request-header proxy, client certificate, bearer token (service account, token file, bootstrap token), anonymous.
A credential that one of them knows and finds wrong is a 401 and never falls through to anonymous.
Source: "Authenticating" of the Kubernetes documentation.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from control.api.status import unauthorized
from control.apiserver.request import ANONYMOUS, TOKEN_PROTOCOL, Headers, PeerCertificate, User
from control.apiserver.security.impersonation import Impersonation

AUTHENTICATED, UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"
# A token longer than this is none: headers are limited, but work on them is not free.
_TOKEN_BYTES = 16 * 1024


class TokenAuthenticator(Protocol):
    """Knows bearer tokens of one kind."""

    async def user_of(self, token: str, audiences: tuple[str, ...] = ()) -> User | None:
        """None: not a token of this kind. StatusError 401: it is one, and does not hold.

        audiences: for whom the token must be made; () means the API server itself.
        """
        ...


class RequestAuthenticator(Protocol):
    """Knows users by something else than a token."""

    def user_of(self, headers: Headers, peer_certificate: PeerCertificate | None) -> User | None:
        """None: no credentials of this kind. StatusError 401: they do not hold."""
        ...


class AuthenticatorChain:
    """The server's Authenticator."""

    def __init__(
        self,
        requests: Sequence[RequestAuthenticator],
        tokens: Sequence[TokenAuthenticator],
        impersonation: Impersonation,
        *,
        anonymous: bool = True,
    ) -> None:
        self._requests = requests
        self._tokens = tokens
        self._impersonation = impersonation
        self._anonymous = anonymous

    async def authenticate(self, headers: Headers, peer_certificate: PeerCertificate | None) -> User | None:
        """None only when anonymous requests are not allowed and there are no credentials. StatusError 401."""
        for authenticator in self._requests:
            user = authenticator.user_of(headers, peer_certificate)
            if user is not None:
                return with_group(user, AUTHENTICATED)
        token = bearer_token(headers)
        if token:
            user = await self.user_of_token(token)
            if user is None:
                raise unauthorized()
            return user
        return ANONYMOUS if self._anonymous else None

    def acting(self, user: User, headers: Headers) -> User:
        """The user that the request is to be taken for. StatusErrors 400, 403."""
        return self._impersonation.act(user, headers)

    async def user_of_token(self, token: str, audiences: tuple[str, ...] = ()) -> User | None:
        """For TokenReview: who a bearer token is; None if nobody knows it. StatusError 401: it does not hold."""
        if len(token) > _TOKEN_BYTES:
            return None
        for authenticator in self._tokens:
            user = await authenticator.user_of(token, audiences)
            if user is not None:
                return with_group(user, AUTHENTICATED)
        return None


def bearer_token(headers: Headers) -> str:
    """The token of the Authorization header or of the WebSocket subprotocol that browsers send it in; "" without."""
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return websocket_token(headers)


def websocket_token(headers: Headers) -> str:
    """Source: subprotocol base64url.bearer.authorization.k8s.io.<token>, for clients that cannot set headers."""
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        encoded = protocol.strip()
        if encoded.startswith(TOKEN_PROTOCOL):
            return _decoded(encoded.removeprefix(TOKEN_PROTOCOL))
    return ""


def _decoded(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        raise unauthorized() from None


def with_group(user: User, group: str) -> User:
    """The user in one more group. Anonymous users stay what they are."""
    if group in user.groups or UNAUTHENTICATED in user.groups:
        return user
    return replace(user, groups=(*user.groups, group))
