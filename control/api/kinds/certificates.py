"""The group certificates.k8s.io, v1."""

from __future__ import annotations

from control.api.kind import Kind
from control.api.kinds.columns import AGE, NAME, text

CERTIFICATE_SIGNING_REQUEST = Kind(
    "certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests",
    "certificates.v1.CertificateSigningRequest", namespaced=False, short_names=("csr",),
    subresources=("approval", "status"), selectable=("spec.signerName",),
    columns=(
        NAME,
        AGE,
        text("SignerName", ".spec.signerName", "who is to sign"),
        text("Requestor", ".spec.username", "who asked"),
        text("RequestedDuration", "requested_duration", "for how long"),
        text("Condition", "request_condition", "what became of it"),
    ),
)  # fmt: skip

KINDS = (CERTIFICATE_SIGNING_REQUEST,)
