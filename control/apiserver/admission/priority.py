"""Priority: a pod's PriorityClass becomes a number. Source: "Pod Priority and Preemption". Pure but for the caches."""

from __future__ import annotations

from control.api import meta
from control.api.schema import Object
from control.api.status import forbidden
from control.apiserver.admission.pods import created_pod
from control.apiserver.request import Caches, Review

CLASSES = "priorityclasses.scheduling.k8s.io"
# Built in: they exist even while the objects do not.
SYSTEM = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
HIGHEST_OF_USERS = 1_000_000_000


class Priority:
    """Sets priorityClassName, priority and preemptionPolicy of new pods, and keeps PriorityClasses sound."""

    name = "Priority"

    def __init__(self, caches: Caches) -> None:
        self._caches = caches

    def mutate(self, review: Review) -> None:
        """StatusError 403 for a class that is not there, and for a number of the user's own."""
        pod = created_pod(review)
        if pod is None:
            return
        spec = pod.setdefault("spec", {})
        found = self._class_of(pod, spec)
        value = int(found.get("value") or 0)
        if spec.get("priority") is not None and spec["priority"] != value:
            why = (
                "the integer value of priority must not be provided in pod spec; "
                f"priority admission controller computed {value} from the given PriorityClass name"
            )
            raise forbidden("pods", meta.name(pod), why)
        spec["priority"] = value
        policy = found.get("preemptionPolicy") or "PreemptLowerPriority"
        if spec.get("preemptionPolicy") not in (None, policy):
            why = (
                "the string value of PreemptionPolicy must not be provided in pod spec; priority admission controller "
                f"computed {policy} from the given PriorityClass name"
            )
            raise forbidden("pods", meta.name(pod), why)
        spec["preemptionPolicy"] = policy

    def validate(self, review: Review) -> None:
        """At most one class is the default of all pods; names and values of the system are the system's."""
        if review.resource != CLASSES or review.object is None:
            return
        name, value = meta.name(review.object), int(review.object.get("value") or 0)
        if (name.startswith("system-") or value > HIGHEST_OF_USERS) and SYSTEM.get(name) != value:
            why = f"priority class names with 'system-' prefix and values above {HIGHEST_OF_USERS} are the system's"
            raise forbidden(CLASSES, name, why)
        default = self._default()
        if review.object.get("globalDefault") and default is not None and meta.name(default) != name:
            why = f"PriorityClass {meta.name(default)} is already marked as default. Only one default can exist"
            raise forbidden(CLASSES, name, why)

    def _class_of(self, pod: Object, spec: Object) -> Object:
        name = spec.get("priorityClassName")
        if not name:
            default = self._default()
            if default is None:
                return {}
            spec["priorityClassName"] = meta.name(default)
            return default
        found = self._caches.get(CLASSES, "", name)
        if found is None and name in SYSTEM:
            return {"value": SYSTEM[name]}
        if found is None:
            raise forbidden("pods", meta.name(pod), f"no PriorityClass with name {name} was found")
        return found

    def _default(self) -> Object | None:
        """Of several, which two servers may have let through at once, the lowest, as Kubernetes chooses."""
        defaults = [found for found in self._caches.list(CLASSES) if found.get("globalDefault")]
        return min(defaults, key=lambda found: int(found.get("value") or 0), default=None)
