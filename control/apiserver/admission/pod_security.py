"""PodSecurity: what a namespace's labels demand of its pods: refused (enforce), warned of (warn), written down (audit).

Pure but for the caches. Workloads (Deployments …) are only warned of and audited, by their pod template.
Source: "Pod Security Admission" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from control.api import fielderrors, meta
from control.api.schema import Object
from control.api.status import forbidden, invalid
from control.apiserver.admission.namespace_lifecycle import namespace_of
from control.apiserver.admission.pod_security_checks import LEVELS, PRIVILEGED, RESTRICTED, Subject, violations
from control.apiserver.request import Caches, Review

_PREFIX = "pod-security.kubernetes.io/"
# Where a workload's pod template is.
_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "podtemplates": ("template",),
    "replicationcontrollers": ("spec", "template"),
    "deployments.apps": ("spec", "template"),
    "replicasets.apps": ("spec", "template"),
    "statefulsets.apps": ("spec", "template"),
    "daemonsets.apps": ("spec", "template"),
    "jobs.batch": ("spec", "template"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"),
}
# A namespace's new level is tried on this many of its pods, for the warning.
_TRIED = 3000
_NAMED = 20


class PodSecurity:
    """Reads the namespace from the cache."""

    name = "PodSecurity"

    def __init__(self, caches: Caches) -> None:
        self._caches = caches

    def validate(self, review: Review) -> None:
        """StatusError 403 for a pod that its namespace does not take; 422 for labels that mean nothing."""
        if review.object is None or review.operation not in ("CREATE", "UPDATE"):
            return
        if review.resource == "namespaces" and not review.info.subresource:
            self._namespace(review, review.object)
        elif review.resource == "pods" and review.info.subresource in ("", "ephemeralcontainers"):
            self._pod(review, review.object)
        elif review.resource in _TEMPLATES and not review.info.subresource:
            self._workload(review, review.object)

    def _pod(self, review: Review, pod: Object) -> None:
        if review.operation == "UPDATE" and _same_security(review.old or {}, pod):
            return
        policy = self._policy(review)
        subject = _subject(pod)
        version = policy.get("enforce-version", "latest")
        bad = violations(policy.get("enforce", PRIVILEGED), subject)
        review.audit[f"{_PREFIX}enforce-policy"] = f"{policy.get('enforce', PRIVILEGED)}:{version}"
        if bad:
            why = f'violates PodSecurity "{policy["enforce"]}:{version}": {", ".join(bad)}'
            raise forbidden("pods", meta.name(pod), why)
        _remark(review, policy, subject)

    def _workload(self, review: Review, workload: Object) -> None:
        found: Object = workload
        for field in _TEMPLATES[review.resource]:
            found = found.get(field) or {}
        if found.get("spec"):
            _remark(review, self._policy(review), _subject(found))

    def _namespace(self, review: Review, namespace: Object) -> None:
        policy = policy_of(namespace)
        causes = [
            fielderrors.invalid(f"metadata.labels[{_PREFIX}{mode}]", level, f"must be one of {', '.join(LEVELS)}")
            for mode, level in policy.items()
            if not mode.endswith("-version") and level not in LEVELS
        ]
        if causes:
            raise invalid("Namespace", meta.name(namespace), causes)
        level = policy.get("enforce", PRIVILEGED)
        if review.operation == "UPDATE" and level != policy_of(review.old or {}).get("enforce", PRIVILEGED):
            self._warn_of_pods(review, namespace, level)

    def _warn_of_pods(self, review: Review, namespace: Object, level: str) -> None:
        bad = list(self._violating(meta.name(namespace), level))
        if bad:
            version = policy_of(namespace).get("enforce-version", "latest")
            where = f'existing pods in namespace "{meta.name(namespace)}" violate the new PodSecurity enforce level'
            review.warnings.append(f'{where} "{level}:{version}"')
            review.warnings.extend(bad[:_NAMED])

    def _violating(self, namespace: str, level: str) -> Iterator[str]:
        for number, pod in enumerate(self._caches.list("pods", namespace)):
            bad = violations(level, _subject(pod)) if number < _TRIED else []
            if bad:
                yield f"{meta.name(pod)}: {', '.join(text.split(' (')[0] for text in bad)}"

    def _policy(self, review: Review) -> dict[str, str]:
        """What holds. Some labels come past our check (by a namespace's status): of a level that there is not, the
        namespace enforces the strictest, and remarks nothing."""
        policy = policy_of(namespace_of(review, self._caches))
        for mode, instead in (("enforce", RESTRICTED), ("audit", PRIVILEGED), ("warn", PRIVILEGED)):
            if policy.get(mode, instead) not in LEVELS:
                policy[mode] = instead
        return policy


def policy_of(namespace: Object) -> dict[str, str]:
    """The namespace's labels, as {"enforce": "baseline", "enforce-version": "latest", …}. Pure."""
    labels = meta.labels(namespace)
    names = [f"{mode}{end}" for mode in ("enforce", "audit", "warn") for end in ("", "-version")]
    return {name: labels[f"{_PREFIX}{name}"] for name in names if f"{_PREFIX}{name}" in labels}


def _remark(review: Review, policy: Mapping[str, str], subject: Subject) -> None:
    for mode in ("audit", "warn"):
        bad = violations(policy.get(mode, PRIVILEGED), subject)
        if not bad:
            continue
        says = f'would violate PodSecurity "{policy[mode]}:{policy.get(f"{mode}-version", "latest")}": {", ".join(bad)}'
        if mode == "warn":
            review.warnings.append(says)
        else:
            review.audit[f"{_PREFIX}audit-violations"] = says


def _subject(pod: Object) -> Subject:
    return Subject(pod.get("spec") or {}, meta.annotations(pod))


def _same_security(old: Object, new: Object) -> bool:
    """Updates of images, tolerations and labels are not looked at again: no check sees them. All else is, even what
    validation lets nobody change."""
    return meta.annotations(old) == meta.annotations(new) and _weighed(old) == _weighed(new)


def _weighed(pod: Object) -> Object:
    spec = {field: value for field, value in (pod.get("spec") or {}).items() if field != "tolerations"}
    for field in ("initContainers", "containers", "ephemeralContainers"):
        spec[field] = [{key: c[key] for key in c if key != "image"} for c in spec.get(field) or ()]
    return spec
