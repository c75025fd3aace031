"""EncryptionConfiguration: what is written, what is read, and what is said when it cannot be."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from control.api.status import StatusError
from control.apiserver.security.encryption import load
from control.apiserver.security.encryption.values import ValueEncryption
from control.apiserver.storage import Extra, Storage

KEY = b"/registry/secrets/ns/s"
VALUE = b'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"p":"aHVudGVyMg=="}}'
SECRETS = {name: base64.b64encode(bytes([number]) * 32).decode() for number, name in enumerate("abc", 1)}


def key(name: str) -> dict[str, str]:
    return {"name": name, "secret": SECRETS[name]}


def gcm(*names: str) -> dict[str, Any]:
    return {"aesgcm": {"keys": [key(name) for name in names]}}


IDENTITY: dict[str, Any] = {"identity": {}}


def encryption(tmp_path: Path, *providers: dict[str, Any], resources: str = "secrets") -> ValueEncryption:
    path = tmp_path / "encryption.yaml"
    entry = {"resources": resources.split(), "providers": list(providers)}
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration"}
    path.write_text(yaml.safe_dump({**head, "resources": [entry]}))
    return load(path)


@pytest.mark.parametrize("provider", ["aesgcm", "aescbc", "secretbox"])
def test_round_trip(tmp_path: Path, provider: str) -> None:
    found = encryption(tmp_path, {provider: {"keys": [key("a")]}})
    stored = found.encrypt("secrets", KEY, VALUE)
    assert stored.startswith(f"k8s:enc:{provider}:v1:a:".encode())
    assert b"hunter" not in stored
    assert b"aHVudGVyMg" not in stored
    assert stored != found.encrypt("secrets", KEY, VALUE)
    assert found.decrypt("secrets", KEY, stored) == VALUE


def test_the_format_is_kubernetes(tmp_path: Path) -> None:
    stored = encryption(tmp_path, gcm("a")).encrypt("secrets", KEY, VALUE)
    data = stored.removeprefix(b"k8s:enc:aesgcm:v1:a:")
    assert AESGCM(base64.b64decode(SECRETS["a"])).decrypt(data[:12], data[12:], KEY) == VALUE


def test_only_what_is_named(tmp_path: Path) -> None:
    found = encryption(tmp_path, gcm("a"), resources="secrets *.apps widgets.example.com")
    for resource in ("secrets", "deployments.apps", "widgets.example.com"):
        assert found.encrypt(resource, KEY, VALUE).startswith(b"k8s:enc:")
    for resource in ("configmaps", "gadgets.example.com"):
        assert found.encrypt(resource, KEY, VALUE) == VALUE
    assert encryption(tmp_path, gcm("a"), resources="*.*").encrypt("pods", KEY, VALUE) != VALUE


def test_keys_are_rotated(tmp_path: Path) -> None:
    old = encryption(tmp_path, gcm("a"), IDENTITY).encrypt("secrets", KEY, VALUE)
    both = encryption(tmp_path, gcm("b", "a"), IDENTITY)
    assert both.decrypt("secrets", KEY, old) == VALUE
    assert both.encrypt("secrets", KEY, VALUE).startswith(b"k8s:enc:aesgcm:v1:b:")
    mixed = encryption(tmp_path, {"aescbc": {"keys": [key("c")]}}, gcm("a"))
    assert mixed.decrypt("secrets", KEY, old) == VALUE


def test_encryption_is_turned_on_and_off(tmp_path: Path) -> None:
    assert encryption(tmp_path, gcm("a"), IDENTITY).decrypt("secrets", KEY, VALUE) == VALUE
    stored = encryption(tmp_path, gcm("a")).encrypt("secrets", KEY, VALUE)
    off = encryption(tmp_path, IDENTITY, gcm("a"))
    assert off.encrypt("secrets", KEY, VALUE) == VALUE
    assert off.decrypt("secrets", KEY, stored) == VALUE


def refusal(found: ValueEncryption, value: bytes, key: bytes = KEY) -> str:
    with pytest.raises(StatusError) as refused:
        found.decrypt("secrets", key, value)
    assert refused.value.code == 500
    return refused.value.message


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    stored = encryption(tmp_path, gcm("a")).encrypt("secrets", KEY, VALUE)
    assert "written with aesgcm key a, which" in refusal(encryption(tmp_path, gcm("b"), IDENTITY), stored)
    assert "written with aesgcm key a, which" in refusal(encryption(tmp_path, IDENTITY), stored)
    assert "not encrypted" in refusal(encryption(tmp_path, gcm("a")), VALUE)
    other = encryption(tmp_path, {"aesgcm": {"keys": [{"name": "a", "secret": SECRETS["b"]}]}})
    assert "the key of that name is another" in refusal(other, stored)
    same = encryption(tmp_path, gcm("a"))
    assert "the value was changed" in refusal(same, stored[:-1] + bytes([stored[-1] ^ 1]))
    assert "the value was changed" in refusal(same, stored, b"/registry/secrets/ns/other")
    assert refusal(same, b"k8s:enc:")
    assert refusal(same, stored[:30])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not an EncryptionConfiguration"),
        ("{", "not YAML"),
        ("kind: EncryptionConfiguration", "at least one entry"),
        ("kind: EncryptionConfiguration\nresources: [{resources: [], providers: []}]", r"resources\[0\]\.resources"),
        ("kind: EncryptionConfiguration\nresources: [{resources: [s], providers: []}]", "at least one provider"),
        (
            "kind: EncryptionConfiguration\nresources: [{resources: [s], providers: [{kms: {}}]}]",
            "'kms' is not supported",
        ),
        ("kind: EncryptionConfiguration\nresources: [{resources: [s], providers: [{aesgcm: {}}]}]", r"aesgcm\.keys"),
    ],
)
def test_a_configuration_that_does_not_do(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "encryption.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as refused:
        load(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ([{"name": "a", "secret": "c2hvcnQ="}], "has 5 bytes; it must have 16 or 24 or 32"),
        ([{"name": "a", "secret": "hunter2!"}], "not base64"),
        ([{"secret": SECRETS["a"]}], "a name without colons"),
        ([key("a"), key("a")], "there twice"),
    ],
)
def test_a_key_that_does_not_do_is_named_and_not_shown(tmp_path: Path, keys: list[Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        encryption(tmp_path, {"aesgcm": {"keys": keys}})
    assert "hunter2" not in str(refused.value)


# ---- which rule a key is under ----


def stored(found: ValueEncryption, key: bytes, value: bytes = VALUE) -> bytes:
    """What a write puts into the store."""

    async def put(key: bytes, value: bytes | None, expected: int, extra: Extra) -> int:
        written.append(value or b"")
        return 1

    written: list[bytes] = []
    storage = Storage(None, found)  # type: ignore[arg-type]
    storage._commit = put  # type: ignore[method-assign]
    asyncio.run(storage.create(key, value))
    return written[0]


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        (b"/registry/deployments/ns/d", "deployments.apps"),
        (b"/registry/deployments/ns/d", "*.apps"),
        (b"/registry/jobs/ns/j", "*.batch"),
        (b"/registry/leases/ns/l", "leases.coordination.k8s.io"),
        (b"/registry/horizontalpodautoscalers/ns/h", "*.autoscaling"),
        (b"/registry/events/ns/e", "events"),
        (b"/registry/nodes/n1", "*."),
        (b"/registry/example.com/widgets/ns/w", "widgets.example.com"),
        (b"/registry/example.com/widgets/w", "*.example.com"),
    ],
)
def test_a_rule_finds_the_keys_of_its_resource(tmp_path: Path, key: bytes, rule: str) -> None:
    found = encryption(tmp_path, gcm("a"), resources=rule)
    sealed = stored(found, key)
    assert sealed.startswith(b"k8s:enc:aesgcm:v1:a:")
    assert Storage(None, found).open(key, sealed) == VALUE  # type: ignore[arg-type]


def test_the_core_groups_rule_is_for_the_core_group_only(tmp_path: Path) -> None:
    found = encryption(tmp_path, gcm("a"), resources="*.")
    assert stored(found, b"/registry/deployments/ns/d") == VALUE
    assert stored(found, b"/registry/example.com/widgets/ns/w") == VALUE


def test_what_was_written_before_groups_were_known_is_read(tmp_path: Path) -> None:
    key = b"/registry/deployments/ns/d"
    core, apps = encryption(tmp_path, gcm("a"), resources="*."), encryption(tmp_path, gcm("a"), resources="*.apps")
    sealed = core.encrypt("deployments", key, VALUE)
    assert Storage(None, core).open(key, sealed) == VALUE  # type: ignore[arg-type]
    assert Storage(None, apps).open(key, VALUE) == VALUE  # type: ignore[arg-type]
    with pytest.raises(StatusError, match=r"deployments\.apps at /registry/deployments/ns/d cannot be read"):
        Storage(None, encryption(tmp_path, gcm("b"), resources="*.apps")).open(key, sealed)  # type: ignore[arg-type]
    with pytest.raises(StatusError, match="not encrypted"):
        Storage(None, encryption(tmp_path, gcm("a"))).open(KEY, VALUE)  # type: ignore[arg-type]


def test_what_servers_note_beside_the_objects_is_no_object(tmp_path: Path) -> None:
    found = encryption(tmp_path, gcm("a"), resources="*.*")
    for key in (b"/registry/ranges/serviceips/10.0.0.1", b"/registry/masterleases/10.0.0.1:6443", b"/fluyt/x/y/z"):
        assert Storage(None, found).open(key, b"ns/name") == b"ns/name"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("*", r"'\*': write \*\. for the core group, or \*\.\* for everything"),
        ("deployments", r"'deployments': there is no such resource in the core group; write deployments\.apps"),
        ("*.events.k8s.io", "events are stored in the core group; write events"),
    ],
)
def test_a_rule_that_could_hold_for_nothing_is_refused(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        encryption(tmp_path, gcm("a"), resources=name)
    assert encryption(tmp_path, gcm("a"), resources="secrets podtemplates gadgets.example.com")
