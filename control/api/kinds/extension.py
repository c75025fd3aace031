"""What extends the API: CustomResourceDefinitions and admission webhooks."""

from __future__ import annotations

from control.api.kind import Kind
from control.api.kinds.columns import AGE, CREATED, NAME, number

_REGISTRATION = "admissionregistration.k8s.io"
_WEBHOOKS = (NAME, number("Webhooks", "webhook_count", "number of webhooks"), AGE)

CUSTOM_RESOURCE_DEFINITION = Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions",
    "apiextensions.v1.CustomResourceDefinition",
    namespaced=False, short_names=("crd", "crds"), categories=("api-extensions",), subresources=("status",),
    columns=(NAME, CREATED),
)  # fmt: skip

VALIDATING_WEBHOOK_CONFIGURATION = Kind(
    _REGISTRATION, "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations",
    "admissionregistration.v1.ValidatingWebhookConfiguration",
    namespaced=False, categories=("api-extensions",), columns=_WEBHOOKS,
)  # fmt: skip

MUTATING_WEBHOOK_CONFIGURATION = Kind(
    _REGISTRATION, "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations",
    "admissionregistration.v1.MutatingWebhookConfiguration",
    namespaced=False, categories=("api-extensions",), columns=_WEBHOOKS,
)  # fmt: skip

KINDS = (CUSTOM_RESOURCE_DEFINITION, MUTATING_WEBHOOK_CONFIGURATION, VALIDATING_WEBHOOK_CONFIGURATION)
