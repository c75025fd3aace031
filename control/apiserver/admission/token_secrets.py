"""Secrets of type kubernetes.io/service-account-token: long-lived tokens, for what cannot ask for short ones.

Kubernetes' controller fills them in a moment later; here they are whole from the start. Such a token ends with its
secret or its service account. Source: "Manually create a long-lived API token for a ServiceAccount".
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable

from control.api import meta
from control.api.names import SUFFIX_LENGTH, generated
from control.api.schema import Object
from control.api.status import StatusError, forbidden
from control.apiserver.request import Objects, Review

TYPE = "kubernetes.io/service-account-token"
ACCOUNT, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
Sign = Callable[[Object, str], str]


class TokenSecrets:
    """Fills in token, ca.crt and namespace of new ones."""

    name = "TokenSecrets"

    def __init__(self, objects: Objects, sign: Sign | None, authority: bytes) -> None:
        """sign: from (service account, secret's name) to a token; None: this server signs none. authority: PEM."""
        self._objects = objects
        self._sign = sign
        self._authority = authority

    async def mutate(self, review: Review) -> None:
        """StatusError 403 when the service account is not there, or another of that name was meant."""
        secret = review.object
        if review.resource != "secrets" or review.operation != "CREATE" or secret is None:
            return
        if secret.get("type") != TYPE or self._sign is None or not _name(secret):
            return
        account = await self._account(review, secret)
        meta.set_annotation(secret, UID, meta.uid(account))
        found = {
            "namespace": review.info.namespace.encode(),
            "token": self._sign(account, meta.name(secret)).encode(),
            **({"ca.crt": self._authority} if self._authority else {}),
        }
        encoded = {field: base64.b64encode(value).decode() for field, value in found.items()}
        secret["data"] = {**(secret.get("data") or {}), **encoded}

    async def _account(self, review: Review, secret: Object) -> Object:
        name = meta.annotations(secret).get(ACCOUNT, "")
        try:
            account = await self._objects.get("serviceaccounts", review.info.namespace, name)
        except StatusError as problem:
            if problem.code != 404:
                raise
            raise _refusal(secret, f'serviceaccount "{name}" not found') from None
        wanted = meta.annotations(secret).get(UID)
        if wanted and wanted != meta.uid(account):
            raise _refusal(secret, f'serviceaccount "{name}" has another uid than {wanted}')
        return account


def _name(secret: Object) -> str:
    """The secret's name, made now if it is to be generated: the token names its secret."""
    if not meta.name(secret) and (start := meta.metadata(secret).get("generateName")):
        secret["metadata"]["name"] = generated(start, os.urandom(SUFFIX_LENGTH))
    return meta.name(secret)


def _refusal(secret: Object, why: str) -> StatusError:
    return forbidden("secrets", meta.name(secret), f"error looking up the service account of a token: {why}")
