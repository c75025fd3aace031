"""The group autoscaling: v2, and v1, which older kubectl writes. Scale is the body of a subresource."""

from __future__ import annotations

from dataclasses import replace

from control.api.kind import Kind
from control.api.kinds.columns import AGE, NAME, number, text

HORIZONTAL_POD_AUTOSCALER = Kind(
    "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers",
    "autoscaling.v2.HorizontalPodAutoscaler",
    short_names=("hpa",), categories=("all",), subresources=("status",),
    columns=(
        NAME,
        text("Reference", "hpa_reference", "what it scales"),
        text("Targets", "hpa_targets", "measured and wanted figures"),
        text("MinPods", "hpa_minimum", "fewest pods"),
        number("MaxPods", ".spec.maxReplicas", "most pods"),
        number("Replicas", ".status.currentReplicas", "pods there are"),
        AGE,
    ),
)  # fmt: skip

HORIZONTAL_POD_AUTOSCALER_V1 = replace(
    HORIZONTAL_POD_AUTOSCALER, version="v1", type="autoscaling.v1.HorizontalPodAutoscaler",
    storage_version="autoscaling/v2",
)  # fmt: skip

SCALE = Kind(
    "autoscaling", "v1", "Scale", "", "autoscaling.v1.Scale", verbs=(), stored=False,
    columns=(
        NAME,
        number("Desired", ".spec.replicas", "wanted pods"),
        number("Available", ".status.replicas", "pods there are"),
        AGE,
    ),
)  # fmt: skip

KINDS = (HORIZONTAL_POD_AUTOSCALER, HORIZONTAL_POD_AUTOSCALER_V1)
BODIES = (SCALE,)
