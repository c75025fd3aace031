"""Which config maps and secrets a pod refers to, and how the agent looks them up. Pure.

The node authorizer lets a node read exactly these, so they are asked for by name and never listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from node_agent.pod import spec
from node_agent.pod.spec import Object


class Need(NamedTuple):
    resource: str  # "configmaps" or "secrets"
    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """What was found, by (resource, name), in the pod's namespace; a name that is missing does not exist.

    lenient: what is missing is passed over as if it were optional (simulated nodes).
    services: all of the pod's namespace, and those of "default" for its service "kubernetes".
    tokens: service account tokens by (volume, path).
    """

    objects: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    services: tuple[Object, ...] = ()
    tokens: Mapping[tuple[str, str], str] = field(default_factory=dict)
    lenient: bool = False

    def find(self, resource: str, name: str) -> Object | None:
        return self.objects.get((resource, name))


def needs(pod: Object) -> set[Need]:
    """Every config map and secret that the pod names."""
    found: set[Need] = set()
    for container in spec.every_container(pod):
        found.update(_of_container(container))
    for volume in spec.spec(pod).get("volumes") or []:
        found.update(_of_volume(volume))
    for reference in spec.spec(pod).get("imagePullSecrets") or []:
        if reference.get("name"):
            found.add(Need("secrets", reference["name"], True))
    return found


def _of_container(container: Object) -> Iterator[Need]:
    for source in container.get("envFrom") or []:
        yield from _named("configmaps", source.get("configMapRef"))
        yield from _named("secrets", source.get("secretRef"))
    for variable in container.get("env") or []:
        value = variable.get("valueFrom") or {}
        yield from _named("configmaps", value.get("configMapKeyRef"))
        yield from _named("secrets", value.get("secretKeyRef"))


def _of_volume(volume: Object) -> Iterator[Need]:
    yield from _named("configmaps", volume.get("configMap"))
    secret = volume.get("secret")
    if secret:
        yield from _named("secrets", {"name": secret.get("secretName"), "optional": secret.get("optional")})
    for source in (volume.get("projected") or {}).get("sources") or []:
        yield from _named("configmaps", source.get("configMap"))
        yield from _named("secrets", source.get("secret"))


def _named(resource: str, reference: Object | None) -> Iterator[Need]:
    if reference and reference.get("name"):
        yield Need(resource, str(reference["name"]), bool(reference.get("optional")))
