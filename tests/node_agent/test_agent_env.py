"""Environment, expansion, fields, needs, credentials: by value."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from node_agent.pod.credentials import credentials_for
from node_agent.pod.env import environment, service_variables
from node_agent.pod.expand import expand
from node_agent.pod.fields import ConfigProblem, field_value, resource_value
from node_agent.pod.needs import Need, Sources, needs

Object = dict[str, Any]

POD: Object = {
    "metadata": {"name": "p", "namespace": "default", "uid": "u1", "labels": {"b": "2", "a": 'x"y'}},
    "spec": {
        "nodeName": "n1",
        "serviceAccountName": "robot",
        "containers": [{"name": "web", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}}}],
    },
    "status": {"podIP": "10.1.0.5", "hostIP": "10.0.0.1", "podIPs": [{"ip": "10.1.0.5"}, {"ip": "fd00::5"}]},
}
CONFIG = {"metadata": {"name": "conf"}, "data": {"a": "1", "bad=key": "2"}, "binaryData": {"b": "Mg=="}}
SECRET = {"metadata": {"name": "hush"}, "data": {"password": base64.b64encode(b"s3cret").decode()}}
SOURCES = Sources({("configmaps", "conf"): CONFIG, ("secrets", "hush"): SECRET})
NODE = {"cpu": "4", "memory": "8Gi"}


def env(container: Object, sources: Sources = SOURCES) -> dict[str, str]:
    return environment(POD, {"name": "web", **container}, sources, NODE).variables


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$$(A)", "$(A)"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$$(A)", "$1"),
        ("$(A", "$(A"),
        ("$A $ $$", "$A $ $"),
    ],
)
def test_expansion(text: str, value: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == value


def test_later_variables_win_and_see_earlier_ones() -> None:
    found = env(
        {
            "envFrom": [{"configMapRef": {"name": "conf"}, "prefix": "C_"}, {"secretRef": {"name": "hush"}}],
            "env": [
                {"name": "C_a", "value": "over"},
                {"name": "BOTH", "value": "$(C_a)-$(password)-$(LATER)"},
                {"name": "LATER", "value": "x"},
            ],
        }
    )
    assert found == {"C_a": "over", "C_b": "2", "password": "s3cret", "BOTH": "over-s3cret-$(LATER)", "LATER": "x"}


def test_keys_that_can_be_no_names_are_told() -> None:
    found = environment(POD, {"name": "web", "envFrom": [{"configMapRef": {"name": "conf"}}]}, SOURCES, NODE)
    assert found.skipped == [
        "Keys [bad=key] from the EnvFrom configMap default/conf were skipped since they are considered invalid "
        "environment variable names."
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k"}}}]},
            'configmap "no" not found',
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "hush", "key": "k"}}}]},
            "couldn't find key k in Secret default/hush",
        ),
        ({"envFrom": [{"secretRef": {"name": "no"}}]}, 'secret "no" not found'),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nope"}}}]},
            "unsupported fieldPath: spec.nope",
        ),
    ],
)
def test_what_is_missing_is_named(source: Object, message: str) -> None:
    with pytest.raises(ConfigProblem, match="^" + message.replace("(", r"\(")):
        env(source)


def test_what_is_optional_may_be_missing() -> None:
    optional = {"name": "no", "optional": True}
    wanted = {"name": "A", "valueFrom": {"configMapKeyRef": {**optional, "key": "k"}}}
    assert env({"envFrom": [{"secretRef": optional}], "env": [wanted]}) == {}


def test_damaged_base64_is_named() -> None:
    broken = {"metadata": {"name": "hush"}, "data": {"k": "%%%"}}
    with pytest.raises(ConfigProblem, match="the value of key k in secret hush is no base64"):
        env({"envFrom": [{"secretRef": {"name": "hush"}}]}, Sources({("secrets", "hush"): broken}))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.labels['b']", "2"),
        ("metadata.labels['none']", ""),
        ("metadata.labels", 'a="x\\"y"\nb="2"'),
        ("spec.serviceAccountName", "robot"),
        ("status.podIPs", "10.1.0.5,fd00::5"),
        ("status.hostIP", "10.0.0.1"),
    ],
)
def test_fields(path: str, value: str) -> None:
    assert field_value(POD, path) == value


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ({"resource": "limits.cpu"}, "2"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "requests.memory", "divisor": "1Mi"}, "64"),
        ({"resource": "limits.memory"}, str(64 << 20)),
        ({"resource": "limits.ephemeral-storage"}, "0"),
    ],
)
def test_resources(reference: Object, value: str) -> None:
    assert resource_value(POD, POD["spec"]["containers"][0], reference, NODE) == value


def test_a_limit_that_is_not_set_is_the_nodes() -> None:
    assert resource_value(POD, {"name": "x"}, {"resource": "limits.cpu"}, NODE) == "4"
    assert resource_value(POD, {}, {"resource": "limits.cpu", "containerName": "web"}, NODE) == "2"


def service(name: str, namespace: str, address: str = "10.96.0.7", ports: Any = None) -> Object:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "clusterIP": address,
            "ports": ports or [{"port": 80, "name": "http"}, {"port": 53, "protocol": "UDP"}],
        },
    }


def test_services() -> None:
    found = service_variables(POD, Sources(services=(service("my-db", "default"), service("far", "other"))))
    assert found == {
        "MY_DB_SERVICE_HOST": "10.96.0.7",
        "MY_DB_SERVICE_PORT": "80",
        "MY_DB_SERVICE_PORT_HTTP": "80",
        "MY_DB_PORT": "tcp://10.96.0.7:80",
        "MY_DB_PORT_80_TCP": "tcp://10.96.0.7:80",
        "MY_DB_PORT_80_TCP_PROTO": "tcp",
        "MY_DB_PORT_80_TCP_PORT": "80",
        "MY_DB_PORT_80_TCP_ADDR": "10.96.0.7",
        "MY_DB_PORT_53_UDP": "udp://10.96.0.7:53",
        "MY_DB_PORT_53_UDP_PROTO": "udp",
        "MY_DB_PORT_53_UDP_PORT": "53",
        "MY_DB_PORT_53_UDP_ADDR": "10.96.0.7",
    }


def test_without_links_only_the_api_is_known() -> None:
    shy = {**POD, "spec": {**POD["spec"], "enableServiceLinks": False}}
    services = (service("db", "default"), service("kubernetes", "default"), service("headless", "default", "None"))
    names = {name.split("_")[0] for name in service_variables(shy, Sources(services=services))}
    assert names == {"KUBERNETES"}


def test_needs_are_what_the_pod_names() -> None:
    of = {
        "spec": {
            "containers": [
                {
                    "name": "a",
                    "envFrom": [{"configMapRef": {"name": "c1"}}],
                    "env": [{"name": "x", "valueFrom": {"secretKeyRef": {"name": "s1", "key": "k", "optional": True}}}],
                }
            ],
            "volumes": [
                {"name": "v1", "configMap": {"name": "c2"}},
                {"name": "v2", "secret": {"secretName": "s2"}},
                {"name": "v3", "projected": {"sources": [{"secret": {"name": "s3"}}, {"downwardAPI": {}}]}},
            ],
            "imagePullSecrets": [{"name": "s4"}],
        }
    }
    assert needs(of) == {
        Need("configmaps", "c1"),
        Need("configmaps", "c2"),
        Need("secrets", "s1", True),
        Need("secrets", "s2"),
        Need("secrets", "s3"),
        Need("secrets", "s4", True),
    }


def pull_secret(auths: Object) -> Sources:
    text = base64.b64encode(json.dumps({"auths": auths}).encode()).decode()
    secret = {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": text}}
    return Sources({("secrets", "pull"): secret})


@pytest.mark.parametrize(
    ("server", "image", "fits"),
    [
        ("registry.example.com", "registry.example.com/team/app:1", True),
        ("registry.example.com/team", "registry.example.com/team/app:1", True),
        ("registry.example.com/tea", "registry.example.com/team/app:1", False),
        ("*.example.com", "registry.example.com/app", True),
        ("*.example.com", "a.b.example.com/app", False),
        ("https://index.docker.io/v1/", "nginx:1", True),
        ("https://index.docker.io/v1/", "localhost:5000/nginx", False),
    ],
)
def test_credentials_go_to_their_registry_only(server: str, image: str, fits: bool) -> None:
    auth = base64.b64encode(b"user:pass:word").decode()
    of = {"spec": {"imagePullSecrets": [{"name": "pull"}, {"name": "absent"}]}}
    found = credentials_for(image, of, pull_secret({server: {"auth": auth}}))
    assert [(c.username, c.password) for c in found] == ([("user", "pass:word")] if fits else [])


def test_damaged_pull_secrets_are_passed_over() -> None:
    of = {"spec": {"imagePullSecrets": [{"name": "pull"}]}}
    for data in ("!", base64.b64encode(b"[]").decode(), base64.b64encode(b'{"auths": []}').decode()):
        assert credentials_for("nginx", of, Sources({("secrets", "pull"): {"data": {".dockerconfigjson": data}}})) == []
