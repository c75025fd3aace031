"""Whether and when one container is started: restart policies and the back-off between attempts. Pure.

Source: "Pod Lifecycle" in the Kubernetes documentation (container restarts).
"""

from __future__ import annotations

from node_agent.pod import spec
from node_agent.pod.backoff import Backoff
from node_agent.pod.observed import Container
from node_agent.pod.spec import Object


def backoff_key(pod: Object, container: Object) -> str:
    """Restarts of one container of one pod; another image begins anew."""
    return f"{spec.uid(pod)}/{container['name']}/{spec.container_hash(container)}"


def policy_of(pod: Object, container: Object, init: bool) -> str:
    """Always, OnFailure or Never, as it holds for that container: init containers run until they succeed."""
    if init and spec.is_sidecar(container):
        return "Always"
    policy = spec.restart_policy(pod)
    return "OnFailure" if init and policy == "Always" else policy


def wants_restart(policy: str, ended: Container) -> bool:
    return policy == "Always" or (policy == "OnFailure" and ended.exit_code != 0)


def earliest(backoff: Backoff, key: str, ended: Container, now: float) -> float:
    """When a container that has ended may be started again, in seconds since 1970."""
    return ended.finished + backoff.delay(key, now)


def crash_loop(pod: Object, container: Object, delay: float) -> tuple[str, str]:
    """Reason and message of a container that waits for its restart."""
    return (
        "CrashLoopBackOff",
        f"back-off {duration(delay)} restarting failed container={container['name']} pod={spec.full_name(pod)}",
    )


def duration(seconds: float) -> str:
    """As Go writes durations: 10s, 1m20s, 5m0s."""
    whole = int(seconds)
    return f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{whole}s"
