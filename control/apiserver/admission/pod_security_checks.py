"""The Pod Security Standards as a table of checks: pure.

Each check looks at a pod's spec (and annotations) and says what is wrong, "" when nothing is. `restricted` is
`baseline` and more. Source: "Pod Security Standards" of the Kubernetes documentation, as of 1.32, and its wording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from control.api.schema import Object
from control.apiserver.admission.pods import containers

PRIVILEGED, BASELINE, RESTRICTED = "privileged", "baseline", "restricted"
LEVELS = (PRIVILEGED, BASELINE, RESTRICTED)

_CAPABILITIES = frozenset(
    {
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    }
)
_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        *("net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.ip_unprivileged_port_start"),
        *("net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl"),
        *("net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_rmem"),
        *("net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem"),
    }
)
_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
_SECCOMP = ("RuntimeDefault", "Localhost")
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at."""

    spec: Object
    annotations: dict[str, str]

    def containers(self) -> Iterator[tuple[str, Object]]:
        """(name, security context)."""
        for _, container in containers({"spec": self.spec}, ephemeral=True):
            yield str(container.get("name")), container.get("securityContext") or {}

    @property
    def context(self) -> Object:
        return self.spec.get("securityContext") or {}

    @property
    def windows(self) -> bool:
        """Such a pod has none of what some checks want set. No Linux node runs it: its agent refuses it."""
        return bool((self.spec.get("os") or {}).get("name") == "windows")


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the standards. title: what Kubernetes calls it."""

    level: str
    title: str
    look: Callable[[Subject], str]


def violations(level: str, subject: Subject) -> list[str]:
    """What is wrong with the pod at that level, each as "title (details)"."""
    if level == PRIVILEGED:
        return []
    checks = [check for check in CHECKS if level == RESTRICTED or check.level == BASELINE]
    found = ((check.title, check.look(subject)) for check in checks)
    return [f"{title} ({details})" for title, details in found if details]


def _which(names: list[str], says: str) -> str:
    """As `containers "a", "b" must …`."""
    if not names:
        return ""
    noun = "container" if len(names) == 1 else "containers"
    listed = ", ".join(f'"{name}"' for name in names)
    return f"{noun} {listed} {says}"


def _host_process(subject: Subject) -> str:
    field = "securityContext.windowsOptions.hostProcess=true"
    bad = [n for n, c in subject.containers() if (c.get("windowsOptions") or {}).get("hostProcess")]
    if (subject.context.get("windowsOptions") or {}).get("hostProcess"):
        return f"pod must not set {field}"
    return _which(bad, f"must not set {field}")


def _host_namespaces(subject: Subject) -> str:
    return ", ".join(f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if subject.spec.get(name))


def _privileged(subject: Subject) -> str:
    bad = [name for name, context in subject.containers() if context.get("privileged")]
    return _which(bad, "must not set securityContext.privileged=true")


def _added(context: Object) -> list[str]:
    return (context.get("capabilities") or {}).get("add") or []


def _capabilities(subject: Subject) -> str:
    bad = [(name, set(_added(context)) - _CAPABILITIES) for name, context in subject.containers()]
    return _unwanted([(name, added) for name, added in bad if added])


def _unwanted(bad: list[tuple[str, set[str]]]) -> str:
    listed = ", ".join(f'"{name}"' for name in sorted({name for _, added in bad for name in added}))
    return _which([name for name, _ in bad], f"must not include {listed} in securityContext.capabilities.add")


def _host_paths(subject: Subject) -> str:
    bad = [str(volume.get("name")) for volume in subject.spec.get("volumes") or () if volume.get("hostPath")]
    noun = "volume" if len(bad) == 1 else "volumes"
    return f"{noun} " + ", ".join(f'"{name}"' for name in bad) if bad else ""


def _host_ports(subject: Subject) -> str:
    bad: dict[str, list[str]] = {}
    for _, container in containers({"spec": subject.spec}, ephemeral=True):
        ports = [str(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")]
        if ports:
            bad[str(container.get("name"))] = ports
    ports = sorted({port for found in bad.values() for port in found}, key=int)
    noun = "hostPort" if len(ports) == 1 else "hostPorts"
    verb = "uses" if len(bad) == 1 else "use"
    return _which(list(bad), f"{verb} {noun} {', '.join(ports)}")


def _app_armor(subject: Subject) -> str:
    allowed = ("runtime/default", "localhost/", "")
    bad = [
        f'"{key}={value}"'
        for key, value in sorted(subject.annotations.items())
        if key.startswith(_APP_ARMOR) and value not in allowed and not value.startswith("localhost/")
    ]
    if (subject.context.get("appArmorProfile") or {}).get("type") == "Unconfined":
        bad.append('pod must not set AppArmor profile type to "Unconfined"')
    names = [n for n, c in subject.containers() if (c.get("appArmorProfile") or {}).get("type") == "Unconfined"]
    bad += [_which(names, 'must not set AppArmor profile type to "Unconfined"')] if names else []
    return ", ".join(bad)


def _selinux(subject: Subject) -> str:
    bad = [name for name, context in subject.containers() if _selinux_is_bad(context)]
    says = "set forbidden securityContext.seLinuxOptions"
    if _selinux_is_bad(subject.context):
        return f"pod {says}"
    return _which(bad, says)


def _selinux_is_bad(context: Object) -> bool:
    options = context.get("seLinuxOptions") or {}
    return options.get("type", "") not in _SELINUX_TYPES or bool(options.get("user") or options.get("role"))


def _proc_mount(subject: Subject) -> str:
    bad = [name for name, context in subject.containers() if context.get("procMount") not in (None, "Default")]
    return _which(bad, 'must not set securityContext.procMount to "Unmasked"')


def _seccomp_type(context: Object) -> Any:
    return (context.get("seccompProfile") or {}).get("type")


def _seccomp_baseline(subject: Subject) -> str:
    says = 'must not set securityContext.seccompProfile.type to "Unconfined"'
    if _seccomp_type(subject.context) == "Unconfined":
        return f"pod {says}"
    return _which([name for name, context in subject.containers() if _seccomp_type(context) == "Unconfined"], says)


def _sysctls(subject: Subject) -> str:
    names = [str(entry.get("name")) for entry in subject.context.get("sysctls") or ()]
    return ", ".join(name for name in names if name not in _SYSCTLS)


def _volume_types(subject: Subject) -> str:
    bad = {}
    for volume in subject.spec.get("volumes") or ():
        wrong = sorted(key for key in volume if key != "name" and key not in _VOLUMES and volume[key] is not None)
        if wrong:
            bad[str(volume.get("name"))] = wrong[0]
    if not bad:
        return ""
    noun, verb = ("volume", "uses") if len(bad) == 1 else ("volumes", "use")
    types = sorted(set(bad.values()))
    types_noun = "type" if len(types) == 1 else "types"
    listed, kinds = (", ".join(f'"{word}"' for word in words) for words in (bad, types))
    return f"{noun} {listed} {verb} restricted volume {types_noun} {kinds}"


def _escalation(subject: Subject) -> str:
    if subject.windows:
        return ""
    bad = [name for name, context in subject.containers() if context.get("allowPrivilegeEscalation") is not False]
    return _which(bad, "must set securityContext.allowPrivilegeEscalation=false")


def _non_root(subject: Subject) -> str:
    says = "securityContext.runAsNonRoot=true"
    explicit = [name for name, context in subject.containers() if context.get("runAsNonRoot") is False]
    if explicit:
        return _which(explicit, f"must not set {says.replace('true', 'false')}")
    bad = [name for name, context in subject.containers() if context.get("runAsNonRoot") is not True]
    if subject.context.get("runAsNonRoot") is True or not bad:
        return ""
    return f"pod or {_which(bad, f'must set {says}')}"


def _root_user(subject: Subject) -> str:
    bad = [name for name, context in subject.containers() if context.get("runAsUser") == 0]
    if subject.context.get("runAsUser") == 0:
        return "pod must not set runAsUser=0"
    return _which(bad, "must not set runAsUser=0")


def _seccomp_restricted(subject: Subject) -> str:
    if subject.windows or _seccomp_type(subject.context) in _SECCOMP:
        return ""
    bad = [name for name, context in subject.containers() if _seccomp_type(context) not in _SECCOMP]
    listed = _which(bad, 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"')
    return f"pod or {listed}" if listed else ""


def _capabilities_restricted(subject: Subject) -> str:
    if subject.windows:
        return ""
    keeps = [n for n, c in subject.containers() if "ALL" not in ((c.get("capabilities") or {}).get("drop") or ())]
    added = [(name, set(_added(context)) - {"NET_BIND_SERVICE"}) for name, context in subject.containers()]
    says = [
        _which(keeps, 'must set securityContext.capabilities.drop=["ALL"]'),
        _unwanted([(name, extra) for name, extra in added if extra]),
    ]
    return "; ".join(text for text in says if text)


CHECKS = (
    Check(BASELINE, "hostProcess", _host_process),
    Check(BASELINE, "host namespaces", _host_namespaces),
    Check(BASELINE, "privileged", _privileged),
    Check(BASELINE, "non-default capabilities", _capabilities),
    Check(BASELINE, "hostPath volumes", _host_paths),
    Check(BASELINE, "hostPort", _host_ports),
    Check(BASELINE, "forbidden AppArmor profiles", _app_armor),
    Check(BASELINE, "seLinuxOptions", _selinux),
    Check(BASELINE, "procMount", _proc_mount),
    Check(BASELINE, "seccompProfile", _seccomp_baseline),
    Check(BASELINE, "forbidden sysctls", _sysctls),
    Check(RESTRICTED, "allowPrivilegeEscalation != false", _escalation),
    Check(RESTRICTED, "unrestricted capabilities", _capabilities_restricted),
    Check(RESTRICTED, "restricted volume types", _volume_types),
    Check(RESTRICTED, "runAsNonRoot != true", _non_root),
    Check(RESTRICTED, "runAsUser=0", _root_user),
    Check(RESTRICTED, "seccompProfile", _seccomp_restricted),
)
