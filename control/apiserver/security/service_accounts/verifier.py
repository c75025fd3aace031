"""Users by service-account token: the signature, then the times, then that all the token is bound to still lives.

Invariants: the algorithm is the key's, never the token's word; a signature is checked once per token and remembered by
the token's digest, everything else is checked with every request. So a token ends with its service account, pod, secret
or node as soon as the caches know (milliseconds), and a token for an object that the caches do not know yet is looked
up in the store before it is refused.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

import jwt

from control.api import meta
from control.api.schema import Object
from control.api.status import StatusError, unauthorized
from control.apiserver.request import Caches, Objects, User
from control.apiserver.security.service_accounts.claims import LEGACY_ISSUER, Bound, Claims, read_claims
from control.pki.token_keys import VerifyingKey

# A pod that is being deleted keeps its token a little longer than its grace period: it may still be saying goodbye.
_DELETED_FOR = timedelta(seconds=60)
_RESOURCES = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}
_REMEMBERED = 10_000
_UNCHECKED = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}


class ServiceAccountTokens:
    """Bearer tokens that this cluster's API servers (or its token controller) signed."""

    def __init__(
        self,
        keys: Iterable[VerifyingKey],
        issuers: Collection[str],
        audiences: tuple[str, ...],
        caches: Caches,
        objects: Objects,
        now: Callable[[], datetime],
    ) -> None:
        """issuers: --service-account-issuer, accepted ones; audiences: the API server's own, --api-audiences."""
        self._keys = list(keys)
        self._issuers = frozenset(issuers) | {LEGACY_ISSUER}
        self._audiences = audiences
        self._caches = caches
        self._objects = objects
        self._now = now
        self._verified: OrderedDict[bytes, Claims] = OrderedDict()

    async def user_of(self, token: str, audiences: tuple[str, ...] = ()) -> User | None:
        """None: somebody else's token. StatusError 401 says what ended it: the bearer of a true token may know."""
        claims = self._claims(token)
        if claims is None:
            return None
        self._check_audience(claims, audiences)
        self._check_times(claims)
        await self._check_account(claims)
        if claims.bound is not None:
            await self._check_bound(claims, claims.bound, token)
        return claims.user()

    def matched_audiences(self, token: str, audiences: tuple[str, ...]) -> tuple[str, ...]:
        """Of the audiences asked for, those a verified token is for; for TokenReview. Other kinds are for us."""
        claims = self._claims(token)
        mine = self._audiences_of(claims) if claims else self._audiences
        return tuple(audience for audience in audiences or self._audiences if audience in mine)

    def _is_ours(self, token: str) -> bool:
        """By the issuer it claims, unverified: whether to look closer."""
        try:
            payload = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            return False
        issuer = payload.get("iss")
        return isinstance(issuer, str) and issuer in self._issuers

    def _claims(self, token: str) -> Claims | None:
        digest = hashlib.sha256(token.encode()).digest()
        found = self._verified.get(digest)
        if found is None:
            if token.count(".") != 2 or not self._is_ours(token):
                return None
            try:
                found = read_claims(self._verify(token))
            except ValueError as problem:
                raise unauthorized(f"Unauthorized: service account token: {problem}") from None
            self._verified[digest] = found
            if len(self._verified) > _REMEMBERED:
                self._verified.popitem(last=False)
        return found

    def _verify(self, token: str) -> dict[str, Any]:
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except jwt.PyJWTError:
            raise unauthorized("Unauthorized: service account token: its header is malformed") from None
        fitting = [key for key in self._keys if key.id == key_id] if key_id else self._keys
        for key in fitting:
            try:
                return dict(jwt.decode(token, key.key, algorithms=[key.algorithm], options=_UNCHECKED))  # type: ignore[arg-type]
            except jwt.PyJWTError:
                continue
        raise unauthorized("Unauthorized: service account token: no key of this cluster signed it")

    def _audiences_of(self, claims: Claims) -> tuple[str, ...]:
        return self._audiences if claims.legacy else claims.audiences

    def _check_audience(self, claims: Claims, audiences: tuple[str, ...]) -> None:
        if not set(audiences or self._audiences) & set(self._audiences_of(claims)):
            raise unauthorized("Unauthorized: service account token: it is for another audience")

    def _check_times(self, claims: Claims) -> None:
        now = self._now().timestamp()
        if claims.expires and now >= claims.expires:
            raise unauthorized("Unauthorized: service account token has expired")
        if now < claims.not_before - 60:  # clocks of masters differ
            raise unauthorized("Unauthorized: service account token is not valid yet")

    async def _check_account(self, claims: Claims) -> None:
        account = await self._alive("serviceaccounts", claims.namespace, claims.name, claims.uid)
        if account is None:
            raise unauthorized("Unauthorized: service account token: its service account is gone")

    async def _check_bound(self, claims: Claims, bound: Bound, token: str) -> None:
        namespace = "" if bound.kind == "Node" else claims.namespace
        found = await self._alive(_RESOURCES[bound.kind], namespace, bound.name, bound.uid)
        if found is None or (claims.legacy and not _holds(found, token)):
            raise unauthorized(f"Unauthorized: service account token: the {bound.kind} it is bound to is gone")

    async def _alive(self, resource: str, namespace: str, name: str, uid: str) -> Object | None:
        found = self._caches.get(resource, namespace, name)
        if found is None or (uid and meta.uid(found) != uid):
            try:
                found = await self._objects.get(resource, namespace, name)
            except StatusError as problem:
                if problem.code != 404:
                    raise
                return None
        return found if is_alive(found, uid, self._now()) else None


def is_alive(obj: Object, uid: str, now: datetime) -> bool:
    """Whether it is the object that was meant, and not deleted for long. Pure."""
    if uid and meta.uid(obj) != uid:
        return False
    deleted = meta.metadata(obj).get("deletionTimestamp")
    return not deleted or now < meta.parse_time(deleted) + _DELETED_FOR


def _holds(secret: Object, token: str) -> bool:
    """Whether a legacy token is the one its secret holds now."""
    if secret.get("type") != "kubernetes.io/service-account-token" or meta.is_deleting(secret):
        return False
    try:
        held = b64decode((secret.get("data") or {}).get("token", ""))
    except ValueError:
        return False
    return hmac.compare_digest(held, token.encode())
