"""Our values as the Docker API's documents and back. Pure.

What Docker has no place for stands in labels of ours (ownership.py): whose it is, what kind it is, annotations, paths.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from node_agent.runtime import ownership
from node_agent.runtime.errors import CannotCreate
from node_agent.runtime.stored import sandbox_config
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
)

_PROPAGATION = {
    Propagation.PRIVATE: "rprivate",
    Propagation.HOST_TO_CONTAINER: "rslave",
    Propagation.BIDIRECTIONAL: "rshared",
}
_PROPAGATED = {name: kind for kind, name in _PROPAGATION.items()}
SANDBOX, CONTAINER = "sandbox", "container"
_LOGS = {"Type": "json-file", "Config": {"max-size": "20m", "max-file": "3"}}

Document = dict[str, Any]


def time_of(text: str) -> float:
    """Docker's RFC 3339 with nanoseconds; its year 1 is never."""
    if not text or text.startswith("0001-"):
        return 0.0
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{fraction or 0}")


# sandboxes


def sandbox_document(config: SandboxConfig, owner: str, image: str, oom_score: int) -> Document:
    """What makes the container that holds the sandbox's namespaces."""
    note = json.dumps(asdict(config))
    host: Document = {
        "NetworkMode": "host" if config.host_network else "bridge",
        "IpcMode": "host" if config.host_ipc else "shareable",
        "PidMode": "host" if config.host_pid else "",
        "Sysctls": dict(config.sysctls),
        "OomScoreAdj": oom_score,
        "LogConfig": {"Type": "none"},
        **_names(config),
    }
    if not config.host_network:
        host["PortBindings"] = {
            f"{each.container_port}/{each.protocol.lower()}": [
                {"HostIp": each.host_ip, "HostPort": str(each.host_port)}
            ]
            for each in config.port_mappings
            if each.host_port
        }
    return {
        "Image": image,
        "Hostname": "" if config.host_network else config.hostname,
        "Labels": ownership.labelled(config.labels, owner, kind=SANDBOX, config=note),
        "HostConfig": host,
    }


def _names(config: SandboxConfig) -> Document:
    """resolv.conf and hosts: of the sandbox's own network, or (host network) of each container."""
    return {
        "Dns": list(config.dns.servers),
        "DnsSearch": list(config.dns.searches),
        "DnsOptions": list(config.dns.options),
        "ExtraHosts": [f"{name}:{address}" for address, names in config.hosts for name in names],
    }


def config_of(labels: Mapping[str, str]) -> SandboxConfig:
    """Raises KeyError, TypeError, ValueError."""
    return sandbox_config(json.loads(ownership.ours(labels, "config")))


def sandbox_value(found: Document) -> Sandbox:
    """Of an inspected container."""
    config = config_of(found["Config"]["Labels"])
    networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
    addresses = [each.get("IPAddress", "") for each in networks.values()]
    running = bool(found["State"]["Running"])
    pid = found["State"].get("Pid", 0)
    sealed = [*([] if config.host_network else ["net", "uts"]), *([] if config.host_ipc else ["ipc"])]
    return Sandbox(
        id=found["Id"],
        name=config.name,
        namespace=config.namespace,
        uid=config.uid,
        attempt=config.attempt,
        state=SandboxState.READY if running else SandboxState.NOT_READY,
        created_at=time_of(found["Created"]),
        ips=tuple(address for address in addresses if address) if running and not config.host_network else (),
        netns=f"/proc/{pid}/ns/net" if running and pid and not config.host_network else "",
        sealed=tuple(sorted(sealed)),
        log_directory=config.log_directory,
        labels=config.labels,
        annotations=config.annotations,
    )


# containers


def container_document(
    config: ContainerConfig, sandbox_id: str, sandbox: SandboxConfig, image_id: str, owner: str
) -> Document:
    note = {
        "name": config.name,
        "attempt": config.attempt,
        "image": config.image,
        "annotations": dict(config.annotations),
        "log_path": f"{sandbox.log_directory}/{config.log_path}" if sandbox.log_directory and config.log_path else "",
    }
    document: Document = {
        "Image": image_id,
        "Env": [f"{name}={value}" for name, value in dict(config.env).items()],
        "WorkingDir": config.working_dir,
        "Tty": config.tty,
        "OpenStdin": config.stdin,
        "StdinOnce": config.stdin_once,
        "User": _user(config),
        "Labels": ownership.labelled(config.labels, owner, kind=CONTAINER, sandbox=sandbox_id, config=json.dumps(note)),
        "HostConfig": _host_config(config, sandbox_id, sandbox),
    }
    if config.command:
        document["Entrypoint"] = list(config.command)
    if config.args:
        document["Cmd"] = list(config.args)
    return document


def _user(config: ContainerConfig) -> str:
    security = config.security
    user = security.username or ("" if security.user is None else str(security.user))
    if security.group is None:
        return user
    return f"{user or '0'}:{security.group}"


