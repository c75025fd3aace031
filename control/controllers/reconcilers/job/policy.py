"""What a job makes of a failed pod (podFailurePolicy) and of what succeeded so far (successPolicy).

Invariant: rules are looked at in order and the first that matches decides; no rule: the failure counts.
Source: "Handling retriable and non-retriable pod failures", "Success policy" in Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from control.api.schema import Object
from control.controllers.reconcilers.job.indexes import parse
from control.controllers.values.objects import name_of, namespace_of, spec_of, status_of
from control.controllers.values.pods import condition


@dataclass(frozen=True, slots=True)
class Verdict:
    """action: Count, Ignore, FailIndex or FailJob; message: why, for FailJob."""

    action: str = "Count"
    message: str = ""


def judge(job: Object, pod: Object) -> Verdict:
    """What a failed pod means for its job."""
    rules = (spec_of(job).get("podFailurePolicy") or {}).get("rules") or ()
    for number, rule in enumerate(rules):
        why = _matches(rule, pod)
        if why:
            return Verdict(str(rule["action"]), f"{why} matching {rule['action']} rule at index {number}")
    return Verdict()


def _matches(rule: dict[str, Any], pod: Object) -> str:
    """In words why the rule matches; "": it does not."""
    place = f"{namespace_of(pod)}/{name_of(pod)}"
    codes = rule.get("onExitCodes")
    if codes is not None:
        for name, code in _exits(pod, codes.get("containerName")):
            if (code in codes["values"]) == (codes["operator"] == "In"):
                return f"Container {name} for pod {place} failed with exit code {code}"
    for pattern in rule.get("onPodConditions") or ():
        found = condition(pod, pattern["type"])
        if found is not None and found.get("status") == (pattern.get("status") or "True"):
            return f"Pod {place} has condition {pattern['type']}"
    return ""


def _exits(pod: Object, container: str | None) -> Iterator[tuple[str, int]]:
    """Containers that failed, with their exit codes; those that ended well do not count."""
    status = status_of(pod)
    for entry in [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]:
        ended = (entry.get("state") or {}).get("terminated")
        if ended and ended.get("exitCode") and container in (None, entry.get("name")):
            yield entry["name"], int(ended["exitCode"])


def succeeded_early(job: Object, completed: Collection[int]) -> str:
    """With a success policy: which rule what was completed fulfils, in words; "": none."""
    spec = spec_of(job)
    rules = (spec.get("successPolicy") or {}).get("rules") or ()
    for number, rule in enumerate(rules):
        wanted = rule.get("succeededIndexes")
        counted = set(completed)
        if wanted is not None:
            named = parse(wanted, int(spec.get("completions") or 0))
            counted &= named
            enough = rule.get("succeededCount") or len(named)
        else:
            enough = rule.get("succeededCount") or 0
        if enough and len(counted) >= enough:
            return f"Matched rules at index {number}"
    return ""
