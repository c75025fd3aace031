"""bcrypt in threads: right once and remembered, wrong ones asked each time, no more jobs than fit."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator

import bcrypt
import pytest

from kvstore.errors import EtcdError
from kvstore.member import passwords as module
from kvstore.member.passwords import Passwords


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    found = Passwords(4)
    yield found
    found.close()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords that bcrypt was asked about."""
    asked: list[bytes] = []
    check = module._check

    def counted(stored: bytes, password: bytes) -> bool:
        asked.append(password)
        return check(stored, password)

    monkeypatch.setattr(module, "_check", counted)
    return asked


def stored(passwords: Passwords, password: str) -> bytes:
    return base64.b64decode(asyncio.run(passwords.hash(password)))


def test_right_once(passwords: Passwords, calls: list[bytes]) -> None:
    kept = stored(passwords, "geheim ß")
    assert kept.startswith(b"$2a$04$")

    async def logins() -> list[bool]:
        together = await asyncio.gather(*(passwords.check("ann", kept, "geheim ß") for _ in range(50)))
        return [*together, await passwords.check("ann", kept, "geheim ß")]

    assert all(asyncio.run(logins()))
    assert len(calls) == 1
    assert not asyncio.run(passwords.check("ann", kept, "wrong"))
    assert not asyncio.run(passwords.check("ann", kept, "wrong"))
    assert len(calls) == 3
    passwords.forget()
    assert asyncio.run(passwords.check("ann", kept, "geheim ß"))
    assert len(calls) == 4


def test_a_caller_that_leaves_takes_nobody_along(passwords: Passwords) -> None:
    kept = stored(passwords, "pw")

    async def one_leaves() -> bool:
        leaving = asyncio.ensure_future(passwords.check("ann", kept, "pw"))
        staying = asyncio.ensure_future(passwords.check("ann", kept, "pw"))
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert asyncio.run(one_leaves())


def test_bounded(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    kept = stored(passwords, "pw")

    async def flood() -> list[object]:
        return await asyncio.gather(
            *(passwords.check("ann", kept, f"wrong {n}") for n in range(10)), return_exceptions=True
        )

    answers = asyncio.run(flood())
    assert [answer for answer in answers if answer is False] == [False] * 3
    assert {str(answer) for answer in answers if answer is not False} == {"etcdserver: too many requests"}
    assert asyncio.run(passwords.check("ann", kept, "pw"))


def test_long_passwords(passwords: Passwords) -> None:
    """New ones are refused, as by etcd today; those that older etcds cut after 72 bytes are still right."""
    with pytest.raises(EtcdError, match="bcrypt: password length exceeds 72 bytes"):
        asyncio.run(passwords.hash("x" * 73))
    assert asyncio.run(passwords.check("ann", stored(passwords, "x" * 72), "x" * 80))


@pytest.mark.parametrize("password", ["", "a\0b", "\0"])
def test_odd_passwords(passwords: Passwords, password: str) -> None:
    kept = stored(passwords, password)
    assert asyncio.run(passwords.check("ann", kept, password))
    assert not asyncio.run(passwords.check("ann", kept, password + "x"))


@pytest.mark.parametrize("kept", [b"", b"no hash", b"$2a$04$short"])
def test_what_is_no_hash_matches_nothing(passwords: Passwords, kept: bytes) -> None:
    assert not asyncio.run(passwords.check("ann", kept, ""))


def test_a_cost_that_bcrypt_does_not_know() -> None:
    for cost in (-1, 3, 32):
        chosen = Passwords(cost)
        assert chosen._cost == module.DEFAULT_COST
        chosen.close()


def test_hashes_of_others(passwords: Passwords) -> None:
    """Any bcrypt, such as Python's own 2b, is taken: users may come from elsewhere."""
    assert asyncio.run(passwords.check("ann", bcrypt.hashpw(b"pw", bcrypt.gensalt(4)), "pw"))
