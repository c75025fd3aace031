"""Refusals in Kubernetes' words: one constructor per reason, and the `Status` object that carries it to the client.

Raised by pure code and by control/client alike, so that a controller sees what a user of kubectl would see. Messages
are part of the contract: scripts and tests of Kubernetes' users match them.

Source: the API conventions of Kubernetes ("Response Status Kind") and k8s.io/apimachinery's error formats.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

Object = dict[str, Any]

MODIFIED: Final = "the object has been modified; please apply your changes to the latest version and try again"


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of details.causes. field: path in the object, as "spec.containers[0].image"; "" when it is not one."""

    reason: str
    message: str
    field: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message

    def to_object(self) -> Object:
        entry = {"reason": self.reason, "message": self.message, "field": self.field}
        return {key: value for key, value in entry.items() if value}


class StatusError(Exception):
    """A request was refused. code: HTTP status; reason: Kubernetes' CamelCase word; details: as in a Status object."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details: Object = details or {}

    @property
    def causes(self) -> list[Cause]:
        return [
            Cause(c.get("reason", ""), c.get("message", ""), c.get("field", "")) for c in self.details.get("causes", [])
        ]

    @property
    def retry_after(self) -> int:
        """Seconds the client should wait before it tries again; 0: it was not asked to."""
        return int(self.details.get("retryAfterSeconds", 0))

    def to_status(self) -> Object:
        """The body of the answer."""
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if not self.reason:
            del status["reason"]
        if self.details:
            status["details"] = self.details
        status["code"] = self.code
        return status

    @classmethod
    def from_status(cls, status: Object, code: int = 0) -> StatusError:
        """What an answer's body says; code: the answer's own, for bodies without one."""
        details = status.get("details")
        return cls(
            int(status.get("code") or code),
            str(status.get("reason") or ""),
            str(status.get("message") or ""),
            details if isinstance(details, dict) else None,
        )

    def __reduce__(self) -> tuple[type[StatusError], tuple[int, str, str, Object]]:
        return type(self), (self.code, self.reason, self.message, self.details)


def success(message: str = "", details: Object | None = None) -> Object:
    """The Status of a deletion or a connection that went well."""
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if message:
        status["message"] = message
    if details:
        status["details"] = details
    return status


def quoted(text: str) -> str:
    """A string as error messages quote it."""
    return json.dumps(text, ensure_ascii=False)


def split_resource(resource: str) -> tuple[str, str]:
    """("deployments", "apps") of "deployments.apps"; the core group is ""."""
    plural, _, group = resource.partition(".")
    return plural, group


def _details(resource: str, name: str = "", **more: Any) -> Object:
    kind, group = split_resource(resource)
    found = {"name": name, "group": group, "kind": kind, **more}
    return {key: value for key, value in found.items() if value}


def not_found(resource: str, name: str) -> StatusError:
    """404. resource as "deployments.apps"."""
    return StatusError(404, "NotFound", f"{resource} {quoted(name)} not found", _details(resource, name))


def no_such_path() -> StatusError:
    """404 for a path that names no resource at all."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: str, name: str) -> StatusError:
    """409 AlreadyExists."""
    return StatusError(409, "AlreadyExists", f"{resource} {quoted(name)} already exists", _details(resource, name))


def generate_name_conflict(resource: str, name: str) -> StatusError:
    """409 AlreadyExists for a generated name that was taken: the client should ask again."""
    message = (
        f"{resource} {quoted(name)} already exists, the server was not able to generate a unique name for the object"
    )
    return StatusError(409, "AlreadyExists", message, _details(resource, name, retryAfterSeconds=1))


def conflict(resource: str, name: str, why: str = MODIFIED, causes: Sequence[Cause] = ()) -> StatusError:
    """409 Conflict: a stale resourceVersion, a failed precondition, a lost fence."""
    message = f"Operation cannot be fulfilled on {resource} {quoted(name)}: {why}"
    return StatusError(409, "Conflict", message, _details(resource, name, causes=[c.to_object() for c in causes]))


