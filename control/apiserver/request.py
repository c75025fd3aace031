"""What the parts of the API server tell each other about one request, and the seams between them.

A request passes: Authenticator → Limits → Authorizer → (writes: Admission.mutate → validation → Admission.validate) →
store; Audit sees its begin and its end. The HTTP side (application.py, handlers/) knows these parts by the protocols
below only; security/ and admission/ implement them, and read objects through Caches (memory) and Objects (the store).

A refusal is a control.api.status.StatusError, raised by any of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from control.api.kind import Kind
from control.api.schema import Json, Object

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
Headers = Mapping[str, str]  # names in lower case; a repeated header's values are joined by ","
Changed = Callable[[Object | None, Object | None], None]

# A WebSocket subprotocol that begins so is no protocol but a bearer token: browsers can set no other header.
TOKEN_PROTOCOL = "base64url.bearer.authorization.k8s.io."


@dataclass(frozen=True, slots=True)
class User:
    """Who asks. extra: as Kubernetes' UserInfo.extra, names in lower case."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", groups=("system:unauthenticated",))


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The client certificate of a TLS connection, already verified against --client-ca-file.

    der: the whole of it. ends: when it does, in seconds since 1970: connections live longer than handshakes.
    """

    common_name: str
    organizations: tuple[str, ...]
    der: bytes
    ends: float = math.inf


_LONG_RUNNING = frozenset({"log", "exec", "attach", "portforward", "proxy"})


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """What a request is about, as RBAC and audit see it. Source: Kubernetes' RequestInfo.

    verb: get, list, watch, create, update, patch, delete, deletecollection; for paths that are no resource
    (`resource` is "") the HTTP method in lower case. A "*" never stands here.
    name: "" for collections; for list and watch it is the value of fieldSelector metadata.name= (RBAC resourceNames).
    subresource: "status", "log", …, "" for the object itself; proxy's rest of the path is in `rest`.
    query: the parameters, each with all its values.
    """

    verb: str
    path: str
    method: str = "GET"
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    rest: str = ""
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def is_resource(self) -> bool:
        return bool(self.resource)

    @property
    def is_long_running(self) -> bool:
        """Whether the request stays open as long as its client likes."""
        return self.verb in ("watch", "connect") or self.subresource in _LONG_RUNNING

    def parameter(self, name: str) -> str:
        """The first value of a query parameter, "" without one."""
        values = self.query.get(name)
        return values[0] if values else ""


@dataclass(frozen=True, slots=True)
class Attributes:
    """One question to an Authorizer. Handlers ask for more than the request itself, as bind, escalate, impersonate.

    field_selector: of list, watch and deletecollection; a node may list the pods that are bound to it, and no others.
    """

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""

    @classmethod
    def of(cls, info: RequestInfo) -> Attributes:
        """The question that the request itself is."""
        return cls(
            info.verb,
            info.group,
            info.version,
            info.resource,
            info.subresource,
            info.namespace,
            info.name,
            "" if info.resource else info.path,
            info.parameter("fieldSelector") if info.verb in ("list", "watch", "deletecollection") else "",
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """An Authorizer's answer; reason is shown to the user after "forbidden: User … cannot …: "."""

    allowed: bool
    reason: str = ""


@dataclass(slots=True)
class Review:
    """One write (or connect) on its way through admission.

    object: what would be written; mutating plugins change it or replace it. None for DELETE. For a subresource that is
    no part of the object (binding, eviction, token, scale) it is that subresource's own object.
    old: what is stored now, read-only; None for CREATE.
    options: the body of CreateOptions/UpdateOptions/DeleteOptions as far as clients gave one.
    after_failure: called when the write did not happen in the end (a reserved quota is given back).
    place: the namespace, when the caches did not know it yet and it was looked up in the store.
    """

    user: User
    info: RequestInfo
    kind: Kind
    operation: Operation
    object: Object | None
    old: Object | None = None
    options: Object = field(default_factory=dict)
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    audit: dict[str, str] = field(default_factory=dict)
    after_failure: list[Callable[[], Any]] = field(default_factory=list)
    place: Object | None = None

    @property
    def resource(self) -> str:
        """As "pods", "deployments.apps"."""
        return self.kind.resource


