"""Rules for Jobs and CronJobs.

The schedule is read by the library cronsim: the five fields of cron, names, steps, @daily and the like.

Source: JobSpec and CronJobSpec in Kubernetes' API reference.
"""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

from control.api.copying import copied
from control.api.cron import parse_schedule
from control.api.fielderrors import invalid, not_supported, required
from control.api.rules.checks import Causes, at_least, fields_unchanged, unchanged
from control.api.schema import Object
from control.api.selectors import label_selector_of
from control.api.status import StatusError

_COUNTS: Final = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "backoffLimitPerIndex", "maxFailedIndexes",
    "ttlSecondsAfterFinished",
)  # fmt: skip
_RESTARTS: Final = ("OnFailure", "Never")
_MAX_INDEXED: Final = 100_000
_SCHEDULING: Final = ("nodeSelector", "affinity", "tolerations", "schedulingGates")


def check_job(obj: Object) -> Causes:
    """A job as it is stored: with its selector."""
    spec = obj.get("spec")
    if spec is None:
        yield required("spec")
        return
    yield from _job_spec(spec, "spec")
    selector = spec.get("selector")
    if selector is None:
        yield required("spec.selector")
        return
    try:
        matches = label_selector_of(selector).matches(_labels(spec))
    except StatusError:
        return  # the selector's own rule says what is wrong with it
    if not matches:
        yield invalid("spec.template.metadata.labels", _labels(spec), "`selector` does not match template `labels`")


def _labels(spec: Object) -> Object:
    found: Object = spec.get("template", {}).get("metadata", {}).get("labels", {})
    return found


def _job_spec(spec: Object, at: str) -> Causes:
    yield from at_least(spec, at, 0, *_COUNTS)
    yield from _indexed(spec, at)
    policy = spec.get("template", {}).get("spec", {}).get("restartPolicy")
    place = f"{at}.template.spec.restartPolicy"
    if policy == "Always":
        yield required(place, 'valid values: "OnFailure", "Never"')
    elif policy is not None and policy not in _RESTARTS:
        yield not_supported(place, policy, _RESTARTS)
    if "podFailurePolicy" in spec:
        yield from _failure_policy(spec, at)
    if "successPolicy" in spec and spec.get("completionMode") != "Indexed":
        yield invalid(f"{at}.successPolicy", spec["successPolicy"], "requires indexed completion mode")


def _indexed(spec: Object, at: str) -> Causes:
    if spec.get("completionMode") == "Indexed":
        if "completions" not in spec:
            yield required(f"{at}.completions", "when completion mode is Indexed")
        for field in ("completions", "parallelism"):
            if spec.get(field, 0) > _MAX_INDEXED:
                words = f"must be less than or equal to {_MAX_INDEXED} when completion mode is Indexed"
                yield invalid(f"{at}.{field}", spec[field], words)
        return
    for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
        if field in spec:
            yield invalid(f"{at}.{field}", spec[field], "requires indexed completion mode")


def _failure_policy(spec: Object, at: str) -> Causes:
    if spec.get("template", {}).get("spec", {}).get("restartPolicy") != "Never":
        policy = spec.get("template", {}).get("spec", {}).get("restartPolicy", "")
        yield invalid(
            f"{at}.template.spec.restartPolicy", policy, 'only "Never" is supported when podFailurePolicy is specified'
        )
    for index, rule in enumerate(spec["podFailurePolicy"].get("rules", ())):
        place = f"{at}.podFailurePolicy.rules[{index}]"
        given = [field for field in ("onExitCodes", "onPodConditions") if rule.get(field)]
        if len(given) != 1:
            yield invalid(place, given, "specifying one of OnExitCodes and OnPodConditions is required")
        if rule.get("action") == "FailIndex" and "backoffLimitPerIndex" not in spec:
            yield invalid(f"{place}.action", "FailIndex", "requires the backoffLimitPerIndex to be set")
        codes = rule.get("onExitCodes", {})
        if codes.get("operator") == "In" and 0 in codes.get("values", ()):
            yield invalid(f"{place}.onExitCodes.values", codes["values"], "must not contain 0 for the In operator")


def check_job_update(new: Object, old: Object) -> Causes:
    """Parallelism, suspension and limits may change; which pods are the job's may not."""
    spec, before = new.get("spec", {}), old.get("spec", {})
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    if not elastic:
        yield from unchanged(spec.get("completions"), before.get("completions"), "spec.completions")
    fields = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "manualSelector", "managedBy")
    yield from fields_unchanged(spec, before, "spec", *fields)
    startable = bool(before.get("suspend")) and not old.get("status", {}).get("startTime")
    yield from unchanged(_fixed(spec, startable), _fixed(before, startable), "spec.template")


def _fixed(spec: Object, startable: bool) -> Object:
    """The template, without what may still change before the first start: where its pods may run."""
    template: Object = spec.get("template", {})
    if not startable:
        return template
    template = copied(template)
    for field in _SCHEDULING:
        template.get("spec", {}).pop(field, None)
    for field in ("labels", "annotations"):
        template.get("metadata", {}).pop(field, None)
    if not template.get("metadata"):
        template.pop("metadata", None)
    return template


def check_cron_job(obj: Object) -> Causes:
    spec = obj.get("spec", {})
    yield from _schedule(spec)
    yield from at_least(
        spec, "spec", 0, "startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"
    )
    job = spec.get("jobTemplate", {}).get("spec")
    if job is None:
        yield required("spec.jobTemplate.spec")
        return
    if "selector" in job:
        yield invalid("spec.jobTemplate.spec.selector", job["selector"], "`selector` will be auto-generated")
    if job.get("manualSelector"):
        yield not_supported("spec.jobTemplate.spec.manualSelector", True, ("nil", "false"))
    yield from _job_spec(job, "spec.jobTemplate.spec")


def _schedule(spec: Object) -> Causes:
    text, zone = spec.get("schedule", ""), spec.get("timeZone")
    if "TZ" in text:
        yield invalid("spec.schedule", text, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    elif text:
        try:
            parse_schedule(text)
        except ValueError as error:
            yield invalid("spec.schedule", text, str(error))
    if zone is None:
        return
    if not zone:
        yield invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")
    elif zone.lower() == "local":
        yield invalid("spec.timeZone", zone, "timeZone must be an explicit time zone as defined in the IANA database")
    elif not _is_zone(zone):
        yield invalid("spec.timeZone", zone, f"unknown time zone {zone}")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return False
    return True
