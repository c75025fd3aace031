"""Our values as the CRI's messages and back. Pure."""

from __future__ import annotations

from node_agent.pb import cri_pb2 as pb
from node_agent.runtime import ownership
from node_agent.runtime.errors import CannotCreate
from node_agent.runtime.hidden_paths import MASKED, READ_ONLY
from node_agent.runtime.types import (
    Container,
    ContainerConfig,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    Image,
    Mount,
    Propagation,
    Resources,
    Sandbox,
    SandboxConfig,
    SandboxState,
    Security,
)

_PROPAGATION = {
    Propagation.PRIVATE: pb.PROPAGATION_PRIVATE,
    Propagation.HOST_TO_CONTAINER: pb.PROPAGATION_HOST_TO_CONTAINER,
    Propagation.BIDIRECTIONAL: pb.PROPAGATION_BIDIRECTIONAL,
}
_PROPAGATED = {number: kind for kind, number in _PROPAGATION.items()}
_STATES = {
    pb.CONTAINER_CREATED: ContainerState.CREATED,
    pb.CONTAINER_RUNNING: ContainerState.RUNNING,
    pb.CONTAINER_EXITED: ContainerState.EXITED,
    pb.CONTAINER_UNKNOWN: ContainerState.UNKNOWN,
}
_PROTOCOLS = {"TCP": pb.TCP, "UDP": pb.UDP, "SCTP": pb.SCTP}
_SECOND = 1e9


def namespaces(config: SandboxConfig, target: str = "") -> pb.NamespaceOption:
    """target: the container whose processes are seen; a sandbox that shares them has no need of it."""
    pid = pb.NODE if config.host_pid else pb.POD if config.share_process_namespace else pb.CONTAINER
    found = pb.NamespaceOption(
        network=pb.NODE if config.host_network else pb.POD, pid=pid, ipc=pb.NODE if config.host_ipc else pb.POD
    )
    if target and pid == pb.CONTAINER:
        found.pid, found.target_id = pb.TARGET, target
    return found


def sandbox_message(config: SandboxConfig, owner: str, annotation: str) -> pb.PodSandboxConfig:
    """`annotation`: our own note, from which the configuration is read back (see sandboxes.py)."""
    security = pb.LinuxSandboxSecurityContext(namespace_options=namespaces(config), privileged=config.privileged)
    message = pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(
            name=config.name, uid=config.uid, namespace=config.namespace, attempt=config.attempt
        ),
        hostname="" if config.host_network else config.hostname,
        log_directory=config.log_directory,
        port_mappings=[] if config.host_network else _ports(config),
        labels=ownership.labelled(config.labels, owner),
        annotations={**config.annotations, ownership.PREFIX + "config": annotation},
        linux=pb.LinuxPodSandboxConfig(security_context=security, sysctls=dict(config.sysctls)),
    )
    if config.dns.servers or config.dns.searches or config.dns.options:
        message.dns_config.CopyFrom(
            pb.DNSConfig(servers=config.dns.servers, searches=config.dns.searches, options=config.dns.options)
        )
    return message


def _ports(config: SandboxConfig) -> list[pb.PortMapping]:
    return [
        pb.PortMapping(
            protocol=_PROTOCOLS.get(each.protocol, pb.TCP),
            container_port=each.container_port,
            host_port=each.host_port,
            host_ip=each.host_ip,
        )
        for each in config.port_mappings
    ]


def resources_message(resources: Resources) -> pb.LinuxContainerResources:
    return pb.LinuxContainerResources(
        cpu_period=resources.cpu_period if resources.cpu_quota else 0,
        cpu_quota=resources.cpu_quota,
        cpu_shares=resources.cpu_shares,
        memory_limit_in_bytes=resources.memory,
        oom_score_adj=resources.oom_score_adj,
        cpuset_cpus=resources.cpuset_cpus,
    )


def _security(security: Security, sandbox: SandboxConfig, target: str) -> pb.LinuxContainerSecurityContext:
    message = pb.LinuxContainerSecurityContext(
        capabilities=pb.Capability(
            add_capabilities=security.add_capabilities, drop_capabilities=security.drop_capabilities
        ),
        privileged=security.privileged,
        namespace_options=namespaces(sandbox, target),
        run_as_username=security.username,
        readonly_rootfs=security.read_only_rootfs,
        supplemental_groups=security.supplemental_groups,
        no_new_privs=security.no_new_privs,
        masked_paths=() if security.privileged else MASKED,
        readonly_paths=() if security.privileged else READ_ONLY,
    )
    if security.user is not None:
        message.run_as_user.value = security.user
    if security.group is not None:
        message.run_as_group.value = security.group
    return message


def container_message(config: ContainerConfig, image: str, sandbox: SandboxConfig, owner: str) -> pb.ContainerConfig:
    """`image`: the id that the runtime knows; the agent's own name for it stays in an annotation."""
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=config.name, attempt=config.attempt),
        image=pb.ImageSpec(image=image),
        command=config.command,
        args=config.args,
        working_dir=config.working_dir,
        envs=[pb.KeyValue(key=name, value=value.encode()) for name, value in dict(config.env).items()],
        mounts=[_mount(mount) for mount in config.mounts],
        labels=ownership.labelled(config.labels, owner),
        annotations={
            **config.annotations,
            ownership.PREFIX + "image": config.image,
            ownership.PREFIX + "tty": "true" if config.tty else "false",
        },
        log_path=config.log_path,
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        tty=config.tty,
        linux=pb.LinuxContainerConfig(
            resources=resources_message(config.resources),
            security_context=_security(config.security, sandbox, config.target),
        ),
    )


