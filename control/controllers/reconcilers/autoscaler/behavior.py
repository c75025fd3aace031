"""How fast an autoscaler may go: stabilization windows and policies over its own recent recommendations and steps.

The memory of them belongs to the controller that leads, as in Kubernetes; after a fail-over it begins with the present
number of replicas, so that a new leader does not scale down at once. Times come in. Source: "Configurable scaling
behavior" in Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

LONGEST: Final = 3600.0
Rules = dict[str, Any]
_UP: Final[Rules] = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_DOWN: Final[Rules] = {
    "stabilizationWindowSeconds": None,
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}


@dataclass(slots=True)
class Memory:
    """recommended: (when, replicas); steps: (when, by how many), up positive. looked: when it was last used.

    begun: a step that may have been refused: when, from and to how many.
    """

    recommended: list[tuple[datetime, int]] = field(default_factory=list)
    steps: list[tuple[datetime, int]] = field(default_factory=list)
    looked: datetime | None = None
    begun: tuple[datetime, int, int] | None = None

    def see(self, replicas: int, now: datetime) -> None:
        """It is used again: what was begun counts as a step if it was made."""
        if self.begun is not None:
            when, before, wanted = self.begun
            if replicas != before:
                self.steps.append((when, wanted - before))
            self.begun = None
        self.looked = now

    def idle(self, now: datetime) -> float:
        """Seconds since it was last used."""
        return 0.0 if self.looked is None else (now - self.looked).total_seconds()

    def forget(self, now: datetime) -> None:
        """Drop what no window reaches."""
        self.recommended = [entry for entry in self.recommended if (now - entry[0]).total_seconds() <= LONGEST]
        self.steps = [entry for entry in self.steps if (now - entry[0]).total_seconds() <= LONGEST]


@dataclass(frozen=True, slots=True)
class Limited:
    """The replicas allowed, and what held them back: a reason and a message of AbleToScale or ScalingLimited."""

    replicas: int
    able: tuple[str, str] = ("ReadyForNewScale", "recommended size matches current size")
    limited: tuple[str, str] | None = None


def rules(spec: dict[str, Any], downscale_window: float) -> tuple[Rules, Rules]:
    """The rules for up and for down, the defaults for what is not said."""
    behavior = spec.get("behavior") or {}
    up = {**_UP, **_given(behavior.get("scaleUp"))}
    down = {**_DOWN, "stabilizationWindowSeconds": downscale_window, **_given(behavior.get("scaleDown"))}
    return up, down


def _given(part: Rules | None) -> Rules:
    return {name: value for name, value in (part or {}).items() if value is not None}


def stabilized(memory: Memory, desired: int, current: int, up: Rules, down: Rules, now: datetime) -> Limited:
    """Not above the lowest recent recommendation when growing, not below the highest when shrinking."""
    lowest = min([desired, *_recent(memory, up["stabilizationWindowSeconds"], now)])
    highest = max([desired, *_recent(memory, down["stabilizationWindowSeconds"], now)])
    memory.recommended.append((now, desired))
    memory.forget(now)
    replicas = max(current, lowest) if current < lowest else current
    replicas = highest if replicas > highest else replicas
    if replicas == desired:
        return Limited(replicas)
    which = (
        ("ScaleUpStabilized", "lower", "lowest") if desired > current else ("ScaleDownStabilized", "higher", "highest")
    )
    reason, than, applied = which
    text = f"recent recommendations were {than} than current one, applying the {applied} recent recommendation"
    return Limited(replicas, (reason, text))


def _recent(memory: Memory, window: float, now: datetime) -> Iterable[int]:
    return [replicas for when, replicas in memory.recommended if (now - when).total_seconds() < float(window)]


def bounded(
    memory: Memory, desired: int, current: int, least: int, most: int, up: Rules, down: Rules, now: datetime
) -> Limited:
    """Within minimum and maximum, and no faster than the policies allow."""
    if desired > current:
        allowed = _most(memory, current, up, now)
        if desired > min(allowed, most):
            return _too_many(allowed, most)
    elif desired < current:
        allowed = _least(memory, current, down, now)
        if desired < max(allowed, least):
            return _too_few(allowed, least)
    if desired > most:
        return _too_many(most, most)
    if desired < least:
        return _too_few(least, least)
    return Limited(desired)


def _too_many(allowed: int, most: int) -> Limited:
    if allowed < most:
        text = "the desired replica count is increasing faster than the maximum scale rate"
        return Limited(allowed, limited=("ScaleUpLimit", text))
    text = "the desired replica count is more than the maximum replica count"
    return Limited(most, limited=("TooManyReplicas", text))


def _too_few(allowed: int, least: int) -> Limited:
    if allowed > least:
        text = "the desired replica count is decreasing faster than the maximum scale rate"
        return Limited(allowed, limited=("ScaleDownLimit", text))
    text = "the desired replica count is less than the minimum replica count"
    return Limited(least, limited=("TooFewReplicas", text))


def _most(memory: Memory, current: int, up: Rules, now: datetime) -> int:
    """The highest number that growing may reach now; never below the present one."""
    if up["selectPolicy"] == "Disabled":
        return current
    limits = []
    for policy in up["policies"]:
        start = current - sum(step for step in _steps(memory, policy, now) if step > 0)
        value = int(policy["value"])
        limits.append(start + value if policy["type"] == "Pods" else -(-start * (100 + value) // 100))
    chosen = min(limits) if up["selectPolicy"] == "Min" else max(limits)
    return max(current, chosen)


def _least(memory: Memory, current: int, down: Rules, now: datetime) -> int:
    """The lowest number that shrinking may reach now; never above the present one."""
    if down["selectPolicy"] == "Disabled":
        return current
    limits = []
    for policy in down["policies"]:
        start = current - sum(step for step in _steps(memory, policy, now) if step < 0)
        value = int(policy["value"])
        limits.append(start - value if policy["type"] == "Pods" else start * (100 - value) // 100)
    chosen = max(limits) if down["selectPolicy"] == "Min" else min(limits)
    return min(current, max(chosen, 0))


def _steps(memory: Memory, policy: dict[str, Any], now: datetime) -> list[int]:
    period = float(policy["periodSeconds"])
    return [step for when, step in memory.steps if (now - when).total_seconds() < period]
