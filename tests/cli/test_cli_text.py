"""Durations, quoting, tables, sizes, switches: pure text, with what Go prints written down."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.cli import durations
from kvstore.cli.go_flags import plain_words
from kvstore.cli.grammar import Command, SubGroup
from kvstore.cli.output.json import dumps
from kvstore.cli.output.rows import size
from kvstore.cli.output.table import draw
from kvstore.cli.quoting import quote, unquote
from kvstore.cli.txn import parse_compare, words
from kvstore.client import lease_of, value


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("500ms", 0.5), ("1m30s", 90), ("1h", 3600), ("0", 0), ("1.5s", 1.5), ("-2s", -2), (".5s", 0.5)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert durations.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "five", "1d"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        durations.parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.002271108, "2.271108ms"), (0.0025, "2.5ms"), (1.25, "1.25s"), (0.0000123, "12.3µs"), (0, "0s"), (2.0, "2s")],
)
def test_durations_are_shown_as_in_go(seconds: float, text: str) -> None:
    assert durations.show(seconds) == text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", '"plain"'),
        (b'"\\', r'"\"\\"'),
        (b"\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
        (b"\x00\x1b\x7f", r'"\x00\x1b\u007f"'),
        (b"\xff\xc3(", r'"\xff\xc3("'),
        ("gr\u00fc\u00df\u20ac".encode(), '"gr\u00fc\u00df\u20ac"'),
        ("\u2028\u00ad\U000e0001".encode(), r'"\u2028\u00ad\U000e0001"'),
    ],
)
def test_strings_are_quoted_as_in_go(data: bytes, text: str) -> None:
    assert quote(data) == text


@given(st.binary())
def test_what_was_quoted_can_be_read_again(data: bytes) -> None:
    assert unquote(quote(data)) == data


@pytest.mark.parametrize(
    ("text", "data"), [('`a\\n"`', b'a\\n"'), (r'"\101\x41A\U00000041"', b"AAAA"), (r'"\377"', b"\xff")]
)
def test_literals_are_read_as_in_go(text: str, data: bytes) -> None:
    assert unquote(text) == data


@pytest.mark.parametrize("text", ['"', "plain", r'"\q"', r'"\777"', '"a" ', "`a", '"a\nb"', '"a"b"'])
def test_what_is_no_literal_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        unquote(text)


def test_lines_are_cut_into_words_as_etcdctl_does() -> None:
    assert words('put  key1 "over\\twrote" \'single "quoted"\' --prev-kv=true') == [
        "put",
        "key1",
        "over\twrote",
        'single "quoted"',
        "--prev-kv=true",
    ]


@pytest.mark.parametrize(
    "line", ['mod("a") > 0', 'mod(a) > "0"', 'color("a") = "b"', 'mod("a") ~ "0"', "mod", '("a") = "1"']
)
def test_malformed_compares_are_named(line: str) -> None:
    with pytest.raises(click.ClickException, match="malformed comparison"):
        parse_compare(line)


def test_leases_are_compared_by_their_hexadecimal_id() -> None:
    assert parse_compare('lease("k") = "1f"') == (lease_of("k") == 0x1F)
    assert parse_compare('val("k") != "1f"') == (value("k") != "1f")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (9, "9 B"),
        (10, "10 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (20480, "20 kB"),
        (9960, "10 kB"),
        (1_550_000, "1.6 MB"),
        (16_000_000_000, "16 GB"),
    ],
)
def test_sizes_are_shown_as_etcdctl_does(count: int, text: str) -> None:
    assert size(count) == text


def test_tables_are_drawn_as_etcdctl_does() -> None:
    drawn = draw(["endpoint", "hash"], [["127.0.0.1:42379", "4147500776"], ["h:1", "7"]])
    assert "\n".join(drawn) == (
        "+-----------------+------------+\n"
        "|    ENDPOINT     |    HASH    |\n"
        "+-----------------+------------+\n"
        "| 127.0.0.1:42379 | 4147500776 |\n"
        "|             h:1 |          7 |\n"
        "+-----------------+------------+"
    )


def test_json_is_escaped_as_in_go() -> None:
    assert (
        dumps({"a<": "&>\u2028\u00fc", "n": 2**63})
        == '{"a\\u003c":"\\u0026\\u003e\\u2028\u00fc","n":9223372036854775808}'
    )


@click.command(cls=Command)
@click.option("-i", "--prefix", is_flag=True)
@click.option("-n", "--name")
def _command(**_: object) -> None:
    """Nothing."""


def test_switches_may_have_values() -> None:
    given_words = ["--prefix=true", "k", "--prefix=false", "--name=true", "--hex=t", "--", "--prefix=true"]
    assert plain_words(_command, given_words) == ["--prefix", "k", "--name=true", "--hex", "--", "--prefix=true"]


@pytest.mark.parametrize(
    ("given_words", "plain"),
    [
        (["-w=json", "k", "-n=a=b"], ["-wjson", "k", "-na=b"]),
        (["-in=x", "-i=true", "-wjson"], ["-inx", "-i", "-wjson"]),
        (["-n", "-w=json", "--name", "--prefix=true"], ["-n", "-w=json", "--name", "--prefix=true"]),
        (["-n==x", "-w=", "-x=1", "--", "-w=json"], ["-n=x", "-w=", "-x=1", "--", "-w=json"]),
    ],
)
def test_a_short_option_may_have_its_value_behind_an_equals_sign(given_words: list[str], plain: list[str]) -> None:
    assert plain_words(_command, given_words) == plain


def test_a_group_leaves_the_words_of_its_command() -> None:
    assert plain_words(SubGroup("g"), ["-w=json", "sub", "-w=true", "--hex=true"]) == [
        "-wjson",
        "sub",
        "-w=true",
        "--hex=true",
    ]
