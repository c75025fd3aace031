"""Rules for certificate signing requests: what may be asked for, and what of one may change.

Source: "Certificates and Certificate Signing Requests" of Kubernetes' documentation; the kind in its API reference.
"""

from __future__ import annotations

import base64
import binascii
import re
from copy import deepcopy
from typing import Final

from control.api.fielderrors import duplicate, forbidden, invalid, not_supported, required
from control.api.rules.checks import Causes
from control.api.schema import Object

APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
USAGES: Final = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip
_SIGNER = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+/[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LEGACY: Final = "kubernetes.io/legacy-unknown"
_SHORTEST: Final = 600


def check_request(obj: Object) -> Causes:
    """What holds whenever it is written."""
    spec = obj.get("spec", {})
    yield from _pkcs10(spec.get("request", ""))
    yield from _signer(spec.get("signerName", ""))
    yield from _usages(spec.get("usages", ()))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _SHORTEST:
        words = f"may not specify a duration less than {_SHORTEST} seconds (10 minutes)"
        yield invalid("spec.expirationSeconds", seconds, words)
    yield from _conditions((obj.get("status") or {}).get("conditions", ()))


def _pkcs10(text: str) -> Causes:
    from cryptography import x509

    if not text:
        return  # the schema has said that it is required
    try:
        pem = base64.b64decode(text, validate=True)
    except binascii.Error:
        yield invalid("spec.request", text, "must be base64")
        return
    if not pem.lstrip().startswith(b"-----BEGIN CERTIFICATE REQUEST-----"):
        yield invalid("spec.request", text, "PEM block type must be CERTIFICATE REQUEST")
        return
    try:
        request = x509.load_pem_x509_csr(pem)
        if not request.is_signature_valid:
            yield invalid("spec.request", text, "the request is not signed with its own key")
    except (ValueError, TypeError) as problem:
        yield invalid("spec.request", text, f"it cannot be read: {problem}")


def _signer(name: str) -> Causes:
    if not name:
        return
    if name == _LEGACY:
        yield invalid("spec.signerName", name, "the legacy signerName is not allowed via this API version")
    elif not _SIGNER.fullmatch(name):
        words = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        yield invalid("spec.signerName", name, words)


def _usages(usages: list[str]) -> Causes:
    if not usages:
        yield required("spec.usages")
    for index, usage in enumerate(usages):
        if usage not in USAGES:
            yield not_supported(f"spec.usages[{index}]", usage, USAGES)
        if usage in usages[:index]:
            yield duplicate(f"spec.usages[{index}]", usage)


def _conditions(conditions: list[Object]) -> Causes:
    types = [condition.get("type", "") for condition in conditions]
    for index, condition in enumerate(conditions):
        if types[index] in (APPROVED, DENIED, FAILED) and condition.get("status") != "True":
            yield not_supported(f"status.conditions[{index}].status", condition.get("status"), ("True",))
        if types[index] in types[:index]:
            yield duplicate(f"status.conditions[{index}].type", types[index])
    if APPROVED in types and DENIED in types:
        words = "Approved and Denied conditions are mutually exclusive"
        yield invalid(f"status.conditions[{max(types.index(APPROVED), types.index(DENIED))}].type", types[-1], words)


def check_request_update(new: Object, old: Object) -> Causes:
    """Approved, Denied and Failed are for ever."""
    has = _types(new)
    for kind in _types(old):
        if kind in (APPROVED, DENIED, FAILED) and kind not in has:
            yield forbidden("status.conditions", f"updates may not remove a condition of type {kind!r}")


def check_status_update(new: Object, old: Object) -> Causes:
    """Who certifies does not decide, and certifies once."""
    yield from _conditions((new.get("status") or {}).get("conditions", ()))
    yield from check_request_update(new, old)
    had = _types(old)
    for kind in _types(new):
        if kind in (APPROVED, DENIED) and kind not in had:
            yield forbidden("status.conditions", f"updates may not add a condition of type {kind!r}")
    before = (old.get("status") or {}).get("certificate")
    if before and (new.get("status") or {}).get("certificate") != before:
        yield forbidden("status.certificate", "updates may not modify existing certificate content")


def _types(request: Object) -> list[str]:
    return [str(condition.get("type")) for condition in (request.get("status") or {}).get("conditions") or ()]


def keep_request(new: Object, old: Object, subresource: str) -> None:
    """In place: the spec never changes; `approval` decides, `status` certifies or says that it failed.

    A decision that a status has, too, stays as it was made; one that it adds or lacks is refused (check_status_update).
    """
    at_the_start = old.get("status") or {}
    new["spec"] = deepcopy(old.get("spec", {}))
    if subresource == "approval":
        conditions = (new.get("status") or {}).get("conditions")
        new["status"] = deepcopy(at_the_start) | ({"conditions": conditions} if conditions else {})
    elif subresource == "status":
        conditions = (new.get("status") or {}).get("conditions")
        decided = {c.get("type"): c for c in at_the_start.get("conditions", ()) if c.get("type") in (APPROVED, DENIED)}
        if conditions:
            new["status"]["conditions"] = [deepcopy(decided.get(c.get("type"), c)) for c in conditions]
