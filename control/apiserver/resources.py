"""Which kinds are served now, each with its cache; and the server's own way to read and write objects.

The catalogue grows and shrinks with CustomResourceDefinitions. Versions of one resource share a cache, which holds the
stored version's JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from control.api.catalogue import BUILTIN, Catalogue
from control.api.fieldselectors import selectable_fields
from control.api.kind import Kind
from control.api.schema import Object
from control.apiserver.feed import Feed
from control.apiserver.request import Changed
from control.apiserver.storage import Storage
from control.apiserver.watch_cache import WatchCache

# Few, small, and looked at in every request or by admission: kept parsed.
RETAINED: Final = frozenset(
    {
        "namespaces",
        "serviceaccounts",
        "limitranges",
        "resourcequotas",
        "priorityclasses.scheduling.k8s.io",
        "storageclasses.storage.k8s.io",
        "roles.rbac.authorization.k8s.io",
        "rolebindings.rbac.authorization.k8s.io",
        "clusterroles.rbac.authorization.k8s.io",
        "clusterrolebindings.rbac.authorization.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
    }
)


class Resources:
    """Kinds and caches; also what security and admission see as Caches."""

    def __init__(self, storage: Storage, feed: Feed) -> None:
        self.storage, self.feed = storage, feed
        self.catalogue: Catalogue = BUILTIN
        # Grows with every change of the catalogue: what is made from it is made anew.
        self.edition = 0
        self._caches: dict[str, WatchCache] = {}
        # The same by kind and by resource, found without making strings: several look-ups a request.
        self._by_kind: dict[int, WatchCache] = {}
        self._by_resource: dict[str, WatchCache] = {}

    def cache_of(self, kind: Kind) -> WatchCache:
        """The cache of a stored kind, filled or not."""
        found = self._by_kind.get(id(kind))
        if found is None:
            found = self._by_kind[id(kind)] = self._made(kind)
        return found

    def _made(self, kind: Kind) -> WatchCache:
        found = self._caches.get(kind.registry)
        if found is None:
            stored = self.catalogue.stored(kind)
            paths = tuple(path for path in selectable_fields(stored) if not path.startswith("metadata."))
            found = WatchCache(kind.registry.encode(), kind.namespaced, paths, retain=kind.resource in RETAINED)
            self._caches[kind.registry] = found
        return found

    async def loaded(self, kind: Kind) -> WatchCache:
        """The cache of a stored kind, filled. StatusError 503 when the store does not answer."""
        cache = self.cache_of(kind)
        if not cache.loaded:
            await self.feed.load(cache)
        return cache

    def replace_custom(self, kinds: Iterable[Kind]) -> None:
        """Serve these custom kinds besides the built-in ones, and no others."""
        self.catalogue = BUILTIN.extended(kinds)
        self.edition += 1
        self._by_kind.clear()
        self._by_resource.clear()
        served = {kind.registry for kind in self.catalogue}
        for registry in [registry for registry in self._caches if registry not in served]:
            self.feed.drop(self._caches.pop(registry).prefix)

    # ---- request.Caches ----

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """See request.Caches."""
        cached = self._named(resource).get(namespace, name)
        return cached.object() if cached else None

    def list(self, resource: str, namespace: str = "") -> Iterable[Object]:
        """See request.Caches."""
        return (cached.object() for cached in self._named(resource).snapshot(namespace))

    def forms(self, kind: Kind) -> Sequence[Kind]:
        """See request.Caches."""
        return self.catalogue.forms(kind)

    def subscribe(self, resource: str, changed: Changed) -> None:
        """See request.Caches."""
        self._named(resource).subscribe(changed)

    def _named(self, resource: str) -> WatchCache:
        found = self._by_resource.get(resource)
        if found is None:
            found = self._by_resource[resource] = self.cache_of(self.catalogue[resource])
        return found
