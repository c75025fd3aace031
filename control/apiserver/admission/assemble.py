"""The plugins that the settings ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from control.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateRequester,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from control.apiserver.admission.chain import AdmissionChain, chosen
from control.apiserver.admission.default_storage_class import DefaultStorageClass
from control.apiserver.admission.default_tolerations import DefaultTolerationSeconds
from control.apiserver.admission.limit_ranger import LimitRanger
from control.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from control.apiserver.admission.node_restriction import NodeRestriction
from control.apiserver.admission.owner_references import OwnerReferencesPermissionEnforcement
from control.apiserver.admission.pod_security import PodSecurity
from control.apiserver.admission.priority import Priority
from control.apiserver.admission.resource_quota import ResourceQuota
from control.apiserver.admission.service_account import ServiceAccount
from control.apiserver.admission.storage_protection import StorageObjectInUseProtection
from control.apiserver.admission.taint_nodes import TaintNodesByCondition
from control.apiserver.admission.token_secrets import TokenSecrets
from control.apiserver.admission.webhook_client import WebhookClient
from control.apiserver.admission.webhooks import Caller, MutatingWebhooks, ValidatingWebhooks
from control.apiserver.request import Authorizer, Caches, Objects
from control.apiserver.security.rbac.escalation import EscalationCheck
from control.apiserver.security.rbac.index import RbacIndex
from control.apiserver.settings import Settings


def admission(
    settings: Settings,
    caches: Caches,
    objects: Objects,
    index: RbacIndex,
    authorizer: Authorizer,
    token_secrets: TokenSecrets,
) -> AdmissionChain:
    """ValueError: a flag names a plugin that there is not."""
    makers: dict[str, Callable[[], Any]] = {
        "NamespaceLifecycle": lambda: NamespaceLifecycle(caches, objects),
        "TaintNodesByCondition": TaintNodesByCondition,
        "LimitRanger": lambda: LimitRanger(caches),
        "ServiceAccount": lambda: ServiceAccount(caches, objects),
        "TokenSecrets": lambda: token_secrets,
        "NodeRestriction": lambda: NodeRestriction(caches),
        "Priority": lambda: Priority(caches),
        "DefaultTolerationSeconds": DefaultTolerationSeconds,
        "DefaultStorageClass": lambda: DefaultStorageClass(caches),
        "StorageObjectInUseProtection": StorageObjectInUseProtection,
        "CertificateRequester": CertificateRequester,
        "CertificateApproval": lambda: CertificateApproval(authorizer),
        "CertificateSigning": lambda: CertificateSigning(authorizer),
        "CertificateSubjectRestriction": CertificateSubjectRestriction,
        "OwnerReferencesPermissionEnforcement": lambda: OwnerReferencesPermissionEnforcement(authorizer),
        "PodSecurity": lambda: PodSecurity(caches),
        "ResourceQuota": lambda: ResourceQuota(caches, objects),
    }
    if "RBAC" in settings.authorization_modes:
        makers["RBACEscalation"] = lambda: EscalationCheck(index, authorizer)
    names = chosen(settings.enable_admission, settings.disable_admission)
    built_in = [make() for name, make in makers.items() if name in names]
    caller = Caller(caches, WebhookClient(caches))
    webhooks: list[Any] = [MutatingWebhooks(caller, AdmissionChain(built_in).mutate), ValidatingWebhooks(caller)]
    return AdmissionChain([*built_in, *(plugin for plugin in webhooks if plugin.name in names)])
