"""Rules for Deployments and their like: selectors match templates, rollouts can go on, what may change later.

Source: the specs of the group apps (and ReplicationController) in Kubernetes' API reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from control.api import names
from control.api.fielderrors import forbidden, invalid, not_supported, required
from control.api.rules.checks import (
    Causes,
    at_least,
    count_or_percent,
    is_zero_share,
    named,
    unchanged,
)
from control.api.schema import Object
from control.api.selectors import label_selector_of, selector_of_labels
from control.api.status import StatusError

_COUNTS: Final = ("replicas", "minReadySeconds", "revisionHistoryLimit")
_STATEFUL_FREE: Final = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip


def _template(spec: Object, selected: Callable[[Object], bool], noun: str) -> Causes:
    """The template's labels must be selected, and its pods always restarted."""
    template = spec.get("template")
    if template is None:
        yield required("spec.template")
        return
    labels = template.get("metadata", {}).get("labels", {})
    if not selected(labels):
        words = "`selector` does not match template `labels`"
        yield invalid("spec.template.metadata.labels", labels or None, words)
    pod = template.get("spec", {})
    if pod.get("restartPolicy", "Always") != "Always":
        yield not_supported("spec.template.spec.restartPolicy", pod["restartPolicy"], ("Always",))
    if "activeDeadlineSeconds" in pod:
        yield forbidden("spec.template.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {noun} is not Supported")


def _selecting(spec: Object, noun: str) -> Causes:
    """Selector and template of anything with a label selector."""
    selector = spec.get("selector")
    if selector is None:
        return
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid("spec.selector", selector, f"empty selector is invalid for {noun.lower()}")
        return
    try:
        compiled = label_selector_of(selector)
    except StatusError:
        return  # the selector's own rule says what is wrong with it
    yield from _template(spec, compiled.matches, noun)


def check_deployment(obj: Object) -> Causes:
    spec = obj.get("spec", {})
    yield from at_least(spec, "spec", 0, *_COUNTS)
    yield from _selecting(spec, "Deployment")
    strategy = spec.get("strategy", {})
    if strategy.get("type") == "Recreate" and "rollingUpdate" in strategy:
        words = "may not be specified when strategy `type` is 'Recreate'"
        yield forbidden("spec.strategy.rollingUpdate", words)
    elif "rollingUpdate" in strategy:
        yield from _rolling(strategy["rollingUpdate"], "spec.strategy.rollingUpdate")
    deadline = spec.get("progressDeadlineSeconds")
    yield from at_least(spec, "spec", 0, "progressDeadlineSeconds")
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _rolling(rolling: Object, at: str) -> Causes:
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    yield from count_or_percent(unavailable, f"{at}.maxUnavailable", most=100)
    yield from count_or_percent(surge, f"{at}.maxSurge")
    if is_zero_share(unavailable) and is_zero_share(surge):
        yield invalid(f"{at}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")


def check_selector_update(new: Object, old: Object) -> Causes:
    """Pods of the old selector would be left alone."""
    yield from unchanged(new.get("spec", {}).get("selector"), old.get("spec", {}).get("selector"), "spec.selector")


def check_replica_set(obj: Object) -> Causes:
    spec = obj.get("spec", {})
    yield from at_least(spec, "spec", 0, *_COUNTS)
    yield from _selecting(spec, "ReplicaSet")


def check_replication_controller(obj: Object) -> Causes:
    spec = obj.get("spec", {})
    yield from at_least(spec, "spec", 0, *_COUNTS)
    if not spec.get("selector"):
        yield required("spec.selector")
    yield from _template(spec, selector_of_labels(spec.get("selector")).matches, "ReplicationController")


def check_stateful_set(obj: Object) -> Causes:
    spec = obj.get("spec", {})
    yield from at_least(spec, "spec", 0, *_COUNTS)
    yield from at_least(spec.get("ordinals", {}), "spec.ordinals", 0, "start")
    yield from _selecting(spec, "StatefulSet")
    strategy = spec.get("updateStrategy", {})
    rolling = strategy.get("rollingUpdate", {})
    if strategy.get("type") == "OnDelete" and "rollingUpdate" in strategy:
        words = "only allowed for updateStrategy 'RollingUpdate'"
        yield invalid("spec.updateStrategy.rollingUpdate", rolling, words)
    yield from at_least(rolling, "spec.updateStrategy.rollingUpdate", 0, "partition")
    if "maxUnavailable" in rolling:
        at = "spec.updateStrategy.rollingUpdate.maxUnavailable"
        yield from count_or_percent(rolling["maxUnavailable"], at, most=100)
        if is_zero_share(rolling["maxUnavailable"]):
            yield invalid(at, rolling["maxUnavailable"], "cannot be 0")
    if spec.get("serviceName"):
        yield from named(names.dns_subdomain, spec["serviceName"], "spec.serviceName")


def with_claims(obj: Object) -> Object:
    """The object as its pods will be: the volume claim templates are volumes that containers can mount."""
    spec = obj.get("spec", {})
    template = spec.get("template", {})
    names = [claim.get("metadata", {}).get("name") for claim in spec.get("volumeClaimTemplates", ())]
    volumes = [volume for volume in template.get("spec", {}).get("volumes", ()) if volume.get("name") not in names]
    if not names or "spec" not in template:
        return obj
    volumes += [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names if name]
    pod = {**template["spec"], "volumes": volumes}
    return {**obj, "spec": {**spec, "template": {**template, "spec": pod}}}


def check_stateful_set_update(new: Object, old: Object) -> Causes:
    if _without(new.get("spec", {}), _STATEFUL_FREE) != _without(old.get("spec", {}), _STATEFUL_FREE):
        free = ", ".join(f"'{field}'" for field in _STATEFUL_FREE[:-1])
        words = f"updates to statefulset spec for fields other than {free} and '{_STATEFUL_FREE[-1]}' are forbidden"
        yield forbidden("spec", words)


def _without(spec: Object, fields: tuple[str, ...]) -> dict[str, Any]:
    """The rest of a spec; claims' own status does not count."""
    kept = {field: value for field, value in spec.items() if field not in fields}
    if "volumeClaimTemplates" in kept:
        kept["volumeClaimTemplates"] = [
            {field: value for field, value in claim.items() if field != "status"}
            for claim in kept["volumeClaimTemplates"]
        ]
    return kept


def check_daemon_set(obj: Object) -> Causes:
    spec = obj.get("spec", {})
    yield from at_least(spec, "spec", 0, *_COUNTS)
    yield from _selecting(spec, "DaemonSet")
    rolling = spec.get("updateStrategy", {}).get("rollingUpdate")
    if rolling is None:
        return
    at = "spec.updateStrategy.rollingUpdate"
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge", 0)
    yield from count_or_percent(unavailable, f"{at}.maxUnavailable", most=100)
    yield from count_or_percent(surge, f"{at}.maxSurge", most=100)
    if is_zero_share(unavailable) and is_zero_share(surge):
        yield invalid(f"{at}.maxUnavailable", unavailable, "cannot be 0 when maxSurge is 0")
    if not is_zero_share(unavailable) and not is_zero_share(surge):
        yield invalid(f"{at}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")


def check_controller_revision(obj: Object) -> Causes:
    if obj.get("revision", 0) < 0:
        yield invalid("revision", obj["revision"], "must be greater than or equal to 0")


def check_controller_revision_update(new: Object, old: Object) -> Causes:
    """A revision's number may grow; the state it keeps stays."""
    yield from unchanged(new.get("data"), old.get("data"), "data")
