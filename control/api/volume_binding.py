"""What the volume controller and the scheduler write for each other on claims and volumes, and for provisioners.

Source: "Persistent Volumes" and "Storage Classes: Volume Binding Mode" of Kubernetes' documentation.
"""

from __future__ import annotations

from typing import Final

from control.api.schema import Object

# Annotations: the claim has its volume for good; the volume or claim was chosen by a controller, not by its author;
# the node near which a claim's volume is wanted.
BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
# The provisioner of classes whose volumes nobody makes.
NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"


def waits_for_consumer(storage_class: Object) -> bool:
    """Whether the scheduler, which knows the pod and its node, chooses the volume or where it is made."""
    return bool(storage_class.get("volumeBindingMode") == "WaitForFirstConsumer")
