"""Nobody grants what they do not have: checks on writes of roles and bindings. Pure.

A user may write a rule into a role if they hold it themselves or may "escalate" the role, and may bind a role if they
hold its rules or may "bind" it. Every write of one that is there counts, whatever it changes, for labels decide which
roles are aggregated, and so who holds their rules; only what the garbage collector changes is free.
Source: "Privilege escalation prevention and bootstrapping" of the RBAC documentation; the behaviour of 1.32.
"""

from __future__ import annotations

from collections.abc import Iterable

from control.api import meta
from control.api.schema import Object
from control.api.status import StatusError, forbidden, not_found
from control.apiserver.request import Attributes, Authorizer, Review, User
from control.apiserver.security.authorizer import MASTERS
from control.apiserver.security.rbac.index import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    RbacIndex,
)
from control.apiserver.security.rbac.rules import Rule, uncovered

GROUP = "rbac.authorization.k8s.io"
# What the garbage collector writes, and what every write sets.
_NO_MATTER = frozenset({"ownerReferences", "finalizers", "selfLink", "managedFields", "resourceVersion"})
_EVERYTHING = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}]
# A refusal lists this many rules; the rest are counted.
_SHOWN = 20


class EscalationCheck:
    """A validating admission plugin that is always on."""

    name = "RBACEscalation"

    def __init__(self, index: RbacIndex, authorizer: Authorizer) -> None:
        self._index = index
        self._authorizer = authorizer

    def validate(self, review: Review) -> None:
        """StatusError 403; 404 when a binding names a role that is not there and the user may not bind it."""
        if review.object is None or MASTERS in review.user.groups:
            return
        if review.resource in (ROLES, CLUSTER_ROLES):
            self._check_role(review, review.object)
        elif review.resource in (ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS):
            self._check_binding(review, review.object)

    def _check_role(self, review: Review, role: Object) -> None:
        if review.old is not None and _same(review.old, role):
            return
        plural = review.kind.plural
        if self._may(review.user, "escalate", plural, meta.namespace(role), meta.name(role)):
            return
        # What an aggregating role gathers is not known beforehand, and to end it takes from those who rely on it.
        gathers = role.get("aggregationRule") or (review.old or {}).get("aggregationRule")
        self._require(review, map(Rule.of, [*(role.get("rules") or ()), *(_EVERYTHING if gathers else ())]))

    def _check_binding(self, review: Review, binding: Object) -> None:
        if review.old is not None and _same(review.old, binding):
            return
        reference = binding.get("roleRef") or {}
        name, namespace = str(reference.get("name") or ""), meta.namespace(binding)
        plural = "roles" if reference.get("kind") == "Role" else "clusterroles"
        if self._may(review.user, "bind", plural, namespace, name):
            return
        rules = self._index.rules_of_role((namespace if plural == "roles" else "", name))
        if rules is None:
            raise not_found(f"{plural}.{GROUP}", name)
        self._require(review, rules)

    def _may(self, user: User, verb: str, plural: str, namespace: str, name: str) -> bool:
        asked = Attributes(verb, GROUP, "v1", plural, namespace=namespace, name=name)
        return self._authorizer.authorize(user, asked).allowed

    def _require(self, review: Review, wanted: Iterable[Rule]) -> None:
        obj = review.object or {}
        lacking = uncovered(self._index.rules_of(review.user, meta.namespace(obj)), wanted)
        if lacking:
            raise _refusal(review, meta.name(obj), lacking)


def _refusal(review: Review, name: str, lacking: list[Rule]) -> StatusError:
    groups = " ".join(f'"{group}"' for group in review.user.groups)
    shown = [str(rule) for rule in lacking[:_SHOWN]]
    if len(lacking) > _SHOWN:
        shown.append(f"and {len(lacking) - _SHOWN} more")
    why = (
        f'user "{review.user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n'
        + "\n".join(shown)
    )
    return forbidden(review.resource, name, why)


def _same(old: Object, new: Object) -> bool:
    """Whether nothing changed that could matter to anybody's rights."""
    return _weighed(old) == _weighed(new)


def _weighed(obj: Object) -> tuple[Object, Object]:
    metadata = {key: value for key, value in meta.metadata(obj).items() if value and key not in _NO_MATTER}
    return metadata, {key: value for key, value in obj.items() if value and key != "metadata"}
