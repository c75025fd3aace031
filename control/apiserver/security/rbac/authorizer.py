"""RBAC as an Authorizer: allows what a role bound to the user allows, has no opinion on the rest. Pure.

Invariant: a remembered decision is never older than the last change of a role or binding: all are forgotten then.
"""

from __future__ import annotations

from control.apiserver.request import Attributes, Decision, User
from control.apiserver.security.rbac.index import RbacIndex

_MISSING = 'RBAC: clusterrole.rbac.authorization.k8s.io "{}" not found'
_MISSING_ROLE = 'RBAC: role.rbac.authorization.k8s.io "{}" not found'
# One entry is a few hundred bytes; a thousand controllers and nodes ask fewer different questions.
_REMEMBERED = 10_000


class RbacAuthorizer:
    """Answers from the index alone."""

    def __init__(self, index: RbacIndex) -> None:
        self.index = index
        self._known: dict[tuple[str, tuple[str, ...], Attributes], Decision] = {}
        self._as_of = -1

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        """The reason of a refusal names roles that bindings speak of and that do not exist: the usual mistake."""
        if self.index.generation != self._as_of or len(self._known) >= _REMEMBERED:
            self._known.clear()
            self._as_of = self.index.generation
        asked = (user.name, user.groups, attributes)
        found = self._known.get(asked)
        if found is None:
            found = self._known[asked] = self._decide(user, attributes)
        return found

    def _decide(self, user: User, attributes: Attributes) -> Decision:
        missing = []
        for grant in self.index.grants_of(user, attributes.namespace):
            rules = self.index.rules_of_role(grant.role)
            if rules is None:
                missing.append((_MISSING_ROLE if grant.role[0] else _MISSING).format(grant.role[1]))
            elif any(rule.allows(attributes) for rule in rules):
                return Decision(True, grant.describe(user))
        return Decision(False, ", ".join(missing))
