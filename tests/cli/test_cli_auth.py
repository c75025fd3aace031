"""`fluyt auth|user|role` beside etcdctl's: each on a store of its own, the same words give the same output."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

import pytest
from fluyt_process import Runner
from harness.binaries import subject
from harness.cluster import Cluster
from harness.etcdctl import Outcome, etcdctl
from harness.require import require

SESSION = [
    "user add",
    "user add root:pw",
    "user add root:pw",
    "user add :pw",
    "user add ann --new-user-password secret",
    "user add host --no-password",
    "user list",
    "user list extra",
    "role add r",
    "role add r",
    "role add w",
    "role list",
    "role grant-permission r read app/ --prefix",
    "role grant-permission r READWRITE app/a app/m",
    "role grant-permission r write z --from-key",
    "role grant-permission r write one",
    "role grant-permission r nonsense one",
    "role grant-permission r read",
    "role grant-permission r read a b --prefix",
    "role grant-permission r read a b --from-key",
    "role grant-permission r read a --prefix --from-key",
    "role grant-permission nobody read a",
    "role grant-permission w readwrite '' --prefix",
    "role get r",
    "role get w",
    "role get nobody",
    "role get",
    "user grant-role ann r",
    "user grant-role ann w",
    "user grant-role ann nobody",
    "user grant-role ann",
    "user get ann",
    "user get ann --detail",
    "user get nobody",
    "user revoke-role ann w",
    "user revoke-role ann w",
    "role revoke-permission r app/ --prefix",
    "role revoke-permission r app/a app/m",
    "role revoke-permission r z --from-key",
    "role revoke-permission r one",
    "role revoke-permission r one",
    "role get r",
    "role delete w",
    "role delete w",
    "user delete host",
    "user delete host",
    "auth status",
    "auth enable extra",
    "auth enable",
    "auth status",
    "auth status --user root:pw",
    "user list --user root:pw",
    "user list --user root:wrong",
    "lease grant 5 --user root:wrong",
    "lease revoke 5 --user root:wrong",
    "watch a --user root:wrong",
    "user list --user root --password pw",
    "user list --user ann:secret",
    "user get ann --user ann:secret",
    "put x y --user ann:secret",
    "user delete root --user root:pw",
    "user revoke-role root root --user root:pw",
    "auth disable --user ann:secret",
    "auth disable --user root:pw",
    "auth status",
]


def error_line(outcome: Outcome) -> str:
    """The last line that begins with "Error:"; etcdctl logs more, and repeats itself."""
    return next((line for line in reversed(outcome.stderr.splitlines()) if line.startswith("Error:")), "")


@pytest.fixture(scope="module")
def two_stores() -> Iterator[tuple[Cluster, Cluster]]:
    """Two empty stores of one kind, so that revisions and refusals are the same on both."""
    require("etcdctl-3.5")
    flags = ["--bcrypt-cost", "4"]
    with Cluster(subject(), 1, flags) as first, Cluster(subject(), 1, flags) as second:
        yield first, second


def test_a_session(two_stores: tuple[Cluster, Cluster], bare_fluyt: Runner) -> None:
    theirs, ours = two_stores
    for line in SESSION:
        words = shlex.split(line)
        expected = etcdctl("3.5", *words, endpoints=theirs.endpoints)
        got = bare_fluyt(f"--endpoints={','.join(ours.endpoints)}", *words)
        assert (line, got.stdout, got.code, error_line(got)) == (
            line,
            expected.stdout,
            expected.code,
            error_line(expected),
        )


@pytest.mark.parametrize("form", ["simple", "fields", "json", "protobuf", "table"])
def test_formats(two_stores: tuple[Cluster, Cluster], bare_fluyt: Runner, form: str) -> None:
    """On one store the bytes are the same; changes are made in pairs that leave nothing behind."""
    store = two_stores[0]
    endpoints = f"--endpoints={','.join(store.endpoints)}"
    for line in ("role add shown", "role grant-permission shown read a b", "role add other"):
        etcdctl("3.5", *shlex.split(line), endpoints=store.endpoints)
    for line in ("role list", "role get shown", "user list", "user get ann", "user get ann --detail", "auth status"):
        words = [*shlex.split(line), "-w", form]
        expected, got = etcdctl("3.5", *words, endpoints=store.endpoints), bare_fluyt(endpoints, *words)
        # Bytes that are no text are kept by one runner, and replaced by the other.
        shown = got.stdout.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        assert (line, shown, got.code) == (line, expected.stdout, expected.code)


@pytest.mark.parametrize(
    "command", ["user add piped{n} --interactive=false", "user passwd piped{n} --interactive=false"]
)
def test_password_from_a_pipe(two_stores: tuple[Cluster, Cluster], bare_fluyt: Runner, command: str) -> None:
    store = two_stores[1]
    endpoints = f"--endpoints={','.join(store.endpoints)}"
    expected = etcdctl("3.5", *command.format(n=1).split(), endpoints=store.endpoints, stdin="geheim\n")
    got = bare_fluyt(endpoints, *command.format(n=2).split(), stdin="geheim\n")
    assert (got.stdout.replace("2", "1"), got.code) == (expected.stdout, expected.code)


def test_password_asked_twice(two_stores: tuple[Cluster, Cluster], bare_fluyt: Runner) -> None:
    endpoints = f"--endpoints={','.join(two_stores[1].endpoints)}"
    run: Callable[..., Outcome] = bare_fluyt
    differing = run(endpoints, "user", "add", "twice", stdin="one\ntwo\n")
    assert (differing.code, error_line(differing)) == (128, "Error: given passwords are different")
    empty = run(endpoints, "user", "add", "twice", stdin="\n\n")
    assert (empty.code, error_line(empty)) == (128, "Error: empty password")
    good = run(endpoints, "user", "add", "twice", stdin="one\none\n")
    assert (good.code, good.stdout.rpartition(": ")[2]) == (0, "\nUser twice created\n")


def test_questions_for_a_password_end_their_line(two_stores: tuple[Cluster, Cluster], bare_fluyt: Runner) -> None:
    theirs, ours = two_stores
    words, stdin = ["user", "add", "asked"], "pw\npw\n"
    expected = etcdctl("3.5", *words, endpoints=theirs.endpoints, stdin=stdin)
    got = bare_fluyt(f"--endpoints={','.join(ours.endpoints)}", *words, stdin=stdin)
    assert (got.stdout, got.code) == (expected.stdout, expected.code)
