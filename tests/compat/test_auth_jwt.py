"""JSON web tokens: ours and etcd's take each other's; forged, expired and outdated ones are refused alike."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from auth_users import add_users, login, outcome
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from harness.binaries import subject
from harness.cluster import Cluster
from harness.fluyt_here import fluyt_here
from harness.require import require
from harness.stubs import Stub
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb

BAD_TOKEN = "etcdserver: invalid auth token"
OLD_TOKEN = "etcdserver: revision of auth store is old"
METHODS = ["RS256", pytest.param("PS384", marks=pytest.mark.soak), "ES256", "HS256"]


class Keys:
    """A key pair on disk. sign: what tokens are made with here."""

    def __init__(self, folder: Path, method: str) -> None:
        self.method = method
        self.private, self.public = folder / f"{method}.key", folder / f"{method}.pub"
        if method.startswith("HS"):
            self.sign: Any = b"a secret of more than thirty-two bytes"
            self.private.write_bytes(self.sign)
            return
        if method.startswith("ES"):
            self.sign = ec.generate_private_key(ec.SECP256R1())
        else:
            self.sign = rsa.generate_private_key(65537, 2048)
        pem = serialization.Encoding.PEM
        # etcd 3.5.1 reads elliptic keys only in their own form, not in PKCS8.
        form = serialization.PrivateFormat.TraditionalOpenSSL
        self.private.write_bytes(self.sign.private_bytes(pem, form, serialization.NoEncryption()))
        public = self.sign.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.public.write_bytes(public)

    def flags(self, ttl: str = "10m", verify_only: bool = False) -> list[str]:
        """The member's flags."""
        parts = ["jwt", f"sign-method={self.method}", f"ttl={ttl}"]
        if self.public.exists():
            parts.append(f"pub-key={self.public}")
        if not verify_only:
            parts.append(f"priv-key={self.private}")
        return ["--bcrypt-cost", "4", "--auth-token", ",".join(parts)]

    def token(self, **claims: Any) -> str:
        """A token with these claims beside the usual ones; None takes one away."""
        all_claims = {"username": "ann", "revision": 100, "exp": time.time() + 60, **claims}
        return jwt.encode({k: v for k, v in all_claims.items() if v is not None}, self.sign, algorithm=self.method)


def put(key: bytes = b"a/1") -> Any:
    """A put, as outcome() takes it."""
    return "Put", pb.PutRequest(key=key, value=b"v")


@pytest.mark.parametrize("method", METHODS)
def test_the_same_tokens_here_and_there(new_cluster: Any, tmp_path: Path, method: str) -> None:
    require("etcd-3.5")
    keys = Keys(tmp_path, method)
    clusters = [new_cluster(kind, 1, flags=keys.flags()) for kind in ("etcd-3.5", subject())]
    for cluster in clusters:
        add_users(cluster.stub())
        cluster.stub().AuthEnable(pb.AuthEnableRequest())
    made_there, made_here = (login(cluster.stub(), "ann") for cluster in clusters)
    stories = [_story(cluster.stub(), keys, [made_there, made_here], tmp_path) for cluster in clusters]
    assert stories[1] == stories[0]
    assert stories[1]["made"] == ["ok", "ok"]
    assert stories[1]["expired"] == stories[1]["forged"] == stories[1]["unsigned"] == BAD_TOKEN


def _story(stub: Stub, keys: Keys, made: list[str], folder: Path) -> dict[str, Any]:
    other = folder / "other"
    other.mkdir(exist_ok=True)
    header, claims, _ = made[0].split(".")
    tokens = {
        "our own": keys.token(),
        "no expiry": keys.token(exp=None),
        "expired": keys.token(exp=time.time() - 1),
        "not yet": keys.token(nbf=time.time() + 60),
        "forged": Keys(other, keys.method).token() if keys.method != "HS256" else jwt.encode({}, b"x" * 40),
        "unsigned": f"{header}.{claims}.",
        "another method": jwt.encode({"username": "root", "revision": 100}, b"k" * 64, algorithm="HS512"),
        "none": jwt.encode({"username": "root", "revision": 100}, None, algorithm="none"),
        "nobody": keys.token(username="nobody"),
        "nonsense": "x.y.z",
    }
    answers: dict[str, Any] = {name: outcome(stub, token, *put()) for name, token in tokens.items()}
    answers["made"] = [outcome(stub, token, *put()) for token in made]
    answers["read"] = outcome(stub, made[0], "Range", pb.RangeRequest(key=b"a/1"))
    answers["read denied"] = outcome(stub, made[0], "Range", pb.RangeRequest(key=b"b/1"))
    return answers


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Keys]]:
    """Three members that make and take ES256 tokens, auth on."""
    require(subject())
    keys = Keys(tmp_path_factory.mktemp("keys"), "ES256")
    with Cluster(subject(), 3, flags=keys.flags()) as cluster:
        add_users(cluster.stub())
        cluster.stub().AuthEnable(pb.AuthEnableRequest())
        yield cluster, keys


