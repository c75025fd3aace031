"""What the agent's server shows: the pair that was given, made by ourselves, or renewed, whichever is right by now.

Invariant: connections that are open keep what they began with; new ones get the pair that was loaded last. Fault
assumed: files that are half replaced: the old pair stays until the new one is whole.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography import x509

from kvstore.pki.certificates import Pair, read_pair
from node_agent import certificates
from node_agent.server.app import server_tls
from node_agent.server.certificate import own_certificate

# Seconds between two looks at the files.
_EVERY: Final = 60.0

log = logging.getLogger(__name__)


class Serving:
    """tls: the context of the server. names: of the machine, for a certificate of our own making."""

    def __init__(self, folder: Path, given: tuple[str, str], names: Iterable[str], client_ca: str) -> None:
        """folder: of what we make or renew. given: certificate and key, ("", "") for none. OSError, ValueError."""
        self._folder, self._given, self._names = folder, given, list(names)
        self.renewed = folder / "server.pem"
        self._files = self._pair_files()
        self._stamps = self._look()
        self.tls = server_tls(*self._files, client_ca)
        if self._is_renewed():
            self.tls.load_cert_chain(self.renewed)

    def _pair_files(self) -> tuple[str, str]:
        """Our own pair is made anew here when it is nearly over."""
        return self._given if self._given[0] else own_certificate(self._folder, self._names[0], self._names)

    def pair(self) -> Pair | None:
        """What is shown, if the cluster can renew it: a node's, with names."""
        given = self._read()
        if not certificates.is_of_node(given.certificate):
            return None
        try:
            given.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return None
        return certificates.later(given, certificates.read(self.renewed))

    def use(self, _pair: Pair) -> None:
        """The renewed pair is in its file: show it."""
        self.tls.load_cert_chain(self.renewed)

    async def follow(self) -> None:
        """For ever: take up files that were changed by others, and renew what we sign ourselves."""
        while True:
            await asyncio.sleep(_EVERY)
            try:
                self.look()
            except (OSError, ValueError) as problem:
                log.warning("the renewed certificate cannot be used yet: %s", problem)

    def look(self) -> None:
        """Load the files again if they changed. OSError, ValueError: they cannot be used."""
        self._files = self._pair_files()
        now = self._look()
        if now == self._stamps:
            return
        if self._is_renewed():
            self.tls.load_cert_chain(self.renewed)
        else:
            self.tls.load_cert_chain(*self._files)
        self._stamps = now

    def _is_renewed(self) -> bool:
        given = self._read()
        return certificates.later(given, certificates.read(self.renewed)) is not given

    def _read(self) -> Pair:
        certificate, key = (Path(file).read_bytes() for file in self._files)
        return read_pair(certificate, key)

    def _look(self) -> list[tuple[int, int]]:
        """When the files were last written; zeros for one that is not there."""
        found = [Path(file) for file in self._files]
        return [(file.stat().st_mtime_ns, file.stat().st_ino) if file.exists() else (0, 0) for file in found]
