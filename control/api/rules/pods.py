"""Rules for pods and pod templates, and for what may change in a pod that is there.

Source: the fields of PodSpec in Kubernetes' API reference; "Pod update and replacement" of its documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from control.api import meta, names
from control.api.copying import copied
from control.api.fielderrors import duplicate, forbidden, invalid, not_supported, required
from control.api.rules.checks import Causes, at_least, below, between, ip_address, labels, named, qualified
from control.api.rules.containers import check_init_container, check_mounts, check_purpose
from control.api.rules.volumes import check_volume_names
from control.api.schema import Object

_MAX_INT32: Final = 2**31 - 1
_MIRROR: Final = "kubernetes.io/config.mirror"
_LISTS: Final = ("initContainers", "containers", "ephemeralContainers")
_UPDATE_WORDS: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def each_container(spec: Object, at: str, lists: tuple[str, ...] = _LISTS) -> Iterator[tuple[str, str, Object]]:
    """(list's name, path, container) of all containers."""
    for field in lists:
        for index, container in enumerate(spec.get(field, ())):
            yield field, f"{at}.{field}[{index}]", container


def check_pod_spec(spec: Object, at: str) -> Causes:
    """What holds for the parts of a pod together; each part by itself is checked by its type's rule."""
    if not spec.get("containers"):
        yield required(f"{at}.containers")
    yield from check_volume_names(spec.get("volumes", ()), f"{at}.volumes")
    yield from _containers(spec, at)
    yield from _host_ports(spec, at)
    yield from _names(spec, at)
    yield from at_least(spec, at, 0, "terminationGracePeriodSeconds")
    yield from between(spec.get("activeDeadlineSeconds"), f"{at}.activeDeadlineSeconds", 1, _MAX_INT32)
    yield from labels(spec.get("nodeSelector"), f"{at}.nodeSelector")
    yield from _dns(spec, at)
    yield from _gates(spec, at)
    os = spec.get("os", {}).get("name")
    if os is not None and os not in ("linux", "windows"):
        yield not_supported(f"{at}.os.name", os, ("linux", "windows"))


def check_template(template: Object, at: str) -> Causes:
    """A template without any spec is one without containers."""
    if not template.get("spec"):
        yield required(f"{at}.spec.containers")


def _containers(spec: Object, at: str) -> Causes:
    volumes = {volume.get("name", ""): True for volume in spec.get("volumes", ())}
    seen: set[str] = set()
    for field, place, container in each_container(spec, at):
        name = container.get("name", "")
        if name and name in seen:
            yield duplicate(f"{place}.name", name)
        seen.add(name)
        yield from check_mounts(container, volumes, place)
        yield from check_purpose(container, place)
        if field == "initContainers":
            yield from check_init_container(container, place)
        if field == "ephemeralContainers":
            yield from _ephemeral(container, place)


def _ephemeral(container: Object, at: str) -> Causes:
    for field in ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy"):
        if field in container:
            yield forbidden(f"{at}.{field}", "cannot be set for an Ephemeral Container")
    if container.get("resources"):
        yield forbidden(f"{at}.resources", "cannot be set for an Ephemeral Container")


def _host_ports(spec: Object, at: str) -> Causes:
    seen: set[str] = set()
    for _, place, container in each_container(spec, at, ("containers",)):
        for index, port in enumerate(container.get("ports", ())):
            host, spot = port.get("hostPort"), f"{place}.ports[{index}]"
            if not host:
                continue
            if spec.get("hostNetwork") and host != port.get("containerPort"):
                words = "must match `containerPort` when `hostNetwork` is true"
                yield invalid(f"{spot}.containerPort", port.get("containerPort", 0), words)
            key = f"{port.get('protocol', 'TCP')}/{port.get('hostIP', '')}/{host}"
            if key in seen:
                yield duplicate(f"{spot}.hostPort", key)
            seen.add(key)


def _names(spec: Object, at: str) -> Causes:
    for field in ("serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"):
        if spec.get(field):
            yield from named(names.dns_subdomain, spec[field], f"{at}.{field}")
    for field in ("hostname", "subdomain"):
        if spec.get(field):
            yield from named(names.dns_label, spec[field], f"{at}.{field}")
    for index, alias in enumerate(spec.get("hostAliases", ())):
        yield from ip_address(alias.get("ip"), f"{at}.hostAliases[{index}].ip")
        for number, host in enumerate(alias.get("hostnames", ())):
            yield from named(names.dns_subdomain, host, f"{at}.hostAliases[{index}].hostnames[{number}]")
    for index, secret in enumerate(spec.get("imagePullSecrets", ())):
        if not secret.get("name"):
            yield required(f"{at}.imagePullSecrets[{index}].name")


def _dns(spec: Object, at: str) -> Causes:
    config = spec.get("dnsConfig", {})
    servers = config.get("nameservers", ())
    if spec.get("dnsPolicy") == "None" and not servers:
        yield required(
            f"{at}.dnsConfig.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None"
        )
    if len(servers) > 3:
        yield invalid(f"{at}.dnsConfig.nameservers", servers, "must not have more than 3 nameservers")
    for index, server in enumerate(servers):
        yield from ip_address(server, f"{at}.dnsConfig.nameservers[{index}]")
    for index, option in enumerate(config.get("options", ())):
        if not option.get("name"):
            yield required(f"{at}.dnsConfig.options[{index}]", "must not be empty")


def _gates(spec: Object, at: str) -> Causes:
    for field, name in (("readinessGates", "conditionType"), ("schedulingGates", "name")):
        for index, gate in enumerate(spec.get(field, ())):
            if gate.get(name):
                yield from qualified(gate[name], f"{at}.{field}[{index}].{name}")


def check_pod(pod: Object) -> Causes:
    """What holds for a new pod only."""
    spec = pod.get("spec")
    if spec is None:
        yield required("spec")
        return
    if spec.get("ephemeralContainers"):
        yield forbidden("spec.ephemeralContainers", "cannot be set on create")
    if spec.get("nodeName") and spec.get("schedulingGates"):
        yield forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")


def check_pod_update(new: Object, old: Object) -> Causes:
    """Images, a shorter deadline, more tolerations, fewer scheduling gates: all else stays."""
    spec, before = new.get("spec", {}), old.get("spec", {})
    for field in ("initContainers", "containers"):
        if len(spec.get(field, ())) != len(before.get(field, ())):
            yield forbidden("spec.containers", "pod updates may not add or remove containers")
            return
    yield from check_mirror_update(new, old)
    yield from _deadline(spec, before)
    yield from _tolerations(spec, before)
    yield from _scheduling_gates(spec, before)
    if _without_free(spec) != _without_free(before, like=spec):
        yield forbidden("spec", f"{_UPDATE_WORDS}; {changed_fields(spec, before)} changed")


def check_mirror_update(new: Object, old: Object) -> Causes:
    """Whether a pod stands for one of its node's own is said when it is made: others are treated with less care."""
    has, had = meta.annotations(new).get(_MIRROR), meta.annotations(old).get(_MIRROR)
    if has != had:
        words = "may not add mirror pod annotation" if had is None else "may not remove or update mirror pod annotation"
        yield forbidden(f"metadata.annotations[{_MIRROR}]", words)


def changed_fields(new: Object, old: Object) -> str:
    """The names of the fields that differ, for people."""
    fields = sorted(field for field in {*new, *old} if new.get(field) != old.get(field))
    return ", ".join(fields) or "a container's fields"


def _without_free(spec: Object, like: Object | None = None) -> Any:
    """The spec without what an update may change. like: what of it is scheduling that gates still hold open."""
    kept = copied(spec)
    for _, _, container in each_container(kept, "", ("initContainers", "containers")):
        container.pop("image", None)
    for field in ("activeDeadlineSeconds", "tolerations", "schedulingGates"):
        kept.pop(field, None)
    if kept.get("terminationGracePeriodSeconds", 0) < 0 or kept.get("terminationGracePeriodSeconds") == 1:
        wanted = (like or {}).get("terminationGracePeriodSeconds")
        if kept["terminationGracePeriodSeconds"] < 0 and wanted == 1:
            kept["terminationGracePeriodSeconds"] = 1
    return kept


def _deadline(spec: Object, before: Object) -> Causes:
    new, old = spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    if old is not None and (new is None or new > old):
        yield invalid("spec.activeDeadlineSeconds", new, "must be less than or equal to previous value")


def _tolerations(spec: Object, before: Object) -> Causes:
    """Tolerations may be added; of those there are, only the seconds may change."""
    new = [_timeless(toleration) for toleration in spec.get("tolerations", ())]
    if any(_timeless(toleration) not in new for toleration in before.get("tolerations", ())):
        yield forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")


def _timeless(toleration: Object) -> Object:
    return {field: value for field, value in toleration.items() if field != "tolerationSeconds"}


def _scheduling_gates(spec: Object, before: Object) -> Causes:
    known = {gate.get("name") for gate in before.get("schedulingGates", ())}
    for index, gate in enumerate(spec.get("schedulingGates", ())):
        if gate.get("name") not in known:
            words = "only deletion is allowed, but found new scheduling gate " + repr(gate.get("name"))
            yield forbidden(f"spec.schedulingGates[{index}]", words)


def check_ephemeral_update(new: Object, old: Object) -> Causes:
    """Ephemeral containers may be added; those there are stay as they are."""
    known = {c.get("name"): c for c in new.get("spec", {}).get("ephemeralContainers", ())}
    targets = {c.get("name") for _, _, c in each_container(new.get("spec", {}), "", ("initContainers", "containers"))}
    for container in old.get("spec", {}).get("ephemeralContainers", ()):
        if known.get(container.get("name")) != container:
            words = f"existing ephemeral containers {container.get('name')!r} may not be changed or removed"
            yield forbidden("spec.ephemeralContainers", words)
    for index, container in enumerate(new.get("spec", {}).get("ephemeralContainers", ())):
        target = container.get("targetContainerName")
        if target and target not in targets:
            at = below("spec", f"ephemeralContainers[{index}].targetContainerName")
            yield invalid(at, target, "must name a container of the pod")
