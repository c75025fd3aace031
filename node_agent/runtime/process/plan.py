"""From what the agent asks for to what the shim does: one dictionary, spec.json. Pure.

Mount steps are carried out in order by shim/root_setup.py. Values of the environment stand here, so the file is 0600.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node_agent.runtime.errors import CannotCreate
from node_agent.runtime.hidden_paths import MASKED, READ_ONLY
from node_agent.runtime.image_store.config import ImageConfig
from node_agent.runtime.process import capabilities
from node_agent.runtime.process.abilities import Abilities
from node_agent.runtime.types import ContainerConfig, Mount, Propagation, Security

_NOSUID, _NODEV, _NOEXEC, _RDONLY = 2, 4, 8, 1
_SHM = "mode=1777,size=65536k"
# Mounts that Kubernetes adds to every container by itself.
_ADDED = ("/dev/termination-log", "/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Places:
    """Paths on the machine. `lower`: the image's tree, read only. `copy`: it was copied to `target` (no overlay)."""

    lower: str
    upper: str
    work: str
    target: str
    sandbox: str
    log: str = ""


@dataclass(frozen=True, slots=True)
class Shared:
    """What the sandbox has: namespace kind → path ("" or missing: the machine's), host name, the files for /etc."""

    namespaces: dict[str, str]
    files: tuple[str, ...] = ("hosts", "resolv.conf", "hostname")
    hostname: str = ""
    own_network: bool = False
    host_pid: bool = False


def container_spec(
    config: ContainerConfig,
    image: ImageConfig,
    places: Places,
    shared: Shared,
    able: Abilities,
    cgroups: list[str],
    oom_file: str,
) -> dict[str, Any]:
    """Raises CannotCreate when this machine cannot do what is asked for."""
    mode = _mode(image, able)
    return {
        "log": places.log,
        "tty": config.tty,
        "stdin": config.stdin,
        "stdin_once": config.stdin_once,
        "argv": argv(config, image),
        "env": environment(config, image, shared.hostname),
        "cwd": config.working_dir or image.working_dir,
        "user": _user(config.security, image),
        "caps": _capabilities(config.security),
        "no_new_privs": config.security.no_new_privs,
        "oom_score_adj": config.resources.oom_score_adj,
        "readonly": config.security.read_only_rootfs,
        "namespaces": _namespaces(shared, able, mode),
        "root": _root(mode, places, able),
        "mounts": mount_steps(config, image, places, shared, able) if mode != "plain" else _refuse_mounts(config),
        "cgroups": cgroups,
        "oom_file": oom_file,
    }


def argv(config: ContainerConfig, image: ImageConfig) -> list[str]:
    """The pod's command and arguments over the image's; a command of the pod's makes the image's arguments moot."""
    program = config.command or image.entrypoint
    rest = config.args or (() if config.command else image.command)
    if not (*program, *rest):
        raise CannotCreate(f"no command specified: neither the pod nor image {config.image} says what to run")
    return [*program, *rest]


def environment(config: ContainerConfig, image: ImageConfig, hostname: str = "") -> list[list[str]]:
    """The image's variables under the pod's, each once, where it came first.

    HOSTNAME comes before both, as Docker and containerd have it: programs take their pod's name from it.
    """
    terminal = {"TERM": "xterm"} if config.tty else {}
    named = {"HOSTNAME": hostname} if hostname else {}
    merged = {**named, **terminal, **dict(image.env), **dict(config.env)}
    return [[name, value] for name, value in merged.items()]


def _mode(image: ImageConfig, able: Abilities) -> str:
    if not able.mounts:
        if image.host == "/":
            return "plain"
        raise CannotCreate(f"images need mount namespaces, which this machine refuses: {'; '.join(able.degraded)}")
    return "host" if _as_it_is(image, able) else "image"


def _as_it_is(image: ImageConfig, able: Abilities) -> bool:
    """Whether the machine's own tree is used without a layer above: Linux lets no user namespace put one over `/`."""
    return image.host == "/" and (able.user or not able.overlay)


def _user(security: Security, image: ImageConfig) -> dict[str, Any]:
    name = security.username or ("" if security.user is not None else image.user)
    return {
        "uid": security.user,
        "name": name,
        "gid": security.group,
        "groups": list(security.supplemental_groups),
    }


def _capabilities(security: Security) -> list[int] | None:
    if security.privileged:
        return None
    try:
        return capabilities.kept(security.add_capabilities, security.drop_capabilities)
    except ValueError as problem:
        raise CannotCreate(str(problem)) from problem


def _namespaces(shared: Shared, able: Abilities, mode: str) -> dict[str, Any]:
    if mode == "plain":
        return {}
    pid = shared.namespaces.get("pid") or ("" if shared.host_pid or not able.pids else "new")
    return {
        **{kind: path for kind, path in shared.namespaces.items() if kind != "pid"},
        "pid": pid,
        "cgroup": able.cgroup_namespace and not able.user,
        "user": able.user,
    }


