"""The conversation with a webhook: AdmissionReview v1 out, its answer in. Pure.

Source: admission.k8s.io/v1 in the API reference; the wording of refusals is Kubernetes'.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from control.api import meta
from control.api.kind import Kind
from control.api.schema import Object
from control.api.status import StatusError
from control.apiserver.admission.webhook_rules import Hook
from control.apiserver.request import Review
from control.apiserver.security.user_info import user_info

API_VERSION = "admission.k8s.io/v1"
_SILENT = ("None", "NoneOnDryRun")
_WARNING_BYTES, _WARNINGS = 256, 20


class BadAnswer(Exception):
    """The webhook's answer is not one; counts as a failure to call it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook says. patch: operations of a JSON patch."""

    allowed: bool
    code: int = 403
    reason: str = ""
    message: str = ""
    patch: list[Any] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    audit: Mapping[str, str] = field(default_factory=dict)


def question(review: Review, hook: Hook, uid: str, obj: Object | None, old: Object | None) -> Object:
    """The AdmissionReview to send. obj, old: in the version the webhook asks for."""
    info, kind = review.info, hook.as_kind
    request: Object = {
        "uid": uid,
        "kind": _kind(obj or old or {}, kind),
        "resource": {"group": kind.group, "version": kind.version, "resource": kind.plural},
        "requestKind": _kind(review.object or review.old or {}, review.kind),
        "requestResource": {"group": review.kind.group, "version": review.kind.version, "resource": review.kind.plural},
        "name": info.name or meta.name(review.object or {}),
        "operation": review.operation,
        "userInfo": user_info(review.user),
        "object": obj,
        "oldObject": old,
        "dryRun": review.dry_run,
        "options": _options(review),
    }
    if info.subresource:
        request["subResource"] = request["requestSubResource"] = info.subresource
    if info.namespace:
        request["namespace"] = info.namespace
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "request": request}


def answer(body: bytes, uid: str, *, may_patch: bool) -> Verdict:
    """A webhook's answer. Raises BadAnswer."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadAnswer("its answer is not JSON") from None
    if not isinstance(document, dict) or document.get("kind") != "AdmissionReview":
        raise BadAnswer("its answer is not an AdmissionReview")
    if document.get("apiVersion") != API_VERSION:
        raise BadAnswer(f"expected webhook response of {API_VERSION}, Kind=AdmissionReview")
    response = document.get("response")
    if not isinstance(response, dict):
        raise BadAnswer("webhook response was absent")
    if response.get("uid") != uid:
        raise BadAnswer(f'expected response.uid="{uid}", got "{response.get("uid")}"')
    return _verdict(response, may_patch)


def denied(hook: Hook, verdict: Verdict) -> StatusError:
    """The refusal that the user sees."""
    prefix = f'admission webhook "{hook.name}" denied the request'
    if verdict.message:
        text = f"{prefix}: {verdict.message}"
    else:
        text = f"{prefix}: {verdict.reason}" if verdict.reason else f"{prefix} without explanation"
    return StatusError(verdict.code, verdict.reason or ("Forbidden" if verdict.code == 403 else ""), text)


def allows_dry_run(hook: Hook) -> bool:
    """Whether the webhook may be called when nothing is to happen."""
    return hook.webhook.get("sideEffects") in _SILENT


def _verdict(response: Object, may_patch: bool) -> Verdict:
    given = response.get("status")
    status: Object = given if isinstance(given, dict) else {}
    code = status.get("code")
    warnings = response.get("warnings") or []
    audit = response.get("auditAnnotations") or {}
    if not isinstance(warnings, list) or not isinstance(audit, dict) or not isinstance(response.get("allowed"), bool):
        raise BadAnswer("a field of its answer has the wrong type")
    return Verdict(
        response["allowed"],
        code if isinstance(code, int) and 400 <= code < 600 else 403,
        str(status.get("reason") or ""),
        str(status.get("message") or ""),
        _patch(response) if may_patch and response["allowed"] else [],
        tuple(str(text)[:_WARNING_BYTES] for text in warnings[:_WARNINGS]),
        {str(key): str(value) for key, value in audit.items()},
    )


def _patch(response: Object) -> list[Any]:
    text, kind = response.get("patch"), response.get("patchType")
    if not text:
        if kind:
            raise BadAnswer("webhook returned response.patchType but not response.patch")
        return []
    if kind != "JSONPatch":
        raise BadAnswer(f"invalid response.patchType: {kind!r}; it must be JSONPatch")
    try:
        found = orjson.loads(base64.b64decode(str(text), validate=True))
    except ValueError:  # no base64, no ASCII, no JSON
        raise BadAnswer("response.patch is not a JSON patch in base64") from None
    if not isinstance(found, list):
        raise BadAnswer("response.patch is not a list of operations")
    return found


def _kind(obj: Object, kind: Kind) -> Object:
    """Of the object itself, which for a subresource is another than the resource's."""
    group, _, version = str(obj.get("apiVersion") or kind.api_version).rpartition("/")
    return {"group": group, "version": version, "kind": obj.get("kind") or kind.name}


def _options(review: Review) -> Object:
    names = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions", "CONNECT": ""}
    if review.options.get("kind") or not names[review.operation]:
        return review.options
    return {"apiVersion": "meta.k8s.io/v1", **review.options, "kind": names[review.operation]}
