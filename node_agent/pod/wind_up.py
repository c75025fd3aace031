"""How a pod is brought to its end: containers, then sidecars in reverse order, then sandboxes. Pure.

Source: "Termination of Pods" and "Sidecar Containers" in the Kubernetes documentation.
"""

from __future__ import annotations

from node_agent.pod import spec
from node_agent.pod.actions import Action, Kill, Plan, StopSandbox, Verdict
from node_agent.pod.observed import Container, Observed
from node_agent.pod.spec import Object


def wind_up(pod: Object, observed: Observed, because: str, verdict: Verdict | None) -> Plan:
    """The next step of the end; Plan.finished once nothing is left to stop."""
    running = observed.running()
    if running:
        kills = [_kill(pod, c, because) for c in _wave(pod, running) if c.id not in observed.killing]
        return Plan(tuple(kills), verdict=verdict)
    stops: list[Action] = [StopSandbox(s.id) for s in observed.sandboxes if s.ready]
    return Plan(tuple(stops), verdict=verdict, finished=not stops)


def _wave(pod: Object, running: list[Container]) -> list[Container]:
    """Those that may be stopped now: all that are no sidecars, or else the last sidecar that still runs."""
    sidecars = [c["name"] for c in spec.init_containers(pod) if spec.is_sidecar(c)]
    others = [c for c in running if c.name not in sidecars]
    if others:
        return others
    last = max(running, key=lambda c: sidecars.index(c.name)).name
    return [c for c in running if c.name == last]


def _kill(pod: Object, container: Container, because: str) -> Kill:
    grace = spec.grace_period(pod)
    return Kill(container.id, container.name, grace, because, f"Stopping container {container.name}", final=True)
