"""Bootstrap tokens: `<id>.<secret>`, kept in secrets of type bootstrap.kubernetes.io/token in kube-system.

They let a new node ask for its first credentials. Source: "Authenticating with Bootstrap Tokens".
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable
from datetime import datetime

from control.api import meta
from control.api.schema import Object
from control.apiserver.request import Caches, User

TYPE = "bootstrap.kubernetes.io/token"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})", re.ASCII)
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]", re.ASCII)


class BootstrapTokens:
    """Users by bootstrap token: system:bootstrap:<id>."""

    def __init__(self, caches: Caches, now: Callable[[], datetime], audiences: tuple[str, ...] = ()) -> None:
        """audiences: the API server's own; such a token is for no other."""
        self._audiences = frozenset(audiences)
        self._caches = caches
        self._now = now

    async def user_of(self, token: str, audiences: tuple[str, ...] = ()) -> User | None:
        """None: not such a token, not for logins, or expired."""
        match = _TOKEN.fullmatch(token)
        if match is None or (audiences and self._audiences.isdisjoint(audiences)):
            return None
        secret = self._caches.get("secrets", "kube-system", f"bootstrap-token-{match[1]}")
        return user_of_secret(secret, match[1], match[2], self._now()) if secret is not None else None


def user_of_secret(secret: Object, token_id: str, token_secret: str, now: datetime) -> User | None:
    """Pure."""
    data = {key: _text(value) for key, value in (secret.get("data") or {}).items()}
    if secret.get("type") != TYPE or meta.is_deleting(secret) or data.get("token-id") != token_id:
        return None
    if not hmac.compare_digest(data.get("token-secret", "").encode(), token_secret.encode()):
        return None
    if data.get("usage-bootstrap-authentication") != "true" or _expired(data.get("expiration", ""), now):
        return None
    extra = [group.strip() for group in data.get("auth-extra-groups", "").split(",") if group.strip()]
    if not all(_GROUP.fullmatch(group) for group in extra):
        return None
    return User(f"system:bootstrap:{token_id}", groups=("system:bootstrappers", *extra))


def _expired(text: str, now: datetime) -> bool:
    if not text:
        return False
    try:
        return meta.parse_time(text) <= now
    except ValueError:
        return True


def _text(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
