"""Status objects and field errors: codes, reasons, messages and details as users of kubectl know them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from control.api import fielderrors as field
from control.api import status
from control.api.status import Cause, StatusError

CASES: list[tuple[StatusError, int, str, str]] = [
    (status.not_found("pods", "x"), 404, "NotFound", 'pods "x" not found'),
    (status.already_exists("deployments.apps", "web"), 409, "AlreadyExists", 'deployments.apps "web" already exists'),
    (
        status.conflict("configmaps", "c"), 409, "Conflict",
        'Operation cannot be fulfilled on configmaps "c": the object has been modified; please apply your changes to'
        " the latest version and try again",
    ),
    (status.forbidden("pods", "x", "no"), 403, "Forbidden", 'pods "x" is forbidden: no'),
    (status.forbidden("pods", "", "no"), 403, "Forbidden", "pods is forbidden: no"),
    (status.forbidden("", "", "no"), 403, "Forbidden", "forbidden: no"),
    (status.bad_request("odd"), 400, "BadRequest", "odd"),
    (status.unauthorized(), 401, "Unauthorized", "Unauthorized"),
    (status.gone("old"), 410, "Gone", "old"),
    (status.expired("old"), 410, "Expired", "old"),
    (status.too_large(5), 413, "RequestEntityTooLarge", "Request entity too large: limit is 5"),
    (status.too_many_requests("slow"), 429, "TooManyRequests", "slow"),
    (status.internal_error("oh"), 500, "InternalError", "Internal error occurred: oh"),
    (status.timeout("late"), 504, "Timeout", "Timeout: late"),
    (status.service_unavailable("gone"), 503, "ServiceUnavailable", "gone"),
    (
        status.method_not_allowed("pods", "delete"), 405, "MethodNotAllowed",
        'delete is not supported on resources of kind "pods"',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("error", "code", "reason", "message"), CASES)
def test_reasons(error: StatusError, code: int, reason: str, message: str) -> None:
    body = error.to_status()
    assert (body["code"], body["reason"], body["message"]) == (code, reason, message)
    assert (body["kind"], body["apiVersion"], body["status"]) == ("Status", "v1", "Failure")
    again = StatusError.from_status(body)
    assert again.to_status() == body


def test_other_constructors_have_their_codes() -> None:
    codes = {
        status.not_acceptable(["application/json"]): 406,
        status.unsupported_media_type(["application/json"]): 415,
        status.unprocessable("test failed"): 422,
        status.server_timeout("pods", "create"): 500,
        status.generate_name_conflict("pods", "x"): 409,
        status.no_such_path(): 404,
        status.method_not_allowed(): 405,
        status.apply_conflict(
            [Cause("FieldManagerConflict", "conflict with x", ".spec.replicas")], "one conflict"
        ): 409,
        status.disruption_budget("Cannot evict pod", "The disruption budget web needs 2 healthy pods"): 429,
    }
    assert {error.code for error in codes} == set(codes.values())
    for error, code in codes.items():
        assert error.code == code
        assert error.message
    assert status.server_timeout("pods", "create").retry_after == 1


def test_details_name_the_object() -> None:
    assert status.not_found("deployments.apps", "web").details == {
        "name": "web",
        "group": "apps",
        "kind": "deployments",
    }
    assert status.not_found("pods", "x").details == {"name": "x", "kind": "pods"}


def test_invalid_lists_its_causes() -> None:
    one = status.invalid("Pod", "x", [field.required("spec.containers[0].image")])
    assert one.message == 'Pod "x" is invalid: spec.containers[0].image: Required value'
    assert one.details["causes"] == [
        {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.containers[0].image"}
    ]
    two = status.invalid("Deployment.apps", "w", [field.required("a"), field.required("b"), field.required("a")])
    assert two.message == 'Deployment.apps "w" is invalid: [a: Required value, b: Required value]'
    assert two.details["group"] == "apps"
    assert two.causes[0] == Cause("FieldValueRequired", "Required value", "a")


FIELDS: list[tuple[Cause, str, str]] = [
    (field.required("f", "why"), "FieldValueRequired", "f: Required value: why"),
    (field.invalid("f", "x", "why"), "FieldValueInvalid", 'f: Invalid value: "x": why'),
    (field.invalid("f", 3), "FieldValueInvalid", "f: Invalid value: 3"),
    (field.invalid("f", True, "why"), "FieldValueInvalid", "f: Invalid value: true: why"),
    (field.invalid("f", {"a": [1]}, "why"), "FieldValueInvalid", 'f: Invalid value: {"a":[1]}: why'),
    (field.invalid("f", None, "why"), "FieldValueInvalid", "f: Invalid value: null: why"),
    (
        field.not_supported("f", "x", ("b", "a")), "FieldValueNotSupported",
        'f: Unsupported value: "x": supported values: "a", "b"',
    ),
    (field.forbidden("f", "why"), "FieldValueForbidden", "f: Forbidden: why"),
    (field.duplicate("f", "x"), "FieldValueDuplicate", 'f: Duplicate value: "x"'),
    (field.not_found("f", "x"), "FieldValueNotFound", 'f: Not found: "x"'),
    (field.too_long("f", 5), "FieldValueTooLong", "f: Too long: may not be more than 5 bytes"),
    (field.too_many("f", 5, 3), "FieldValueTooMany", "f: Too many: 5: must have at most 3 items"),
    (field.too_many("f", 5, 1), "FieldValueTooMany", "f: Too many: 5: must have at most 1 item"),
    (field.type_invalid("f", "x", "why"), "FieldValueTypeInvalid", 'f: Invalid value: "x": why'),
]  # fmt: skip


@pytest.mark.parametrize(("cause", "reason", "text"), FIELDS)
def test_field_errors(cause: Cause, reason: str, text: str) -> None:
    assert (cause.reason, str(cause)) == (reason, text)


def test_statuses_of_others_are_read_leniently() -> None:
    bare: list[dict[str, Any]] = [{}, {"details": None}, {"details": "x", "code": None}]
    for body in bare:
        assert StatusError.from_status(body, 502).code == 502
    assert status.success("ok", {"name": "x"})["status"] == "Success"
    assert "reason" not in StatusError(418, "", "teapot").to_status()


def test_errors_can_be_copied() -> None:
    error = copy.copy(status.not_found("pods", "x"))
    assert error.to_status() == status.not_found("pods", "x").to_status()
