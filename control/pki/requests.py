"""Requests for certificates: made by who needs one, judged and signed by who holds the authority's key.

A signer certifies exactly what it is for (SIGNERS), whoever approved: a node's client certificate names that node and
nothing else, a node's server certificate is no client's. What a request says beyond subject, names and key is ignored.

Source: "Kubernetes signers" in "Certificates and Certificate Signing Requests" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from control.pki.renewal import signed_by
from kvstore.pki.certificates import CLOCK_SKEW, Pair, key_usage

CLIENT: Final = "kubernetes.io/kube-apiserver-client"
NODE_CLIENT: Final = "kubernetes.io/kube-apiserver-client-kubelet"
NODE_SERVER: Final = "kubernetes.io/kubelet-serving"
NODES, NODE_PREFIX = "system:nodes", "system:node:"
_DIGITAL: Final = frozenset({"digital signature", "key encipherment"})
_ENDS: Final = {"client auth": ExtendedKeyUsageOID.CLIENT_AUTH, "server auth": ExtendedKeyUsageOID.SERVER_AUTH}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks to be called. hosts: DNS names and addresses; others: names of further sorts it has."""

    user: str
    groups: tuple[str, ...]
    hosts: frozenset[str]
    others: bool


def make_request(user: str, groups: Iterable[str] = (), names: x509.SubjectAlternativeName | None = None) -> Request:
    """A fresh P-256 key and its request."""
    key = ec.generate_private_key(ec.SECP256R1())
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, user)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    encoding, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_pem = key.private_bytes(encoding, private, serialization.NoEncryption())
    return Request(key_pem, builder.sign(key, hashes.SHA256()).public_bytes(encoding))


@dataclass(frozen=True, slots=True)
class Request:
    """key: the private half, PEM; pem: the PKCS #10 request made with it."""

    key: bytes
    pem: bytes


def asked_of(request: x509.CertificateSigningRequest) -> Asked:
    """ValueError: its names cannot be read."""
    users, groups = (
        tuple(str(attribute.value) for attribute in request.subject.get_attributes_for_oid(oid))
        for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    )
    hosts, others = _hosts(request)
    return Asked(users[0] if len(users) == 1 else "", groups, hosts, others)


def _hosts(of: x509.CertificateSigningRequest | x509.Certificate) -> tuple[frozenset[str], bool]:
    try:
        names = of.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset(), False
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    known = [*addresses, *names.get_values_for_type(x509.DNSName)]
    return frozenset(known), len(known) != len(list(names))


def is_node(asked: Asked) -> bool:
    """Whether the subject is a node's, and only that."""
    return asked.groups == (NODES,) and asked.user.startswith(NODE_PREFIX) and asked.user != NODE_PREFIX


def _client(asked: Asked, usages: Collection[str]) -> str:
    return _usages(usages, "client auth")


def _node_client(asked: Asked, usages: Collection[str]) -> str:
    if not is_node(asked):
        return f"subject must be {NODE_PREFIX}NAME in the group {NODES} alone"
    if asked.hosts or asked.others:
        return "a node's client certificate has no subject alternative names"
    return _usages(usages, "client auth")


def _node_server(asked: Asked, usages: Collection[str]) -> str:
    if not is_node(asked):
        return f"subject must be {NODE_PREFIX}NAME in the group {NODES} alone"
    if not asked.hosts or asked.others:
        return "a node's server certificate names DNS names and IP addresses, and nothing else"
    return _usages(usages, "server auth")


def _usages(usages: Collection[str], end: str) -> str:
    if end in usages and "digital signature" in usages and set(usages) <= _DIGITAL | {end}:
        return ""
    return f"usages must be digital signature, {end} and no more than key encipherment"


SIGNERS: Final[Mapping[str, Callable[[Asked, Collection[str]], str]]] = {
    CLIENT: _client,
    NODE_CLIENT: _node_client,
    NODE_SERVER: _node_server,
}
"""By signer: why a request is none of its, "" when it is."""


@dataclass(frozen=True, slots=True)
class Signer:
    """An authority that certifies requests. longest: how long its certificates last at most."""

    authority: Pair
    longest: timedelta

    def objection(self, pem: bytes, signer: str, usages: Collection[str]) -> str:
        """Why the request is not signed; "" when it may be."""
        check = SIGNERS.get(signer)
        if check is None:
            return f"signer {signer} is not ours"
        try:
            request = x509.load_pem_x509_csr(pem)
            return check(asked_of(request), usages) or _weak(request)
        except ValueError as problem:
            return f"the request cannot be read: {problem}"

    def subject(self, pem: bytes) -> str:
        """The common name that is asked for; "" when there is none."""
        try:
            return asked_of(x509.load_pem_x509_csr(pem)).user
        except ValueError:
            return ""

    def certificate(self, pem: bytes, usages: Collection[str], wanted: float | None, now: datetime) -> bytes:
        """PEM. wanted: seconds, None for the longest. ValueError: the request cannot be read."""
        request = x509.load_pem_x509_csr(pem)
        lifetime = min(self.longest, timedelta(seconds=wanted)) if wanted is not None else self.longest
        end = min(now + lifetime, self.authority.certificate.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self.authority.certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(end)
        )
        for extension, critical in _extensions(request, usages):
            builder = builder.add_extension(extension, critical=critical)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.certificate.public_key())  # type: ignore[arg-type]
        builder = builder.add_extension(issuer, critical=False)
        return builder.sign(self.authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def renews(self, pem: bytes, present: bytes) -> bool:
        """Whether the request asks for no more names than a certificate of ours for the same subject has."""
        try:
            request, certificate = x509.load_pem_x509_csr(pem), x509.load_pem_x509_certificate(present)
            same = request.subject == certificate.subject and signed_by(certificate, self.authority.certificate)
            asked, had = _hosts(request), _hosts(certificate)
        except ValueError:
            return False
        return same and asked[0] <= had[0] and not asked[1]


def _weak(request: x509.CertificateSigningRequest) -> str:
    key = request.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < 2048:
        return f"an RSA key of {key.key_size} bits is too short"
    return "" if request.is_signature_valid else "the request is not signed with its own key"


def _extensions(
    request: x509.CertificateSigningRequest, usages: Collection[str]
) -> Iterable[tuple[x509.ExtensionType, bool]]:
    yield x509.BasicConstraints(ca=False, path_length=None), True
    yield key_usage(sign="digital signature" in usages, encipher="key encipherment" in usages), True
    yield x509.ExtendedKeyUsage([oid for usage, oid in _ENDS.items() if usage in usages]), False
    try:
        yield request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, False
    except x509.ExtensionNotFound:
        return
