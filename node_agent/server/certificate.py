"""The certificate of the agent's own server when none was given: self-signed, kept below the agent's folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from kvstore.pki.certificates import make_self_signed

_LIFETIME = timedelta(days=365)
_RENEW = timedelta(days=30)


def own_certificate(folder: Path, name: str, hosts: Iterable[str]) -> tuple[str, str]:
    """Paths of certificate and key; made when missing or nearly over. Raises OSError."""
    certificate, key = folder / "agent.crt", folder / "agent.key"
    if not _usable(certificate) or not key.exists():
        pair = make_self_signed(name, list(hosts), datetime.now(UTC), _LIFETIME)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(key, pair.key_pem, 0o600)
        _write(certificate, pair.certificate_pem, 0o644)
    return str(certificate), str(key)


def _usable(path: Path) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    return certificate.not_valid_after_utc - datetime.now(UTC) > _RENEW


def _write(path: Path, data: bytes, mode: int) -> None:
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as out:
        out.write(data)
    os.replace(new, path)
