"""Whatever a client sends: a Status with a 4xx code, never 500, and the server lives on."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from typing import Any

import pytest
from harness.api_site import Api, config_map, pod
from harness.plan import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

JSON = "application/json"
BODIES: dict[str, tuple[str, bytes]] = {
    "nothing": (JSON, b""),
    "half a body": (JSON, b'{"metadata": {"name": "a"'),
    "a list": (JSON, b"[]"),
    "a number": (JSON, b"1"),
    "null": (JSON, b"null"),
    "NaN": (JSON, b'{"metadata": {"name": NaN}}'),
    "wrong UTF-8": (JSON, b'{"metadata": {"name": "\xff\xfe"}}'),
    "a lone surrogate": (JSON, b'{"metadata": {"name": "\\ud800"}}'),
    "deep": (JSON, b'{"metadata":' + b'{"a":' * 5000 + b"1" + b"}" * 5001),
    "deep lists": (JSON, b"[" * 100_000),
    "a huge number": (JSON, b'{"metadata": {"name": "a", "generation": 1e400}}'),
    "metadata is a string": (JSON, b'{"metadata": "a"}'),
    "labels are numbers": (JSON, b'{"metadata": {"name": "a", "labels": {"a": 1}}}'),
    "no name": (JSON, b'{"metadata": {}}'),
    "a name with slashes": (JSON, b'{"metadata": {"name": "../../etc"}}'),
    "a name with NUL": (JSON, b'{"metadata": {"name": "a\\u0000b"}}'),
    "another kind": (JSON, b'{"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}}'),
    "another version": (JSON, b'{"kind": "ConfigMap", "apiVersion": "v7", "metadata": {"name": "a"}}'),
    "kind is a list": (JSON, b'{"kind": [], "metadata": {"name": "a"}}'),
    "another namespace": (JSON, b'{"metadata": {"name": "a", "namespace": "other"}}'),
    "a resourceVersion": (JSON, b'{"metadata": {"name": "a", "resourceVersion": "7"}}'),
    "an unknown type": ("application/cbor", b"{}"),
    "a form": ("application/x-www-form-urlencoded", b"a=b"),
    "broken YAML": ("application/yaml", b"a: [b"),
    "YAML with an object": ("application/yaml", b"!!python/object/apply:os.system ['true']"),
    "multiplying YAML": (
        "application/yaml",
        b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
        b"d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n",
    ),
    "no protobuf": ("application/vnd.kubernetes.protobuf", b"hello"),
    "half protobuf": ("application/vnd.kubernetes.protobuf", b"k8s\x00\x0a\xff"),
}

# The name is the URL's, the type is the patch's own.
FINE_TO_APPLY = ("no name", "an unknown type")


def check(reply: Any) -> None:
    assert 400 <= reply.code < 500, (reply.code, reply.body[:500])
    status = reply.obj
    assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", reply.code)
    assert status["message"]
    assert status["reason"]


@pytest.mark.parametrize("case", BODIES)
def test_bodies(api: Api, namespace: str, case: str) -> None:
    content_type, body = BODIES[case]
    check(api.ask("POST", f"{namespace}/configmaps", body, content_type=content_type))
    check(api.ask("PUT", f"{namespace}/configmaps/a", body, content_type=content_type))
    for patch in ("json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"):
        path = f"{namespace}/configmaps/none"
        if patch.startswith("apply") and case in FINE_TO_APPLY:
            continue
        check(api.ask("PATCH", path, body, content_type=f"application/{patch}", fieldManager="m"))
    assert api.ask("GET", f"{namespace}/configmaps").obj["items"] == []


def test_ten_megabytes(api: Api, namespace: str) -> None:
    big = api.ask("POST", f"{namespace}/configmaps", config_map("a", text="x" * 10_000_000))
    check(big)
    assert big.code == 413
    stored = api.ask("POST", f"{namespace}/configmaps", config_map("a", text="x" * 1_000_000))
    assert stored.code == 201
    too_much = api.ask("POST", f"{namespace}/configmaps", config_map("b", text="x" * 2_000_000))
    check(too_much)


def test_paths_and_parameters(api: Api, namespace: str) -> None:
    for method, path, code in (
        ("GET", "/nowhere", 404),
        ("GET", "/api/v2", 404),
        ("GET", "/api/v1/unknown", 404),
        ("GET", "/apis/apps/v9/deployments", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", "/api/v1/pods/a", 404),
        ("POST", "/api/v1/pods", 405),
        ("DELETE", "/api/v1/namespaces", 405),
        ("PUT", f"{namespace}/configmaps", 405),
        ("POST", f"{namespace}/configmaps/a", 405),
        ("TRACE", f"{namespace}/configmaps", 405),
        ("GET", f"{namespace}/configmaps/a/status", 404),
        ("GET", f"{namespace}/pods/a/nothing", 404),
        ("GET", f"{namespace}/configmaps?watch=1&timeoutSeconds=x", 400),
        ("GET", f"{namespace}/configmaps?resourceVersion=-1", 400),
        ("GET", f"{namespace}/configmaps?{'&'.join('a=b' for _ in range(500))}", 400),
        ("POST", f"{namespace}/configmaps?fieldValidation=Maybe", 400),
        ("GET", f"{namespace}/pods/none/log", 404),
        ("GET", f"{namespace}/pods/none/exec?command=x", 404),
        ("GET", "/fluyt/causes", 404),
    ):
        reply = api.ask(method, path, config_map("x") if method in ("POST", "PUT") else None)
        assert reply.code == code, (method, path, reply.body)
        check(reply)


def raw(api: Api, data: bytes, wait: bool = True) -> bytes:
    """What the server answers to bytes that are perhaps no HTTP."""
    with (
        socket.create_connection(("127.0.0.1", api.port), timeout=10) as plain,
        api.context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(data)
        if not wait:
            return b""
        answer = b""
        with contextlib.suppress(TimeoutError, ssl.SSLError, ConnectionError):
            while piece := secure.recv(65536):
                answer += piece
        return answer


def test_no_http(api: Api) -> None:
    for data in (
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
        b"POST /api HTTP/1.1\r\ncontent-length: 10\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /api HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    ):
        answer = raw(api, data)
        assert answer.startswith(b"HTTP/1.1 400"), (data[:40], answer[:200])
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == 400
    raw(api, b"POST /api/v1/namespaces HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{", wait=False)
    upgrade = raw(
        api,
        b"GET /api/v1/pods HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\nconnection: Upgrade\r\n"
        b"upgrade: h2c\r\n\r\n" % api.token.encode(),
    )
    assert upgrade.startswith(b"HTTP/1.1 200")
    assert api.ask("GET", "/readyz").code == 200


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("5")
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=12)  # fmt: skip  # noqa: E501


@st.composite
def broken(draw: st.DrawFn, obj: Any) -> Any:
    """The object with one or two places replaced by anything."""
    copy = json.loads(json.dumps(obj))
    for _ in range(draw(st.integers(1, 2))):
        at = copy
        while isinstance(at, dict | list) and at:
            key = draw(st.sampled_from(sorted(at)) if isinstance(at, dict) else st.integers(0, len(at) - 1))
            if not isinstance(at[key], dict | list) or not at[key] or draw(st.booleans()):
                at[key] = draw(VALUES)
                break
            at = at[key]
    return copy


PROBE = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 3}
RICH = pod("rich", volumes=[{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}}])
RICH["spec"]["containers"][0] |= {
    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
    "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    "ports": [{"containerPort": 80, "name": "http"}],
    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    "livenessProbe": PROBE,
}
RICH["metadata"] |= {"labels": {"a": "b"}, "annotations": {"c": "d"}, "ownerReferences": [], "finalizers": ["a.b/c"]}


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=broken(RICH), verb=st.sampled_from(["POST", "PUT", "merge", "strategic", "apply"]))
def test_any_damage_is_refused_or_taken(api: Api, namespace: str, body: Any, verb: str) -> None:
    path, text = f"{namespace}/pods", json.dumps(body)
    if verb == "POST":
        reply = api.ask("POST", path, text, dryRun="All")
    elif verb == "PUT":
        reply = api.ask("PUT", f"{path}/rich", text)
    elif verb == "apply":
        kind = "application/apply-patch+yaml"
        reply = api.ask("PATCH", f"{path}/rich", text, content_type=kind, fieldManager="f", dryRun="All")
    else:
        kind = "application/merge-patch+json" if verb == "merge" else "application/strategic-merge-patch+json"
        api.ask("POST", path, RICH)
        reply = api.ask("PATCH", f"{path}/rich", text, content_type=kind, dryRun="All")
    assert reply.code < 500, (verb, text, reply.body)
    if reply.code >= 400:
        check(reply)
