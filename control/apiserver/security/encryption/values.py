"""The server's Encryption: which provider writes a resource's values, and which read them. Pure but for the nonces.

Invariant: a value that a configured key wrote can always be read; one that no key fits is an error, never passed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from control.api.status import StatusError, internal_error
from control.apiserver.security.encryption.ciphers import PREFIX, ValueCipher, WrongKey


@dataclass(frozen=True, slots=True)
class Key:
    """One key. prefix: what its values begin with."""

    prefix: bytes
    cipher: ValueCipher

    def write(self, key: bytes, value: bytes) -> bytes:
        return self.prefix + self.cipher.seal(value, key)


@dataclass(frozen=True, slots=True)
class Identity:
    """No encryption."""

    def write(self, key: bytes, value: bytes) -> bytes:
        return value


Provider = Key | Identity


@dataclass(frozen=True, slots=True)
class Rule:
    """names: "secrets", "deployments.apps", "*.apps" (a group), "*." (the core group), "*.*" (all)."""

    names: tuple[str, ...]
    providers: tuple[Provider, ...]

    def concerns(self, resource: str) -> bool:
        group = resource.partition(".")[2]
        return any(name in ("*.*", resource) or (name.startswith("*.") and name[2:] == group) for name in self.names)


class ValueEncryption:
    """The first rule that names a resource holds for it; a resource that none names is not encrypted."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._known: dict[str, tuple[Provider, ...]] = {}

    def encrypt(self, resource: str, key: bytes, value: bytes) -> bytes:
        """The value as it is to be stored under that key."""
        return self._providers(resource)[0].write(key, value)

    def decrypt(self, resource: str, key: bytes, value: bytes) -> bytes:
        """What was encrypted. StatusError 500 that names the resource and what to do, not the value."""
        providers = self._providers(resource)
        if not value.startswith(PREFIX):
            if any(isinstance(provider, Identity) for provider in providers):
                return value
            raise _refusal(resource, key, "it is not encrypted; add the provider identity {} as the last")
        fitting = [p for p in providers if isinstance(p, Key) and value.startswith(p.prefix)]
        for provider in fitting:
            try:
                return provider.cipher.open(value[len(provider.prefix) :], key)
            except WrongKey:
                continue
        if fitting:
            raise _refusal(resource, key, "the key of that name is another now, or the value was changed")
        name = value[len(PREFIX) : len(PREFIX) + 100].split(b":")
        wanted = b" ".join([name[0], b"key", *name[2:3]]).decode(errors="replace")
        raise _refusal(resource, key, f"it was written with {wanted}, which --encryption-provider-config does not have")

    def _providers(self, resource: str) -> tuple[Provider, ...]:
        found = self._known.get(resource)
        if found is None:
            rule = next((rule for rule in self._rules if rule.concerns(resource)), None)
            found = self._known[resource] = rule.providers if rule else (Identity(),)
        return found


def _refusal(resource: str, key: bytes, why: str) -> StatusError:
    return internal_error(f"{resource} at {key.decode(errors='replace')} cannot be read: {why}")
