"""When a certificate is to be made anew: pure.

Invariant: only what this cluster's authority signed is ever replaced; a certificate that somebody brought is theirs.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature

AUTHORITY_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
# Early enough that a master which restarts once a month renews in time.
RENEW_BEFORE = timedelta(days=60)


def why_renew(certificate: x509.Certificate, authority: x509.Certificate, hosts: Iterable[str], now: datetime) -> str:
    """The reason to make it anew, "" if there is none. hosts: names and addresses a server's certificate must have."""
    if not signed_by(certificate, authority):
        return ""
    if certificate.not_valid_after_utc - now < RENEW_BEFORE:
        return f"it expires on {certificate.not_valid_after_utc:%Y-%m-%d}"
    missing = sorted(set(map(_canonical, hosts)) - hosts_of(certificate))
    return f"it lacks {', '.join(missing)}" if missing else ""


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether this authority, key and name, signed it."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def hosts_of(certificate: x509.Certificate) -> set[str]:
    """The names and addresses it vouches for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    return addresses | set(names.get_values_for_type(x509.DNSName))


def _canonical(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return host
