"""X.509 certificates (RFC 5280) with EC keys, made with the `cryptography` library.

Pure but for the keys' randomness: the time comes in. A certificate names hosts as DNS names and IP addresses, which is
what today's verifiers read; the common name is what etcd takes for the user.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Clocks of the machines of a cluster differ: a new certificate is valid a little while ago.
CLOCK_SKEW = timedelta(minutes=5)
_SERVER = ExtendedKeyUsageOID.SERVER_AUTH
_CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes

    @property
    def certificate_pem(self) -> bytes:
        """For everybody."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """For its owner only; not encrypted, as etcd and etcdctl want it."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def make_authority(name: str, now: datetime, lifetime: timedelta) -> Pair:
    """A root that may sign certificates, and no further authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name), _name(name), key.public_key(), now, lifetime)
    usage = key_usage(certificates=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return Pair(builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256()), key)


def issue(
    authority: Pair,
    common_name: str,
    hosts: Iterable[str],
    now: datetime,
    lifetime: timedelta,
    *,
    server: bool = False,
    client: bool = False,
    organizations: Iterable[str] = (),
) -> Pair:
    """A certificate that the authority signs, for servers, clients or both. ValueError for a host that is none.

    organizations: the subject's O names, which Kubernetes takes for the user's groups.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(common_name, organizations)
    builder = _builder(subject, authority.certificate.subject, key.public_key(), now, lifetime)
    builder = _leaf(builder, hosts, server, client)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.certificate.public_key())  # type: ignore[arg-type]
    builder = builder.add_extension(issuer, critical=False)
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def make_self_signed(common_name: str, hosts: Iterable[str], now: datetime, lifetime: timedelta) -> Pair:
    """A certificate that nobody vouches for, usable by servers and clients."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    builder = _leaf(_builder(name, name, key.public_key(), now, lifetime), hosts, True, True)
    return Pair(builder.sign(key, hashes.SHA256()), key)


def read_pair(certificate_pem: bytes, key_pem: bytes) -> Pair:
    """ValueError if one of them cannot be read or they do not belong together."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    key = serialization.load_pem_private_key(key_pem, None)
    if key.public_key() != certificate.public_key():
        raise ValueError("the key does not belong to the certificate")
    return Pair(certificate, key)  # type: ignore[arg-type]


def _builder(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def _leaf(
    builder: x509.CertificateBuilder, hosts: Iterable[str], server: bool, client: bool
) -> x509.CertificateBuilder:
    purposes = [purpose for purpose, wanted in ((_SERVER, server), (_CLIENT, client)) if wanted]
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(key_usage(sign=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    names = [_host(host) for host in dict.fromkeys(hosts)]
    return builder.add_extension(x509.SubjectAlternativeName(names), critical=False) if names else builder


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        if not host or any(c.isspace() or c in ":/@" for c in host):
            raise ValueError(f"{host!r} is neither a host name nor an IP address") from None
        return x509.DNSName(host)


def _name(text: str, organizations: Iterable[str] = ()) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, text)])


def key_usage(*, sign: bool = False, encipher: bool = False, certificates: bool = False) -> x509.KeyUsage:
    """What a key may be used for (RFC 5280 section 4.2.1.3).

    encipher: other keys, as RSA without Diffie-Hellman asks. certificates: to sign them, and lists of revoked ones.
    """
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=encipher,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
