"""HorizontalPodAutoscaler: as many replicas as keep the pods' use of CPU or memory near the target.

Invariants: never outside minReplicas and maxReplicas by its own doing; a metric that cannot be read never makes fewer
replicas; recommendations and steps are remembered by the one controller that leads (hpa_behavior). Figures come from
the resource metrics API (metrics.k8s.io). Parts: hpa_proposals, hpa_metrics, hpa_behavior, hpa_status.

Source: "Horizontal Pod Autoscaling" in Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from control.api.quantity import Quantity
from control.api.schema import Object
from control.api.selectors import LabelSelector, label_selector_of, parse_label_selector
from control.controllers.reconcilers.autoscaler.behavior import Limited, Memory, Rules, bounded, rules, stabilized
from control.controllers.reconcilers.autoscaler.metrics import NoMetric
from control.controllers.reconcilers.autoscaler.proposals import Situation, propose
from control.controllers.reconcilers.autoscaler.status import Status
from control.controllers.values.actions import (
    NOTHING,
    Action,
    Decision,
    Event,
    Key,
    Narration,
    Patch,
    Plan,
    Read,
    Update,
    UpdateStatus,
)
from control.controllers.values.objects import (
    cause,
    name_of,
    namespace_of,
    same_status,
    spec_of,
    status_of,
    uid_of,
    with_status,
)
from control.controllers.values.observed import Observed

RESOURCE: Final = "horizontalpodautoscalers.autoscaling"
METRICS: Final = "pods.metrics.k8s.io"
# After so many looks that did not happen, what is remembered is from another time.
_FORGOTTEN: Final = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """every: seconds between two looks; tolerance: part of 1 within which nothing moves; window: seconds, downwards."""

    every: float = 15.0
    tolerance: float = 0.1
    window: float = 300.0


@dataclass(frozen=True, slots=True)
class Target:
    """What is scaled: the object, its resource, how many it should have now, and which pods are its."""

    obj: Object
    resource: str
    replicas: int
    selector: LabelSelector


@dataclass(slots=True)
class Autoscaler:
    """The controller's memory, and its reconcile method."""

    settings: Settings = field(default_factory=Settings)
    memories: dict[str, Memory] = field(default_factory=dict)

    def reconcile(self, key: Key, observed: Observed, now: datetime) -> Decision:
        """Look at the metrics and set the target's replicas."""
        hpa = observed.get(RESOURCE, key.namespace, key.name)
        if hpa is None:
            return NOTHING
        target = _target(hpa, observed)
        if target is not None and _is_on(hpa, target):
            question = Read(METRICS, key.namespace, label_selector=str(target.selector))
            if question not in observed.answers:
                return Decision(reads=[question])
        plan, status = Plan(), Status.of(hpa, now)
        if target is None:
            reference = spec_of(hpa).get("scaleTargetRef") or {}
            name = f"{reference.get('kind')} {reference.get('name')}"
            text = f"the HPA controller was unable to get the target's current scale: {name} not found"
            status.able("False", "FailedGetScale", text)
            plan.events.append(Event(hpa, "FailedGetScale", text, "Warning"))
        else:
            _Pass(self, hpa, target, observed, now, plan, status).run()
        if not same_status(status.fields, status_of(hpa)):
            because = cause(RESOURCE, hpa, f"status: {status.fields.get('desiredReplicas', 0)} replicas desired")
            said = with_status(hpa, status.fields)
            # After a step an update like any other: if the step is refused, this must not say that it was made.
            step = bool(plan.actions)
            plan.actions.append(
                Update(RESOURCE, said, because, subresource="status") if step else UpdateStatus(RESOURCE, said, because)
            )
        plan.look_again(self.settings.every)
        return plan.decision()

    def memory(self, hpa: Object, replicas: int, now: datetime) -> Memory:
        """That of the autoscaler; one that is new, or from an earlier term, begins with the present replicas."""
        uid = uid_of(hpa)
        memory = self.memories.get(uid)
        if memory is None or memory.idle(now) > _FORGOTTEN * self.settings.every:
            memory = self.memories[uid] = Memory([(now, replicas)])
        memory.see(replicas, now)
        return memory

    def forget(self, living: set[str]) -> None:
        """Drop the memories of autoscalers that are gone."""
        self.memories = {uid: memory for uid, memory in self.memories.items() if uid in living}

    def keys(self, observed: Observed) -> Iterator[Key]:
        """All autoscalers; called from time to time, so it is where old memories go."""
        everyone = list(observed.all(RESOURCE))
        self.forget({uid_of(hpa) for hpa in everyone})
        return (Key(namespace_of(hpa), name_of(hpa)) for hpa in everyone)


def _target(hpa: Object, observed: Observed) -> Target | None:
    reference = spec_of(hpa).get("scaleTargetRef") or {}
    kind = observed.kinds.get((reference.get("apiVersion") or "v1", reference.get("kind", "")))
    if kind is None or kind.resource not in observed.stores:
        return None
    obj = observed.get(kind.resource, namespace_of(hpa), reference.get("name", ""))
    if obj is None:
        return None
    replicas = spec_of(obj).get("replicas")
    return Target(obj, kind.resource, 1 if replicas is None else int(replicas), _selector(obj))


def _selector(obj: Object) -> LabelSelector:
    """Of built-in kinds an object in the spec; custom kinds say it as text in the status."""
    selector = spec_of(obj).get("selector")
    if isinstance(selector, dict):
        return label_selector_of(selector)
    return parse_label_selector(str(selector or status_of(obj).get("selector") or "nothing in (nothing)"))