def test_old_after_any_change(ours: tuple[Cluster, Keys]) -> None:
    """A token says the auth revision it was made at: after a change its requests are refused, new ones are not."""
    stub = ours[0].stub()
    token, root = login(stub, "ann"), login(stub, "root")
    assert outcome(stub, token, *put()) == "ok"
    assert outcome(stub, root, "RoleAdd", pb.AuthRoleAddRequest(name="new")) == "ok"
    assert outcome(stub, token, *put()) == OLD_TOKEN
    assert outcome(stub, token, "Range", pb.RangeRequest(key=b"a/1")) == OLD_TOKEN
    # What root alone may do does not hang on the revision, as in etcd.
    assert outcome(stub, root, "RoleAdd", pb.AuthRoleAddRequest(name="newer")) == "ok"
    assert outcome(stub, login(stub, "ann"), *put()) == "ok"


def test_tokens_outlive_restarts(ours: tuple[Cluster, Keys]) -> None:
    cluster, _ = ours
    token = login(cluster.stub(1), "ann")
    cluster.kill_all()
    for index in range(3):
        cluster.launch(index)
    for index in range(3):
        stub = cluster.stub(index)
        wait_until(lambda stub=stub: outcome(stub, token, *put()) == "ok", "the member to serve", timeout=40)


def test_a_member_with_the_public_key_alone(new_cluster: Any, tmp_path: Path) -> None:
    """It takes tokens and makes none."""
    keys = Keys(tmp_path, "RS256")
    cluster = new_cluster(subject(), 1, flags=keys.flags(verify_only=True))
    stub = cluster.stub()
    add_users(stub)
    stub.AuthEnable(pb.AuthEnableRequest())
    with pytest.raises(grpc.RpcError) as refused:
        login(stub, "ann")
    assert refused.value.details() == "auth: token signing attempted with verify-only key"
    assert outcome(stub, keys.token(), *put()) == "ok"


@pytest.fixture(scope="module")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name → path of keys that fit and of some that do not."""
    folder, names = tmp_path_factory.mktemp("keys"), {}
    for method, name, place in (("RS256", "rs", "one"), ("ES256", "es", "one"), ("RS256", "rs2", "two")):
        (folder / place).mkdir(exist_ok=True)
        keys = Keys(folder / place, method)
        names |= {name: str(keys.private), f"{name}_pub": str(keys.public)}
    return names


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("jwt", "sign-method must be one of"),
        ("jwt,sign-method=RS999", "sign-method must be one of"),
        ("jwt,sign-method=RS256", "needs priv-key"),
        ("jwt,sign-method=HS256", "needs its secret"),
        ("jwt,sign-method=RS256,priv-key=/nowhere/key", "cannot read priv-key /nowhere/key"),
        ("jwt,sign-method=RS256,priv-key={es}", "does not fit the sign-method"),
        ("jwt,sign-method=ES256,pub-key={rs_pub}", "does not fit the sign-method"),
        ("jwt,sign-method=RS256,priv-key={rs},pub-key={rs2_pub}", "do not belong together"),
        ("jwt,sign-method=RS256,priv-key={rs_pub}", "holds no private key"),
        ("jwt,sign-method=RS256,priv-key={rs},ttl=soon", "is not a duration"),
        ("jwt,sign-method=RS256,sign-method=RS256", "given twice"),
        ("jwt,sign-method", "not of the form"),
        ("wrong", "is no kind of token"),
    ],
)
def test_options_that_cannot_be_right(tmp_path: Path, key_files: dict[str, str], option: str, complaint: str) -> None:
    """One line with the cause, exit code 1, and no data directory left behind that a right flag would trip over."""
    words = ["--data-dir", str(tmp_path / "data"), "--auth-token", option.format(**key_files)]
    run = fluyt_here("store", *words)
    assert run.code == 1
    lines = [line for line in run.stderr.splitlines() if line.startswith("fluyt store:")]
    assert len(lines) == 1
    assert complaint in lines[0]
    assert not (tmp_path / "data").exists()
