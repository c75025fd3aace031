"""The security of a container: its own context over the pod's. Pure.

Source: "Configure a Security Context" in the Kubernetes documentation. What the agent cannot enforce (seccomp,
AppArmor, SELinux, user namespaces) is named by `ignored`, for a warning; nothing is left out in silence.
"""

from __future__ import annotations

from typing import Any

from node_agent.pod import spec
from node_agent.pod.fields import ConfigProblem
from node_agent.pod.spec import Object
from node_agent.runtime.types import Security

_UNENFORCED = {
    "seccompProfile": "seccomp profile",
    "appArmorProfile": "AppArmor profile",
    "seLinuxOptions": "SELinux options",
}


def security_of(pod: Object, container: Object, image_user: str = "") -> Security:
    """What the runtime is to enforce. image_user: as the image's configuration has it.

    ConfigProblem: the pod must not run as root and would.
    """
    of_pod: Object = spec.spec(pod).get("securityContext") or {}
    own: Object = container.get("securityContext") or {}
    user = _first(own.get("runAsUser"), of_pod.get("runAsUser"))
    if _first(own.get("runAsNonRoot"), of_pod.get("runAsNonRoot")):
        _check_not_root(pod, container, user, image_user)
    capabilities: Object = own.get("capabilities") or {}
    groups = [int(group) for group in of_pod.get("supplementalGroups") or []]
    if of_pod.get("fsGroup") is not None:
        groups.append(int(of_pod["fsGroup"]))
    group = _first(own.get("runAsGroup"), of_pod.get("runAsGroup"))
    return Security(
        user=None if user is None else int(user),
        group=None if group is None else int(group),
        supplemental_groups=tuple(dict.fromkeys(groups)),
        privileged=bool(own.get("privileged")),
        read_only_rootfs=bool(own.get("readOnlyRootFilesystem")),
        no_new_privs=own.get("allowPrivilegeEscalation") is False,
        add_capabilities=_names(capabilities.get("add")),
        drop_capabilities=_names(capabilities.get("drop")),
    )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _names(capabilities: list[str] | None) -> tuple[str, ...]:
    return tuple(name.upper().removeprefix("CAP_") for name in capabilities or [])


def _check_not_root(pod: Object, container: Object, user: int | None, image_user: str) -> None:
    where = f"(pod: {spec.full_name(pod)}, container: {container['name']})"
    if user is not None:
        if int(user) == 0:
            raise ConfigProblem(f"container's runAsUser breaks non-root policy {where}")
        return
    name = image_user.partition(":")[0]
    if name in ("", "0"):
        raise ConfigProblem(f"container has runAsNonRoot and image will run as root {where}")
    if not name.isdigit():
        raise ConfigProblem(
            f"container has runAsNonRoot and image has non-numeric user ({name}), "
            f"cannot verify user is non-root {where}"
        )


def ignored(pod: Object) -> list[str]:
    """What of the pod's security settings this agent does not enforce, in words."""
    contexts = [spec.spec(pod).get("securityContext") or {}]
    contexts += [container.get("securityContext") or {} for container in spec.every_container(pod)]
    found = [text for field, text in _UNENFORCED.items() if any(_asks(c.get(field)) for c in contexts)]
    if spec.spec(pod).get("hostUsers") is False:
        found.append("user namespace")
    return found


def _asks(profile: Object | None) -> bool:
    """Whether a profile asks for more than the runtime's own (RuntimeDefault) or none (Unconfined)."""
    return bool(profile) and profile is not None and profile.get("type") not in ("Unconfined", "RuntimeDefault")
