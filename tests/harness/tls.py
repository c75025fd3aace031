"""Clusters that speak TLS, ours or etcd's, with certificates made for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc

from harness.cluster import Cluster
from harness.stubs import Stub
from kvstore.pki.certificates import Pair, issue, make_authority
from kvstore.pki.files import certificate_path, key_path, write_pair

DAY = timedelta(days=1)
HOSTS = ["127.0.0.1", "localhost"]


class Certificates:
    """An authority of its own, and what it signs, as files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = make_authority("test authority", datetime.now(UTC), DAY)
        write_pair(folder, "ca", self.authority)
        self.ca = str(certificate_path(folder, "ca"))

    def make(self, name: str, *, common_name: str = "", hosts: list[str] | None = None, client: bool = True) -> Pair:
        """A certificate in NAME.pem and NAME-key.pem."""
        now = datetime.now(UTC)
        hosts = HOSTS if hosts is None else hosts
        pair = issue(self.authority, common_name or name, hosts, now, DAY, server=True, client=client)
        write_pair(self.folder, name, pair)
        return pair

    def renew(self, name: str, **options: Any) -> Pair:
        """Another certificate in the same files."""
        certificate_path(self.folder, name).unlink()
        key_path(self.folder, name).unlink()
        return self.make(name, **options)

    def cert(self, name: str) -> str:
        """The certificate's path."""
        return str(certificate_path(self.folder, name))

    def key(self, name: str) -> str:
        """The key's path."""
        return str(key_path(self.folder, name))

    def client_flags(self, name: str) -> list[str]:
        """etcdctl's and fluyt's flags for a client with that certificate."""
        return ["--cacert", self.ca, "--cert", self.cert(name), "--key", self.key(name)]


def server_flags(certificates: Certificates, name: str = "server", *, client_auth: bool = True) -> list[str]:
    """Flags of a member, etcd's or ours, that shows NAME on both ports and asks for certificates."""
    cert, key, ca = certificates.cert(name), certificates.key(name), certificates.ca
    flags = ["--cert-file", cert, "--key-file", key, "--peer-cert-file", cert, "--peer-key-file", key]
    flags += ["--peer-client-cert-auth", "--peer-trusted-ca-file", ca]
    return [*flags, "--client-cert-auth", "--trusted-ca-file", ca] if client_auth else flags


class TlsCluster(Cluster):
    """A cluster whose URLs are all https://; `credentials` are its own clients'."""

    credentials: grpc.ChannelCredentials | None = None

    def arguments(self, index: int) -> list[str]:
        return [word.replace("http://", "https://") for word in super().arguments(index)]

    @property
    def urls(self) -> list[str]:
        """https://host:port of every member."""
        return [f"https://{endpoint}" for endpoint in self.endpoints]

    def trust(self, certificates: Certificates, client: str) -> None:
        """Let the harness itself talk to the cluster as that client."""
        files = (certificates.ca, certificates.key(client), certificates.cert(client))
        self.credentials = grpc.ssl_channel_credentials(*(Path(file).read_bytes() for file in files))

    def stub(self, index: int = 0) -> Stub:
        member = self.members[index]
        if member.channel is None:
            assert self.credentials is not None
            member.channel = grpc.secure_channel(member.endpoint, self.credentials)
        return Stub(member.channel)
