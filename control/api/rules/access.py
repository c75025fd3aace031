"""Rules for who may do what, and for admission webhooks.

Source: the groups rbac.authorization.k8s.io, authorization.k8s.io, authentication.k8s.io and
admissionregistration.k8s.io in Kubernetes' API reference.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from control.api import names
from control.api.fielderrors import forbidden, invalid, not_supported, required
from control.api.rules.checks import Causes, between, named, port_number, unique
from control.api.schema import Object

_RBAC: Final = "rbac.authorization.k8s.io"
_REVIEW_VERSIONS: Final = ("v1", "v1beta1")
_SIDE_EFFECTS: Final = ("None", "NoneOnDryRun")
_MIN_TOKEN_SECONDS: Final = 600
_MAX_TOKEN_SECONDS: Final = 2**32


def check_role(obj: Object) -> Causes:
    for index, rule in enumerate(obj.get("rules", ())):
        if rule.get("nonResourceURLs"):
            at = f"rules[{index}].nonResourceURLs"
            yield invalid(at, rule["nonResourceURLs"], "namespaced rules cannot apply to non-resource URLs")


def check_policy_rule(rule: Object, at: str) -> Causes:
    """What a role allows."""
    urls, resources, groups = rule.get("nonResourceURLs"), rule.get("resources"), rule.get("apiGroups")
    if not rule.get("verbs"):
        yield required(f"{at}.verbs", "verbs must contain at least one value")
    if urls:
        if resources or groups or rule.get("resourceNames"):
            words = "rules cannot apply to both regular resources and non-resource URLs"
            yield invalid(f"{at}.nonResourceURLs", urls, words)
        return
    if not groups:
        yield required(f"{at}.apiGroups", "resource rules must supply at least one api group")
    if not resources:
        yield required(f"{at}.resources", "resource rules must supply at least one resource")


def check_binding(obj: Object) -> Causes:
    """The role of a RoleBinding or ClusterRoleBinding."""
    role = obj.get("roleRef", {})
    kinds = ("ClusterRole",) if obj.get("kind") == "ClusterRoleBinding" else ("ClusterRole", "Role")
    if role.get("apiGroup") not in (None, "", _RBAC):
        yield not_supported("roleRef.apiGroup", role["apiGroup"], (_RBAC,))
    if role.get("kind") and role["kind"] not in kinds:
        yield not_supported("roleRef.kind", role["kind"], kinds)
    for index, subject in enumerate(obj.get("subjects", ())):
        yield from _subject(subject, f"subjects[{index}]")


def _subject(subject: Object, at: str) -> Causes:
    kind = subject.get("kind")
    if kind == "ServiceAccount":
        if not subject.get("namespace"):
            yield required(f"{at}.namespace")
        if subject.get("apiGroup"):
            yield not_supported(f"{at}.apiGroup", subject["apiGroup"], ("",))
        if subject.get("name"):
            yield from named(names.dns_subdomain, subject["name"], f"{at}.name")
    elif kind in ("User", "Group"):
        if subject.get("apiGroup") != _RBAC:
            yield not_supported(f"{at}.apiGroup", subject.get("apiGroup", ""), (_RBAC,))
    elif kind:
        yield not_supported(f"{at}.kind", kind, ("ServiceAccount", "User", "Group"))


def check_binding_update(new: Object, old: Object) -> Causes:
    """Another role is another binding: subjects would get rights nobody gave them."""
    if new.get("roleRef") != old.get("roleRef"):
        yield invalid("roleRef", new.get("roleRef"), "cannot change roleRef")


def check_webhooks(obj: Object) -> Causes:
    webhooks = obj.get("webhooks", ())
    for index, webhook in enumerate(webhooks):
        yield from _webhook(webhook, f"webhooks[{index}]")
    yield from unique((f"webhooks[{index}].name", webhook.get("name")) for index, webhook in enumerate(webhooks))


def _webhook(webhook: Object, at: str) -> Causes:
    name = webhook.get("name", "")
    if name:
        yield from named(names.dns_subdomain, name, f"{at}.name")
        if name.count(".") < 2:
            words = "should be a domain with at least three segments separated by dots"
            yield invalid(f"{at}.name", name, words)
    if webhook.get("sideEffects") and webhook["sideEffects"] not in _SIDE_EFFECTS:
        yield not_supported(f"{at}.sideEffects", webhook["sideEffects"], _SIDE_EFFECTS)
    versions = webhook.get("admissionReviewVersions", ())
    if versions and not set(versions) & set(_REVIEW_VERSIONS):
        words = f"must include at least one of {', '.join(_REVIEW_VERSIONS)}"
        yield invalid(f"{at}.admissionReviewVersions", versions, words)
    yield from between(webhook.get("timeoutSeconds"), f"{at}.timeoutSeconds", 1, 30)
    yield from check_client_config(webhook.get("clientConfig", {}), f"{at}.clientConfig")
    for index, rule in enumerate(webhook.get("rules", ())):
        yield from _rule(rule, f"{at}.rules[{index}]")


def _rule(rule: Object, at: str) -> Causes:
    for field in ("operations", "apiGroups", "apiVersions", "resources"):
        given = rule.get(field, ())
        if not given:
            yield required(f"{at}.{field}")
        elif "*" in given and len(given) > 1 and field != "resources":
            yield invalid(f"{at}.{field}", given, "if '*' is present, must not specify other values")


def check_client_config(config: Object, at: str) -> Causes:
    """Where a webhook listens: a URL, or a service."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        yield required(at, "exactly one of url or service is required")
    if url is not None:
        yield from _url(url, f"{at}.url")
    if service is not None:
        yield from port_number(service.get("port"), f"{at}.service.port")
        if service.get("path") is not None and not service["path"].startswith("/"):
            yield invalid(f"{at}.service.path", service["path"], "must start with a '/'")


