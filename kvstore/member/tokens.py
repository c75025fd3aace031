"""`--auth-token`: which tokens this member makes and takes: simple, or jwt,sign-method=…,priv-key=…,pub-key=…,ttl=…."""

from __future__ import annotations

import time
from collections.abc import Callable

from kvstore.auth.simple_token import SimpleTokens
from kvstore.auth.tokens import NoTokens, TokenProvider
from kvstore.auth.types import Identity
from kvstore.member.config import ConfigError

DEFAULT_TTL = 300.0


class Tokens:
    """The provider with the clock that its tokens live by."""

    def __init__(self, provider: TokenProvider, clock: Callable[[], float]) -> None:
        self.provider = provider
        self.clock = clock

    def identify(self, token: str, revision: int) -> Identity | None:
        """Whose the token is; None for an unknown, forged or expired one."""
        return self.provider.identify(token, revision, self.clock())

    def assign(self, user: str, prefix: str, index: int) -> str:
        """A token that the log entry `index` gives to a user."""
        return self.provider.assign(user, prefix, index, self.clock())

    def sign(self, user: str, revision: int) -> str:
        """A token that needs no log entry; in a thread. Raises etcd's refusals."""
        return self.provider.sign(user, revision, self.clock())


def open_tokens(spec: str, ttl: float) -> Tokens:
    """spec: the value of --auth-token. ttl: seconds a simple token lives unused. Raises ConfigError."""
    kind, *options = spec.split(",")
    if kind == "simple":
        return Tokens(SimpleTokens(ttl if ttl > 0 else DEFAULT_TTL), time.monotonic)
    if kind == "jwt":
        # PyJWT and cryptography are ten megabytes of every member that signs nothing.
        from kvstore.member.jwt_options import open_jwt

        return Tokens(open_jwt(options, DEFAULT_TTL), time.time)
    if not spec:
        return Tokens(NoTokens(), time.monotonic)
    raise ConfigError(f"--auth-token: {kind!r} is no kind of token; use simple or jwt,sign-method=…,priv-key=…")
