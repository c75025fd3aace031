"""Where a pod fits, asked again and again while others are thought away and back.

What filters count over the whole cluster is counted once, when it is first asked for, and kept true as pods move; the
rest is looked up in the cluster's columns. So judging one row costs the same however many rows there are.
Invariant: whoever moves a pod in the cluster while a question is open says so to the question (`moved`).
"""

from __future__ import annotations

from functools import cached_property

from control.scheduler.cluster import Cluster
from control.scheduler.neighbours import Neighbours
from control.scheduler.pod import Pod
from control.scheduler.spread import Skews


class Question:
    """A pod, a cluster, and what has been counted for the one in the other. True for one version of the cluster."""

    def __init__(self, cluster: Cluster, pod: Pod) -> None:
        self.cluster = cluster
        self.pod = pod

    @cached_property
    def skews(self) -> Skews:
        return Skews(self.cluster, self.pod)

    @cached_property
    def neighbours(self) -> Neighbours:
        return Neighbours(self.cluster, self.pod)

    def add(self, other: Pod, row: int) -> None:
        """Think another pod onto a row."""
        self.cluster.add_pod(other, self.cluster.nodes[row].name)
        self._moved(other, row, 1)

    def remove(self, other: Pod, row: int) -> None:
        """Think another pod away from its row."""
        self.cluster.remove_pod(other.uid)
        self._moved(other, row, -1)

    def _moved(self, other: Pod, row: int, number: int) -> None:
        # What was not counted yet will find the pod where it is now.
        if "skews" in self.__dict__:
            self.skews.moved(other, row, number)
        if "neighbours" in self.__dict__:
            self.neighbours.moved(other, row, number)