def _url(url: str, at: str) -> Causes:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        yield required(at, f"url must be a valid URL: {error}")
        return
    if parts.scheme != "https":
        yield invalid(at, parts.scheme, "'https' is the only allowed URL scheme; desired format: https://host[/path]")
    if not parts.hostname:
        yield invalid(at, parts.netloc, "host must be specified; desired format: https://host[/path]")
    if parts.username is not None:
        yield invalid(at, "", "user information is not permitted in the URL")
    if parts.query or parts.fragment:
        yield invalid(at, parts.query or parts.fragment, "query parameters and fragments are not permitted in the URL")


def check_token_request(obj: Object) -> Causes:
    seconds = obj.get("spec", {}).get("expirationSeconds", 3600)
    if seconds < _MIN_TOKEN_SECONDS:
        yield invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    if seconds > _MAX_TOKEN_SECONDS:
        yield invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")


def check_access_review(obj: Object) -> Causes:
    """Reviews ask about one thing: resources or a path; those about others say of whom."""
    spec = obj.get("spec", {})
    if ("resourceAttributes" in spec) == ("nonResourceAttributes" in spec):
        words = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        yield invalid("spec.resourceAttributes", spec.get("resourceAttributes"), words)
    if obj.get("kind") != "SelfSubjectAccessReview" and not spec.get("user") and not spec.get("groups"):
        yield invalid("spec.user", spec.get("user", ""), "at least one of user or group must be specified")


def check_local_review(obj: Object) -> Causes:
    yield from check_access_review(obj)
    spec = obj.get("spec", {})
    if "nonResourceAttributes" in spec:
        yield forbidden("spec.nonResourceAttributes", "disallowed on this kind of request")
    namespace = obj.get("metadata", {}).get("namespace", "")
    if "resourceAttributes" in spec and spec["resourceAttributes"].get("namespace", "") != namespace:
        words = "must match metadata.namespace"
        yield invalid("spec.resourceAttributes.namespace", spec["resourceAttributes"].get("namespace", ""), words)
