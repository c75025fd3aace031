"""JSON Web Tokens (RFC 7519) with etcd's claims: username, revision, exp. No member has to remember them.

A token carries the auth revision it was made at: after any change of users or roles its requests are refused as old,
and the client authenticates again. One algorithm is taken, that of the flag, whatever a token's header says.
Verifying a signature costs tens of microseconds, so verified tokens are remembered, the last CACHED of them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import jwt

from kvstore.auth.types import Identity
from kvstore.errors import Code, EtcdError

METHODS = frozenset(
    {f"{family}{bits}" for family in ("RS", "PS", "ES", "HS") for bits in (256, 384, 512)} | {"EdDSA"},
)
CACHED = 4096
# Longer ones are not looked at: nothing this store signs comes near.
MAX_LENGTH = 16 * 1024
# The greatest number that a claim may hold; a token without exp lives as long.
FOREVER = 1 << 62


class _Claims(NamedTuple):
    user: str
    revision: int
    begins: float
    expires: float


class JwtTokens:
    """Signs and verifies with the keys of one configuration."""

    through_log = False

    def __init__(self, method: str, sign_key: Any, verify_key: Any, ttl: float) -> None:
        """method: one of METHODS. sign_key: None where only a public key is given. ttl: seconds."""
        self._method = method
        self._sign_key = sign_key
        self._verify_key = verify_key
        self._ttl = ttl
        self._verified: OrderedDict[str, _Claims] = OrderedDict()

    def assign(self, user: str, prefix: str, index: int, now: float) -> str:
        """None: these tokens do not come through the log. (An entry may come from a member with another flag.)"""
        return ""

    def sign(self, user: str, revision: int, now: float) -> str:
        """Make a token. Raises etcd's UNKNOWN where only a public key is given."""
        if self._sign_key is None:
            raise EtcdError(Code.UNKNOWN, "auth: token signing attempted with verify-only key")
        claims = {"username": user, "revision": revision, "exp": int(now + self._ttl)}
        return jwt.encode(claims, self._sign_key, algorithm=self._method)

    def index_of(self, token: str) -> int:
        """Any member can read any token."""
        return 0

    def identify(self, token: str, revision: int, now: float) -> Identity | None:
        """Whose it is, at the revision it was made at."""
        claims = self._verified.get(token)
        if claims is None:
            claims = self._verify(token)
            if claims is None:
                return None
            self._remember(token, claims)
        else:
            self._verified.move_to_end(token)
        if not claims.begins <= now < claims.expires:
            return None
        return Identity(claims.user, claims.revision)

    def check_verify_key(self) -> None:
        """Raises jwt's errors or TypeError for a key that is of another family than the method."""
        jwt.get_algorithm_by_name(self._method).prepare_key(self._verify_key)

    def invalidate(self, user: str) -> None:
        """Nothing to do: the auth revision that changed with the user makes their tokens old."""

    def clear(self) -> None:
        """Forget which were verified."""
        self._verified.clear()

    def _remember(self, token: str, claims: _Claims) -> None:
        self._verified[token] = claims
        if len(self._verified) > CACHED:
            self._verified.popitem(last=False)

    def _verify(self, token: str) -> _Claims | None:
        if len(token) > MAX_LENGTH:
            return None
        try:
            # Times are looked at by identify, with the time it is given.
            claims = jwt.decode(
                token,
                self._verify_key,
                algorithms=[self._method],
                options={"verify_exp": False, "verify_aud": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.InvalidTokenError:
            return None
        return _read(claims)


def _read(claims: dict[str, Any]) -> _Claims | None:
    user, revision = claims.get("username"), _number(claims, "revision", None)
    starts, issued = _number(claims, "nbf", 0.0), _number(claims, "iat", 0.0)
    expires = _number(claims, "exp", FOREVER)
    if revision is None or starts is None or issued is None or expires is None:
        return None
    # A lone surrogate, which JSON can spell, is no user's name.
    if not isinstance(user, str) or user != user.encode(errors="replace").decode():
        return None
    return _Claims(user, int(revision), max(starts, issued), expires)


def _number(claims: dict[str, Any], name: str, default: float | None) -> float | None:
    """A claim that must be a number if it is there; None for anything else."""
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= FOREVER:
        return None
    return value
