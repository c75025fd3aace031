"""The TLS settings of one member: checked before anything is opened, completed with certificates of its own making.

--auto-tls and --peer-auto-tls encrypt without proving who is at the other end: every member makes a certificate for
itself (in the data directory, kept until it expires), and its peers take any.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kvstore.member.config import Config, ConfigError, parse_url
from kvstore.wire.tls import ClientTls, ServerTls, TlsError, TlsFiles

log = logging.getLogger(__name__)

FOLDER = "certificates"


def check(config: Config) -> None:
    """What can be told from the settings alone, files included. Raises ConfigError."""
    _check_ports(config.client_tls, config.auto_tls, "", config.listen_client_urls, "listen-client-urls")
    _check_ports(config.peer_tls, config.peer_auto_tls, "peer-", config.listen_peer_urls, "listen-peer-urls")
    metrics = [url for url in config.listen_metrics_urls if parse_url(url, "listen-metrics-urls").tls]
    if metrics and not (config.client_tls.cert or config.auto_tls):
        raise ConfigError(f"--listen-metrics-urls: {metrics[0]} needs --cert-file and --key-file")


def _check_ports(files: TlsFiles, auto: bool, prefix: str, urls: Iterable[str], flag: str) -> None:
    if bool(files.cert) != bool(files.key):
        given, missing = ("cert", "key") if files.cert else ("key", "cert")
        raise ConfigError(f"--{prefix}{given}-file is given without --{prefix}{missing}-file; TLS needs both")
    secure = [url for url in urls if parse_url(url, flag).tls]
    if secure and not files.cert and not auto:
        raise ConfigError(
            f"--{flag}: {secure[0]} needs --{prefix}cert-file and --{prefix}key-file (fluyt pki init makes them)"
        )
    if not secure and (files.cert or files.verify_clients):
        log.warning("--%s has no https:// URL: the certificate settings --%scert-file … are not used", flag, prefix)
    try:
        if secure and files.cert:
            ServerTls(files)
        if prefix:
            ClientTls(files)
    except TlsError as problem:
        raise ConfigError(f"TLS of --{flag}: {problem}") from None


def complete(config: Config, data_dir: Path) -> None:
    """Make or find the certificates of --auto-tls and --peer-auto-tls. Raises ConfigError, OSError."""
    years = config.self_signed_cert_validity
    if config.auto_tls and not config.client_tls.cert:
        config.client_tls = _automatic(config.client_tls, data_dir, "client", config.listen_client_urls, years)
    if config.peer_auto_tls and not config.peer_tls.cert:
        made = _automatic(config.peer_tls, data_dir, "peer", config.listen_peer_urls, years)
        config.peer_tls = replace(made, trust_anyone=True, verify_clients=False)


def _automatic(files: TlsFiles, data_dir: Path, name: str, urls: Iterable[str], years: int) -> TlsFiles:
    # Here, because cryptography is eight megabytes of every member that makes no certificates.
    from kvstore.pki import files as pki_files
    from kvstore.pki.certificates import make_self_signed

    folder = data_dir / FOLDER
    now = datetime.now(UTC)
    if not _usable(folder, name, now):
        for path in (pki_files.certificate_path(folder, name), pki_files.key_path(folder, name)):
            path.unlink(missing_ok=True)
        hosts = {parse_url(url, f"listen-{name}-urls").host for url in urls} | {socket.gethostname()}
        pair = make_self_signed("fluyt", sorted(hosts), now, timedelta(days=365 * years))
        pki_files.write_pair(folder, name, pair)
        log.info("made a certificate for %s, valid for %d years", ", ".join(sorted(hosts)), years)
    return replace(files, cert=str(pki_files.certificate_path(folder, name)), key=str(pki_files.key_path(folder, name)))


def _usable(folder: Path, name: str, now: datetime) -> bool:
    from kvstore.pki import files as pki_files

    if not pki_files.has_pair(folder, name):
        return False
    try:
        return pki_files.load_pair(folder, name).certificate.not_valid_after_utc > now
    except ValueError as problem:
        log.warning("%s; a new certificate is made", problem)
        return False
