"""TokenRequest: new tokens for a service account, bound to a pod, a secret or a node. Source: the TokenRequest API."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import jwt

from control.api import meta
from control.api.schema import Object
from control.api.status import Cause, StatusError, conflict, forbidden, invalid
from control.apiserver.request import Objects
from control.apiserver.security.service_accounts.claims import LEGACY_ISSUER, Bound, Claims, user_name
from control.pki.token_keys import SigningKey

_DEFAULT, _SHORTEST, _LONGEST = 3600, 600, 1 << 32
_BOUND = {("v1", "Pod"): "pods", ("v1", "Secret"): "secrets", ("v1", "Node"): "nodes"}


class TokenIssuer:
    """Signs tokens."""

    def __init__(
        self,
        key: SigningKey,
        issuer: str,
        audiences: tuple[str, ...],
        objects: Objects,
        now: Callable[[], datetime],
        longest: int = 0,
    ) -> None:
        """audiences: of tokens whose request names none; longest: --service-account-max-token-expiration in seconds."""
        self._key = key
        self._issuer = issuer
        self._audiences = audiences
        self._objects = objects
        self._now = now
        self._longest = longest

    async def issue(self, namespace: str, name: str, request: Object) -> Object:
        """The request with its token. StatusErrors: 404, 409 for an object of another uid, 422, 403."""
        spec = request.get("spec") or {}
        seconds = spec.get("expirationSeconds") or _DEFAULT
        _check(request, seconds)
        seconds = min(seconds, self._longest or seconds)
        account = await self._account(namespace, name, meta.uid(request))
        bound, node = await self._bound(namespace, name, spec.get("boundObjectRef"))
        now = self._now()
        claims = Claims(
            *(namespace, name, meta.uid(account), self._issuer),
            audiences=tuple(spec.get("audiences") or self._audiences),
            bound=bound,
            node=node,
            not_before=now.timestamp(),
            expires=(now + timedelta(seconds=seconds)).timestamp(),
            id=meta.new_uid(secrets.token_bytes(meta.UID_BYTES)),
        )
        return self._answer(claims, {**spec, "expirationSeconds": seconds}, now)

    async def _account(self, namespace: str, name: str, wanted_uid: str) -> Object:
        account = await self._objects.get("serviceaccounts", namespace, name)
        if wanted_uid and wanted_uid != meta.uid(account):
            raise conflict("serviceaccounts", name, f"the UID in the token request ({wanted_uid}) is another")
        return account

    def _answer(self, claims: Claims, spec: Object, now: datetime) -> Object:
        expires = meta.timestamp(datetime.fromtimestamp(claims.expires, UTC))
        created = meta.timestamp(now)
        return {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"name": claims.name, "namespace": claims.namespace, "creationTimestamp": created},
            "spec": {**spec, "audiences": list(claims.audiences)},
            "status": {"token": self._sign(claims, now), "expirationTimestamp": expires},
        }

    def _sign(self, claims: Claims, now: datetime) -> str:
        verifying = self._key.verifying
        headers = {"kid": verifying.id}
        return jwt.encode(claims.payload(now.timestamp()), self._key.key, verifying.algorithm, headers)

    async def _bound(self, namespace: str, account: str, reference: Object | None) -> tuple[Bound | None, Bound | None]:
        if not reference:
            return None, None
        kind, name = str(reference.get("kind")), str(reference.get("name") or "")
        resource = _BOUND[reference.get("apiVersion") or "v1", kind]
        found = await self._objects.get(resource, "" if kind == "Node" else namespace, name)
        uid = meta.uid(found)
        if reference.get("uid") and reference["uid"] != uid:
            why = f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record ({uid})"
            raise conflict(resource, name, why)
        if kind == "Pod":
            return Bound(kind, name, uid), await self._node_of(found, account)
        return Bound(kind, name, uid), None

    async def _node_of(self, pod: Object, account: str) -> Bound | None:
        spec = pod.get("spec") or {}
        if (spec.get("serviceAccountName") or "default") != account:
            why = f"cannot bind token for serviceaccount {account!r} to pod running with different serviceaccount name."
            raise forbidden("serviceaccounts", account, why.replace("'", '"'))
        if not spec.get("nodeName"):
            return None
        try:
            node = await self._objects.get("nodes", "", spec["nodeName"])
        except StatusError as problem:
            if problem.code != 404:
                raise
            return None
        return Bound("Node", meta.name(node), meta.uid(node))


def legacy_token(key: SigningKey, account: Object, secret: str) -> str:
    """What a token controller writes into a secret of type kubernetes.io/service-account-token. Pure."""
    prefix, namespace, name = "kubernetes.io/serviceaccount/", meta.namespace(account), meta.name(account)
    payload = {
        "iss": LEGACY_ISSUER,
        "sub": user_name(namespace, name),
        f"{prefix}namespace": namespace,
        f"{prefix}secret.name": secret,
        f"{prefix}service-account.name": name,
        f"{prefix}service-account.uid": meta.uid(account),
    }
    return jwt.encode(payload, key.key, key.verifying.algorithm, {"kid": key.verifying.id})


def _check(request: Object, seconds: object) -> None:
    causes = []
    if not isinstance(seconds, int) or seconds < _SHORTEST:
        causes.append(_invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))
    elif seconds > _LONGEST:
        causes.append(
            _invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
        )
    reference = (request.get("spec") or {}).get("boundObjectRef")
    if reference:
        if (reference.get("apiVersion") or "v1", reference.get("kind")) not in _BOUND:
            causes.append(_invalid("spec.boundObjectRef", reference.get("kind"), "must be a v1 Pod, Secret or Node"))
        if not reference.get("name"):
            causes.append(Cause("FieldValueRequired", "Required value", "spec.boundObjectRef.name"))
    if causes:
        raise invalid("TokenRequest.authentication.k8s.io", meta.name(request), causes)


def _invalid(field: str, value: object, why: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else value
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {why}", field)
