"""The group storage.k8s.io, v1."""

from __future__ import annotations

from control.api.kind import Column, Kind
from control.api.kinds.columns import AGE, text

STORAGE_CLASS = Kind(
    "storage.k8s.io", "v1", "StorageClass", "storageclasses", "storage.v1.StorageClass",
    namespaced=False, short_names=("sc",),
    columns=(
        Column("Name", "storage_class_name", format="name", description="name, and whether it is the default"),
        text("Provisioner", ".provisioner", "who makes its volumes"),
        text("ReclaimPolicy", ".reclaimPolicy", "what happens to a volume when its claim goes"),
        text("VolumeBindingMode", ".volumeBindingMode", "when a claim gets its volume"),
        Column("AllowVolumeExpansion", "volume_expansion", "boolean", description="whether claims may grow"),
        AGE,
    ),
)  # fmt: skip

KINDS = (STORAGE_CLASS,)
