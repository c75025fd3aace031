"""TLS contexts from files of certificates, read again when the files change (as etcd's: pkg/transport).

A new certificate is in force for the next connection; those that stand keep theirs. Files that cannot be used after a
change are reported and the ones before them stay in force, so a half-finished replacement cuts nobody off; at the
first reading they are an error. TLS 1.2 is the oldest version spoken.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

# IANA's names, which etcd's flag takes, of the TLS 1.2 suites that Go has → OpenSSL's.
CIPHER_SUITES = {
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}

Certificate = Mapping[str, Any]


class TlsError(ValueError):
    """Files that cannot be used; one line with the file and the cause."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files, and what is asked of the other side.

    ca: whom to trust ('': the system's). verify_clients: a server takes only clients with a certificate of `ca`.
    trust_anyone: a client takes any server (certificates that every member made for itself). allowed_cn,
    allowed_hostname: what a client's certificate must carry ('': anything). ciphers: IANA names, TLS 1.2 only.
    """

    cert: str = ""
    key: str = ""
    ca: str = ""
    crl: str = ""
    verify_clients: bool = False
    trust_anyone: bool = False
    allowed_cn: str = ""
    allowed_hostname: str = ""
    ciphers: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that are named."""
        return tuple(filter(None, (self.cert, self.key, self.ca, self.crl)))

    def admits(self, certificate: Certificate | None) -> bool:
        """Whether a client with this verified certificate (ssl's own form) is welcome."""
        if self.allowed_cn and common_name(certificate) != self.allowed_cn:
            return False
        return not self.allowed_hostname or _names_host(certificate or {}, self.allowed_hostname)


def common_name(certificate: Certificate | None) -> str:
    """Of a verified certificate, in ssl's own form; empty without one."""
    names = (certificate or {}).get("subject", ())
    return next((str(value) for part in names for key, value in part if key == "commonName"), "")


class ServerTls:
    """`context` for listening sockets."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises TlsError."""
        self.files = files
        self._renewed = _Renewed(files.paths, lambda: _server_context(files))
        self.context = _server_context(files)
        # Called with every ClientHello, with or without a name in it.
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._renewed.current()


class ClientTls:
    """`context()` for the next connection."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises TlsError."""
        self._renewed = _Renewed(files.paths, lambda: _client_context(files), at_once=bool(files.ciphers))

    def context(self) -> ssl.SSLContext:
        """Of the files as they are now."""
        return self._renewed.current()


class _Renewed:
    """A context that is made anew once a file it came from has changed.

    Without files it is made when it is first asked for, unless at_once: the machine's own authorities, which it then
    trusts, take longer to read than all else that a member without TLS does when it starts.
    """

    def __init__(self, paths: Sequence[str], make: Callable[[], ssl.SSLContext], at_once: bool = False) -> None:
        self._paths = paths
        self._make = make
        self._seen = self._stamps()
        self._context = make() if paths or at_once else None

    def current(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = self._make()
        stamps = self._stamps()
        if stamps != self._seen:
            # One attempt a change: a file that stays broken is reported once.
            self._seen = stamps
            try:
                self._context = self._make()
                log.info("certificates read again: %s", ", ".join(self._paths))
            except TlsError as problem:
                log.error("%s; the certificates before it stay in use", problem)
        return self._context

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        stamps: list[tuple[int, int, int] | None] = []
        for path in self._paths:
            stamp = None
            with contextlib.suppress(OSError):
                found = os.stat(path)
                stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            stamps.append(stamp)
        return stamps


def _server_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _prepare(context, files)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if files.verify_clients:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, files, ssl.Purpose.CLIENT_AUTH)
    return context


def _client_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _prepare(context, files)
    if files.trust_anyone:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _trust(context, files, ssl.Purpose.SERVER_AUTH)
    return context


def _prepare(context: ssl.SSLContext, files: TlsFiles) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.ciphers:
        context.set_ciphers(":".join(_cipher(name) for name in files.ciphers))
    if files.cert or files.key:
        _load_pair(context, files.cert, files.key)


def _cipher(name: str) -> str:
    found = CIPHER_SUITES.get(name)
    if found is None:
        raise TlsError(f"unknown TLS cipher suite {name!r}; known: {', '.join(CIPHER_SUITES)}")
    return found


def _load_pair(context: ssl.SSLContext, cert: str, key: str) -> None:
    for path in (cert, key):
        _check_readable(path)

    def no_password() -> str:
        raise TlsError(f"key {key} is encrypted; give one without a passphrase")

    try:
        context.load_cert_chain(cert, key, no_password)
    except ssl.SSLError as problem:
        if problem.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"key {key} does not belong to certificate {cert}") from None
        raise TlsError(f"certificate {cert} or key {key} is not PEM: {_reason(problem)}") from None


def _trust(context: ssl.SSLContext, files: TlsFiles, purpose: ssl.Purpose) -> None:
    if files.ca:
        _load_trusted(context, files.ca, "trusted CA")
    else:
        context.load_default_certs(purpose)
    if files.crl:
        _load_trusted(context, files.crl, "revocation list")
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _load_trusted(context: ssl.SSLContext, path: str, what: str) -> None:
    _check_readable(path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as problem:
        raise TlsError(f"{what} file {path} holds no PEM certificate: {_reason(problem)}") from None


def _check_readable(path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as problem:
        raise TlsError(f"cannot read {path}: {problem.strerror}") from None


def _reason(problem: ssl.SSLError) -> str:
    return (problem.reason or str(problem)).lower().replace("_", " ")


def _names_host(certificate: Certificate, host: str) -> bool:
    names = [value.lower() for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    wildcard = f"*.{host.lower().partition('.')[2]}"
    return host.lower() in names or wildcard in names
