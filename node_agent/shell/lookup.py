"""Config maps, secrets, services and tokens for pods, asked for by need.

What a container's environment names is read when the container starts; while no server answers, a container that starts
again gets what the pod was given before, and the restart need not wait. What a volume holds is followed as long as the
pod is here, by a watch on that one object, so that a change reaches the volume within a moment; changed(uid) tells. So
a node asks for nothing but what its pods name, which is all that the node authorizer grants.

Faults assumed: servers away (StatusError and Unreachable reach the caller, who tries again), objects that do not exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from control.api.status import StatusError
from control.client.errors import Unreachable
from control.client.informer import Informer
from node_agent.pod import spec
from node_agent.pod.needs import Need, Sources, needs
from node_agent.pod.spec import Object
from node_agent.volumes.files import KINDS, TokenWish, token_wishes

log = logging.getLogger(__name__)

_SERVICES_TIMEOUT = 10.0
_Key = tuple[str, str, str]  # resource, namespace, name


class LookupClient(Protocol):
    """What this module needs of control.client.Client."""

    async def get(self, resource: str, name: str, namespace: str = "") -> Object: ...

    async def create(
        self, resource: str, obj: Object, *, namespace: str = "", subresource: str = "", name: str = ""
    ) -> Object: ...


@dataclass(slots=True)
class _Followed:
    """One object that volumes show. informer: None while its first read is under way."""

    informer: Informer
    users: set[str] = field(default_factory=set)
    task: asyncio.Task[Any] | None = None


@dataclass(slots=True)
class _Token:
    text: str
    renew: float  # seconds since 1970


class Lookup:
    """Of one node. changed(uid): something that the pod's volumes show is another now."""

    def __init__(self, client: Any, changed: Callable[[str], None], now: Callable[[], float]) -> None:
        self._client: LookupClient = client
        self._source: Any = client
        self._changed, self._now = changed, now
        self._followed: dict[_Key, _Followed] = {}
        self._tokens: dict[str, dict[tuple[str, str], _Token]] = {}
        self._before: dict[str, dict[_Key, Object]] = {}  # by pod: what was read for it
        self._services: Informer | None = None

    async def sources(self, pod: Object) -> Sources:
        """Everything that the pod names. Raises StatusError, Unreachable."""
        namespace = spec.namespace(pod)
        wanted = needs(pod)
        self._follow(pod)
        before = self._before.setdefault(spec.uid(pod), {})
        objects = await asyncio.gather(*(self._read(need, namespace, before) for need in wanted))
        found = {(need.resource, need.name): obj for need, obj in zip(wanted, objects, strict=True) if obj is not None}
        return Sources(found, tuple(await self._all_services()), await self._all_tokens(pod))

    async def find(self, resource: str, name: str, namespace: str) -> Object | None:
        """One object; None: it does not exist. Raises StatusError, Unreachable."""
        try:
            return await self._client.get(resource, name, namespace)
        except StatusError as refused:
            if refused.code == 404:
                return None
            raise

    async def _read(self, need: Need, namespace: str, before: dict[_Key, Object]) -> Object | None:
        key = (need.resource, namespace, need.name)
        followed = self._followed.get(key)
        if followed is not None and followed.informer.has_synced:
            return followed.informer.get(need.name, namespace)
        try:
            found = await self.find(need.resource, need.name, namespace)
        except Unreachable:
            if key not in before:
                raise
            return before[key]
        if found is None:
            before.pop(key, None)
        else:
            before[key] = found
        return found

    # ---- following what volumes show ----

    def _follow(self, pod: Object) -> None:
        namespace, uid = spec.namespace(pod), spec.uid(pod)
        volumes = [v for v in spec.spec(pod).get("volumes") or [] if any(kind in v for kind in KINDS)]
        for need in needs({"spec": {"volumes": volumes}}):
            key = (need.resource, namespace, need.name)
            followed = self._followed.get(key)
            if followed is None:
                followed = self._followed[key] = self._begin(key)
            followed.users.add(uid)

    def _begin(self, key: _Key) -> _Followed:
        resource, namespace, name = key
        informer = Informer(self._source, resource, namespace=namespace, field_selector=f"metadata.name={name}")
        followed = _Followed(informer)
        followed.task = asyncio.get_running_loop().create_task(self._run(followed), name=f"{resource} {name}")
        return followed

    async def _run(self, followed: _Followed) -> None:
        try:
            await followed.informer.start()
        except (StatusError, Unreachable) as problem:
            log.warning("an object of a volume cannot be followed: %s", problem)
            return
        followed.informer.subscribe(lambda old, new: self._news(followed))

    def _news(self, followed: _Followed) -> None:
        for uid in followed.users:
            self._changed(uid)

    def release(self, pod: Object) -> None:
        """The pod needs nothing any more."""
        uid = spec.uid(pod)
        self._tokens.pop(uid, None)
        self._before.pop(uid, None)
        for key, followed in list(self._followed.items()):
            followed.users.discard(uid)
            if not followed.users:
                del self._followed[key]
                asyncio.get_running_loop().create_task(self._end(followed))

    async def _end(self, followed: _Followed) -> None:
        if followed.task is not None:
            followed.task.cancel()
            await asyncio.gather(followed.task, return_exceptions=True)
        await followed.informer.stop()

    async def close(self) -> None:
        ends = [self._end(followed) for followed in self._followed.values()]
        self._followed.clear()
        await asyncio.gather(*ends)
        if self._services is not None:
            await self._services.stop()

    # ---- services ----

    async def _all_services(self) -> list[Object]:
        """Services of every namespace, followed from the first need on. Raises Unreachable."""
        if self._services is None:
            self._services = Informer(self._source, "services")
            starting = asyncio.get_running_loop().create_task(self._services.start())
            self._starting = starting
        if not self._services.has_synced:
            try:
                async with asyncio.timeout(_SERVICES_TIMEOUT):
                    await asyncio.shield(self._starting)
            except TimeoutError:
                raise Unreachable({"services": "they have not been read once yet"}) from None
        return list(self._services.objects.values())

    # ---- tokens ----

    async def _all_tokens(self, pod: Object) -> dict[tuple[str, str], str]:
        """A token for each that a projected volume of the pod holds, renewed when most of its time is over."""
        have = self._tokens.setdefault(spec.uid(pod), {})
        for wish in token_wishes(pod):
            key = (wish.volume, wish.path)
            if key not in have or have[key].renew <= self._now():
                with contextlib.suppress(StatusError, Unreachable) if key in have else contextlib.nullcontext():
                    have[key] = await self._ask_token(pod, wish)
        return {key: token.text for key, token in have.items()}

    async def _ask_token(self, pod: Object, wish: TokenWish) -> _Token:
        account = spec.spec(pod).get("serviceAccountName") or "default"
        reference = {"apiVersion": "v1", "kind": "Pod", "name": spec.name(pod), "uid": spec.metadata(pod)["uid"]}
        request: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"name": account, "namespace": spec.namespace(pod)},
            "spec": {
                "audiences": [wish.audience] if wish.audience else [],
                "expirationSeconds": wish.seconds,
                "boundObjectRef": reference,
            },
        }
        answer = await self._client.create(
            "serviceaccounts", request, namespace=spec.namespace(pod), subresource="token", name=account
        )
        status = answer.get("status") or {}
        left = spec.seconds_of(status.get("expirationTimestamp")) - self._now()
        return _Token(str(status.get("token", "")), self._now() + min(left * 0.8, 86_400.0))

    def tokens_due(self) -> list[str]:
        """Pods with a token that should be renewed now."""
        now = self._now()
        return [uid for uid, tokens in self._tokens.items() if any(token.renew <= now for token in tokens.values())]
