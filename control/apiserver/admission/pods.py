"""What several plugins ask of a pod: its containers, what it asks for in all. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from control.api import meta
from control.api.schema import Object
from control.apiserver.request import Review

MIRROR = "kubernetes.io/config.mirror"


def created_pod(review: Review) -> Object | None:
    """The pod, when a pod is being created."""
    is_pod = review.resource == "pods" and not review.info.subresource and review.operation == "CREATE"
    return review.object if is_pod else None


def is_mirror(pod: Object) -> bool:
    """Whether it is a node's copy of a pod that it runs from a file."""
    return MIRROR in meta.annotations(pod)


def containers(pod: Object, *, ephemeral: bool = False) -> Iterator[tuple[str, Object]]:
    """(field path, container) of init containers and containers, and of ephemeral ones where asked for."""
    spec = pod.get("spec") or {}
    fields = ("initContainers", "containers", *(("ephemeralContainers",) if ephemeral else ()))
    for field in fields:
        for index, container in enumerate(spec.get(field) or ()):
            yield f"spec.{field}[{index}]", container
