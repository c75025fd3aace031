"""Certificate signing requests: who asked is what the server knows of them, and who may decide and sign. Pure.

Deciding is the verb `approve`, certifying the verb `sign`, both on the resource `signers` with the signer's name, or
with "domain/*" for all signers of a domain.

Source: "Certificates and Certificate Signing Requests" of the Kubernetes documentation (Authorization).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from control.api import meta
from control.api.schema import Object
from control.api.status import forbidden
from control.apiserver.request import Attributes, Authorizer, Review, User

REQUESTS: Final = "certificatesigningrequests.certificates.k8s.io"
_CLIENTS: Final = "kubernetes.io/kube-apiserver-client"
_MASTERS: Final = "system:masters"


class CertificateRequester:
    """Writes down who asked, and when a decision was written. now: the clock."""

    name = "CertificateRequester"

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now

    def mutate(self, review: Review) -> None:
        if review.resource != REQUESTS or review.object is None:
            return
        if review.operation == "CREATE":
            review.object["spec"] = {**_asked(review.object), **_who(review.user)}
        elif review.operation == "UPDATE" and review.info.subresource:
            before = {c.get("type"): c for c in _conditions(review.old)}
            for condition in _conditions(review.object):
                _date(condition, before.get(condition.get("type")), meta.timestamp(self._now()))


def _asked(request: Object) -> Object:
    own = ("username", "uid", "groups", "extra")
    return {field: value for field, value in (request.get("spec") or {}).items() if field not in own}


def _who(user: User) -> Object:
    found: Object = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
    found["extra"] = {key: list(values) for key, values in user.extra.items()}
    return {field: value for field, value in found.items() if value}


def _date(condition: Object, before: Object | None, now: str) -> None:
    condition.setdefault("lastUpdateTime", now)
    if before is not None and before.get("status") == condition.get("status"):
        condition["lastTransitionTime"] = before.get("lastTransitionTime", now)
    else:
        condition.setdefault("lastTransitionTime", now)


class CertificateApproval:
    """Asks whether who decides may."""

    name = "CertificateApproval"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def validate(self, review: Review) -> None:
        """StatusError 403."""
        if review.resource != REQUESTS or review.operation != "UPDATE" or review.info.subresource != "approval":
            return
        signer = signer_of(review.old)
        if not _may(self._authorizer, review.user, "approve", signer):
            why = f'user not permitted to approve requests with signerName "{signer}"'
            raise forbidden(REQUESTS, meta.name(review.old or {}), why)


class CertificateSigning:
    """Asks whether who certifies, or says that it failed, may."""

    name = "CertificateSigning"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def validate(self, review: Review) -> None:
        """StatusError 403."""
        if review.resource != REQUESTS or review.operation != "UPDATE" or review.info.subresource != "status":
            return
        signer = signer_of(review.old)
        if _word(review.old) == _word(review.object) or _may(self._authorizer, review.user, "sign", signer):
            return
        why = f'user not permitted to sign requests with signerName "{signer}"'
        raise forbidden(REQUESTS, meta.name(review.old or {}), why)


class CertificateSubjectRestriction:
    """Nobody asks for a certificate that makes an administrator whom no role holds."""

    name = "CertificateSubjectRestriction"

    def validate(self, review: Review) -> None:
        """StatusError 403."""
        if review.resource != REQUESTS or review.operation != "CREATE" or signer_of(review.object) != _CLIENTS:
            return
        if _MASTERS in _subject(review.object, "2.5.4.10"):
            why = f"use of {_CLIENTS} signer with {_MASTERS} group is not allowed"
            raise forbidden(REQUESTS, meta.name(review.object or {}), why)


def common_names(request: Object | None) -> list[str]:
    """Whom the certificate is to name."""
    return _subject(request, "2.5.4.3")


def _subject(request: Object | None, field: str) -> list[str]:
    """Values of the request's subject. field: its object identifier."""
    from cryptography import x509

    pem = str((request or {}).get("spec", {}).get("request", ""))
    subject = x509.load_pem_x509_csr(base64.b64decode(pem)).subject  # it was validated before
    return [str(attribute.value) for attribute in subject.get_attributes_for_oid(x509.ObjectIdentifier(field))]


def signer_of(request: Object | None) -> str:
    """Who is asked to sign."""
    return str(((request or {}).get("spec") or {}).get("signerName", ""))


def _conditions(request: Object | None) -> list[Object]:
    return ((request or {}).get("status") or {}).get("conditions") or []


def _word(request: Object | None) -> tuple[object, bool]:
    """What only a signer says: the certificate, and that it failed."""
    failed = any(condition.get("type") == "Failed" for condition in _conditions(request))
    return ((request or {}).get("status") or {}).get("certificate"), failed


def _may(authorizer: Authorizer, user: User, verb: str, signer: str) -> bool:
    domain = signer.partition("/")[0]
    names = (signer, f"{domain}/*")
    asked = (Attributes(verb, "certificates.k8s.io", "v1", "signers", name=name) for name in names)
    return any(authorizer.authorize(user, attributes).allowed for attributes in asked)
