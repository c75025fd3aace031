"""The labels by which the agent knows its own sandboxes and containers again, after any restart. Pure.

The io.kubernetes.* names are those that Kubernetes gives to containers, so that crictl and docker ps show them as
users are used to.
"""

from __future__ import annotations

from typing import Final

from node_agent.pod import spec
from node_agent.pod.observed import Container, Sandbox, State
from node_agent.pod.spec import Object
from node_agent.runtime.types import ContainerState, ContainerStatus, SandboxState
from node_agent.runtime.types import Sandbox as RuntimeSandbox

NODE: Final = "fluyt.dev/node"
POD_NAME: Final = "io.kubernetes.pod.name"
POD_NAMESPACE: Final = "io.kubernetes.pod.namespace"
POD_UID: Final = "io.kubernetes.pod.uid"
CONTAINER_NAME: Final = "io.kubernetes.container.name"
HASH: Final = "io.kubernetes.container.hash"
MESSAGE_PATH: Final = "io.kubernetes.container.terminationMessagePath"
# The address of the loopback network that a pod was given as its own.
LOOPBACK: Final = "fluyt.dev/loopback-address"
MESSAGE_POLICY: Final = "io.kubernetes.container.terminationMessagePolicy"

_STATES = {
    ContainerState.CREATED: State.CREATED,
    ContainerState.RUNNING: State.RUNNING,
    ContainerState.EXITED: State.EXITED,
    ContainerState.UNKNOWN: State.UNKNOWN,
}


def pod_labels(pod: Object, node: str) -> dict[str, str]:
    found = {str(k): str(v) for k, v in (spec.metadata(pod).get("labels") or {}).items()}
    return found | {
        NODE: node,
        POD_NAME: spec.name(pod),
        POD_NAMESPACE: spec.namespace(pod),
        POD_UID: spec.uid(pod),
    }


def container_labels(pod: Object, container: Object, node: str) -> dict[str, str]:
    return {
        NODE: node,
        POD_NAME: spec.name(pod),
        POD_NAMESPACE: spec.namespace(pod),
        POD_UID: spec.uid(pod),
        CONTAINER_NAME: container["name"],
    }


def container_annotations(container: Object) -> dict[str, str]:
    return {
        HASH: spec.container_hash(container),
        MESSAGE_PATH: container.get("terminationMessagePath") or "/dev/termination-log",
        MESSAGE_POLICY: container.get("terminationMessagePolicy") or "File",
    }


def seen_container(status: ContainerStatus, message: str = "") -> Container:
    """A runtime's container as deciders see it. message: its termination message, if it left one."""
    container = status.container
    signal = status.exit_code - 128 if 128 < status.exit_code < 160 and status.reason != "StartError" else 0
    return Container(
        id=container.id,
        name=container.labels.get(CONTAINER_NAME, container.name),
        sandbox=container.sandbox_id,
        attempt=container.attempt,
        state=_STATES[container.state],
        created=container.created_at,
        started=status.started_at,
        finished=status.finished_at,
        exit_code=status.exit_code,
        signal=signal if container.state is ContainerState.EXITED else 0,
        reason=status.reason,
        message=message or status.message,
        image=container.image,
        image_id=container.image_id,
        hash=container.annotations.get(HASH, ""),
    )


def seen_sandbox(sandbox: RuntimeSandbox) -> Sandbox:
    ready = sandbox.state is SandboxState.READY
    loopback = sandbox.annotations.get(LOOPBACK, "") if ready else ""
    ips = sandbox.ips or ((loopback,) if loopback else ())
    return Sandbox(
        id=sandbox.id, attempt=sandbox.attempt, ready=ready, created=sandbox.created_at, ips=ips, loopback=loopback
    )
