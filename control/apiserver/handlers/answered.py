"""Kinds that are answered and not stored: reviews, bindings by their own collection, metrics."""

from __future__ import annotations

from control.api.status import method_not_allowed
from control.api.validate import check_body
from control.apiserver.answer import Answer
from control.apiserver.bodies import read_object
from control.apiserver.call import Call
from control.apiserver.handlers import binding
from control.apiserver.negotiate import form_of
from control.apiserver.rendering import show
from control.apiserver.request import Review
from control.apiserver.router import handler


async def serve(call: Call) -> Answer:
    """StatusError 405 for verbs that the kind does not have, and what the answerer says."""
    kind, verb = call.of, call.info.verb
    if kind.group == "metrics.k8s.io":
        return await handler("metrics_api:serve")(call)
    if kind.name == "ComponentStatus":
        return await handler("components:serve")(call)
    if verb != "create":
        raise method_not_allowed(kind.resource, verb)
    if kind.name == "Binding":
        call.kind = call.server.resources.catalogue["pods"]
        return await binding.create(call)
    body = await read_object(call, kind)
    check_body(kind, body)
    review = Review(call.user, call.info, kind, "CREATE", body, dry_run=call.dry_run, warnings=call.warnings)
    answered = await call.server.security.answers.answer(review)
    return show(kind, answered, form_of(call.headers.get("accept", "")), code=201)