def apply_conflict(causes: Sequence[Cause], message: str) -> StatusError:
    """409 Conflict of server-side apply: each cause names a field and its other manager."""
    return StatusError(409, "Conflict", message, {"causes": [cause.to_object() for cause in causes]})


def invalid(kind: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """422 with the fields at fault. kind as "Pod" or "Deployment.apps" (Kind.group_kind)."""
    texts = list(dict.fromkeys(str(cause) for cause in causes))
    body = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    message = f"{kind} {quoted(name)} is invalid" + (f": {body}" if texts else "")
    details = _details(kind, name, causes=[cause.to_object() for cause in causes])
    return StatusError(422, "Invalid", message, details)


def unprocessable(message: str) -> StatusError:
    """422 for a request that names no field, as a JSON patch whose test does not hold."""
    return StatusError(422, "Invalid", message)


def bad_request(message: str) -> StatusError:
    """400: the request itself is malformed."""
    return StatusError(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> StatusError:
    """401: nobody, or a credential that does not hold."""
    return StatusError(401, "Unauthorized", message)


def forbidden(resource: str, name: str, why: str) -> StatusError:
    """403; resource "" for paths that are no resources."""
    if not resource:
        return StatusError(403, "Forbidden", f"forbidden: {why}")
    what = f"{resource} {quoted(name)}" if name else resource
    return StatusError(403, "Forbidden", f"{what} is forbidden: {why}", _details(resource, name))


def method_not_allowed(resource: str = "", action: str = "") -> StatusError:
    """405; action: the verb the resource does not have."""
    message = f"{action} is not supported on resources of kind {quoted(resource)}" if resource else ""
    text = message or "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", text, _details(resource))


def not_acceptable(offered: Sequence[str]) -> StatusError:
    """406: none of the media types the client accepts is offered."""
    message = f"only the following media types are accepted: {', '.join(offered)}"
    return StatusError(406, "NotAcceptable", message)


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    """415: a body of a type the server does not read."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return StatusError(415, "UnsupportedMediaType", message)


def too_large(limit: int) -> StatusError:
    """413. limit: bytes a request body may have."""
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def gone(message: str) -> StatusError:
    """410 Gone: a continue token or a resourceVersion that can never be served again."""
    return StatusError(410, "Gone", message)


def expired(message: str) -> StatusError:
    """410 Expired: history before that revision is compacted; list again."""
    return StatusError(410, "Expired", message)


def too_many_requests(message: str, retry_after: int = 1, causes: Sequence[Cause] = ()) -> StatusError:
    """429; retry_after in seconds."""
    details = {"retryAfterSeconds": retry_after, "causes": [cause.to_object() for cause in causes]}
    return StatusError(429, "TooManyRequests", message, {key: value for key, value in details.items() if value})


def disruption_budget(message: str, cause: str, retry_after: int = 0) -> StatusError:
    """429 of an eviction that a disruption budget does not allow now."""
    return too_many_requests(message, retry_after, [Cause("DisruptionBudget", cause)])


def internal_error(message: str) -> StatusError:
    """500: our fault. The message must not carry secrets."""
    details = {"causes": [{"message": message}]}
    return StatusError(500, "InternalError", f"Internal error occurred: {message}", details)


def server_timeout(resource: str, operation: str, retry_after: int = 1) -> StatusError:
    """500 ServerTimeout: the store did not answer in time; the write may or may not have happened."""
    message = f"The {operation} operation against {resource} could not be completed at this time, please try again."
    return StatusError(500, "ServerTimeout", message, _details(resource, operation, retryAfterSeconds=retry_after))


def timeout(message: str, retry_after: int = 1) -> StatusError:
    """504: the request took longer than it may."""
    return StatusError(504, "Timeout", f"Timeout: {message}", {"retryAfterSeconds": retry_after})


def service_unavailable(message: str) -> StatusError:
    """503: something behind the server does not answer."""
    return StatusError(503, "ServiceUnavailable", message)
