"""Security and admission that refuse nothing: for tests of the HTTP side alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from control.api.schema import Object
from control.api.status import method_not_allowed
from control.apiserver.request import (
    Attributes,
    Decision,
    Headers,
    PeerCertificate,
    RequestInfo,
    Review,
    Security,
    User,
)

ADMIN = User("system:admin", groups=("system:masters", "system:authenticated"))


class Anybody:
    """Everybody is the administrator, or whom the certificate names."""

    async def authenticate(self, headers: Headers, peer_certificate: PeerCertificate | None) -> User | None:
        if peer_certificate is None:
            return ADMIN
        groups = (*peer_certificate.organizations, "system:authenticated")
        return User(peer_certificate.common_name, groups=groups)

    def acting(self, user: User, headers: Headers) -> User:
        return user


class Anything:
    """Every action is allowed, every object admitted, any number of requests served."""

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        return Decision(True)

    async def mutate(self, review: Review) -> None:
        return None

    async def validate(self, review: Review) -> None:
        return None

    def admit(self, user: User, info: RequestInfo) -> AbstractAsyncContextManager[None]:
        return _nothing()

    async def answer(self, review: Review) -> Object:
        raise method_not_allowed(review.resource, "create")


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


def open_security() -> Security:
    """No security at all."""
    anything = Anything()
    return Security(Anybody(), anything, anything, anything, anything)
