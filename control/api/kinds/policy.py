"""The group policy: v1, and v1beta1, which kubectl 1.20 writes. Eviction is the body of a pod's subresource."""

from __future__ import annotations

from dataclasses import replace

from control.api.kind import Kind
from control.api.kinds.columns import AGE, NAME, number, text

POD_DISRUPTION_BUDGET = Kind(
    "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", "policy.v1.PodDisruptionBudget",
    short_names=("pdb",), subresources=("status",),
    columns=(
        NAME,
        text("Min Available", "budget_minimum", "pods that must stay available"),
        text("Max Unavailable", "budget_maximum", "pods that may be away"),
        number("Allowed Disruptions", ".status.disruptionsAllowed", "pods that may be evicted now"),
        AGE,
    ),
)  # fmt: skip

POD_DISRUPTION_BUDGET_BETA = replace(
    POD_DISRUPTION_BUDGET, version="v1beta1", type="policy.v1beta1.PodDisruptionBudget", storage_version="policy/v1",
    deprecated="policy/v1beta1 PodDisruptionBudget is deprecated; use policy/v1 PodDisruptionBudget",
)  # fmt: skip

EVICTION = Kind("policy", "v1", "Eviction", "", "policy.v1.Eviction", verbs=(), stored=False)
EVICTION_BETA = Kind("policy", "v1beta1", "Eviction", "", "policy.v1beta1.Eviction", verbs=(), stored=False)

KINDS = (POD_DISRUPTION_BUDGET, POD_DISRUPTION_BUDGET_BETA)
BODIES = (EVICTION, EVICTION_BETA)
