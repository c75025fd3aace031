"""Which pods and containers a command means: a pod by its name, or by what runs it (deployment/web), or by labels."""

from __future__ import annotations

from collections.abc import Sequence

from control.api.schema import Object
from control.cli.kube.session import Session
from control.cli.kube.targets import Target, resolve
from kvstore.cli.exits import CommandError

_DEFAULT = "kubectl.kubernetes.io/default-container"


async def named(session: Session, word: str) -> list[Object]:
    """The pod of a name, or those that TYPE/NAME runs, the ones that are ready first."""
    if "/" not in word:
        return [await session.client.get("pods", word, session.namespace)]
    (target,) = await resolve(session.client.directory, [word])
    if target.kind.resource == "pods":
        return [await session.client.get("pods", target.name, session.namespace)]
    found = await labelled(session, await _selector(session, target))
    if not found:
        raise CommandError(f"{target.shown} has no pods", prefix="error: ")
    return found


async def labelled(session: Session, selector: str) -> list[Object]:
    """The pods with these labels, the ones that are ready first, then the older ones first."""
    listed = await session.client.list("pods", session.namespace, label_selector=selector)
    return sorted(listed.get("items") or [], key=lambda pod: (not _ready(pod), pod["metadata"]["creationTimestamp"]))


async def _selector(session: Session, target: Target) -> str:
    obj = await session.client.get(target.kind.resource, target.name, session.namespace)
    selector = (obj.get("spec") or {}).get("selector") or {}
    labels = selector if target.kind.resource == "services" else selector.get("matchLabels") or {}
    if not labels:
        raise CommandError(f"{target.shown} selects no pods; name one", prefix="error: ")
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)


def containers(pod: Object) -> list[str]:
    """The names of all its containers, those that run first in time first."""
    spec = pod.get("spec") or {}
    fields = ("initContainers", "containers", "ephemeralContainers")
    return [entry["name"] for field in fields for entry in spec.get(field) or []]


def container(pod: Object, wanted: str) -> str:
    """The container to use. Raises CommandError for one that is not there."""
    names = containers(pod)
    name = pod["metadata"]["name"]
    if wanted and wanted not in names:
        raise CommandError(
            f"container {wanted} is not valid for pod {name}; it has {', '.join(names)}", prefix="error: "
        )
    own: Sequence[Object] = (pod.get("spec") or {}).get("containers") or []
    default = (pod["metadata"].get("annotations") or {}).get(_DEFAULT, "")
    return wanted or (default if default in names else own[0]["name"])
