"""Which other objects a pod's node needs for it: pure. The one list of all places in a pod that name another object."""

from __future__ import annotations

from collections.abc import Iterator

from control.api import meta
from control.api.schema import Object

SECRETS, CONFIG_MAPS, CLAIMS, ACCOUNTS = "secrets", "configmaps", "persistentvolumeclaims", "serviceaccounts"
Reference = tuple[str, str]  # (resource, name), in the pod's namespace

_VOLUMES = (
    ("secret", "secretName", SECRETS),
    ("configMap", "name", CONFIG_MAPS),
    ("persistentVolumeClaim", "claimName", CLAIMS),
)
# Volume sources with a reference to a secret: (source, field).
_VOLUME_SECRETS = (
    ("azureFile", "secretName"),
    ("cephfs", "secretRef"),
    ("cinder", "secretRef"),
    ("csi", "nodePublishSecretRef"),
    ("flexVolume", "secretRef"),
    ("iscsi", "secretRef"),
    ("rbd", "secretRef"),
    ("scaleIO", "secretRef"),
    ("storageos", "secretRef"),
)
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def references(pod: Object) -> set[Reference]:
    """Everything the pod names."""
    spec = pod.get("spec") or {}
    found = set(_of_volumes(spec, meta.name(pod))) | set(_of_containers(spec))
    found.update((SECRETS, str(secret.get("name"))) for secret in spec.get("imagePullSecrets") or () if secret)
    if spec.get("serviceAccountName"):
        found.add((ACCOUNTS, str(spec["serviceAccountName"])))
    return found


def secrets_and_config_maps(pod: Object) -> set[Reference]:
    """What a mirror pod must not name."""
    return {reference for reference in references(pod) if reference[0] in (SECRETS, CONFIG_MAPS)}


def _of_volumes(spec: Object, pod_name: str) -> Iterator[Reference]:
    for volume in spec.get("volumes") or ():
        yield from _of_source(volume)
        for source in (volume.get("projected") or {}).get("sources") or ():
            for field, resource in (("secret", SECRETS), ("configMap", CONFIG_MAPS)):
                if (source.get(field) or {}).get("name"):
                    yield resource, source[field]["name"]
        if volume.get("ephemeral"):
            yield CLAIMS, f"{pod_name}-{volume.get('name')}"


def _of_source(volume: Object) -> Iterator[Reference]:
    for source, field, resource in _VOLUMES:
        name = (volume.get(source) or {}).get(field)
        if name:
            yield resource, name
    for source, field in _VOLUME_SECRETS:
        found = (volume.get(source) or {}).get(field)
        name = found.get("name") if isinstance(found, dict) else found
        if name:
            yield SECRETS, str(name)


def _of_containers(spec: Object) -> Iterator[Reference]:
    for container in (c for field in _CONTAINERS for c in spec.get(field) or ()):
        for source in container.get("envFrom") or ():
            yield from _of_env(source, "secretRef", "configMapRef")
        for variable in container.get("env") or ():
            yield from _of_env(variable.get("valueFrom") or {}, "secretKeyRef", "configMapKeyRef")


def _of_env(source: Object, secret: str, config_map: str) -> Iterator[Reference]:
    for field, resource in ((secret, SECRETS), (config_map, CONFIG_MAPS)):
        name = (source.get(field) or {}).get("name")
        if name:
            yield resource, name
