"""When a probe is due and what its results add up to. Pure.

A liveness probe is taken to hold until it has failed its threshold; readiness not to hold until it has succeeded its
own. As long as a startup probe has not succeeded, the others are not run.
Source: "Configure Liveness, Readiness and Startup Probes" in the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from node_agent.pod.observed import Probed
from node_agent.pod.spec import Object

KINDS: Final = ("startup", "liveness", "readiness")


@dataclass(slots=True)
class Track:
    """One probe of one running container. verdict: what its results say so far, None when they say nothing yet."""

    kind: str
    probe: Object
    verdict: bool | None = None
    last: bool | None = None
    in_a_row: int = 0
    suspended: bool = False  # it has given its last word on this container

    @property
    def period(self) -> float:
        return float(self.probe.get("periodSeconds") or 10)

    @property
    def timeout(self) -> float:
        return float(self.probe.get("timeoutSeconds") or 1)

    @property
    def initial_delay(self) -> float:
        return float(self.probe.get("initialDelaySeconds") or 0)

    def take(self, ok: bool) -> bool:
        """Count a result in; whether the verdict changed."""
        self.in_a_row = self.in_a_row + 1 if ok == self.last else 1
        self.last = ok
        threshold = int(self.probe.get("successThreshold") or 1) if ok else int(self.probe.get("failureThreshold") or 3)
        if self.in_a_row < threshold or self.verdict == ok:
            return False
        self.verdict = ok
        self.suspended = (self.kind == "startup") or (self.kind == "liveness" and not ok)
        return True


def tracks_of(container: Object) -> dict[str, Track]:
    """The probes of a container that has just begun to run, by kind."""
    probes = ((kind, container.get(f"{kind}Probe")) for kind in KINDS)
    return {kind: Track(kind, probe) for kind, probe in probes if probe}


def due(tracks: Mapping[str, Track]) -> Iterator[Track]:
    """Those that run at present: startup alone until it has succeeded, then the others."""
    startup = tracks.get("startup")
    if startup is not None and startup.verdict is not True:
        if not startup.suspended:
            yield startup
        return
    yield from (track for track in tracks.values() if track is not startup and not track.suspended)


def probed(tracks: Mapping[str, Track]) -> Probed:
    """What the probes of a running container add up to."""
    startup, readiness = tracks.get("startup"), tracks.get("readiness")
    started = startup is None or startup.verdict is True
    ready = started and (readiness is None or readiness.verdict is True)
    for kind in ("startup", "liveness"):
        track = tracks.get(kind)
        if track is not None and track.verdict is False:
            grace = track.probe.get("terminationGracePeriodSeconds")
            return Probed(started, ready, kind, None if grace is None else float(grace))
    return Probed(started, ready)


def recall(tracks: Mapping[str, Track], status: Object | None, container_id: str) -> bool:
    """After a restart of the agent: go on from what the pod's last status said of this very container.

    What has a verdict of its own by now keeps it. Whether anything was taken over.
    """
    if status is None or not str(status.get("containerID", "")).endswith(f"://{container_id}"):
        return False
    said = {"startup": status.get("started"), "readiness": status.get("ready")}
    known = [track for kind, track in tracks.items() if track.verdict is None and said.get(kind)]
    for track in known:
        track.verdict, track.suspended = True, track.kind == "startup"
    return bool(known)
