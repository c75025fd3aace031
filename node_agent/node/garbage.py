"""What the node cleans up: dead containers, sandboxes of no use, images. Pure.

Source: "Garbage Collection" in the Kubernetes documentation; `crictl rmi` semantics for images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from node_agent.pod.observed import Container, Sandbox
from node_agent.runtime.types import FsUsage, Image


def dead_containers(
    pods: Mapping[str, Mapping[str, tuple[Container, ...]]], each: int, together: int, age: float, now: float
) -> list[Container]:
    """Which dead containers may go. pods: uid → name → containers, newest first.

    each: how many are kept per container of a pod; together: on the node, -1 for any number; age: seconds that an end
    is kept at least. The newest of a name is never among them: it is the container's present state.
    """
    chosen: list[Container] = []
    kept: list[Container] = []
    for containers in pods.values():
        for found in containers.values():
            dead = [c for c in found[1:] if c.ended and now - c.finished >= age]
            kept += dead[:each]
            chosen += dead[each:]
    if 0 <= together < len(kept):
        kept.sort(key=lambda c: c.finished, reverse=True)
        chosen += kept[together:]
    return chosen


def old_sandboxes(sandboxes: tuple[Sandbox, ...], used: Iterable[str]) -> list[str]:
    """Sandboxes of one pod that may go: not ready, not its newest, and no container is kept in them."""
    keep = set(used)
    return [s.id for s in sandboxes[1:] if not s.ready and s.id not in keep]


@dataclass(frozen=True, slots=True)
class ImageUse:
    """seen: when it was first found on the node; used: when a container last ran of it (seconds since 1970)."""

    seen: float
    used: float = 0.0


def images_to_remove(
    images: Iterable[Image],
    uses: Mapping[str, ImageUse],
    in_use: set[str],
    disk: FsUsage,
    high: int,
    low: int,
    min_age: float,
    max_age: float,
    now: float,
) -> list[Image]:
    """Which images go: those beyond max_age (0: no such limit), and, above `high` percent, the longest unused ones
    until `low` percent would be reached. Images in use, pinned ones and ones younger than min_age stay. A `high` of 100
    means: never for the disk's sake, however full it is."""
    free = [i for i in images if i.id not in in_use and not i.pinned and now - uses[i.id].seen >= min_age]
    free.sort(key=lambda i: (uses[i.id].used, uses[i.id].seen))
    chosen = [i for i in free if max_age and now - max(uses[i.id].used, uses[i.id].seen) > max_age]
    if high >= 100 or disk.capacity <= 0 or 100 * (disk.capacity - disk.available) < high * disk.capacity:
        return chosen
    wanted = disk.capacity * (100 - low) // 100 - disk.available - sum(i.size for i in chosen)
    for image in free:
        if wanted <= 0:
            break
        if image not in chosen:
            chosen.append(image)
            wanted -= image.size
    return chosen
