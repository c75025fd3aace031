"""Users as the API shows them: in reviews, to webhooks, in the audit log. Pure."""

from __future__ import annotations

from control.api.schema import Object
from control.apiserver.request import User


def user_info(user: User) -> Object:
    """A user as authentication.k8s.io's UserInfo."""
    found: Object = {"username": user.name}
    if user.uid:
        found["uid"] = user.uid
    if user.groups:
        found["groups"] = list(user.groups)
    if user.extra:
        found["extra"] = {key: list(values) for key, values in user.extra.items()}
    return found