def _mount(mount: Mount) -> pb.Mount:
    if mount.below:
        raise CannotCreate(f"{mount.container_path}: the CRI has no path {mount.below!r} below a volume")
    return pb.Mount(
        container_path=mount.container_path,
        host_path=mount.host_path,
        readonly=mount.read_only,
        propagation=_PROPAGATION[mount.propagation],
    )


def _unmount(mount: pb.Mount) -> Mount:
    propagation = _PROPAGATED.get(mount.propagation, Propagation.PRIVATE)
    return Mount(mount.host_path, mount.container_path, mount.readonly, propagation)


def sandbox_value(status: pb.PodSandboxStatus, log_directory: str) -> Sandbox:
    options = status.linux.namespaces.options
    sealed = [("net", options.network), ("ipc", options.ipc), ("pid", options.pid)]
    found = [status.network.ip, *(each.ip for each in status.network.additional_ips)]
    return Sandbox(
        id=status.id,
        name=status.metadata.name,
        namespace=status.metadata.namespace,
        uid=status.metadata.uid,
        attempt=status.metadata.attempt,
        state=SandboxState.READY if status.state == pb.SANDBOX_READY else SandboxState.NOT_READY,
        created_at=status.created_at / _SECOND,
        ips=tuple(ip for ip in found if ip) if options.network != pb.NODE else (),
        sealed=tuple(name for name, mode in sealed if mode != pb.NODE),
        log_directory=log_directory,
        labels=ownership.visible(status.labels),
        annotations=ownership.visible(status.annotations),
    )


def listed_sandbox(item: pb.PodSandbox, log_directory: str) -> Sandbox:
    """As a list shows it, which has neither addresses nor namespaces."""
    return Sandbox(
        id=item.id,
        name=item.metadata.name,
        namespace=item.metadata.namespace,
        uid=item.metadata.uid,
        attempt=item.metadata.attempt,
        state=SandboxState.READY if item.state == pb.SANDBOX_READY else SandboxState.NOT_READY,
        created_at=item.created_at / _SECOND,
        log_directory=log_directory,
        labels=ownership.visible(item.labels),
        annotations=ownership.visible(item.annotations),
    )


def container_value(item: pb.Container) -> Container:
    return Container(
        id=item.id,
        sandbox_id=item.pod_sandbox_id,
        name=item.metadata.name,
        attempt=item.metadata.attempt,
        image=ownership.ours(item.annotations, "image") or item.image.image,
        image_id=item.image_ref,
        state=_STATES[item.state],
        created_at=item.created_at / _SECOND,
        labels=ownership.visible(item.labels),
        annotations=ownership.visible(item.annotations),
    )


def status_value(status: pb.ContainerStatus, sandbox_id: str) -> ContainerStatus:
    exited = status.state == pb.CONTAINER_EXITED
    return ContainerStatus(
        container=Container(
            id=status.id,
            sandbox_id=sandbox_id,
            name=status.metadata.name,
            attempt=status.metadata.attempt,
            image=ownership.ours(status.annotations, "image") or status.image.image,
            image_id=status.image_ref,
            state=_STATES[status.state],
            created_at=status.created_at / _SECOND,
            labels=ownership.visible(status.labels),
            annotations=ownership.visible(status.annotations),
        ),
        started_at=status.started_at / _SECOND,
        finished_at=status.finished_at / _SECOND if exited else 0.0,
        exit_code=status.exit_code if exited else 0,
        reason=_reason(status) if exited else "",
        message=status.message,
        log_path=status.log_path,
        mounts=tuple(_unmount(mount) for mount in status.mounts),
    )


def _reason(status: pb.ContainerStatus) -> str:
    """Runtimes say "Completed", "Error", "OOMKilled", "StartError", "Unknown"; some say nothing."""
    if status.reason == "Unknown":
        return "ContainerStatusUnknown"
    return status.reason or ("Error" if status.exit_code else "Completed")


def image_value(image: pb.Image) -> Image:
    return Image(
        id=image.id,
        tags=tuple(image.repo_tags),
        digests=tuple(image.repo_digests),
        size=image.size,
        user=image.username or (str(image.uid.value) if image.HasField("uid") else ""),
        pinned=image.pinned,
    )


def stats_value(stats: pb.ContainerStats, sandbox_id: str) -> ContainerStats:
    memory = stats.memory
    return ContainerStats(
        id=stats.attributes.id,
        sandbox_id=sandbox_id,
        name=stats.attributes.metadata.name,
        at=stats.cpu.timestamp / _SECOND,
        cpu_nanoseconds=stats.cpu.usage_core_nano_seconds.value,
        memory_working_set=memory.working_set_bytes.value,
        memory_usage=memory.usage_bytes.value or memory.working_set_bytes.value,
        memory_rss=memory.rss_bytes.value,
        fs_used=stats.writable_layer.used_bytes.value,
        fs_inodes=stats.writable_layer.inodes_used.value,
        labels=ownership.visible(stats.attributes.labels),
    )
