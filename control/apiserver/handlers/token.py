"""POST of a TokenRequest: a token for a service account."""

from __future__ import annotations

from typing import Final

from control.api.status import method_not_allowed
from control.api.validate import check_body
from control.apiserver.answer import Answer
from control.apiserver.bodies import read_object
from control.apiserver.call import Call
from control.apiserver.handlers.get import find
from control.apiserver.negotiate import form_of
from control.apiserver.rendering import show
from control.apiserver.request import Review

TOKEN_REQUEST: Final = ("authentication.k8s.io/v1", "TokenRequest")


async def create(call: Call) -> Answer:
    """The TokenRequest with its token, 201. StatusError 404: there is no such service account."""
    kind = call.server.resources.catalogue.by_kind(*TOKEN_REQUEST)
    if kind is None:
        raise method_not_allowed(call.of.resource, "create")
    body = await read_object(call, kind, *TOKEN_REQUEST)
    check_body(kind, body)
    account = await find(call, call.namespace, call.info.name)
    review = Review(
        call.user, call.info, call.of, "CREATE", body, account.object(), dry_run=call.dry_run, warnings=call.warnings
    )
    await call.server.security.admission.mutate(review)
    await call.server.security.admission.validate(review)
    answered = await call.server.security.answers.answer(review)
    return show(kind, answered, form_of(call.headers.get("accept", "")), code=201)
