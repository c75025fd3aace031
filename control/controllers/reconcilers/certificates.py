"""Certificate signing requests: nodes' renewals are approved, what was approved is signed, what is old goes.

Approved by itself is only what grants nothing new: a node's client certificate that this very node asks for, and a
server certificate with no other names than its present one, which the node shows (PRESENT) and our authority signed.
Everything else waits for `kubectl certificate approve`.

Invariant: nothing is signed that was not approved, or that was denied or failed. What requests mean is asked of the
authority (control/pki/requests), which comes in.
Source: "Certificates and Certificate Signing Requests" of the Kubernetes documentation.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final, Protocol

from control.api.schema import Object
from control.controllers.values.actions import NOTHING, Decision, Delete, Key, Update, UpdateStatus
from control.controllers.values.controller import Reconcile
from control.controllers.values.objects import (
    annotations_of,
    cause,
    created_at,
    format_time,
    is_deleting,
    name_of,
    parse_time,
    spec_of,
    status_of,
    uid_of,
    with_status,
)
from control.controllers.values.observed import Observed

RESOURCE: Final = "certificatesigningrequests.certificates.k8s.io"
NODE_CLIENT: Final = "kubernetes.io/kube-apiserver-client-kubelet"
NODE_SERVER: Final = "kubernetes.io/kubelet-serving"
SIGNERS: Final = frozenset({NODE_CLIENT, NODE_SERVER, "kubernetes.io/kube-apiserver-client"})
# The node's present server certificate, PEM.
PRESENT: Final = "fluyt.dev/present-certificate"
_DECIDED, _PENDING = timedelta(hours=1), timedelta(hours=24)


class Authority(Protocol):
    """Who signs."""

    def objection(self, pem: bytes, signer: str, usages: Collection[str]) -> str: ...

    def certificate(self, pem: bytes, usages: Collection[str], wanted: float | None, now: datetime) -> bytes: ...

    def renews(self, pem: bytes, present: bytes) -> bool: ...

    def subject(self, pem: bytes) -> str: ...


def signing(authority: Authority) -> Reconcile:
    """Sign what was approved, or say why not."""

    def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
        request = observed.get(RESOURCE, "", key.name)
        if request is None or spec_of(request).get("signerName") not in SIGNERS or _types(request) != {"Approved"}:
            return NOTHING
        if is_deleting(request) or status_of(request).get("certificate"):
            return NOTHING
        return Decision([_signed(authority, request, now)])

    return reconcile


def _signed(authority: Authority, request: Object, now: datetime) -> UpdateStatus:
    spec, status = spec_of(request), status_of(request)
    pem, usages = _pem(request), spec.get("usages") or ()
    why = authority.objection(pem, spec["signerName"], usages)
    if why:
        failed = _condition("Failed", "SignerValidationFailure", why, now)
        status = {**status, "conditions": [*(status.get("conditions") or ()), failed]}
        return UpdateStatus(RESOURCE, with_status(request, status), cause(RESOURCE, request, f"not signed: {why}"))
    certificate = authority.certificate(pem, usages, spec.get("expirationSeconds"), now)
    status = {**status, "certificate": base64.b64encode(certificate).decode()}
    return UpdateStatus(RESOURCE, with_status(request, status), cause(RESOURCE, request, "approved: signed"))


def approving(authority: Authority) -> Reconcile:
    """Approve renewals."""

    def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
        request = observed.get(RESOURCE, "", key.name)
        if request is None or is_deleting(request) or _types(request):
            return NOTHING
        words = _renewal(authority, request)
        if not words:
            return NOTHING
        status = {**status_of(request), "conditions": [_condition("Approved", "AutoApproved", words, now)]}
        because = cause(RESOURCE, request, "a node renews its certificate")
        return Decision([Update(RESOURCE, with_status(request, status), because, subresource="approval")])

    return reconcile


def _renewal(authority: Authority, request: Object) -> str:
    """Why it is approved; "" if it is not by us."""
    spec, pem = spec_of(request), _pem(request)
    signer, usages = spec.get("signerName", ""), spec.get("usages") or ()
    if signer not in (NODE_CLIENT, NODE_SERVER) or authority.objection(pem, signer, usages):
        return ""
    if "system:nodes" not in (spec.get("groups") or ()) or authority.subject(pem) != spec.get("username"):
        return ""
    if signer == NODE_CLIENT:
        return "Auto approving self kubelet client certificate."
    present = annotations_of(request).get(PRESENT, "").encode()
    return "Auto approving a kubelet serving certificate with its names." if authority.renews(pem, present) else ""


def clean(key: Key, observed: Observed, now: datetime) -> Decision:
    """Delete a request that was decided an hour ago, or that nobody decided in a day."""
    request = observed.get(RESOURCE, "", key.name)
    if request is None or is_deleting(request):
        return NOTHING
    made = created_at(request)
    times = [parse_time(c.get("lastUpdateTime")) or made for c in status_of(request).get("conditions") or ()]
    end = max(times) + _DECIDED if times else made + _PENDING
    if end > now:
        return Decision(requeue_after=(end - now).total_seconds())
    because = cause(RESOURCE, request, "decided an hour ago" if times else "nobody decided in a day")
    return Decision([Delete(RESOURCE, "", name_of(request), uid_of(request), because)])


def _types(request: Object) -> set[str]:
    return {str(condition.get("type")) for condition in status_of(request).get("conditions") or ()}


def _pem(request: Object) -> bytes:
    try:
        return base64.b64decode(str(spec_of(request).get("request", "")), validate=True)
    except binascii.Error:
        return b""


def _condition(kind: str, reason: str, message: str, now: datetime) -> Object:
    stamp = format_time(now)
    times = {"lastUpdateTime": stamp, "lastTransitionTime": stamp}
    return {"type": kind, "status": "True", "reason": reason, "message": message, **times}