def _root(mode: str, places: Places, able: Abilities) -> dict[str, Any]:
    if mode != "image":
        return {"mode": mode}
    root: dict[str, Any] = {"mode": mode, "target": places.target}
    if able.overlay:
        layers = f"lowerdir={_escaped(places.lower)},upperdir={_escaped(places.upper)},workdir={_escaped(places.work)}"
        root["overlay"] = layers + (",userxattr" if able.user else "")
    return root


def _escaped(path: str) -> str:
    """overlayfs separates options by commas and layers by colons."""
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _refuse_mounts(config: ContainerConfig) -> list[dict[str, Any]]:
    asked = [mount.container_path for mount in config.mounts if not _is_added(mount)]
    if asked:
        at = ", ".join(asked)
        raise CannotCreate(f"volumes cannot be mounted on this machine (no mount namespaces): {at}")
    return []


def mount_steps(
    config: ContainerConfig, image: ImageConfig, places: Places, shared: Shared, able: Abilities
) -> list[dict[str, Any]]:
    """/proc, /dev, /sys, the sandbox's files in /etc, then the pod's volumes, outer ones first."""
    as_it_is = _as_it_is(image, able)
    steps = _host_tree(able) if as_it_is else _fresh_tree(config.security, shared, able)
    given = {mount.container_path.rstrip("/") for mount in config.mounts}
    steps += [
        {"do": "bind", "source": f"{places.sandbox}/{name}", "at": f"/etc/{name}", "optional": as_it_is}
        for name in shared.files
        if f"/etc/{name}" not in given
    ]
    for mount in sorted(config.mounts, key=lambda each: each.container_path.count("/")):
        # What no author asked for must not keep a pod from running on a machine whose tree has no place for it.
        added = as_it_is and _is_added(mount)
        steps.append({**_volume(mount), "optional": True} if added else _volume(mount))
    return steps


def _host_tree(able: Abilities) -> list[dict[str, Any]]:
    """The machine's own /proc, /dev and /sys are there; just the processes are others."""
    return [{"do": "filesystem", "type": "proc", "at": "/proc"}] if able.pids else []


def _fresh_tree(security: Security, shared: Shared, able: Abilities) -> list[dict[str, Any]]:
    own_pids = able.pids and not shared.host_pid
    quiet = _NOSUID | _NODEV | _NOEXEC
    steps: list[dict[str, Any]] = [
        {"do": "filesystem", "type": "proc", "at": "/proc", "flags": quiet}
        if own_pids
        else {"do": "bind", "source": "/proc", "at": "/proc"}
    ]
    if security.privileged:
        return [*steps, *({"do": "bind", "source": path, "at": path} for path in ("/dev", "/sys"))]
    terminals = "newinstance,ptmxmode=0666,mode=620" + ("" if able.user else ",gid=5")
    steps += [
        {"do": "filesystem", "type": "tmpfs", "at": "/dev", "flags": _NOSUID, "data": "mode=755,size=65536k"},
        {"do": "devices", "at": "/dev"},
        {"do": "filesystem", "type": "devpts", "at": "/dev/pts", "flags": _NOSUID | _NOEXEC, "data": terminals},
        {"do": "filesystem", "type": "tmpfs", "at": "/dev/shm", "flags": quiet, "data": _SHM},
        {"do": "filesystem", "type": "mqueue", "at": "/dev/mqueue", "flags": quiet, "optional": True},
        *_sys(shared, able, quiet),
        *({"do": "mask", "at": path, "optional": True} for path in MASKED),
        *({"do": "protect", "at": path} for path in READ_ONLY),
    ]
    return steps


def _sys(shared: Shared, able: Abilities, quiet: int) -> list[dict[str, Any]]:
    """A view of the container's own network where it has one; a bind of the machine's where Linux wants it so."""
    if able.user and not shared.own_network:
        return [{"do": "bind", "source": "/sys", "at": "/sys", "readonly": True}]
    return [{"do": "filesystem", "type": "sysfs", "at": "/sys", "flags": quiet | _RDONLY}]


def _is_added(mount: Mount) -> bool:
    return mount.container_path.rstrip("/") in _ADDED


def _volume(mount: Mount) -> dict[str, Any]:
    if mount.propagation is Propagation.BIDIRECTIONAL:
        raise CannotCreate(f"{mount.container_path}: mounts cannot propagate back to the machine with this runtime")
    return {
        "do": "bind",
        "source": mount.host_path,
        "below": mount.below,
        "at": mount.container_path,
        "readonly": mount.read_only,
        "follow": mount.propagation is Propagation.HOST_TO_CONTAINER,
    }
