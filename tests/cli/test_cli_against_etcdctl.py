"""The same commands given to etcdctl 3.5 and to fluyt: the same bytes on stdout, the same exit code, the same error."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from fluyt_process import Runner
from harness.cluster import Cluster
from harness.etcdctl import Outcome, etcdctl
from harness.require import require

FORMATS = ("simple", "fields", "json", "protobuf", "table")


def error_line(outcome: Outcome) -> str:
    """The last line that begins with "Error:"; etcdctl logs more, and repeats itself."""
    return next((line for line in reversed(outcome.stderr.splitlines()) if line.startswith("Error:")), "")


# ---- on one store, where both must print the very same bytes ----

_READS = [
    ["get", "{n}a"],
    ["get", "{n}none"],
    ["get", "--prefix", "{n}"],
    ["get", "--prefix={b}", "{n}b"],
    ["get", "{n}a", "{n}c"],
    ["get", "--from-key", "{n}", "--limit", "2"],
    ["get", "{n}", "--prefix", "--limit=1"],
    ["get", "{n}", "--prefix", "--keys-only"],
    ["get", "{n}", "--prefix", "--order", "descend"],
    ["get", "{n}", "--prefix", "--sort-by", "VALUE"],
    ["get", "{n}", "--prefix", "--sort-by", "modify", "--order", "DESCEND"],
    ["get", "{n}", "--prefix", "--sort-by=version", "--limit", "1"],
    ["get", "{n}", "--prefix", "--consistency", "s"],
    ["get", "{n}a", "--print-value-only"],
    ["get", "{n}", "--prefix", "--count-only"],
    ["get", "{n}a", "--rev", "999999999"],
    ["--hex", "get", "{n}bin"],
    ["get", "{n}bin", "-w", "fields"],
    ["del", "{n}none"],
    ["del", "{n}none", "--prefix", "--prev-kv"],
    ["lease", "timetolive", "12345", "--keys"],
    ["lease", "timetolive", "7fffffffffffffff"],
    ["lease", "keep-alive", "12345"],
    ["lease", "keep-alive", "--once", "12345"],
    ["lease", "revoke", "12345"],
    ["member", "list"],
    ["--hex", "member", "list"],
    ["endpoint", "hashkv"],
    ["endpoint", "hashkv", "--cluster"],
    ["alarm", "list"],
    ["mem", "li"],
    ["move-leader", "12345"],
    ["member", "remove", "12345"],
    ["member", "promote", "12345"],
    ["defrag"],
]


@pytest.mark.parametrize("form", FORMATS)
def test_reads_are_byte_for_byte_the_same(store: Cluster, fluyt: Runner, name: str, form: str) -> None:
    require("etcdctl-3.5")
    for key, value in (
        ("a", "1"),
        ("a", "<3 & more>"),
        ("b", ""),
        ("c", "gr\u00fc\u00dfe\n\ttab\u2028"),
        ("del\x7f", "\x7f"),
        ("bin", "x"),
    ):
        assert etcdctl("3.5", "put", name + key, value, endpoints=store.endpoints).code == 0
    assert fluyt("put", name + "bin", stdin=b'\xff\xfe\x00\xc3(\x1b"\\').stdout == "OK\n"
    for template in _READS:
        words = [word.format(n=name, b="true") for word in template]
        if form == "protobuf" and words[:2] == ["lease", "timetolive"]:
            # etcdctl prints the header alone here, by mistake.
            continue
        theirs, ours = _both(store, fluyt, ["-w", form, *words])
        assert (ours.code, ours.stdout) == (theirs.code, theirs.stdout), words
        # For calls that a store does not know, etcd's Go client adds its own words.
        assert error_line(ours) == re.sub(r"rpc error: code = \w+ desc = ", "", error_line(theirs)), words


def _both(store: Cluster, fluyt: Runner, words: list[str]) -> tuple[Outcome, Outcome]:
    binary = subprocess.run(
        [require("etcdctl-3.5"), f"--endpoints={','.join(store.endpoints)}", *words],
        capture_output=True,
        check=False,
        timeout=30,
        env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
    )
    theirs = Outcome(binary.returncode, binary.stdout.decode("utf-8", "surrogateescape"), binary.stderr.decode())
    return theirs, fluyt(*words)


_REFUSED = [
    ["get"],
    ["put"],
    ["put", "a"],
    ["alarm", "list", "x"],
    ["alarm", "disarm", "x"],
    ["lease", "grant", "\u0661"],
    ["put", "a", "b", "--ignore-value"],
    ["put", "a", "b", "--lease", "zz"],
    ["put", "a", "b", "--lease", "77"],
    ["put", "none", "--ignore-value"],
    ["put", "", "b"],
    ["del"],
    ["del", "a", "b", "c"],
    ["del", "a", "b", "--prefix"],
    ["del", "--prefix", "--from-key", "a"],
    ["get", "a", "b", "--prefix"],
    ["get", "--prefix", "--from-key", "a"],
    ["get", "a", "--keys-only", "--count-only"],
    ["get", "a", "--order", "sideways"],
    ["get", "a", "--sort-by", "colour"],
    ["get", "a", "--consistency", "x"],
    ["get", "a", "--print-value-only", "-w", "json"],
    ["-w", "xml", "get", "a"],
    ["lease", "grant"],
    ["lease", "grant", "x"],
    ["lease", "grant", "1_0"],
    ["lease", "grant", "9999999999999999999999"],
    ["lease", "grant", "9999999999"],
    ["lease", "revoke"],
    ["lease", "revoke", "0x12"],
    ["lease", "revoke", "ffffffffffffffff"],
    ["lease", "timetolive"],
    ["lease", "keep-alive"],
    ["member", "add"],
    ["member", "add", "m2"],
    ["member", "add", "m2", "http://h:1"],
    ["member", "remove"],
    ["member", "remove", "zz"],
    ["member", "update", "1"],
    ["member", "promote"],
    ["move-leader"],
    ["move-leader", "zz"],
    ["compaction"],
    ["compaction", "x"],
    ["compaction", "99999999"],
    ["snapshot", "save"],
    ["lock"],
    ["elect"],
    ["elect", "a"],
    ["elect", "-l", "a", "b"],
    ["txn", "x"],
    ["txn"],
    ["watch"],
    ["watch", "a", "--"],
    ["watch", "--rev", "1", "a", "b", "--prefix"],
    ["make-mirror"],
    ["make-mirror", "--dest-prefix", "a", "--no-dest-prefix", "127.0.0.1:1"],
    ["check", "perf", "--load", "huge"],
]


@pytest.mark.parametrize("words", _REFUSED, ids=" ".join)
def test_refusals_are_the_same(store: Cluster, fluyt: Runner, words: list[str]) -> None:
    theirs = etcdctl("3.5", *words, endpoints=store.endpoints)
    ours = fluyt(*words)
    assert (ours.code, ours.stdout, error_line(ours)) == (theirs.code, theirs.stdout, error_line(theirs))


# ---- on two stores with the same history, where ids and moments differ ----


@dataclass
class World:
    """One store and the tool that drives it."""

    run: Runner
    endpoint: str
    lease: str = ""

    def step(self, words: list[str], stdin: str) -> Outcome:
        """One command; {lease} stands for the last lease granted."""
        outcome = self.run(*(word.format(lease=self.lease, endpoint=self.endpoint) for word in words), stdin=stdin)
        if words[:2] == ["lease", "grant"]:
            self.lease = outcome.stdout.split()[1]
        return outcome

    def normal(self, outcome: Outcome, words: list[str], form: str) -> tuple[int, str, str]:
        """Exit code, stdout and error without what belongs to one cluster or one moment."""
        text = outcome.stdout.replace(self.endpoint, "<endpoint>")
        for pattern, instead in _OF_ONE_WORLD:
            text = re.sub(pattern, instead, text)
        if "status" in words:
            # Sizes, terms and indexes; in `fields` and `json` their names remain.
            text = re.sub(r"[\d.]+( [kM]?B)?", "<n>", text)
        if words[:2] == ["member", "list"]:
            # etcd leaves the revision out of this one header.
            text = re.sub(r'"revision":\d+,|("Revision" : )\d+', r"\1", text)
        if form == "table":
            text = re.sub(r" +", " ", re.sub(r"-+", "-", text))
        return outcome.code, text, error_line(outcome)


_OF_ONE_WORLD = [
    (r"http://127\.0\.0\.1:\d+", "<url>"),
    (r"\b[0-9a-f]{14,16}\b", "<hex>"),
    (r"\b\d{16,20}\b", "<number>"),
    (r'("raft_term":|"raftTerm":|"RaftTerm" : )\d+', r"\1<term>"),
    (r'("raftIndex":|"raftAppliedIndex":|"RaftIndex" : |"RaftAppliedIndex" : )\d+', r"\1<index>"),
    (r'("dbSize":|"dbSizeInUse":|"DBSize" : )\d+', r"\1<size>"),
    (r"remaining\(\d+s\)", "remaining(<time>)"),
    (r'("ttl":|"TTL" : )9[89]\b', r"\1<time>"),
    (r"\d+(\.\d+)?(µs|ms|s)\b(?!\))", "<took>"),
    (r"3\.5\.\d+", "<version>"),
    # What newer stores say beyond 3.5.1.
    (r',"storageVersion":"[^"]*"', ""),
    (r',"dbSizeQuota":\d+', ""),
]

_TXN = """mod("t") > "0"
val("u") != "a"

