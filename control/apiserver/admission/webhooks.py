"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: admission by programs of the cluster's users.

Mutating ones are called one after another, each on what the one before it made; when one changed the object, the
built-in plugins look at it again, and those with reinvocationPolicy IfNeeded that saw an older state are called once
more. Validating ones are called all at once. Source: "Dynamic Admission Control" of the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator

from control.api import decode, fielderrors, meta
from control.api.catalogue import BUILTIN
from control.api.copying import copied
from control.api.defaults import apply_defaults
from control.api.kind import Kind
from control.api.patches import json_patch
from control.api.schema import Object
from control.api.status import StatusError, bad_request, internal_error, invalid
from control.apiserver.admission.webhook_client import CallFailed, WebhookClient
from control.apiserver.admission.webhook_review import BadAnswer, Verdict, allows_dry_run, answer, denied, question
from control.apiserver.admission.webhook_rules import MUTATING, VALIDATING, Hook, hooks_for, selected
from control.apiserver.conversion import from_stored
from control.apiserver.request import Caches, Review

log = logging.getLogger(__name__)


class Caller:
    """What both kinds of webhook share: finding them, calling them, and what their failure means."""

    def __init__(self, caches: Caches, client: WebhookClient) -> None:
        self._caches = caches
        self._client = client

    def hooks(self, review: Review, resource: str) -> Iterator[Hook]:
        """The webhooks that want to see the write as it is when they are asked for."""
        return hooks_for(review, resource, self._caches)

    def wants(self, hook: Hook, review: Review) -> bool:
        """Whether a webhook still wants to see it."""
        return selected(hook.webhook, review, self._caches)

    async def ask(self, hook: Hook, review: Review, *, may_patch: bool) -> Verdict | None:
        """None: it could not be asked, and its failurePolicy is Ignore. StatusErrors: 400, 500, or its refusal."""
        if review.dry_run and not allows_dry_run(hook):
            raise bad_request(f'admission webhook "{hook.name}" does not support dry run')
        uid = str(uuid.uuid4())
        asked = question(review, hook, uid, _as(review, hook, review.object), _as(review, hook, review.old))
        try:
            verdict = answer(await self._client.call(hook, asked), uid, may_patch=may_patch)
        except (CallFailed, BadAnswer) as problem:
            _failed(hook, review, str(problem))
            return None
        review.warnings.extend(verdict.warnings)
        review.audit.update({f"{hook.name}/{key}": value for key, value in verdict.audit.items()})
        if not verdict.allowed:
            raise denied(hook, verdict)
        return verdict


class ValidatingWebhooks:
    """All at once; the first refusal, in the order of the webhooks, is the answer."""

    name = "ValidatingAdmissionWebhook"

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def validate(self, review: Review) -> None:
        """StatusErrors of the webhooks; 422 for a configuration that cannot work here."""
        check_configuration(review)
        hooks = self._caller.hooks(review, VALIDATING)
        asking = [self._caller.ask(hook, review, may_patch=False) for hook in hooks]
        for result in await asyncio.gather(*asking, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result


class MutatingWebhooks:
    """One after another."""

    name = "MutatingAdmissionWebhook"

    def __init__(self, caller: Caller, again: Callable[[Review], Awaitable[None]]) -> None:
        """again: runs the built-in mutating plugins once more."""
        self._caller = caller
        self._again = again

    async def mutate(self, review: Review) -> None:
        """StatusErrors of the webhooks; 500 when a patch does not apply."""
        called: list[tuple[Hook, Object | None]] = []  # with what was there after it
        first = review.object
        for hook in self._caller.hooks(review, MUTATING):
            await self._call(hook, review)
            called.append((hook, review.object))
        if review.object is first:
            return
        before = copied(review.object)
        await self._again(review)
        settled = before == review.object
        for hook, seen in called:
            changed = not settled or seen is not review.object
            again = changed and hook.webhook.get("reinvocationPolicy") == "IfNeeded"
            if again and self._caller.wants(hook, review):
                await self._call(hook, review)

    async def _call(self, hook: Hook, review: Review) -> None:
        verdict = await self._caller.ask(hook, review, may_patch=True)
        if verdict is not None and verdict.patch and review.object is not None:
            review.object = patched(hook, review, verdict)


def patched(hook: Hook, review: Review, verdict: Verdict) -> Object:
    """The object as a webhook wants it, read and completed like a client's. StatusError 500: it cannot be. Pure."""
    before = _as(review, hook, review.object) or {}
    try:
        made: Object = json_patch.apply(before, verdict.patch)
        kind = _kind_of(before, hook, review)
        if not isinstance(made, dict) or any(made.get(f) != before.get(f) for f in ("apiVersion", "kind")):
            raise bad_request("it makes another kind of object of it")
        if kind is not None:
            made = apply_defaults(kind, decode.decode(kind, made, validation=decode.IGNORE).object)
    except StatusError as problem:
        raise internal_error(f'admission webhook "{hook.name}": its patch does not apply: {problem.message}') from None
    if hook.as_kind is not review.kind and made.get("apiVersion") == hook.as_kind.api_version:
        return from_stored(review.kind, made)
    return made


def check_configuration(review: Review) -> None:
    """StatusError 422 for a webhook with matchConditions: they are CEL, which this server does not evaluate."""
    if review.resource not in (VALIDATING, MUTATING) or review.object is None:
        return
    causes = [
        fielderrors.forbidden(
            f"webhooks[{index}].matchConditions", "this server evaluates no CEL; use rules and selectors"
        )
        for index, webhook in enumerate(review.object.get("webhooks") or ())
        if webhook.get("matchConditions")
    ]
    if causes:
        raise invalid(review.kind.name, meta.name(review.object), causes)


def _failed(hook: Hook, review: Review, why: str) -> None:
    if hook.fails_closed:
        raise internal_error(f'failed calling webhook "{hook.name}": failed to call webhook: {why}')
    log.warning("webhook %s of %s failed and is passed over: %s", hook.name, hook.configuration, why)
    review.audit[f"failed-open.webhook.admission.k8s.io/{hook.configuration}.{hook.name}"] = why


def _as(review: Review, hook: Hook, obj: Object | None) -> Object | None:
    """The object in the version that the webhook's rules name."""
    if obj is None or hook.as_kind is review.kind or obj.get("apiVersion") != review.kind.api_version:
        return obj
    return from_stored(hook.as_kind, obj)


def _kind_of(obj: Object, hook: Hook, review: Review) -> Kind | None:
    """What to read a patched object as. A subresource's object is of a kind of its own; None: it is not built in."""
    found = BUILTIN.by_kind(str(obj.get("apiVersion")), str(obj.get("kind")))
    return found or (None if review.info.subresource else hook.as_kind)
