"""The server's Admission: plugins in their order, first all that change, then (after validation) all that refuse.

A plugin has `name`, and `mutate(review)` or `validate(review)` or both. Most decide from memory and return at once; who
must ask somebody (webhooks, quota, a service account that is not in memory yet) is a coroutine.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable
from typing import Any

from control.apiserver.request import Review

# Kubernetes' order. Webhooks change after the built-in plugins; quota is last: what it reserves is given back only if
# nobody after it refuses.
ORDER = (
    "NamespaceLifecycle",
    "TaintNodesByCondition",
    "LimitRanger",
    "ServiceAccount",
    "TokenSecrets",
    "NodeRestriction",
    "Priority",
    "DefaultTolerationSeconds",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "CertificateRequester",
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "OwnerReferencesPermissionEnforcement",
    "RBACEscalation",
    "PodSecurity",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionWebhook",
    "ResourceQuota",
)
OFF_BY_DEFAULT = frozenset({"OwnerReferencesPermissionEnforcement"})
# No flag turns these off: in Kubernetes they are no plugins, but built into the handlers and controllers.
ALWAYS_ON = frozenset({"RBACEscalation", "TokenSecrets", "CertificateRequester"})


class AdmissionChain:
    """Runs the plugins."""

    def __init__(self, plugins: Iterable[Any]) -> None:
        """plugins: in any order; each one's name is in ORDER."""
        ordered = sorted(plugins, key=lambda plugin: ORDER.index(plugin.name))
        self._mutating = _steps(ordered, "mutate")
        self._validating = _steps(ordered, "validate")

    async def mutate(self, review: Review) -> None:
        """StatusErrors of the plugin that refuses first."""
        await _run(self._mutating, review)

    async def validate(self, review: Review) -> None:
        """StatusErrors of the plugin that refuses first."""
        await _run(self._validating, review)


def chosen(enable: Collection[str], disable: Collection[str]) -> frozenset[str]:
    """The plugins that are on. ValueError: a flag names one that is in neither our list nor Kubernetes'."""
    unknown = sorted((set(enable) | set(disable)) - set(ORDER) - _OTHERS)
    if unknown:
        raise ValueError(f"admission plugins {', '.join(unknown)} do not exist; there are {', '.join(ORDER)}")
    if set(enable) & set(disable):
        raise ValueError(f"{', '.join(sorted(set(enable) & set(disable)))} is both enabled and disabled")
    return ((frozenset(ORDER) - OFF_BY_DEFAULT) | frozenset(enable)) - (frozenset(disable) - ALWAYS_ON)


# Kubernetes' others: flags that name one of them are for servers that have it, and are no mistake.
_OTHERS = frozenset(
    {
        "AlwaysAdmit",
        "AlwaysPullImages",
        "ClusterTrustBundleAttest",
        "DefaultIngressClass",
        "MutatingAdmissionPolicy",
        "PersistentVolumeClaimResize",
        "RuntimeClass",
        "ValidatingAdmissionPolicy",
    }
)


def _steps(plugins: Iterable[Any], name: str) -> list[tuple[Any, bool]]:
    """(the plugins' methods of that name, whether they are coroutines)."""
    methods = [getattr(plugin, name) for plugin in plugins if hasattr(plugin, name)]
    return [(method, inspect.iscoroutinefunction(method)) for method in methods]


async def _run(steps: Iterable[tuple[Any, bool]], review: Review) -> None:
    for step, waits in steps:
        if waits:
            await step(review)
        else:
            step(review)
