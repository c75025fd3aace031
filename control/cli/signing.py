"""The authority that signs certificates, loaded when there is something to sign: most masters never do, and the library
for it takes 11 MB.

Invariant: what is wrong with the files is said at the start, by the TLS library that is loaded anyway. Fault assumed:
the files are read once; who changes the authority restarts the controllers, as before.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from control.pki.requests import Signer


class SignerOnDemand:
    """control.controllers.reconcilers.certificates.Authority. longest: how long what is signed lasts at most."""

    def __init__(self, certificate: Path, key: Path, longest: timedelta) -> None:
        """Raises OSError, and ValueError when the files do not belong together."""
        self._certificate, self._key, self._longest = certificate.read_bytes(), key.read_bytes(), longest
        check_pair(certificate, key)

    @cached_property
    def _signer(self) -> Signer:
        from control.pki.requests import Signer
        from kvstore.pki.certificates import read_pair

        return Signer(read_pair(self._certificate, self._key), self._longest)

    def objection(self, pem: bytes, signer: str, usages: Collection[str]) -> str:
        return self._signer.objection(pem, signer, usages)

    def certificate(self, pem: bytes, usages: Collection[str], wanted: float | None, now: datetime) -> bytes:
        return self._signer.certificate(pem, usages, wanted, now)

    def renews(self, pem: bytes, present: bytes) -> bool:
        return self._signer.renews(pem, present)

    def subject(self, pem: bytes) -> str:
        return self._signer.subject(pem)


def check_pair(certificate: Path, key: Path) -> None:
    """Raises OSError when a file cannot be read, ValueError when the two are no certificate and its key."""
    try:
        # A key with a password cannot be used: nobody is there to type it.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=_nobody)
    except ssl.SSLError as problem:
        raise ValueError(f"it and {key} are not a certificate and its key: {problem.reason or problem}") from None


def _nobody() -> str:
    raise ValueError("the key is encrypted; store it without a password")
