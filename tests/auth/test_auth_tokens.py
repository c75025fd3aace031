"""Tokens and remembered passwords, by a clock that the test moves."""

from __future__ import annotations

import random

import jwt
import pytest

from kvstore.auth import jwt_token, password_cache
from kvstore.auth.jwt_token import JwtTokens
from kvstore.auth.password_cache import PasswordCache
from kvstore.auth.simple_token import SimpleTokens
from kvstore.auth.tokens import NoTokens
from kvstore.auth.types import Identity
from kvstore.errors import EtcdError

SECRET = b"thirty-two bytes of secret, or so"


def test_a_token_lives_from_its_last_use() -> None:
    tokens = SimpleTokens(10)
    token = tokens.assign("ann", "abc", 7, now=100)
    assert token == "abc.7"
    for now in (109, 118, 127):
        assert tokens.identify(token, 5, now) == Identity("ann", 5)
    assert tokens.identify(token, 5, 137.5) is None
    assert len(tokens) == 0


def test_expiry_against_a_simple_model(seed: int) -> None:
    rng = random.Random(seed)
    tokens = SimpleTokens(10)
    model: dict[str, tuple[str, float]] = {}
    now = 0.0
    for step in range(3000):
        now += rng.choice([0, 0.1, 1, 4])
        action = rng.random()
        if action < 0.3:
            token = tokens.assign(rng.choice("abc"), f"t{step}", step, now)
            model[token] = ("abc"["abc".index(tokens.identify(token, 1, now).user)], now + 10)  # type: ignore[union-attr]
        elif action < 0.35:
            user = rng.choice("abc")
            tokens.invalidate(user)
            model = {token: entry for token, entry in model.items() if entry[0] != user}
        elif model:
            token = rng.choice(list(model))
            user, deadline = model[token]
            if deadline >= now:
                assert tokens.identify(token, 3, now) == Identity(user, 3)
                model[token] = (user, now + 10)
            else:
                assert tokens.identify(token, 3, now) is None
                del model[token]
    # What nobody asks for goes, too, when new ones come.
    tokens.assign("a", "last", 1, now + 100)
    assert len(tokens) == 1


def test_clear_forgets_all() -> None:
    tokens = SimpleTokens(10)
    token = tokens.assign("ann", "abc", 7, 0)
    tokens.clear()
    assert tokens.identify(token, 1, 0) is None


@pytest.mark.parametrize(
    ("token", "index"),
    [
        ("abc.12", 12),
        ("abc.0", 0),
        ("abc", 0),
        (".5", 0),
        ("a.b", 0),
        ("a.1.2", 0),
        ("a.+1", 0),
        ("a.1_0", 0),
        ("a.²", 0),
    ],
)
def test_the_entry_in_a_token(token: str, index: int) -> None:
    assert SimpleTokens(10).index_of(token) == index


def hs256(ttl: float = 60) -> JwtTokens:
    return JwtTokens("HS256", SECRET, SECRET, ttl)


def test_jwt_there_and_back() -> None:
    tokens = hs256()
    token = tokens.sign("ann", 7, 1000)
    assert jwt.decode(token, SECRET, ["HS256"], options={"verify_exp": False}) == {
        "username": "ann",
        "revision": 7,
        "exp": 1060,
    }
    assert tokens.identify(token, 99, 1059) == Identity("ann", 7)
    assert tokens.identify(token, 99, 1060) is None
    assert tokens.index_of(token) == 0


def test_only_the_method_of_the_flag() -> None:
    for method in ("HS384", "HS512"):
        token = jwt.encode({"username": "ann", "revision": 1}, SECRET * 2, algorithm=method)
        assert hs256().identify(token, 1, 0) is None
    assert hs256().identify(jwt.encode({"username": "ann", "revision": 1}, None, algorithm="none"), 1, 0) is None


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"username": "ann"},
        {"revision": 1},
        {"username": 1, "revision": 1},
        {"username": "ann", "revision": "1"},
        {"username": "ann", "revision": True},
        {"username": "ann", "revision": -1},
        {"username": "ann", "revision": 1e300},
        {"username": "ann", "revision": 1, "exp": "never"},
        {"username": "ann", "revision": 1, "nbf": "x"},
        {"username": "ann", "revision": 1, "iat": 1 << 80},
        {"username": "\ud800", "revision": 1},
    ],
)
def test_claims_that_cannot_be_right(claims: dict[str, object]) -> None:
    assert hs256().identify(jwt.encode(claims, SECRET, algorithm="HS256"), 1, 1000) is None


def test_verified_tokens_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwt_token, "CACHED", 3)
    tokens = hs256()
    made = [tokens.sign("ann", revision, 0) for revision in range(1, 6)]
    for token in made:
        assert tokens.identify(token, 1, 0)
    assert len(tokens._verified) == 3
    # A remembered one expires like any other.
    assert tokens.identify(made[-1], 1, 61) is None


def test_verify_only() -> None:
    with pytest.raises(EtcdError, match="verify-only key"):
        JwtTokens("HS256", None, SECRET, 60).sign("ann", 1, 0)


def test_no_tokens_at_all() -> None:
    tokens = NoTokens()
    assert tokens.identify("anything.1", 1, 0) is None
    with pytest.raises(EtcdError, match="authentication failed"):
        tokens.sign("ann", 1, 0)


def test_passwords_are_remembered_by_user_hash_and_process() -> None:
    cache, other = PasswordCache(b"k" * 32, size=2), PasswordCache(b"l" * 32)
    digest = cache.digest("ann", b"hash", "pw")
    assert digest not in cache
    cache.add(digest)
    assert cache.digest("ann", b"hash", "pw") in cache
    for differing in (
        cache.digest("bob", b"hash", "pw"),
        cache.digest("ann", b"new", "pw"),
        cache.digest("ann", b"hash", "Pw"),
        cache.digest("an", b"nhash", "pw"),
        other.digest("ann", b"hash", "pw"),
    ):
        assert differing not in cache
    cache.add(b"second")
    assert digest in cache
    cache.add(b"third")
    assert b"second" not in cache
    assert digest in cache
    cache.clear()
    assert digest not in cache
    assert password_cache.CACHED >= 1000
