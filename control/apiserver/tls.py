"""The server's side of TLS: its certificate, and whose client certificates it looks at.

A client may come without a certificate (tokens); one that shows a certificate of another authority is turned away in
the handshake. Certificates are renewed in their files: new connections get what is there.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Files:
    """PEM files. client_ca "": client certificates are not asked for. proxy_ca: of front proxies, which come with one
    as well; who signed a certificate is looked at again when it says who the user is."""

    cert: str
    key: str
    client_ca: str = ""
    proxy_ca: str = ""

    def stamps(self) -> tuple[float, ...]:
        """When the files were changed last; 0 for one that is not there."""
        return tuple(_changed(path) for path in (self.cert, self.key, self.client_ca, self.proxy_ca) if path)


def _changed(path: str) -> float:
    try:
        return Path(path).stat().st_mtime
    except OSError:
        return 0.0


def server_context(files: Files) -> ssl.SSLContext:
    """A context for the listening socket. OSError, ssl.SSLError: a file is missing or no PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    fill(context, files)
    if files.client_ca or files.proxy_ca:
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def fill(context: ssl.SSLContext, files: Files) -> None:
    """(Re)load the files into a context that may be in use."""
    context.load_cert_chain(files.cert, files.key)
    for authority in (files.client_ca, files.proxy_ca):
        if authority:
            context.load_verify_locations(authority)
