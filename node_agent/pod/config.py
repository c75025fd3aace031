"""What the runtime is asked to make: the sandbox and the containers of a pod as its configuration values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node_agent.pod import labels, network, spec
from node_agent.pod.expand import expand
from node_agent.pod.fields import ConfigProblem
from node_agent.pod.resources import cgroup_resources
from node_agent.pod.security import security_of
from node_agent.pod.spec import Object
from node_agent.runtime.types import ContainerConfig, Mount, Propagation, SandboxConfig


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What configurations take from the node. memory: its capacity in bytes; pids: most processes of a container.

    pod_network: whether pods get a network of their own; without it every pod has the node's network, and with
    pod_loopback an address of its own there.
    """

    name: str
    ips: tuple[str, ...]
    memory: int
    allocatable: Mapping[str, str]
    dns: network.ClusterDns
    log_root: str
    pids: int = 0
    pod_network: bool = False
    pod_loopback: bool = False


def log_directory(pod: Object, log_root: str) -> str:
    """The folder of the pod's logs: <root>/<namespace>_<name>_<uid>."""
    return f"{log_root}/{spec.namespace(pod)}_{spec.name(pod)}_{spec.uid(pod)}"


def log_path(container: str, attempt: int) -> str:
    """Of one run of a container, within the pod's folder."""
    return f"{container}/{attempt}.log"


def sandbox_config(pod: Object, node: NodeFacts, attempt: int) -> SandboxConfig:
    of_pod = spec.spec(pod)
    sysctls = (of_pod.get("securityContext") or {}).get("sysctls") or []
    return SandboxConfig(
        name=spec.name(pod),
        namespace=spec.namespace(pod),
        uid=spec.uid(pod),
        attempt=attempt,
        hostname=network.host_name(pod, node.name),
        log_directory=log_directory(pod, node.log_root),
        dns=network.dns_of(pod, node.dns),
        hosts=network.aliases(pod),
        port_mappings=network.port_mappings(pod),
        labels=labels.pod_labels(pod, node.name),
        annotations=_annotations(pod, node),
        host_network=spec.host_network(pod) or not node.pod_network,
        host_pid=bool(of_pod.get("hostPID")),
        host_ipc=bool(of_pod.get("hostIPC")),
        privileged=any((each.get("securityContext") or {}).get("privileged") for each in spec.every_container(pod)),
        share_process_namespace=bool(of_pod.get("shareProcessNamespace")),
        sysctls={s["name"]: str(s["value"]) for s in sysctls},
    )


def _annotations(pod: Object, node: NodeFacts) -> dict[str, str]:
    """The pod's, and its address, which nobody else may say."""
    found = {key: value for key, value in spec.annotations_of(pod).items() if key != labels.LOOPBACK}
    if node.pod_loopback and not spec.host_network(pod):
        found[labels.LOOPBACK] = network.loopback_address(spec.uid(pod))
    return found


def container_config(
    pod: Object,
    container: Object,
    node: NodeFacts,
    attempt: int,
    env: Mapping[str, str],
    mounts: tuple[Mount, ...],
    image: str,
    image_user: str = "",
    target: str = "",
) -> ContainerConfig:
    """image: the id or name the runtime knows it by. target: whose processes it sees, by id; "": its own.

    ConfigProblem: it must not run as it would.
    """
    return ContainerConfig(
        name=container["name"],
        image=image,
        attempt=attempt,
        command=tuple(expand(word, env) for word in container.get("command") or ()),
        args=tuple(expand(word, env) for word in container.get("args") or ()),
        working_dir=container.get("workingDir") or "",
        env=tuple(env.items()),
        mounts=mounts,
        resources=cgroup_resources(pod, container, node.memory, node.pids),
        security=security_of(pod, container, image_user),
        labels=labels.container_labels(pod, container, node.name),
        annotations=labels.container_annotations(container) | _simulation(pod),
        log_path=log_path(container["name"], attempt),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        target=target,
    )


def _simulation(pod: Object) -> dict[str, str]:
    """The simulated runtime reads what is to happen from the pod's annotations under fluyt.dev/."""
    return {key: value for key, value in spec.annotations_of(pod).items() if key.startswith("fluyt.dev/")}


@dataclass(frozen=True, slots=True)
class MountPlan:
    """One volumeMount: the volume, the path below it ("" for all of it), and the mount without its host path."""

    volume: str
    sub_path: str
    mount: Mount


def mount_plans(pod: Object, container: Object, env: Mapping[str, str]) -> list[MountPlan]:
    """ConfigProblem: a path leads out of its volume, or the volume does not exist."""
    known = {volume["name"] for volume in spec.spec(pod).get("volumes") or []}
    return [_plan(mount, known, env) for mount in container.get("volumeMounts") or []]


def _plan(mount: Object, known: set[str], env: Mapping[str, str]) -> MountPlan:
    if mount["name"] not in known:
        raise ConfigProblem(f'volume mount "{mount["name"]}" names no volume of the pod')
    sub_path = mount.get("subPath") or ""
    if mount.get("subPathExpr"):
        sub_path = expand(mount["subPathExpr"], env)
        if "$(" in sub_path:
            raise ConfigProblem(f"subPathExpr {mount['subPathExpr']!r} names a variable that is not set")
    if sub_path.startswith("/") or ".." in sub_path.split("/"):
        raise ConfigProblem(f"subPath {sub_path!r} must be relative and must not contain '..'")
    propagation = Propagation(mount.get("mountPropagation") or "None")
    return MountPlan(mount["name"], sub_path, Mount("", mount["mountPath"], bool(mount.get("readOnly")), propagation))
