"""--encryption-provider-config: which resources are encrypted, with which keys. Read once, at start.

Keys are rotated as Kubernetes' documentation says: add the new key as the second, restart all servers, make it the
first, restart, write all values again (kubectl get secrets -A -o json | kubectl replace -f -), remove the old one.
The first provider's first key writes; every key reads what it wrote. Source: "Encrypting Confidential Data at Rest".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from control.api.catalogue import BUILTIN
from control.apiserver.security.encryption.ciphers import CIPHERS, PREFIX
from control.apiserver.security.encryption.values import Identity, Key, Provider, Rule, ValueEncryption

_KINDS = ("EncryptionConfiguration", "EncryptionConfig")


def load(path: Path) -> ValueEncryption:
    """OSError; ValueError with the file's name and the place in it, never with a secret."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else 0
        raise ValueError(f"{path}: not YAML, at line {line}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ValueError(f"{path}: not YAML") from None
    try:
        return ValueEncryption(list(_rules(document)))
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def _rules(document: Any) -> Iterator[Rule]:
    if not isinstance(document, dict) or document.get("kind") not in _KINDS:
        raise ValueError("not an EncryptionConfiguration (apiVersion: apiserver.config.k8s.io/v1)")
    entries = document.get("resources")
    if not isinstance(entries, list) or not entries:
        raise ValueError("resources: there must be at least one entry")
    for index, entry in enumerate(entries):
        where = f"resources[{index}]"
        names = entry.get("resources") if isinstance(entry, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names) or not names:
            raise ValueError(f"{where}.resources: a list of resources, as secrets or *.apps, is needed")
        for name in names:
            _check_name(name, f"{where}.resources")
        yield Rule(tuple(names), tuple(_providers(entry.get("providers"), f"{where}.providers")))


def _check_name(name: str, where: str) -> None:
    """A rule that could hold for nothing would leave in clear what it was written for."""
    if name == "*":
        raise ValueError(f"{where}: {name!r}: write *. for the core group, or *.* for everything")
    if name.endswith(".events.k8s.io"):
        raise ValueError(f"{where}: {name!r}: events are stored in the core group; write events")
    grouped = [kind.resource for kind in BUILTIN if kind.plural == name and kind.group]
    if grouped and BUILTIN.by_resource(name) is None:
        raise ValueError(f"{where}: {name!r}: there is no such resource in the core group; write {grouped[0]}")


def _providers(entries: Any, where: str) -> Iterator[Provider]:
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{where}: there must be at least one provider")
    for index, entry in enumerate(entries):
        place = f"{where}[{index}]"
        if not isinstance(entry, dict) or len(entry) != 1:
            raise ValueError(f"{place}: exactly one provider is needed")
        [(name, settings)] = entry.items()
        if name == "identity":
            yield Identity()
        elif name in CIPHERS:
            yield from _keys(name, settings, f"{place}.{name}")
        else:
            raise ValueError(
                f"{place}: provider {name!r} is not supported; there are {', '.join(CIPHERS)} and identity"
            )


def _keys(provider: str, settings: Any, where: str) -> Iterator[Key]:
    entries = settings.get("keys") if isinstance(settings, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{where}.keys: there must be at least one key")
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
    for index, entry in enumerate(entries):
        name, place = names[index], f"{where}.keys[{index}]"
        if not isinstance(name, str) or not name or ":" in name:
            raise ValueError(f"{place}.name: a name without colons is needed")
        if names.count(name) > 1:
            raise ValueError(f"{place}.name: {name!r} is there twice")
        try:
            cipher = CIPHERS[provider](base64.b64decode(str(entry.get("secret") or ""), validate=True))
        except binascii.Error:
            raise ValueError(f"{place}.secret: not base64") from None
        except ValueError as problem:
            raise ValueError(f"{place}.secret: {problem}") from None
        yield Key(PREFIX + f"{provider}:v1:{name}:".encode(), cipher)
