"""What stands in a service account's token, and who its bearer is: pure.

Two kinds: *bound* tokens of TokenRequest (audience, expiry, a pod, secret or node they end with), and *legacy* ones: a
controller writes them into a secret, and they end with it. Source: "Managing Service Accounts", "Bound service account
tokens" of the Kubernetes documentation; RFC 7519 for the registered claims.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from control.apiserver.request import User

LEGACY_ISSUER = "kubernetes/serviceaccount"
_LEGACY = "kubernetes.io/serviceaccount/"
_PRIVATE = "kubernetes.io"
_EXTRA = "authentication.kubernetes.io/"
ACCOUNT_PREFIX = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class Bound:
    """An object a token ends with. kind: Pod, Secret or Node; uid "" is not checked (legacy tokens)."""

    kind: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Claims:
    """A token's claims. Times in seconds since 1970; expires 0: never (legacy)."""

    namespace: str
    name: str
    uid: str
    issuer: str
    audiences: tuple[str, ...] = ()
    bound: Bound | None = None
    node: Bound | None = None
    not_before: float = 0
    expires: float = 0
    id: str = ""

    @property
    def legacy(self) -> bool:
        return self.issuer == LEGACY_ISSUER

    def payload(self, issued: float) -> dict[str, Any]:
        """As it is signed, for a bound token."""
        private: dict[str, Any] = {
            "namespace": self.namespace,
            "serviceaccount": {"name": self.name, "uid": self.uid},
        }
        for bound in (self.bound, self.node):
            if bound is not None:
                private[bound.kind.lower()] = {"name": bound.name, "uid": bound.uid}
        return {
            "aud": list(self.audiences),
            "exp": int(self.expires),
            "iat": int(issued),
            "iss": self.issuer,
            "jti": self.id,
            _PRIVATE: private,
            "nbf": int(self.not_before),
            "sub": user_name(self.namespace, self.name),
        }

    def user(self) -> User:
        """Who the bearer is."""
        extra: dict[str, tuple[str, ...]] = {}
        if self.id:
            extra[f"{_EXTRA}credential-id"] = (f"JTI={self.id}",)
        for bound in (self.bound, self.node):
            if bound is not None and bound.kind in ("Pod", "Node") and bound.uid:
                extra[f"{_EXTRA}{bound.kind.lower()}-name"] = (bound.name,)
                extra[f"{_EXTRA}{bound.kind.lower()}-uid"] = (bound.uid,)
        return User(user_name(self.namespace, self.name), self.uid, account_groups(self.namespace), extra)


def user_name(namespace: str, name: str) -> str:
    """A service account's user name."""
    return f"{ACCOUNT_PREFIX}{namespace}:{name}"


def account_groups(namespace: str) -> tuple[str, ...]:
    """The groups of the service accounts of a namespace."""
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")


def read_claims(payload: Mapping[str, Any]) -> Claims:
    """ValueError: it is not a service account's token."""
    found = _legacy(payload) if payload.get("iss") == LEGACY_ISSUER else _bound(payload)
    if not found.namespace or not found.name or payload.get("sub") != user_name(found.namespace, found.name):
        raise ValueError("the subject is not the service account it speaks of")
    return found


def _legacy(payload: Mapping[str, Any]) -> Claims:
    secret = _string(payload.get(f"{_LEGACY}secret.name"))
    if not secret:
        raise ValueError("a legacy token without a secret")
    return Claims(
        _string(payload.get(f"{_LEGACY}namespace")),
        _string(payload.get(f"{_LEGACY}service-account.name")),
        _string(payload.get(f"{_LEGACY}service-account.uid")),
        LEGACY_ISSUER,
        bound=Bound("Secret", secret),
    )


def _bound(payload: Mapping[str, Any]) -> Claims:
    private = _mapping(payload.get(_PRIVATE))
    account = _mapping(private.get("serviceaccount"))
    found = {kind: _reference(kind, private.get(kind.lower())) for kind in ("Pod", "Secret", "Node")}
    if not account.get("uid") or not payload.get("exp"):
        raise ValueError("a bound token without the account's uid or an expiry")
    return Claims(
        _string(private.get("namespace")),
        _string(account.get("name")),
        _string(account.get("uid")),
        _string(payload.get("iss")),
        _strings(payload.get("aud")),
        found["Pod"] or found["Secret"] or found["Node"],
        found["Node"] if found["Pod"] else None,
        _number(payload.get("nbf", 0)),
        _number(payload["exp"]),
        _string(payload.get("jti")),
    )


def _reference(kind: str, value: Any) -> Bound | None:
    if value is None:
        return None
    found = _mapping(value)
    if not found.get("name") or not found.get("uid"):
        raise ValueError(f"bound to a {kind} without name or uid")
    return Bound(kind, _string(found["name"]), _string(found["uid"]))


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("a claim is not an object")
    return value


def _string(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError("a claim is not a string")
    return value


def _strings(value: Any) -> tuple[str, ...]:
    entries = [value] if isinstance(value, str) else (value or [])
    if not isinstance(entries, list):
        raise ValueError("a claim is not a list")
    return tuple(_string(entry) for entry in entries)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a time is not a number")
    return float(value)
