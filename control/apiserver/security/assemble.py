"""Puts together what stands between a request and its handler, from the server's settings.

The one place that knows all parts; everything else knows the protocols of control.apiserver.request.
"""

from __future__ import annotations

import atexit
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography import x509

from control.apiserver.admission.assemble import admission
from control.apiserver.admission.token_secrets import TokenSecrets
from control.apiserver.request import Audit, Authorizer, Caches, Objects, Security
from control.apiserver.security.audit.auditor import open_auditor
from control.apiserver.security.authenticator import AuthenticatorChain, RequestAuthenticator, TokenAuthenticator
from control.apiserver.security.authorizer import AlwaysAllow, AlwaysDeny, AuthorizerChain
from control.apiserver.security.bootstrap_tokens import BootstrapTokens
from control.apiserver.security.certificates import Authorities, CertificateUsers, FrontProxyUsers
from control.apiserver.security.impersonation import Impersonation
from control.apiserver.security.limits import RequestLimits
from control.apiserver.security.nodes.authorizer import NodeAuthorizer
from control.apiserver.security.nodes.graph import NodeGraph
from control.apiserver.security.rbac.aggregates import AggregateWriter
from control.apiserver.security.rbac.authorizer import RbacAuthorizer
from control.apiserver.security.rbac.index import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    RbacIndex,
)
from control.apiserver.security.rbac.reconcile import ensure_bootstrap, until_known, write_aggregates
from control.apiserver.security.reviews import ReviewAnswers
from control.apiserver.security.service_accounts.discovery import pages
from control.apiserver.security.service_accounts.issuer import TokenIssuer, legacy_token
from control.apiserver.security.service_accounts.verifier import ServiceAccountTokens
from control.apiserver.security.token_file import TokenFile
from control.apiserver.settings import Settings
from control.pki.token_keys import VerifyingKey, read_signing_key, read_verifying_keys

_USER_HEADERS, _GROUP_HEADERS, _EXTRA_PREFIXES = ("x-remote-user",), ("x-remote-group",), ("x-remote-extra-",)


async def build(settings: Settings, caches: Caches, objects: Objects) -> Security:
    """All parts, with the bootstrap roles in the store. Call it when the caches are filled.

    OSErrors and ValueErrors name the file or flag that does not do; StatusErrors come from the store. TimeoutError: the
    store's watch is silent.
    """
    index, graph = _indexes(caches)
    authorizer = AuthorizerChain(_authorizers(settings, caches, index, graph))
    keys = _token_keys(settings)
    tokens = _service_account_tokens(settings, keys, caches, objects)
    authenticator = _authenticator(settings, caches, tokens, authorizer)
    if "RBAC" in settings.authorization_modes:
        await ensure_bootstrap(caches, objects)
        await until_known(caches)
        await write_aggregates(index, objects)
        caches.subscribe(CLUSTER_ROLES, AggregateWriter(index, objects).role_changed)
    return Security(
        authenticator,
        authorizer,
        admission(settings, caches, objects, index, authorizer, _token_secrets(settings, objects)),
        RequestLimits(settings.max_requests_inflight, settings.max_mutating_requests_inflight),
        ReviewAnswers(authenticator, authorizer, index, tokens, _issuer(settings, objects)),
        _audit(settings),
        pages(settings.service_account_issuer, keys),
    )


def _indexes(caches: Caches) -> tuple[RbacIndex, NodeGraph]:
    index, graph = RbacIndex(), NodeGraph()
    for resource in (ROLES, CLUSTER_ROLES):
        caches.subscribe(resource, index.role_changed)
    for resource in (ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS):
        caches.subscribe(resource, index.binding_changed)
    caches.subscribe("pods", graph.pod_changed)
    return index, graph


def _authorizers(settings: Settings, caches: Caches, index: RbacIndex, graph: NodeGraph) -> list[Authorizer]:
    known: dict[str, Authorizer] = {
        "Node": NodeAuthorizer(graph, caches),
        "RBAC": RbacAuthorizer(index),
        "AlwaysAllow": AlwaysAllow(),
        "AlwaysDeny": AlwaysDeny(),
    }
    unknown = [mode for mode in settings.authorization_modes if mode not in known]
    if unknown or not settings.authorization_modes:
        wanted = ", ".join(unknown) or "none"
        raise ValueError(f"--authorization-mode: there is no {wanted}; choose of {', '.join(known)}")
    return [known[mode] for mode in settings.authorization_modes]


def _authenticator(
    settings: Settings, caches: Caches, accounts: ServiceAccountTokens, authorizer: Authorizer
) -> AuthenticatorChain:
    requests: list[RequestAuthenticator] = []
    clients: Authorities | None = None
    if settings.requestheader_client_ca:
        proxies = Authorities(_certificates(settings.requestheader_client_ca))
        names = settings.requestheader_allowed_names
        requests.append(FrontProxyUsers(proxies, names, _USER_HEADERS, _GROUP_HEADERS, _EXTRA_PREFIXES))
        clients = Authorities(_certificates(settings.client_ca) if settings.client_ca else [])
    requests.append(CertificateUsers(clients))
    tokens: list[TokenAuthenticator] = [accounts, BootstrapTokens(caches, _now, _audiences(settings))]
    if settings.token_auth_file:
        tokens.append(TokenFile(Path(settings.token_auth_file), _audiences(settings)))
    return AuthenticatorChain(requests, tokens, Impersonation(authorizer), anonymous=settings.anonymous_auth)


def _token_keys(settings: Settings) -> list[VerifyingKey]:
    keys: list[VerifyingKey] = []
    for path in settings.service_account_key_files:
        keys += read_verifying_keys(Path(path))
    if settings.service_account_signing_key:
        keys.append(read_signing_key(Path(settings.service_account_signing_key)).verifying)
    return keys


def _service_account_tokens(
    settings: Settings, keys: list[VerifyingKey], caches: Caches, objects: Objects
) -> ServiceAccountTokens:
    issuers, audiences = (settings.service_account_issuer,), _audiences(settings)
    return ServiceAccountTokens(keys, issuers, audiences, caches, objects, _now)


def _issuer(settings: Settings, objects: Objects) -> TokenIssuer | None:
    if not settings.service_account_signing_key:
        return None
    key = read_signing_key(Path(settings.service_account_signing_key))
    return TokenIssuer(key, settings.service_account_issuer, _audiences(settings), objects, _now)


def _token_secrets(settings: Settings, objects: Objects) -> TokenSecrets:
    authority = Path(settings.client_ca).read_bytes() if settings.client_ca else b""
    if not settings.service_account_signing_key:
        return TokenSecrets(objects, None, authority)
    key = read_signing_key(Path(settings.service_account_signing_key))
    return TokenSecrets(objects, partial(legacy_token, key), authority)


def _audiences(settings: Settings) -> tuple[str, ...]:
    return settings.api_audiences or (settings.service_account_issuer,)


def _audit(settings: Settings) -> Audit | None:
    if not settings.audit_log_path:
        return None
    policy = Path(settings.audit_policy) if settings.audit_policy else None
    auditor, file = open_auditor(
        Path(settings.audit_log_path),
        policy,
        settings.audit_log_maxsize,
        settings.audit_log_maxbackup,
        settings.audit_log_maxage,
    )
    atexit.register(file.close)  # what waits is written before the process ends
    return auditor


def _certificates(path: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(Path(path).read_bytes())
    except ValueError as problem:
        raise ValueError(f"{path}: no certificates in PEM: {problem}") from None


def _now() -> datetime:
    return datetime.now(UTC)
