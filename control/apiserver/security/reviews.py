"""Kinds that are answered and not kept: token and access reviews, and tokens of service accounts.

Source: authentication.k8s.io/v1 and authorization.k8s.io/v1 in the API reference of 1.32.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from control.api import meta
from control.api.fieldselectors import FieldRequirement
from control.api.schema import Object
from control.api.status import Cause, StatusError, bad_request, internal_error, invalid
from control.apiserver.request import Attributes, Authorizer, Review, User
from control.apiserver.security.authenticator import AuthenticatorChain
from control.apiserver.security.rbac.index import RbacIndex
from control.apiserver.security.rbac.rules import Rule
from control.apiserver.security.service_accounts.issuer import TokenIssuer
from control.apiserver.security.service_accounts.verifier import ServiceAccountTokens
from control.apiserver.security.user_info import user_info

_AUTHORIZATION = "authorization.k8s.io"
_Answer = Callable[[Review, Object], Awaitable[Object]]


class ReviewAnswers:
    """The server's Answers."""

    def __init__(
        self,
        authenticator: AuthenticatorChain,
        authorizer: Authorizer,
        index: RbacIndex,
        tokens: ServiceAccountTokens,
        issuer: TokenIssuer | None,
    ) -> None:
        """issuer: None when the server has no signing key."""
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._index = index
        self._tokens = tokens
        self._issuer = issuer
        self._kinds: Mapping[str, _Answer] = {
            "TokenReview": self._token_review,
            "TokenRequest": self._token_request,
            "SelfSubjectReview": self._self_subject_review,
            "SubjectAccessReview": self._subject_access_review,
            "LocalSubjectAccessReview": self._local_subject_access_review,
            "SelfSubjectAccessReview": self._self_subject_access_review,
            "SelfSubjectRulesReview": self._self_subject_rules_review,
        }

    async def answer(self, review: Review) -> Object:
        """The object to answer a create with. StatusErrors 400, 404, 409, 422."""
        obj = review.object or {}
        kind = str(obj.get("kind") or "")
        if review.info.subresource == "token":
            kind = "TokenRequest"
        answer = self._kinds.get(kind)
        if answer is None:
            raise bad_request(f"objects of kind {kind!r} cannot be created here")
        return await answer(review, obj)

    async def _token_review(self, review: Review, obj: Object) -> Object:
        spec = obj.get("spec") or {}
        token, audiences = str(spec.get("token") or ""), tuple(spec.get("audiences") or ())
        if not token:
            raise bad_request("token is required for TokenReview in authentication")
        try:
            user = await self._authenticator.user_of_token(token, audiences)
        except StatusError as problem:
            if problem.code != 401:
                raise
            return _with_status(obj, {"error": problem.message})
        if user is None:
            return _with_status(obj, {})
        status: Object = {"authenticated": True, "user": user_info(user)}
        matched = self._tokens.matched_audiences(token, audiences)
        if matched:
            status["audiences"] = list(matched)
        return _with_status(obj, status)

    async def _token_request(self, review: Review, obj: Object) -> Object:
        if self._issuer is None:
            raise internal_error("this server has no --service-account-signing-key-file, so it issues no tokens")
        return await self._issuer.issue(review.info.namespace, review.info.name, obj)

    async def _self_subject_review(self, review: Review, obj: Object) -> Object:
        return _with_status(obj, {"userInfo": user_info(review.user)})

    async def _subject_access_review(self, review: Review, obj: Object) -> Object:
        spec = obj.get("spec") or {}
        user, groups = str(spec.get("user") or ""), tuple(spec.get("groups") or ())
        if not user and not groups:
            cause = Cause("FieldValueRequired", 'Invalid value: "": at least one of user or group must be specified')
            raise invalid(f"SubjectAccessReview.{_AUTHORIZATION}", "", [cause])
        extra = {key.lower(): tuple(values) for key, values in (spec.get("extra") or {}).items()}
        return self._decide(obj, User(user, str(spec.get("uid") or ""), groups, extra))

    async def _local_subject_access_review(self, review: Review, obj: Object) -> Object:
        spec = obj.get("spec") or {}
        namespace = (spec.get("resourceAttributes") or {}).get("namespace")
        if spec.get("nonResourceAttributes") or namespace != review.info.namespace:
            message = f'Invalid value: "{namespace or ""}": must match metadata.namespace'
            cause = Cause("FieldValueInvalid", message, "spec.resourceAttributes.namespace")
            raise invalid(f"LocalSubjectAccessReview.{_AUTHORIZATION}", "", [cause])
        return await self._subject_access_review(review, obj)

    async def _self_subject_access_review(self, review: Review, obj: Object) -> Object:
        return self._decide(obj, review.user)

    def _decide(self, obj: Object, user: User) -> Object:
        decision = self._authorizer.authorize(user, attributes_of(obj))
        status: Object = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return _with_status(obj, status)

    async def _self_subject_rules_review(self, review: Review, obj: Object) -> Object:
        namespace = str((obj.get("spec") or {}).get("namespace") or "")
        if not namespace:
            raise bad_request("no namespace on request")
        rules = list(self._index.rules_of(review.user, namespace))
        status: Object = {
            "resourceRules": [_resource_rule(rule) for rule in rules if not rule.urls],
            "nonResourceRules": [_url_rule(rule) for rule in rules if rule.urls],
            # A node has rights besides roles, which depend on its pods.
            "incomplete": "system:nodes" in review.user.groups,
        }
        return _with_status(obj, status)


def attributes_of(review: Object) -> Attributes:
    """What an access review asks. StatusError 422 when it asks both kinds of question, or none. Pure."""
    spec = review.get("spec") or {}
    resource: Object = spec.get("resourceAttributes") or {}
    path: Object = spec.get("nonResourceAttributes") or {}
    if bool(resource) == bool(path):
        which = "cannot specify both" if resource else "must specify one of"
        message = f'Invalid value: "": {which} resourceAttributes and nonResourceAttributes'
        cause = Cause("FieldValueInvalid", message, "spec.resourceAttributes")
        raise invalid(f"{review.get('kind')}.{_AUTHORIZATION}", meta.name(review), [cause])
    if path:
        return Attributes(str(path.get("verb") or ""), path=str(path.get("path") or ""))
    names = ("verb", "group", "version", "resource", "subresource", "namespace", "name")
    asked = {name: str(resource.get(name) or "") for name in names}
    return Attributes(**asked, field_selector=_field_selector(resource.get("fieldSelector") or {}))


def _field_selector(selector: Object) -> str:
    """What narrows the question. What a selector's text cannot say is left out: then more is asked for, not less."""
    if selector.get("rawSelector"):
        return str(selector["rawSelector"])
    narrow = (entry for entry in selector.get("requirements") or () if len(entry.get("values") or ()) == 1)
    signs = {"In": True, "NotIn": False}
    found = [
        str(FieldRequirement(str(entry.get("key")), str(entry["values"][0]), signs[entry["operator"]]))
        for entry in narrow
        if entry.get("operator") in signs
    ]
    return ",".join(found)


def _resource_rule(rule: Rule) -> Object:
    found = {"verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources, "resourceNames": rule.names}
    return {field: sorted(values) for field, values in found.items() if values or field == "verbs"}


def _url_rule(rule: Rule) -> Object:
    return {"verbs": sorted(rule.verbs), "nonResourceURLs": list(rule.urls)}


def _with_status(obj: Object, status: Object) -> Object:
    return {**obj, "metadata": {**meta.metadata(obj)}, "status": status}
