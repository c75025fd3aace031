"""How well nodes suit a pod that they can take: the scores of Kubernetes' default profile, each 0 to 100, weighted.

All functions answer by row for the whole cluster; rows that were filtered out are not looked at afterwards.
Source: "Scheduler Configuration" of Kubernetes' documentation (plugins and their default weights).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from control.scheduler.cluster import Cluster, Points
from control.scheduler.labels import Rows, term_rows
from control.scheduler.neighbours import preference_points
from control.scheduler.pod import Pod
from control.scheduler.spread import crowding

Score = Callable[[Cluster, Pod, Rows], Points | None]

MOST: Final = 100.0
_MIB: Final = 1 << 20


def resources(cluster: Cluster, pod: Pod, rows: Rows) -> Points:
    """Two scores of weight 1 in one look at the columns: much left over (LeastAllocated), and CPU and memory taken
    alike (BalancedAllocation).
    """
    wanted = np.array([[pod.assumed["cpu"]], [pod.assumed["memory"]]], np.float64)
    taken = np.minimum((cluster.assumed + wanted) * cluster.inverse, 1.0)
    left: Points = 2.0 - taken[0] - taken[1]
    unlike: Points = np.abs(taken[0] - taken[1])
    return (left - unlike) * (MOST / 2) + MOST


def tolerated(cluster: Cluster, pod: Pod, rows: Rows) -> Points | None:
    """Fewer taints that would rather not have it."""
    bad = np.zeros(cluster.taints.size, np.float64)
    for found, number in cluster.taints.known.items():
        bad[number] = sum(t.effect == "PreferNoSchedule" and not pod.tolerates(*t) for t in found)
    return MOST - scaled(bad[cluster.taints.numbers], rows) if bad.any() else None


def preferred(cluster: Cluster, pod: Pod, rows: Rows) -> Points | None:
    if not pod.preferred_nodes:
        return None
    points = np.zeros(cluster.capacity, np.float64)
    for entry in pod.preferred_nodes:
        points += entry["weight"] * term_rows(cluster.labels, cluster.rows, entry["preference"])
    return scaled(points, rows)


def uncrowded(cluster: Cluster, pod: Pod, rows: Rows) -> Points | None:
    near = crowding(cluster, pod, rows)
    return None if near is None else MOST - stretched(near, rows)


def company(cluster: Cluster, pod: Pod, rows: Rows) -> Points | None:
    points = preference_points(cluster, pod)
    return None if points is None else stretched(points.astype(np.float64), rows)


def image_locality(cluster: Cluster, pod: Pod, rows: Rows) -> Points | None:
    """Images that are there already, by size (23 MiB to 1000 MiB a container), as far as few nodes have them."""
    sizes: dict[int, int] = {}
    for image in {_tagged(image) for image in pod.images if image} & cluster.images.keys():
        held = cluster.images[image]
        part = len(held) / cluster.size
        for row, size in held.items():
            sizes[row] = sizes.get(row, 0) + int(size * part)
    if not sizes:
        return None
    low, high = 23 * _MIB, 1000 * _MIB * len(pod.images)
    points = np.zeros(cluster.capacity, np.float64)
    points[list(sizes)] = np.clip(np.array(list(sizes.values()), np.float64), low, high)
    return np.maximum(points - low, 0.0) * (MOST / (high - low))


def _tagged(image: str) -> str:
    return image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"


def scaled(points: Points, rows: Rows) -> Points:
    """So that the most points are 100."""
    top = points[rows].max(initial=0.0)
    return points * (MOST / top) if top else points


def stretched(points: Points, rows: Rows) -> Points:
    """So that the fewest points are 0 and the most 100."""
    low, top = points[rows].min(initial=np.inf), points[rows].max(initial=-np.inf)
    return (points - low) * (MOST / (top - low)) if top > low else np.zeros_like(points)


SCORES: Final[dict[str, tuple[Score, float]]] = {
    "NodeResourcesFit": (resources, 1),
    "TaintToleration": (tolerated, 3),
    "NodeAffinity": (preferred, 2),
    "PodTopologySpread": (uncrowded, 2),
    "InterPodAffinity": (company, 2),
    "ImageLocality": (image_locality, 1),
}