def _host_config(config: ContainerConfig, sandbox_id: str, sandbox: SandboxConfig) -> Document:
    security = config.security
    shared = f"container:{sandbox_id}"
    pid = f"container:{config.target}" if config.target else ""
    pid = "host" if sandbox.host_pid else shared if sandbox.share_process_namespace else pid
    return {
        "NetworkMode": "host" if sandbox.host_network else shared,
        "IpcMode": "host" if sandbox.host_ipc else shared,
        "PidMode": pid,
        "GroupAdd": [str(group) for group in security.supplemental_groups],
        "CapAdd": list(security.add_capabilities),
        "CapDrop": list(security.drop_capabilities),
        "Privileged": security.privileged,
        "ReadonlyRootfs": security.read_only_rootfs,
        "SecurityOpt": ["no-new-privileges"] if security.no_new_privs else [],
        "Mounts": [_mount(mount) for mount in config.mounts],
        "LogConfig": _LOGS,
        "RestartPolicy": {"Name": "no"},
        **(_names(sandbox) if sandbox.host_network else {}),
        **limits(config.resources),
        "OomScoreAdj": config.resources.oom_score_adj,
    }


def limits(resources: Resources) -> Document:
    """0 and -1 are no limit; memory and swap together are memory alone: no swap."""
    return {
        "CpuShares": resources.cpu_shares,
        "CpuPeriod": resources.cpu_period if resources.cpu_quota else 0,
        "CpuQuota": resources.cpu_quota,
        "CpusetCpus": resources.cpuset_cpus,
        "Memory": resources.memory,
        "MemorySwap": resources.memory,
        "PidsLimit": resources.pids or -1,
    }


def _mount(mount: Mount) -> Document:
    if mount.below:
        raise CannotCreate(f"{mount.container_path}: Docker cannot go down to {mount.below!r} below a volume safely")
    return {
        "Type": "bind",
        "Source": mount.host_path,
        "Target": mount.container_path,
        "ReadOnly": mount.read_only,
        "BindOptions": {"Propagation": _PROPAGATION[mount.propagation]},
    }


def note_of(found: Document) -> Document:
    """What we wrote down of an inspected container. Raises KeyError, ValueError."""
    note: Document = json.loads(ownership.ours(found["Config"]["Labels"], "config"))
    return note


def status_value(found: Document) -> ContainerStatus:
    """Of an inspected container."""
    state, note = found["State"], note_of(found)
    phase = _phase(state)
    refused = phase is ContainerState.EXITED and state["Status"] == "created"
    exited = phase is ContainerState.EXITED
    return ContainerStatus(
        container=_container(found, note, phase),
        started_at=time_of(state["StartedAt"]),
        finished_at=(time_of(state["FinishedAt"]) or time_of(found["Created"])) if exited else 0.0,
        exit_code=128 if refused else state["ExitCode"] if exited else 0,
        reason=_reason(state, refused) if exited else "",
        message=state.get("Error", ""),
        log_path=note["log_path"],
        pid=state.get("Pid", 0),
        mounts=tuple(_mounted(each) for each in found["HostConfig"].get("Mounts") or ()),
    )


def _phase(state: Document) -> ContainerState:
    match state["Status"]:
        case "created":
            return ContainerState.EXITED if state.get("Error") or state["ExitCode"] else ContainerState.CREATED
        case "running" | "paused" | "restarting":
            return ContainerState.RUNNING
        case "exited" | "dead" | "removing":
            return ContainerState.EXITED
        case _:
            return ContainerState.UNKNOWN


def _reason(state: Document, refused: bool) -> str:
    if refused:
        return "StartError"
    if state["OOMKilled"]:
        return "OOMKilled"
    return "Error" if state["ExitCode"] else "Completed"


def _container(found: Document, note: Document, phase: ContainerState) -> Container:
    labels = found["Config"]["Labels"]
    return Container(
        id=found["Id"],
        sandbox_id=ownership.ours(labels, "sandbox"),
        name=note["name"],
        attempt=note["attempt"],
        image=note["image"],
        image_id=found["Image"],
        state=phase,
        created_at=time_of(found["Created"]),
        labels=ownership.visible(labels),
        annotations=note["annotations"],
    )


def _mounted(each: Document) -> Mount:
    propagation = _PROPAGATED.get((each.get("BindOptions") or {}).get("Propagation", ""), Propagation.PRIVATE)
    return Mount(each["Source"], each["Target"], bool(each.get("ReadOnly")), propagation)


# images and usage


def image_value(found: Document) -> Image:
    """Of an image of a list or an inspected one."""
    return Image(
        id=found["Id"],
        tags=tuple(tag for tag in found.get("RepoTags") or () if tag != "<none>:<none>"),
        digests=tuple(each for each in found.get("RepoDigests") or () if not each.startswith("<none>")),
        size=found.get("Size", 0),
        user=(found.get("Config") or {}).get("User", ""),
    )


def stats_value(status: ContainerStatus, found: Document, disk: int) -> ContainerStats:
    """`found`: the answer of /stats; `disk`: bytes of the writable layer."""
    memory = found.get("memory_stats") or {}
    detail = memory.get("stats") or {}
    usage = memory.get("usage", 0)
    inactive = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    return ContainerStats(
        id=status.id,
        sandbox_id=status.container.sandbox_id,
        name=status.container.name,
        at=time_of(found.get("read", "")),
        cpu_nanoseconds=((found.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage", 0),
        memory_working_set=max(0, usage - inactive),
        memory_usage=usage,
        memory_rss=detail.get("total_rss", detail.get("anon", 0)),
        fs_used=disk,
        pids=(found.get("pids_stats") or {}).get("current", 0) or 0,
        labels=status.container.labels,
    )
