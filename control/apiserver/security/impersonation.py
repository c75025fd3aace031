"""Acting as somebody else: the Impersonate-* headers, each value checked against the `impersonate` verb. Pure.

Source: "User impersonation" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from control.api.status import bad_request, forbidden
from control.apiserver.request import Attributes, Authorizer, Headers, User

_USER, _UID, _GROUP, _EXTRA = "impersonate-user", "impersonate-uid", "impersonate-group", "impersonate-extra-"
_ACCOUNT = "system:serviceaccount:"
_AUTHENTICATION = "authentication.k8s.io"


@dataclass(frozen=True, slots=True)
class ImpersonatedUser(User):
    """Who the request is to be taken for, and who really asked (for the audit log)."""

    by: User | None = None


class Impersonation:
    """Turns a user into another, when they may be."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def act(self, user: User, headers: Headers) -> User:
        """The user the request acts as. StatusError 403; 400 for headers without Impersonate-User."""
        if not any(name.startswith("impersonate-") for name in headers):
            return user
        name = headers.get(_USER, "")
        groups, extra, uid = _groups(headers), _extra(headers), headers.get(_UID, "")
        if not name:
            if groups or extra or uid:
                raise bad_request(
                    "requested extra impersonation headers without impersonating a user: Impersonate-User"
                )
            return user
        for asked in _questions(name, uid, groups, extra):
            self._require(user, asked)
        return ImpersonatedUser(name, uid, _all_groups(name, groups), extra, by=user)

    def _require(self, user: User, asked: Attributes) -> None:
        decision = self._authorizer.authorize(user, asked)
        if decision.allowed:
            return
        what = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        why = f'User "{user.name}" cannot impersonate resource "{what}" in API group "{asked.group}"'
        where = f' in the namespace "{asked.namespace}"' if asked.namespace else " at the cluster scope"
        reason = f": {decision.reason}" if decision.reason else ""
        raise forbidden(asked.resource + (f".{asked.group}" if asked.group else ""), asked.name, why + where + reason)


def _questions(name: str, uid: str, groups: tuple[str, ...], extra: dict[str, tuple[str, ...]]) -> Iterator[Attributes]:
    namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
    if name.startswith(_ACCOUNT) and account:
        yield Attributes("impersonate", resource="serviceaccounts", version="v1", namespace=namespace, name=account)
    else:
        yield Attributes("impersonate", resource="users", version="v1", name=name)
    for group in groups:
        yield Attributes("impersonate", resource="groups", version="v1", name=group)
    if uid:
        yield Attributes("impersonate", _AUTHENTICATION, "v1", "uids", name=uid)
    for key, values in extra.items():
        for value in values:
            yield Attributes("impersonate", _AUTHENTICATION, "v1", "userextras", key, name=value)


def _all_groups(name: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """What the groups are when the user is the one who is named: as if they had logged in."""
    namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
    implied: tuple[str, ...] = ()
    if name.startswith(_ACCOUNT) and account and not groups:
        implied = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    last = "system:unauthenticated" if name == "system:anonymous" else "system:authenticated"
    return tuple(dict.fromkeys((*groups, *implied, last)))


def _groups(headers: Headers) -> tuple[str, ...]:
    return tuple(part.strip() for part in headers.get(_GROUP, "").split(",") if part.strip())


def _extra(headers: Headers) -> dict[str, tuple[str, ...]]:
    found = {}
    for name, value in headers.items():
        if name.startswith(_EXTRA):
            values = tuple(part.strip() for part in value.split(",") if part.strip())
            found[unquote(name.removeprefix(_EXTRA)).lower()] = values
    return found
