"""Users by client certificate: the common name is the user, the organizations are the groups.

TLS has verified the certificate already. But when a request-header proxy's authority is configured too, TLS accepts
certificates of both authorities: then one that the proxy's authority signed must not be taken for a user, and one that
the clients' authority signed must not speak for others. So here the signature is checked once more, by authority; the
verdict on a certificate is remembered.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from urllib.parse import unquote

from cryptography import x509

from control.api.status import unauthorized
from control.apiserver.request import Headers, PeerCertificate, User
from control.pki.renewal import signed_by

_CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
_REMEMBERED = 4096


class Authorities:
    """Says whether a certificate was signed by one of these authorities (or intermediates), remembering verdicts."""

    def __init__(self, certificates: Sequence[x509.Certificate]) -> None:
        self._certificates = certificates
        self._verdicts: OrderedDict[bytes, bool] = OrderedDict()

    def signed(self, der: bytes) -> bool:
        digest = hashlib.sha256(der).digest()
        known = self._verdicts.get(digest)
        if known is None:
            certificate = x509.load_der_x509_certificate(der)
            known = any(signed_by(certificate, authority) for authority in self._certificates)
            self._verdicts[digest] = known
            if len(self._verdicts) > _REMEMBERED:
                self._verdicts.popitem(last=False)
        return known


class CertificateUsers:
    """Client certificates. authorities: None when TLS accepts the clients' authority only. now: seconds since 1970."""

    def __init__(self, authorities: Authorities | None = None, now: Callable[[], float] = time.time) -> None:
        self._authorities, self._now = authorities, now

    def user_of(self, headers: Headers, peer_certificate: PeerCertificate | None) -> User | None:
        """None: there is no certificate, or it is not a client's. StatusError 401: it names nobody, or has ended."""
        if peer_certificate is None:
            return None
        if self._authorities is not None and not self._authorities.signed(peer_certificate.der):
            return None
        if not peer_certificate.common_name or self._now() > peer_certificate.ends:
            raise unauthorized()
        digest = hashlib.sha256(peer_certificate.der).hexdigest()
        extra = {_CREDENTIAL_ID: (f"X509SHA256={digest}",)}
        return User(peer_certificate.common_name, groups=peer_certificate.organizations, extra=extra)


class FrontProxyUsers:
    """--requestheader-*: a proxy that has authenticated the user says who it is, and proves itself by certificate.

    Source: "Authenticating Proxy" of the Kubernetes documentation.
    """

    def __init__(
        self,
        authorities: Authorities,
        allowed_names: Collection[str],
        user_headers: Sequence[str],
        group_headers: Sequence[str],
        extra_prefixes: Sequence[str],
        now: Callable[[], float] = time.time,
    ) -> None:
        """allowed_names: common names a proxy may have; empty allows every name its authority signed. now: as above."""
        self._authorities, self._now = authorities, now
        self._allowed_names = frozenset(allowed_names)
        self._user_headers = [name.lower() for name in user_headers]
        self._group_headers = [name.lower() for name in group_headers]
        self._extra_prefixes = [prefix.lower() for prefix in extra_prefixes]

    def user_of(self, headers: Headers, peer_certificate: PeerCertificate | None) -> User | None:
        """None: the peer is no proxy, or says no user; others' headers are ignored. StatusError 401: it has ended."""
        name = next((headers[header] for header in self._user_headers if headers.get(header)), "")
        if not name or peer_certificate is None or not self._trusts(peer_certificate):
            return None
        if self._now() > peer_certificate.ends:
            raise unauthorized()
        groups = [group for header in self._group_headers for group in _values(headers.get(header, ""))]
        extra = {
            unquote(header.removeprefix(prefix)).lower(): tuple(_values(value))
            for prefix in self._extra_prefixes
            for header, value in headers.items()
            if header.startswith(prefix)
        }
        return User(name, groups=tuple(dict.fromkeys(groups)), extra=extra)

    def _trusts(self, certificate: PeerCertificate) -> bool:
        if self._allowed_names and certificate.common_name not in self._allowed_names:
            return False
        return self._authorities.signed(certificate.der)


def _values(header: str) -> list[str]:
    return [part.strip() for part in header.split(",") if part.strip()]
