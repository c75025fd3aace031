"""The plugins that the settings ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from control.apiserver.admission.chain import AdmissionChain, chosen
from control.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from control.apiserver.admission.service_account import ServiceAccount
from control.apiserver.request import Authorizer, Caches, Objects
from control.apiserver.security.rbac.escalation import EscalationCheck
from control.apiserver.security.rbac.index import RbacIndex
from control.apiserver.settings import Settings


def admission(
    settings: Settings, caches: Caches, objects: Objects, index: RbacIndex, authorizer: Authorizer
) -> AdmissionChain:
    """ValueError: a flag names a plugin that there is not."""
    plugins: dict[str, Callable[[], Any]] = {
        "NamespaceLifecycle": lambda: NamespaceLifecycle(caches, objects),
        "ServiceAccount": lambda: ServiceAccount(caches, objects),
        "RBACEscalation": lambda: EscalationCheck(index, authorizer),
    }
    if "RBAC" not in settings.authorization_modes:
        del plugins["RBACEscalation"]
    names = chosen(settings.enable_admission, settings.disable_admission)
    return AdmissionChain(make() for name, make in plugins.items() if name in names)
