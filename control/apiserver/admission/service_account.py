"""ServiceAccount: every pod runs as one, and finds its token, the cluster's certificate and its namespace in a volume.

Source: "Configure Service Accounts for Pods" of the Kubernetes documentation; names and periods are Kubernetes'.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from control.api import meta
from control.api.copying import copied
from control.api.names import SUFFIX_LENGTH, generated
from control.api.schema import Object
from control.api.status import StatusError, forbidden
from control.apiserver.admission.pods import containers, created_pod, is_mirror
from control.apiserver.request import Caches, Objects, Review
from control.apiserver.security.nodes.references import SECRETS, secrets_and_config_maps

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
# Kubernetes' number for tokens that node agents renew in time: an hour and a little.
_TOKEN_SECONDS = 3607
ENFORCE = "kubernetes.io/enforce-mountable-secrets"
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_DEBUGGED = frozenset({"serviceAccountName", "ephemeralContainers"})
# A new namespace gets its "default" account from a controller, a moment later.
_PATIENCE = 10
_PAUSE = 0.1


class ServiceAccount:
    """Chooses and checks the account, and adds the volume."""

    name = "ServiceAccount"

    def __init__(
        self,
        caches: Caches,
        objects: Objects,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._caches = caches
        self._objects = objects
        self._entropy = entropy

    async def mutate(self, review: Review) -> None:
        """StatusError 403 when the account is not there."""
        pod = created_pod(review)
        if pod is None:
            return
        spec = pod.setdefault("spec", {})
        if is_mirror(pod):
            return
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        account = await self._account(review, name)
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        if wants_token(spec, account):
            add_token_volume(spec, generated("kube-api-access-", self._entropy(SUFFIX_LENGTH)))
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = copied(account["imagePullSecrets"])

    async def validate(self, review: Review) -> None:
        """StatusError 403: the account is not there any more, or the pod names what it may not."""
        pod = created_pod(review) or _debugged_pod(review)
        if pod is None:
            return
        if is_mirror(pod):
            why = _wrong_in_mirror(pod)
        elif name := (pod.get("spec") or {}).get("serviceAccountName"):
            why = unlisted_secret(pod, await self._account(review, name))
        else:
            why = f"no service account specified for pod {review.info.namespace}/{meta.name(pod)}"
        if why:
            raise forbidden("pods", meta.name(pod), why)

    async def _account(self, review: Review, name: str) -> Object:
        namespace = review.info.namespace
        for attempt in range(_PATIENCE if name == "default" else 1):
            found = self._caches.get("serviceaccounts", namespace, name)
            if found is not None:
                return found
            try:
                return await self._objects.get("serviceaccounts", namespace, name)
            except StatusError as problem:
                if problem.code != 404:
                    raise
            if attempt + 1 < _PATIENCE and name == "default":
                await asyncio.sleep(_PAUSE)
        why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise forbidden("pods", meta.name(review.object or {}), why)


def _debugged_pod(review: Review) -> Object | None:
    """Of a pod that is given ephemeral containers, that which is new: these, and whose account they use."""
    if review.resource != "pods" or review.info.subresource != "ephemeralcontainers" or review.object is None:
        return None
    kept = {key: value for key, value in review.object["spec"].items() if key in _DEBUGGED}
    return {**review.object, "spec": kept}


def _wrong_in_mirror(pod: Object) -> str:
    """A mirror pod has no rights of its own: it names neither account nor secrets."""
    if (pod.get("spec") or {}).get("serviceAccountName"):
        return "a mirror pod may not reference service accounts"
    names_secrets = any(resource == SECRETS for resource, _ in secrets_and_config_maps(pod))
    return "a mirror pod may not reference secrets" if names_secrets else ""


def unlisted_secret(pod: Object, account: Object) -> str:
    """Why the pod may not be, if its account has it use listed secrets only and it names another; else "". Pure.

    Source: the annotation kubernetes.io/enforce-mountable-secrets, as it is documented: whatever way a secret gets into
    a container, projected volumes too, which Kubernetes forgets.
    """
    if meta.annotations(account).get(ENFORCE) not in _TRUE:
        return ""
    spec = pod.get("spec") or {}
    inside = {**pod, "spec": {**spec, "imagePullSecrets": []}}
    used = {
        "secret": ("secrets", {name for resource, name in secrets_and_config_maps(inside) if resource == SECRETS}),
        "imagePullSecret": ("imagePullSecrets", _names(spec.get("imagePullSecrets"))),
    }
    for what, (field, names) in used.items():
        for name in sorted(names - _names(account.get(field))):
            of = f"service account {meta.name(account)} does not reference that {what}"
            return f'{what} "{name}" is not allowed because {of}'
    return ""


def _names(references: list[Object] | None) -> set[str]:
    return {str(reference.get("name")) for reference in references or ()}


def wants_token(spec: Object, account: Object) -> bool:
    """The pod's own word counts, then the account's; yes without either. Pure."""
    for says in (spec.get("automountServiceAccountToken"), account.get("automountServiceAccountToken")):
        if says is not None:
            return bool(says)
    return True


def add_token_volume(spec: Object, volume: str) -> None:
    """Mount the token into every container that has nothing at that path. Pure."""
    volumes = spec.get("volumes") or []
    ready = next((v["name"] for v in volumes if str(v.get("name", "")).startswith("kube-api-access-")), "")
    wanting = [
        container
        for _, container in containers({"spec": spec})
        if all(mount.get("mountPath") != MOUNT_PATH for mount in container.get("volumeMounts") or ())
    ]
    for container in wanting:
        mount = {"name": ready or volume, "readOnly": True, "mountPath": MOUNT_PATH}
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]
    if wanting and not ready:
        spec["volumes"] = [*volumes, _volume(volume)]


def _volume(name: str) -> Object:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    certificate = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
        {"configMap": certificate},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}