def _least(hpa: Object) -> int:
    value = spec_of(hpa).get("minReplicas")
    return 1 if value is None else int(value)


def _is_on(hpa: Object, target: Target) -> bool:
    """Whoever scales to zero by hand does not want it scaled back."""
    return target.replicas > 0 or _least(hpa) == 0


@dataclass(slots=True)
class _Pass:
    """One look at one autoscaler whose target is there."""

    scaler: Autoscaler
    hpa: Object
    target: Target
    observed: Observed
    now: datetime
    plan: Plan
    status: Status

    def run(self) -> None:
        current, spec = self.target.replicas, spec_of(self.hpa)
        self.status.able("True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
        self.status.fields["currentReplicas"] = current
        if not _is_on(self.hpa, self.target):
            text = "scaling is disabled since the replica count of the target is zero"
            self.status.active("False", "ScalingDisabled", text)
            self.status.fields["desiredReplicas"] = 0
            return
        memory = self.scaler.memory(self.hpa, current, self.now)
        up, down = rules(spec, self.scaler.settings.window)
        least, most = _least(self.hpa), int(spec.get("maxReplicas") or 1)
        if current > most:
            self._scale(memory, most, "Current number of replicas above Spec.MaxReplicas")
        elif current < least:
            self._scale(memory, least, "Current number of replicas below Spec.MinReplicas")
        else:
            self._by_metrics(memory, least, most, up, down)

    def _by_metrics(self, memory: Memory, least: int, most: int, up: Rules, down: Rules) -> None:
        answer = next(iter(self.observed.answers.values()))
        pods = self.observed.pods(namespace_of(self.hpa), self.target.selector)
        tolerance = _tolerance(self.scaler.settings, down), _tolerance(self.scaler.settings, up)
        proposals, problem = propose(
            Situation(pods, answer, self.target.replicas, tolerance, self.now), spec_of(self.hpa)
        )
        current = self.target.replicas
        best = max(proposals, key=lambda proposal: proposal.replicas, default=None)
        if best is None or (problem is not None and best.replicas < current):
            self._no_metric(problem or NoMetric("InvalidMetricSourceType", "no metrics are configured"))
            return
        self.status.fields["currentMetrics"] = [proposal.current for proposal in proposals]
        text = f"the HPA was able to successfully calculate a replica count from {best.name}"
        self.status.active("True", "ValidMetricFound", text)
        wanted = stabilized(memory, best.replicas, current, up, down, self.now)
        allowed = bounded(memory, wanted.replicas, current, least, most, up, down, self.now)
        self._say(wanted, allowed)
        direction = "above" if allowed.replicas > current else "below"
        reason = f"{best.name} {direction} target" if best.replicas > current else "All metrics below target"
        self._scale(memory, allowed.replicas, reason)

    def _say(self, wanted: Limited, allowed: Limited) -> None:
        self.status.able("True", *wanted.able)
        within = ("DesiredWithinRange", "the desired count is within the acceptable range")
        if allowed.limited is None:
            self.status.limited("False", *within)
        else:
            self.status.limited("True", *allowed.limited)

    def _scale(self, memory: Memory, replicas: int, reason: str) -> None:
        current = self.target.replicas
        self.status.fields["desiredReplicas"] = replicas
        if replicas == current:
            return
        memory.begun = (self.now, current, replicas)
        self._say_refused()
        self.status.able(
            "True", "SucceededRescale", f"the HPA controller was able to update the target scale to {replicas}"
        )
        self.status.scaled()
        self.plan.actions.append(self._patch(replicas, reason))

    def _say_refused(self) -> None:
        """The last try was refused: that is what there is to say until one is not."""
        if not self.observed.failure:
            return
        before = Status({**status_of(self.hpa)}, self.now)
        text = f"the HPA controller was unable to update the target scale: {self.observed.failure}"
        before.able("False", "FailedUpdateScale", text)
        before.fields["desiredReplicas"] = self.target.replicas
        if not same_status(before.fields, status_of(self.hpa)):
            because = cause(RESOURCE, self.hpa, "status: the target could not be scaled")
            self.plan.actions.append(UpdateStatus(RESOURCE, with_status(self.hpa, before.fields), because))

    def _patch(self, replicas: int, reason: str) -> Action:
        text = f"New size: {replicas}; reason: {reason}"
        told = Narration(self.hpa, "SuccessfulRescale", text, "FailedRescale", f"{text}; error: {{error}}")
        place = (namespace_of(self.target.obj), name_of(self.target.obj))
        because = cause(RESOURCE, self.hpa, f"from {self.target.replicas} to {replicas} replicas: {reason}")
        patch = {"spec": {"replicas": replicas}}
        return Patch(self.target.resource, *place, patch, because, subresource="scale", tell=told)

    def _no_metric(self, problem: NoMetric) -> None:
        text = f"the HPA was unable to compute the replica count: {problem}"
        self.status.active("False", problem.reason, text)
        self.status.fields.setdefault("desiredReplicas", self.target.replicas)
        self.plan.events.append(Event(self.hpa, problem.reason, str(problem), "Warning"))


def _tolerance(settings: Settings, part: Rules) -> float:
    own = part.get("tolerance")
    return settings.tolerance if own is None else Quantity.parse(own).milli() / 1000
