"""The node's own certificates: which pair is shown, and new ones asked for before they end.

    ROOT/pki/client.pem   certificate and key by which the agent logs in, once it was renewed
    ROOT/pki/server.pem   likewise of its server

A pair that was given (kubeconfig, --tls-cert-file) and one that was renewed stand beside each other: the one that ends
later is used, so that whoever renews by copying files, and whoever lets the cluster do it, both get what they want.
Renewal is Kubernetes' way: a CertificateSigningRequest with a fresh key, at a moment between seven and nine tenths of
the certificate's life, drawn by chance so that the nodes of a cluster do not all ask at once.

Invariants: a file appears whole or not at all; the old pair is used until the new one is on the disk. Faults assumed:
no server, nobody who approves or signs, a refusal: said in the log, and tried again while the old one lasts.
Source: "Configure Certificate Rotation for the Kubelet" of the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from control.api.schema import Object
from control.api.status import StatusError
from control.client.config import Config
from control.client.errors import Unreachable
from control.pki.files import PRIVATE
from control.pki.files import replace as write_whole
from control.pki.requests import NODE_CLIENT, NODE_PREFIX, NODE_SERVER, NODES, Request, make_request
from kvstore.pki.certificates import Pair, read_pair

RESOURCE: Final = "certificatesigningrequests.certificates.k8s.io"
PRESENT: Final = "fluyt.dev/present-certificate"
# How long an answer is waited for, and the pause before another request, in seconds.
_PATIENCE: Final = 900.0
_PAUSES: Final = (5.0, 600.0)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a kind of certificate is asked for with. server: its names are those of the present one."""

    signer: str
    usage: str
    server: bool = False


CLIENT: Final = Wish(NODE_CLIENT, "client auth")
SERVER: Final = Wish(NODE_SERVER, "server auth", server=True)


def read(file: Path) -> Pair | None:
    """The pair of a file with both halves; None: there is none that can be used."""
    try:
        pem = file.read_bytes()
        return read_pair(pem, pem)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        log.warning("%s cannot be used: %s", file, problem)
        return None


def later(given: Pair | None, renewed: Pair | None) -> Pair | None:
    """Of two pairs for the same subject and of the same issuer the one that ends later; of others the given one."""
    if given is None or renewed is None:
        return given
    one, two = given.certificate, renewed.certificate
    same = (one.subject, one.issuer) == (two.subject, two.issuer)
    return renewed if same and two.not_valid_after_utc > one.not_valid_after_utc else given


def due(certificate: x509.Certificate, chance: float) -> datetime:
    """When a new one is asked for. chance: from 0 to 1."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_before_utc + life * (0.7 + 0.2 * chance)


def is_of_node(certificate: x509.Certificate) -> bool:
    """Whether its subject is a node: nobody else's is renewed here."""
    return any(str(part.value).startswith(NODE_PREFIX) for part in certificate.subject)


def asked(wish: Wish, present: x509.Certificate) -> tuple[Request, Object]:
    """A key with its request, and the object that asks for its certificate."""
    names = [str(part.value) for part in present.subject if str(part.value).startswith(NODE_PREFIX)]
    own_names = None
    if wish.server:
        own_names = present.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    request = make_request(names[0], [NODES], own_names)
    spec = {
        "request": base64.b64encode(request.pem).decode(),
        "signerName": wish.signer,
        "usages": ["digital signature", wish.usage],
    }
    metadata: Object = {"generateName": "csr-"}
    if wish.server:
        metadata["annotations"] = {PRESENT: Pair(present, None).certificate_pem.decode()}  # type: ignore[arg-type]
    kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    return request, {**kind, "metadata": metadata, "spec": spec}


class Refused(Exception):
    """The request was denied, or could not be signed."""


@dataclass(slots=True)
class Rotation:
    """Keeps one pair alive. use(pair) takes a new one up; it is on the disk then."""

    client: Any
    wish: Wish
    file: Path
    present: Pair
    use: Callable[[Pair], None]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    chance: Callable[[], float] = random.random
    look_every: float = 1.0
    pauses: tuple[float, float] = _PAUSES
    _pause: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """For ever."""
        while True:
            wait = (due(self.present.certificate, self.chance()) - self.now()).total_seconds()
            await asyncio.sleep(max(wait, self._pause, 0.0))
            try:
                await self.renew()
                self._pause = self.pauses[0]
            except (Refused, StatusError, Unreachable, OSError, ValueError, TimeoutError) as problem:
                self._pause = min(max(self._pause * 2, self.pauses[0]), self.pauses[1])
                why = str(problem) or f"nobody has signed it in {_PATIENCE:.0f} s"
                log.warning("the certificate for %s, which ends on %s, is not renewed yet: %s", *self._described(), why)

    async def renew(self) -> None:
        """Ask for a certificate and take it up. Raises Refused, StatusError, Unreachable, OSError, TimeoutError."""
        request, obj = asked(self.wish, self.present.certificate)
        made = await self.client.create(RESOURCE, obj)
        async with asyncio.timeout(_PATIENCE):
            certificate = await self._granted(made["metadata"]["name"])
        pair = read_pair(certificate, request.key)
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self.file, pair.certificate_pem + pair.key_pem, PRIVATE)
        self.use(pair)
        self.present = pair
        log.info("the certificate for %s was renewed; it ends on %s", *self._described())

    def _described(self) -> tuple[str, datetime]:
        return self.wish.usage, self.present.certificate.not_valid_after_utc

    async def _granted(self, name: str) -> bytes:
        while True:
            status = (await self.client.get(RESOURCE, name)).get("status") or {}
            if status.get("certificate"):
                return base64.b64decode(status["certificate"])
            for condition in status.get("conditions") or ():
                if condition.get("type") in ("Denied", "Failed"):
                    raise Refused(f"{condition['type']}: {condition.get('message') or condition.get('reason')}")
            await asyncio.sleep(self.look_every)


def login(config: Config, file: Path) -> tuple[Config, Pair | None]:
    """The configuration with the client certificate that ends later, and that pair if it is a node's."""
    if config.cert is None or config.key is None:
        return config, None
    given = read_pair(_bytes(config.cert), _bytes(config.key))
    if not is_of_node(given.certificate):
        return config, None
    pair = later(given, read(file)) or given
    return logged_in(config, pair), pair


def logged_in(config: Config, pair: Pair) -> Config:
    """The configuration with this pair as login."""
    return replace(config, cert=pair.certificate_pem, key=pair.key_pem)


def _bytes(pem: bytes | Path) -> bytes:
    return pem if isinstance(pem, bytes) else pem.read_bytes()