class Authenticator(Protocol):
    """Who is it, and as whom do they act? Two questions: who may not act as another is known all the same."""

    async def authenticate(self, headers: Headers, peer_certificate: PeerCertificate | None) -> User | None:
        """None: no credentials that this authenticator knows. Raises StatusError 401 for wrong ones."""
        ...

    def acting(self, user: User, headers: Headers) -> User:
        """Whom the impersonation headers name, else the user. Raises StatusError 400 and 403."""
        ...


class Authorizer(Protocol):
    """May they? Answers from memory, so it never waits."""

    def authorize(self, user: User, attributes: Attributes) -> Decision: ...


class Admission(Protocol):
    """The plugins in their order. Both raise StatusError to refuse."""

    async def mutate(self, review: Review) -> None: ...

    async def validate(self, review: Review) -> None: ...


class Limits(Protocol):
    """How many requests run at once. `async with limits.admit(...)` waits in a fair queue; raises StatusError 429."""

    def admit(self, user: User, info: RequestInfo) -> AbstractAsyncContextManager[None]: ...


class AuditEntry(Protocol):
    """One request's entry in the audit log; every call is cheap and never blocks."""

    def request_object(self, body: Json) -> None:
        """What the client sent: an object, or a patch."""
        ...

    def done(self, code: int, response: Object | None, annotations: Mapping[str, str]) -> None: ...


class Audit(Protocol):
    """The audit log."""

    def begin(self, info: RequestInfo, user: User, headers: Headers, source: str, received: float) -> AuditEntry | None:
        """received: seconds since 1970. source: the client's address. None: this request is not logged."""
        ...


class Encryption(Protocol):
    """Values at rest. Both get the key's path as additional data. Raises StatusError 500 when no key fits."""

    def encrypt(self, resource: str, key: bytes, value: bytes) -> bytes: ...

    def decrypt(self, resource: str, key: bytes, value: bytes) -> bytes: ...


class Answers(Protocol):
    """Kinds that are answered and not stored: TokenReview, the access reviews, serviceaccounts/token."""

    async def answer(self, review: Review) -> Object:
        """The object to answer a create with, for a Review of that create. Raises StatusError."""
        ...


class Caches(Protocol):
    """Objects in memory, kept by the watch of the store; a few milliseconds old. What they return is read-only."""

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """resource: as "pods", "roles.rbac.authorization.k8s.io"; namespace "" for cluster-scoped ones."""
        ...

    def list(self, resource: str, namespace: str = "") -> Iterable[Object]: ...

    def forms(self, kind: Kind) -> Sequence[Kind]:
        """All kinds that show the kind's objects now, as its other versions."""
        ...

    def subscribe(self, resource: str, changed: Changed) -> None:
        """changed(old, new) is called on the loop for every change, and for everything that is there already."""
        ...


class Objects(Protocol):
    """Objects in the store: for reads that must not be old, and for writes of the server's own."""

    async def get(self, resource: str, namespace: str, name: str) -> Object:
        """Linearizable. Raises StatusError 404."""
        ...

    async def create(self, resource: str, obj: Object) -> Object:
        """Defaults and metadata are filled in; no admission. Raises StatusError 409 AlreadyExists."""
        ...

    async def update(
        self, resource: str, namespace: str, name: str, change: Callable[[Object], Object | None]
    ) -> Object:
        """Read, change, write; again after a conflict. Raises StatusError 404 and what `change` raises.

        change: gets a copy it may alter, returns the new object, or None for no write.
        """
        ...

    async def delete(self, resource: str, namespace: str, name: str) -> None:
        """At once, without grace or finalizers. Nothing happens when it is not there."""
        ...


@dataclass(slots=True)
class Security:
    """All that stands between a request and its handler.

    control.apiserver.security.assemble.build(settings, caches, objects) makes it and awaits what it needs at start
    (bootstrap roles); control.apiserver.security.encryption.load(path) makes the Encryption, before anything is read.
    """

    authenticator: Authenticator
    authorizer: Authorizer
    admission: Admission
    limits: Limits
    answers: Answers
    audit: Audit | None = None
    # Documents that never change, by path: OpenID discovery of service-account tokens.
    pages: Mapping[str, Object] = field(default_factory=dict)
