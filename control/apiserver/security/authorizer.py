"""The authorizers in their order. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from control.apiserver.request import Attributes, Authorizer, Decision, User

MASTERS = "system:masters"


class AuthorizerChain:
    """The first authorizer that allows decides. Members of system:masters may do everything, whatever RBAC says."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = authorizers

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        if MASTERS in user.groups:
            return Decision(True)
        reasons = []
        for authorizer in self._authorizers:
            decision = authorizer.authorize(user, attributes)
            if decision.allowed:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, ", ".join(reasons))


class AlwaysAllow:
    """--authorization-mode=AlwaysAllow."""

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        return Decision(True)


class AlwaysDeny:
    """--authorization-mode=AlwaysDeny: nobody but system:masters."""

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        return Decision(False, "Everything is forbidden.")
