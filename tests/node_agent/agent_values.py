"""Short ways to write what deciders look at."""

from __future__ import annotations

from typing import Any

from node_agent.pod.backoff import Backoff
from node_agent.pod.observed import Container, Failure, Observed, Probed, Sandbox, State

Object = dict[str, Any]
NOW = 1_000_000.0


def pod(
    *containers: Any, init: tuple[Any, ...] = (), deleting: bool = False, status: Any = None, **spec: Any
) -> Object:
    """Containers by name, or as objects."""
    metadata: Object = {"name": "p", "namespace": "default", "uid": "u1"}
    if deleting:
        metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 7}
    return {
        "metadata": metadata,
        "spec": {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "initContainers": [_container(c) for c in init],
            "containers": [_container(c) for c in containers or ("web",)],
            **spec,
        },
        "status": status or {},
    }


def _container(container: Any) -> Object:
    return {"name": container, "image": "i"} if isinstance(container, str) else {"image": "i", **container}


def sidecar(name: str, **more: Any) -> Object:
    return {"name": name, "restartPolicy": "Always", **more}


def ran(
    name: str, state: str = "running", code: int = 0, attempt: int = 0, sandbox: str = "s0", ago: float = 60
) -> Container:
    """A run of a container that began (or ended) `ago` seconds before NOW."""
    ended = state == "exited"
    return Container(
        id=f"{name}-{attempt}",
        name=name,
        sandbox=sandbox,
        attempt=attempt,
        state=State(state),
        created=NOW - ago,
        started=NOW - ago,
        finished=NOW - ago if ended else 0.0,
        exit_code=code,
        image="i",
    )


def seen(
    *runs: Container,
    sandbox: bool | None = True,
    ready: dict[str, Probed] | None = None,
    failures: dict[str, Failure] | None = None,
    killing: tuple[str, ...] = (),
    **more: Any,
) -> Observed:
    """runs: newest first per name. sandbox: whether s0 is ready, None: there is none."""
    containers: dict[str, tuple[Container, ...]] = {}
    for run in runs:
        containers[run.name] = (*containers.get(run.name, ()), run)
    probes = {run.name: Probed(True, True) for run in runs if run.running} | (ready or {})
    sandboxes = () if sandbox is None else (Sandbox(id="s0", ready=sandbox),)
    return Observed(
        **{"sandboxes": sandboxes, **more},
        containers=containers,
        probes=probes,
        failures=failures or {},
        killing=frozenset(killing),
    )


def backoff(key: str = "", failures: int = 0, ago: float = 0.0) -> Backoff:
    made = Backoff()
    if failures:
        made.recall(key, failures, NOW - ago)
    return made
