"""The credentials of one cluster (docs/design/0010, Credentials), made once and kept alive.

    FOLDER/pki/    ca front-proxy-ca                    authorities: .crt .key, ten years, never replaced
                   apiserver apiserver-kubelet-client   what they signed: a year, renewed 60 days before its end
                   sa.key sa.pub                        for tokens, never replaced
                   node-NAME.crt node-NAME.key          a node's own server
    FOLDER/        admin.conf controllers.conf scheduler.conf node-NAME.conf

Several masters share one cluster by a copy of FOLDER/pki; each makes its own server certificate from it. A machine that
has all the rest needs no ca.key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from control.pki import files
from control.pki.kubeconfig import (
    Login,
    client_certificate,
    kubeconfig,
    other_servers,
    read_kubeconfig,
    server_url,
    write_kubeconfig,
)
from control.pki.renewal import AUTHORITY_LIFETIME, LEAF_LIFETIME, why_renew
from control.pki.token_keys import new_signing_key, private_pem, public_pem, read_signing_key
from kvstore.pki.certificates import Pair, issue, make_authority

CA, FRONT_PROXY_CA = "ca", "front-proxy-ca"
_AUTHORITIES = {CA: "fluyt", FRONT_PROXY_CA: "fluyt-front-proxy"}
KUBELET_CLIENT = "kube-apiserver-kubelet-client"
MASTERS, NODES = "system:masters", "system:nodes"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a certificate names: a user and their groups."""

    user: str
    groups: tuple[str, ...] = ()


CONFIGS: Mapping[str, Subject] = {
    "admin.conf": Subject("kubernetes-admin", (MASTERS,)),
    "controllers.conf": Subject("system:kube-controller-manager"),
    "scheduler.conf": Subject("system:kube-scheduler"),
}


@dataclass(frozen=True, slots=True)
class Server:
    """How the API servers are reached. url: for the kubeconfigs; others: further servers, for our own processes;
    hosts: further names and addresses of this master; service_ip: the first address of the service range, where pods
    find the API."""

    url: str
    hosts: tuple[str, ...] = ()
    service_ip: str = "10.96.0.1"
    domain: str = "cluster.local"
    others: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """All that the server's certificate must vouch for."""
        service = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            f"kubernetes.default.svc.{self.domain}",
        ]
        local = ["localhost", "127.0.0.1", "::1"]
        return list(dict.fromkeys([*local, *service, self.service_ip, *self.hosts]))


def ensure_cluster(folder: Path, server: Server, now: datetime) -> list[str]:
    """Make what is missing, renew what is old. Returns what was done, a line each, for the log.

    Safe to call at each start, from several processes at once, and once a day. OSErrors; ValueError says which file
    cannot be used and what to do.
    """
    pki = folder / "pki"
    with files.locked(pki):
        done = _ensure_authorities(pki, now)
        done += _ensure_token_keys(pki)
        done += _ensure_leaf(pki, "apiserver", Subject("kube-apiserver"), now, server.names())
        done += _ensure_leaf(pki, "apiserver-kubelet-client", Subject(KUBELET_CLIENT), now)
        for name, subject in CONFIGS.items():
            done += _ensure_config(pki, folder / name, subject, server.url, now, server.others)
    return done


def ensure_node(
    folder: Path, name: str, url: str, hosts: Iterable[str], now: datetime, others: tuple[str, ...] = ()
) -> list[str]:
    """A node's kubeconfig and the certificate of its own server; what ensure_cluster says holds here too."""
    pki, subject = folder / "pki", Subject(f"system:node:{name}", (NODES,))
    with files.locked(pki):
        names = list(dict.fromkeys([name, *hosts, "localhost", "127.0.0.1"]))
        done = _ensure_leaf(pki, f"node-{name}", subject, now, names)
        return done + _ensure_config(pki, folder / f"node-{name}.conf", subject, url, now, others)


def user_login(pki: Path, subject: Subject, now: datetime) -> Login:
    """A client certificate for a user, signed by the cluster's authority. ValueError for names no certificate takes."""
    pair = issue(_authority(pki, CA), subject.user, [], now, LEAF_LIFETIME, client=True, organizations=subject.groups)
    return Login(pair.certificate_pem, pair.key_pem)


def _ensure_authorities(pki: Path, now: datetime) -> list[str]:
    done = []
    for name, common_name in _AUTHORITIES.items():
        certificate, key = files.certificate_path(pki, name), files.key_path(pki, name)
        if not certificate.exists():
            if key.exists():
                raise ValueError(f"{key} is there without {certificate}: bring that back, or remove the key")
            files.create_pair(pki, name, make_authority(common_name, now, AUTHORITY_LIFETIME))
            done.append(f"made the authority {certificate}")
    return done


def _ensure_token_keys(pki: Path) -> list[str]:
    private, public = pki / "sa.key", pki / "sa.pub"
    if private.exists() and public.exists():
        return []
    if public.exists():
        raise ValueError(f"{public} is there without {private}: copy the key from the master it came from")
    if not private.exists():
        files.create(private, private_pem(new_signing_key()), files.PRIVATE)
    files.create(public, public_pem(read_signing_key(private).verifying), files.PUBLIC)
    return [f"made the keys of service-account tokens, {private} and {public}"]


def _ensure_leaf(pki: Path, name: str, subject: Subject, now: datetime, hosts: Iterable[str] = ()) -> list[str]:
    """hosts: none for a client's certificate, otherwise it is a server's."""
    hosts, path = list(hosts), files.certificate_path(pki, name)
    why = "it is not there"
    if path.exists():
        old = _certificate(path)
        why = why_renew(old, _certificate(files.certificate_path(pki, CA)), hosts, now)
        why = why or _torn(pki, name)
    if not why:
        return []
    pair = issue(
        _authority(pki, CA),
        subject.user,
        hosts,
        now,
        LEAF_LIFETIME,
        server=bool(hosts),
        client=not hosts,
        organizations=subject.groups,
    )
    files.replace_pair(pki, name, pair)
    return [f"made {path}: {why}"]


def _torn(pki: Path, name: str) -> str:
    """Why a pair that stands there cannot be used, if a crash between its two files is what happened."""
    try:
        files.load_pair(pki, name)
    except ValueError:
        return "its key belongs to another"
    return ""


def _ensure_config(
    pki: Path, path: Path, subject: Subject, url: str, now: datetime, others: tuple[str, ...]
) -> list[str]:
    why = "it is not there"
    authority = _certificate(files.certificate_path(pki, CA))
    if path.exists():
        content = read_kubeconfig(path)
        pem = client_certificate(content)
        if not pem:
            return []  # a token, or files: somebody's own
        why = why_renew(_parsed(pem, path), authority, (), now)
        if not why and (server_url(content), other_servers(content)) != (url, others):
            why = f"the server is now at {url}"
    if not why:
        return []
    ca_pem = files.certificate_path(pki, CA).read_bytes()
    write_kubeconfig(path, kubeconfig(url, ca_pem, subject.user, user_login(pki, subject, now), others=others))
    return [f"made {path}: {why}"]


def _authority(pki: Path, name: str) -> Pair:
    try:
        return files.load_pair(pki, name)
    except FileNotFoundError as problem:
        raise ValueError(
            f"{problem.filename} is not there, and something must be signed with it: copy it from the first master"
        ) from None


def _certificate(path: Path) -> x509.Certificate:
    return _parsed(path.read_bytes(), path)


def _parsed(pem: bytes, path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as problem:
        raise ValueError(f"{path}: the certificate in it cannot be read: {problem}") from None
