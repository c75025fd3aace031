"""What goes into a runtime and what comes out of it, as values.

Times are seconds since 1970 in UTC, 0.0 where the thing has not happened. Sizes are bytes. Paths are the node's
unless they say "in the container". Mappings must not be changed after they were handed over. The words are those of
the CRI (kubernetes/cri-api, runtime.v1), because two of the runtimes speak it or something close to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


def selected(labels: Mapping[str, str], wanted: Mapping[str, str] | None) -> bool:
    """Whether all of the wanted labels are there."""
    return not wanted or wanted.items() <= labels.items()


class SandboxState(StrEnum):
    READY = "Ready"
    NOT_READY = "NotReady"


class ContainerState(StrEnum):
    CREATED = "Created"
    RUNNING = "Running"
    EXITED = "Exited"
    UNKNOWN = "Unknown"


class Propagation(StrEnum):
    """How mounts made later on one side show on the other."""

    PRIVATE = "None"
    HOST_TO_CONTAINER = "HostToContainer"
    BIDIRECTIONAL = "Bidirectional"


@dataclass(frozen=True, slots=True)
class Version:
    """Who answers: `runtime` is "process", "docker", "containerd", …; its version; the API spoken with it."""

    runtime: str
    version: str
    api_version: str = "v1"

    def for_node(self) -> str:
        """As in Node.status.nodeInfo.containerRuntimeVersion: `containerd://1.6.20`."""
        return f"{self.runtime}://{self.version}"


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the runtime can run containers (`ready`) and give them a network (`network_ready`); why not.

    `degraded` lists what this machine does not allow and what is done instead, a line each; it may be ready all the
    same.
    """

    ready: bool
    network_ready: bool = True
    reason: str = ""
    message: str = ""
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Credentials:
    """For one pull from a registry. Never logged."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    server: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """An image on the node. `id` is `sha256:…` (simulated and host images: any unique word); `user` as its config
    has it.
    """

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    size: int = 0
    user: str = ""
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class FsUsage:
    """The file system that holds images and writable layers: how full it is, and how much of that is the runtime's."""

    mountpoint: str
    used: int
    inodes_used: int
    capacity: int
    available: int
    inodes: int
    inodes_free: int


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits, as cgroups have them; 0 means none. `cpu_quota` and `cpu_period` are microseconds."""

    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 100_000
    memory: int = 0
    cpuset_cpus: str = ""
    pids: int = 0
    oom_score_adj: int = 0


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of the node at `container_path` in the container.

    `below`: what is shown is this path below `host_path`, where containers may change everything at any moment: it is
    gone down to when the container starts, without following a link. Runtimes that take paths alone refuse it.
    """

    host_path: str
    container_path: str
    read_only: bool = False
    propagation: Propagation = Propagation.PRIVATE
    below: str = ""


@dataclass(frozen=True, slots=True)
class Security:
    """Who the container's program is and what it may do.

    `user` is a number or None; `username` a name from the container's own /etc/passwd; neither: the image's.
    Capabilities are without the `CAP_` prefix, "ALL" is all of them; what is dropped wins over what is added, except
    that adding a name after dropping "ALL" keeps it.
    """

    user: int | None = None
    username: str = ""
    group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    privileged: bool = False
    read_only_rootfs: bool = False
    no_new_privs: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dns:
    """What /etc/resolv.conf of a sandbox holds; all empty: the node's own."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A port of the node that leads to one of the sandbox (nothing to do where the sandbox has the node's network)."""

    container_port: int
    host_port: int
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """What a pod's containers share. `log_directory` is made by the runtime when it is missing.

    `privileged`: one of its containers will be (some runtimes refuse that otherwise).
    """

    name: str
    namespace: str
    uid: str
    attempt: int = 0
    hostname: str = ""
    log_directory: str = ""
    dns: Dns = Dns()
    hosts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    port_mappings: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    host_network: bool = True
    host_pid: bool = False
    host_ipc: bool = False
    privileged: bool = False
    share_process_namespace: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = Resources()


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox as it is. `ips` is empty where it has the node's network; `netns` is a path, empty for the node's.

    `sealed` names the namespaces that are its own: "net", "ipc", "uts", "pid".
    """

    id: str
    name: str
    namespace: str
    uid: str
    attempt: int
    state: SandboxState
    created_at: float
    ips: tuple[str, ...] = ()
    netns: str = ""
    sealed: tuple[str, ...] = ()
    log_directory: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """One container. `command` replaces the image's entrypoint, `args` its arguments, where they are not empty.

    Later entries of `env` win over earlier ones and over the image's. `log_path` is relative to the sandbox's log
    directory; empty: no log is kept. `stdin_once`: stdin is closed for good when the first attached client leaves.
    `target`: the container of the same sandbox whose processes this one sees, by id; empty: its own.
    """

    name: str
    image: str
    attempt: int = 0
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    resources: Resources = Resources()
    security: Security = Security()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    target: str = ""

    def __repr__(self) -> str:
        """Without the environment, which may hold secrets."""
        return f"ContainerConfig({self.name!r}, image={self.image!r}, attempt={self.attempt})"


@dataclass(frozen=True, slots=True)
class Container:
    """A container as a list shows it."""

    id: str
    sandbox_id: str
    name: str
    attempt: int
    image: str
    image_id: str
    state: ContainerState
    created_at: float
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """Everything that is known of a container.

    `reason` of an exited one: "Completed" (code 0), "Error", "OOMKilled", "StartError" (code 128, never ran),
    "ContainerStatusUnknown" (the runtime lost sight of it; code 137). `exit_code` is 128 + the signal that ended it, or
    the program's own. `log_path` is absolute.
    """

    container: Container
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    log_path: str = ""
    pid: int = 0
    mounts: tuple[Mount, ...] = ()

    @property
    def id(self) -> str:
        return self.container.id

    @property
    def state(self) -> ContainerState:
        return self.container.state


@dataclass(frozen=True, slots=True)
class ContainerStats:
    """What a container uses: CPU nanoseconds since its start, bytes of memory (working set: without what can be
    dropped).
    """

    id: str
    sandbox_id: str
    name: str
    at: float
    cpu_nanoseconds: int = 0
    memory_working_set: int = 0
    memory_usage: int = 0
    memory_rss: int = 0
    fs_used: int = 0
    fs_inodes: int = 0
    pids: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExecResult:
    exit_code: int
    stdout: bytes
    stderr: bytes


class EventType(StrEnum):
    CREATED = "Created"
    STARTED = "Started"
    STOPPED = "Stopped"
    DELETED = "Deleted"


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """Something happened to a container (or, with an empty `container_id`, to a sandbox); a hint to look, never a
    promise.
    """

    type: EventType
    sandbox_id: str
    container_id: str
    at: float
