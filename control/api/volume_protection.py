"""The finalizers that keep claims and volumes while they are in use: put on at admission, taken off by controllers.

Source: "Persistent Volumes: Storage Object in Use Protection" of Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

CLAIMS: Final = "persistentvolumeclaims"
VOLUMES: Final = "persistentvolumes"
# Resource → its finalizer.
PROTECTION: Final[Mapping[str, str]] = MappingProxyType(
    {CLAIMS: "kubernetes.io/pvc-protection", VOLUMES: "kubernetes.io/pv-protection"}
)
