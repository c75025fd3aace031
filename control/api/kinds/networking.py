"""The group networking.k8s.io, v1."""

from __future__ import annotations

from control.api.kind import Kind
from control.api.kinds.columns import AGE, NAME, text

INGRESS = Kind(
    "networking.k8s.io", "v1", "Ingress", "ingresses", "networking.v1.Ingress",
    short_names=("ing",), subresources=("status",),
    columns=(
        NAME,
        text("Class", "ingress_class", "which controller serves it"),
        text("Hosts", "ingress_hosts", "host names of its rules"),
        text("Address", "ingress_address", "where it is reachable"),
        text("Ports", "ingress_ports", "80, and 443 with TLS"),
        AGE,
    ),
)  # fmt: skip

INGRESS_CLASS = Kind(
    "networking.k8s.io", "v1", "IngressClass", "ingressclasses", "networking.v1.IngressClass", namespaced=False,
    columns=(
        NAME,
        text("Controller", ".spec.controller", "who serves ingresses of the class"),
        text("Parameters", "ingress_parameters", "the controller's settings"),
        AGE,
    ),
)  # fmt: skip

NETWORK_POLICY = Kind(
    "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", "networking.v1.NetworkPolicy",
    short_names=("netpol",), columns=(NAME, text("Pod-Selector", "pod_selector", "pods it is for"), AGE),
)  # fmt: skip

KINDS = (INGRESS, INGRESS_CLASS, NETWORK_POLICY)