put t "over\\twrote"
get t
del u --prev-kv

put t "created now"
get --prefix t

"""
_HISTORY: list[tuple[list[str], str]] = [
    (["put", "a", "1"], ""),
    (["put", "a", "2", "--prev-kv"], ""),
    (["put", "--prev-kv=true", "--", "a", "-3"], ""),
    (["put", "b"], "from stdin\n"),
    (["put", "a", "--ignore-value", "--prev-kv"], ""),
    (["get", "--prefix", ""], ""),
    (["get", "", "--from-key"], ""),
    (["get", "a", "--rev", "2"], ""),
    (["lease", "grant", "100"], ""),
    (["put", "l", "x", "--lease", "{lease}"], ""),
    (["put", "l", "y", "--ignore-lease", "--prev-kv"], ""),
    (["lease", "timetolive", "{lease}", "--keys"], ""),
    (["lease", "timetolive", "{lease}"], ""),
    (["lease", "keep-alive", "--once", "{lease}"], ""),
    (["lease", "list"], ""),
    (["lease", "revoke", "{lease}"], ""),
    (["lease", "revoke", "{lease}"], ""),
    (["lease", "list"], ""),
    (["txn"], _TXN),
    (["txn"], _TXN),
    (["txn", "-i"], _TXN),
    (["txn"], '\n\nput only "else" --prev-kv\n\n'),
    (["txn"], 'create("none") = "0"\nversion("a") > "1"\n\nget none\n\n\n'),
    (["txn"], 'ver("none") < `1`\n\ndel a\nput c "  spaced  "\n\n\n'),
    (["txn"], "nonsense\n\n\n\n"),
    (["txn"], 'mod("a") > "x"\n\n\n\n'),
    (["txn"], "\nput\n\n\n"),
    (["txn"], "\nfetch a\n\n\n"),
    (["txn"], "\nput a 1\nput a 2\n\n\n"),
    (["txn"], "\nput a 1\n"),
    (["del", "a", "--prev-kv"], ""),
    (["put", "d1", "x"], ""),
    (["put", "d2", "y"], ""),
    (["put", "d3", "z"], ""),
    (["del", "d1", "d3", "--prev-kv"], ""),
    (["del", "--prefix", "d"], ""),
    (["member", "list"], ""),
    (["endpoint", "health"], ""),
    (["endpoint", "health", "--cluster"], ""),
    (["endpoint", "status"], ""),
    (["endpoint", "--cluster", "status"], ""),
    (["compaction", "5"], ""),
    (["compaction", "5"], ""),
    (["get", "a", "--rev", "3"], ""),
    (["alarm", "list"], ""),
    (["del", "--from-key", ""], ""),
]


@pytest.fixture
def worlds(kind: object, bare_fluyt: Runner, new_cluster: Callable[..., Cluster]) -> tuple[World, World]:
    """An etcd driven by etcdctl, and a store of the kind under test driven by fluyt; both empty."""
    require("etcdctl-3.5")
    theirs = new_cluster("etcd-3.5", members=1)
    ours = new_cluster(kind, members=1)

    def drive_etcd(*words: str, stdin: str) -> Outcome:
        return etcdctl("3.5", *words, stdin=stdin, endpoints=theirs.endpoints)

    def drive_ours(*words: str, stdin: str) -> Outcome:
        return bare_fluyt(f"--endpoints={ours.endpoints[0]}", *words, stdin=stdin)

    return World(drive_etcd, theirs.endpoints[0]), World(drive_ours, ours.endpoints[0])


def test_two_histories_are_told_the_same_way(worlds: tuple[World, World]) -> None:
    for form in ("simple", "fields", "json", "table"):
        for words, stdin in _HISTORY:
            # A lease's id is read from simple output.
            with_form = words if words[:2] == ["lease", "grant"] else [*words[:1], "-w", form, *words[1:]]
            theirs, ours = (world.normal(world.step(with_form, stdin), words, form) for world in worlds)
            assert ours == theirs, with_form
