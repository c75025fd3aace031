"""Where the API servers are, how they prove who they are, and who we are: what a Client is made from.

Certificates and keys are held as PEM bytes or file paths. Secrets do not show in repr.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from control.client.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a configuration was read. read: does it again; raises ConfigError."""

    files: tuple[Path, ...]
    read: Callable[[], Config]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Times are seconds.

    servers: URLs, tried in turn when one does not answer ("https://10.0.0.1:6443"); a kubeconfig has one.
    ca, cert, key: PEM text as bytes, or the path of a file with it. ca None: the system's authorities.
    token_file: read again when it changes, as service account tokens do; it wins over token.
    namespace: where commands act unless they are told.
    """

    servers: Sequence[str]
    ca: bytes | Path | None = None
    cert: bytes | Path | None = None
    key: bytes | Path | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    # The name the server's certificate must carry, if it is not the host of the URL.
    server_name: str = ""
    # Trust whatever certificate the server shows. For tests only: anyone in between can read and change everything.
    insecure: bool = False
    namespace: str = "default"
    impersonate: str = ""
    impersonate_groups: Sequence[str] = ()
    user_agent: str = "fluyt"
    # For a connection; for one attempt to be answered; for a call whose server says "later", waits included.
    connect_timeout: float = 5.0
    attempt_timeout: float = 30.0
    timeout: float = 60.0
    # How long to go on asking around while no server answers; 0: each once.
    patience: float = 5.0
    # Whose changes are taken up while running: renewed certificates and tokens. None: nothing is looked at.
    origin: Origin | None = field(default=None, repr=False, compare=False)

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS side of the configuration; None when no server is https. Raises ConfigError."""
        if not any(server.startswith("https:") for server in self.servers):
            return None
        try:
            context = ssl.create_default_context(cadata=_text(self.ca) if self.ca is not None else None)
            if self.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.cert is not None and self.key is not None:
                with _as_file(self.cert) as cert, _as_file(self.key) as key:
                    context.load_cert_chain(cert, key)
        except (OSError, ValueError) as problem:
            raise ConfigError(f"certificates for {', '.join(self.servers)} cannot be used: {problem}") from None
        return context


def _text(pem: bytes | Path) -> str:
    return (pem if isinstance(pem, bytes) else pem.read_bytes()).decode("ascii", "replace")


@contextlib.contextmanager
def _as_file(pem: bytes | Path) -> Iterator[str]:
    """A path for OpenSSL, which reads certificates from files only; ours is private and gone afterwards."""
    if isinstance(pem, Path):
        yield str(pem)
        return
    handle, path = tempfile.mkstemp(prefix="fluyt-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
        yield path
    finally:
        os.unlink(path)
