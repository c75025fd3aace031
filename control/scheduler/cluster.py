"""The cluster as columns: nodes are rows, and what is compared for every pod is one array operation over all of them.

Kept up to date change by change; the same for a pod that is bound and for one that is only assumed to be.
Invariants: used[row] is the sum over the pods in pods[row], of what some node has ever offered; a row without a node
has no pods, no labels and is not `there`; a pod is in one row at most, or waits for one node at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from control.api import meta
from control.api.schema import Object
from control.scheduler.labels import NodeLabels
from control.scheduler.pod import Pod, Term
from control.scheduler.requests import amounts
from control.scheduler.sorts import Sort
from control.scheduler.tally import Tally
from control.scheduler.values import Numbers, Rows, Values
from control.scheduler.volumes import Volumes
from kvstore.invariant import invariant

Points = NDArray[np.float64]

_FIRST_ROWS: Final = 16
# What a column says of a sum that is greater: as good as all of it, and far from what 64 bits hold.
_FULL: Final = 2**62
# Columns that are always there, in this order.
CPU, MEMORY, PODS = 0, 1, 2


class Taint(NamedTuple):
    """One taint of a node."""

    key: str
    value: str
    effect: str


@dataclass(slots=True)
class Node:
    """What of a node is not in a column."""

    name: str
    row: int
    object: Object
    images: dict[str, int]


class Cluster:
    """All nodes and the pods on them."""

    def __init__(self) -> None:
        self.capacity = _FIRST_ROWS
        # Grows with every change: what was counted at the same version is true still.
        self.version = 0
        self.rows: dict[str, int] = {}
        self.nodes: dict[int, Node] = {}
        self.columns: dict[str, int] = {"cpu": CPU, "memory": MEMORY, "pods": PODS}
        self.allocatable: Numbers = np.zeros((_FIRST_ROWS, 3), np.int64)
        self.used: Numbers = np.zeros((_FIRST_ROWS, 3), np.int64)
        self._beyond: dict[tuple[int, int], int] = {}  # (row, column) → what is used there, where it is more than _FULL
        # For scores, a column each for CPU and memory: what is assumed to be taken, and one over what there is.
        self.assumed: Points = np.zeros((2, _FIRST_ROWS), np.float64)
        self.inverse: Points = np.zeros((2, _FIRST_ROWS), np.float64)
        self.images: dict[str, dict[int, int]] = {}
        self.there: Rows = np.zeros(_FIRST_ROWS, np.bool_)
        self.unschedulable: Rows = np.zeros(_FIRST_ROWS, np.bool_)
        self.taints: Values[tuple[Taint, ...]] = Values(_FIRST_ROWS)
        self.labels = NodeLabels(_FIRST_ROWS)
        self.pods: dict[int, dict[str, Pod]] = {}
        self.placed: dict[str, int] = {}  # uid → row
        self.ports: dict[tuple[str, int], dict[int, list[str]]] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.volumes = Volumes()
        self.sorts: dict[str, Tally[Sort]] = {}  # by namespace
        # Pods that want something of the pods around them, which others must look at, by the terms: of required
        # anti-affinity; of preferences and required affinity.
        self.repelling: Tally[tuple[Term, ...]] = Tally()
        self.preferring: Tally[tuple[Term, ...]] = Tally()
        self.by_owner: Tally[str] = Tally()
        self.claimants: Tally[tuple[str, str]] = Tally()  # by the claims that they use: namespace, name
        self._free: list[int] = list(range(_FIRST_ROWS - 1, -1, -1))
        # Pods that came before their node: node name → uid → pod.
        self._waiting: dict[str, dict[str, Pod]] = {}
        self._waits_for: dict[str, str] = {}  # uid → node name

    # ---- nodes

    def put_node(self, obj: Object) -> None:
        """A node that is new or has changed. StatusError: an amount of it is no quantity."""
        self.version += 1
        name = meta.name(obj)
        row = self.rows.get(name)
        if row is None:
            row = self._take_row()
            self.rows[name] = row
            self.pods[row] = {}
        status, spec = obj.get("status") or {}, obj.get("spec") or {}
        images = {n: i.get("sizeBytes") or 0 for i in status.get("images") or () for n in i.get("names") or ()}
        self._put_images(row, images)
        self.nodes[row] = Node(name, row, obj, images)
        self._set_amounts(row, amounts(status.get("allocatable") or status.get("capacity")))
        self.there[row] = True
        self.unschedulable[row] = bool(spec.get("unschedulable"))
        self.taints.put(row, tuple(_taint(taint) for taint in spec.get("taints") or ()))
        self.labels.put(row, meta.labels(obj))
        for pod in list(self._waiting.get(name, {}).values()):
            self.add_pod(pod, name)

    def remove_node(self, name: str) -> None:
        """The node is gone; its pods wait for another of its name, or for their own end."""
        self.version += 1
        row = self.rows.pop(name, None)
        if row is None:
            return
        for pod in list(self.pods[row].values()):
            self.remove_pod(pod.uid)
            self._await_node(pod, name)
        self._put_images(row, {})
        del self.pods[row], self.nodes[row]
        self.labels.put(row, {})
        self.there[row] = self.unschedulable[row] = False
        self.taints.drop(row)
        self.allocatable[row] = 0
        self._free.append(row)

    def _put_images(self, row: int, images: Mapping[str, int]) -> None:
        before = self.nodes[row].images if row in self.nodes else {}
        for image in before.keys() - images.keys():
            del self.images[image][row]
            if not self.images[image]:
                del self.images[image]
        for image, size in images.items():
            self.images.setdefault(image, {})[row] = size

    def _take_row(self) -> int:
        if not self._free:
            self._grow()
        return self._free.pop()

    def _grow(self) -> None:
        old, self.capacity = self.capacity, 2 * self.capacity
        self.allocatable = _taller(self.allocatable, self.capacity)
        self.used = _taller(self.used, self.capacity)
        self.assumed = np.hstack([self.assumed, np.zeros((2, old), np.float64)])
        self.inverse = np.hstack([self.inverse, np.zeros((2, old), np.float64)])
        self.taints.grow(self.capacity)
        self.there = np.concatenate([self.there, np.zeros(old, np.bool_)])
        self.unschedulable = np.concatenate([self.unschedulable, np.zeros(old, np.bool_)])
        self.labels.grow(self.capacity)
        self._free = list(range(self.capacity - 1, old - 1, -1))

    def _set_amounts(self, row: int, has: Mapping[str, int]) -> None:
        columns = [self._column(resource) for resource in has]  # first: a new one replaces the arrays
        self.allocatable[row] = 0
        self.allocatable[row, columns] = list(has.values())
        self.inverse[:, row] = 1.0 / np.maximum(self.allocatable[row, : MEMORY + 1], 1)

    def _column(self, resource: str) -> int:
        """The column of what a node has, made if need be. It may replace the arrays: read them afterwards."""
        found = self.columns.get(resource)
        if found is None:
            found = self.columns[resource] = len(self.columns)
            room = np.zeros((self.capacity, 1), np.int64)
            self.allocatable = np.hstack([self.allocatable, room])
            self.used = np.hstack([self.used, room])
            for row, pods in self.pods.items():
                self._use(row, found, sum(pod.requests.get(resource, 0) for pod in pods.values()))
        return found

    # ---- pods

    def add_pod(self, pod: Pod, node: str = "") -> None:
        """A pod takes its place on its node, or on `node` where it is only assumed to be."""
        self.version += 1
        name = node or pod.node
        self.remove_pod(pod.uid)
        row = self.rows.get(name)
        if row is None:
            self._await_node(pod, name)
            return
        self.pods[row][pod.uid] = pod
        self.placed[pod.uid] = row
        self._count(pod, row, 1)
        for port in pod.ports:
            self.ports.setdefault((port.protocol, port.number), {}).setdefault(row, []).append(port.address)

    def remove_pod(self, uid: str) -> None:
        """A pod is gone, or over: it takes no room any more. Nothing happens if it had none."""
        self.version += 1
        row = self.placed.pop(uid, None)
        if row is None:
            self._await_no_node(uid)
            return
        pod = self.pods[row].pop(uid)
        self._count(pod, row, -1)
        for port in pod.ports:
            self._free_port(port.protocol, port.number, port.address, row)

    def _await_node(self, pod: Pod, name: str) -> None:
        self._waiting.setdefault(name, {})[pod.uid] = pod
        self._waits_for[pod.uid] = name

    def _await_no_node(self, uid: str) -> None:
        name = self._waits_for.pop(uid, None)
        if name is not None:
            del self._waiting[name][uid]
            if not self._waiting[name]:
                del self._waiting[name]

    def _free_port(self, protocol: str, number: int, address: str, row: int) -> None:
        rows = self.ports[(protocol, number)]
        rows[row].remove(address)
        if not rows[row]:
            del rows[row]
        if not rows:
            del self.ports[(protocol, number)]

    def _count(self, pod: Pod, row: int, sign: int) -> None:
        for resource, amount in pod.requests.items():
            if resource in self.columns:
                self._use(row, self.columns[resource], sign * amount)
        self.assumed[CPU, row] += sign * pod.assumed["cpu"]
        self.assumed[MEMORY, row] += sign * pod.assumed["memory"]
        self._tell_apart(pod, row, sign)

    def _use(self, row: int, column: int, more: int) -> None:
        """Anybody can put a thousand pods that ask for everything on a node: the sum stays exact, for their end."""
        total = self._beyond.pop((row, column), int(self.used[row, column])) + more
        invariant(total >= 0, f"{self.nodes[row].name}: what is in use of column {column} is below zero")
        self.used[row, column] = min(total, _FULL)
        if total > _FULL:
            self._beyond[row, column] = total

    def _tell_apart(self, pod: Pod, row: int, sign: int) -> None:
        """Count it with its like: by owner, by labels, by what it wants around it, by its claims."""
        if pod.owner:
            self.by_owner.change(pod.owner, row, sign)
        if pod.anti_affinity:
            self.repelling.change(pod.anti_affinity, row, sign)
        if pod.affinity or pod.preferences:
            self.preferring.change((*pod.preferences, *pod.affinity), row, sign)
        for claim in pod.claims:
            self.claimants.change((pod.namespace, claim.name), row, sign)
        sorts = self.sorts.setdefault(pod.namespace, Tally())
        sorts.change(pod.sort, row, sign)
        if not sorts:
            del self.sorts[pod.namespace]

    # ---- namespaces

    def put_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        """The labels of a namespace, which affinity terms may select by; None: it is gone."""
        self.version += 1
        if labels is None:
            self.namespaces.pop(name, None)
        else:
            self.namespaces[name] = labels

    # ---- views

    @property
    def size(self) -> int:
        """How many nodes there are."""
        return len(self.rows)


def _taint(found: Object) -> Taint:
    return Taint(found["key"], found.get("value") or "", found["effect"])


def _taller(table: Numbers, rows: int) -> Numbers:
    more = np.zeros((rows - len(table), *table.shape[1:]), np.int64)
    return np.concatenate([table, more])
