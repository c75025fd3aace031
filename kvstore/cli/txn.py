"""`fluyt txn`: a transaction read line by line, in etcdctl's language.

Three blocks, each ended by an empty line: compares (`mod("key") > "0"`), requests for when they hold, requests for
when they do not (`put key "a value"`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, TypeVar

import click

from kvstore.cli import kv
from kvstore.cli.console import Console, connected
from kvstore.cli.exits import INVALID_INPUT, CommandError, bad_args
from kvstore.cli.go_flags import plain_words
from kvstore.cli.grammar import Command
from kvstore.cli.quoting import unquote
from kvstore.cli.terminal import input_stream
from kvstore.client.txn import Target, create_revision, lease_of, mod_revision, value, version
from kvstore.pb import etcd_pb2 as pb

T = TypeVar("T")

# What etcdctl takes for words of a line: "…" with escapes, '…' as it is, or anything without spaces.
_WORD = re.compile(r"""("(?:[^"\\]|\\.)*"|'[^']*'|[^'"\s]\S*[^'"\s]?)""")
_COMPARE = re.compile(
    r"""(?P<target>[^(]*)\(\s*(?P<key>"(?:[^"\\]|\\.)*"|`[^`]*`)\)\s*(?P<operator>\S+)\s+(?P<value>"(?:[^"\\]|\\.)*"|`[^`]*`)"""
)
_TARGETS: dict[str, Callable[[bytes], Target]] = {
    "ver": version,
    "version": version,
    "c": create_revision,
    "create": create_revision,
    "m": mod_revision,
    "mod": mod_revision,
    "val": value,
    "value": value,
    "lease": lease_of,
}
_OPERATORS: dict[str, Callable[[Target, Any], pb.Compare]] = {
    "=": lambda target, wanted: target == wanted,
    "!=": lambda target, wanted: target != wanted,
    ">": lambda target, wanted: target > wanted,
    "<": lambda target, wanted: target < wanted,
}


def words(line: str) -> list[str]:
    """The words of a line. CommandError for a string with a bad escape."""
    return [_plain(word) for word in _WORD.findall(line)]


def _plain(word: str) -> str:
    if word.startswith("'"):
        return word[1:-1]
    if not word.startswith('"'):
        return word
    try:
        return unquote(word).decode("utf-8", "surrogateescape")
    except ValueError as problem:
        raise CommandError(str(problem), INVALID_INPUT) from problem


def parse_compare(line: str) -> pb.Compare:
    """`version("key") = "1"` and its like. CommandError for anything else."""
    match = _COMPARE.match(line)
    if match is None:
        raise CommandError(f"malformed comparison: {line}", INVALID_INPUT)
    target = _TARGETS.get(match["target"])
    compare = _OPERATORS.get(match["operator"])
    if target is None or compare is None:
        unknown = f"target {match['target']}" if target is None else f"operator {match['operator']}"
        raise CommandError(f"malformed comparison: {line} (unknown {unknown})", INVALID_INPUT)
    try:
        return compare(target(unquote(match["key"])), _wanted(match["target"], unquote(match["value"])))
    except ValueError as problem:
        raise CommandError(f"invalid txn compare request: {line}", INVALID_INPUT) from problem


def _wanted(target: str, text: bytes) -> int | bytes:
    if target in ("val", "value"):
        return text
    return int(text, 16 if target == "lease" else 10)


def parse_operation(line: str) -> pb.RequestOp:
    """A get, put or del with its flags. CommandError for anything else."""
    name, *arguments = words(line) or [""]
    if not arguments:
        raise CommandError(f"invalid txn compare request: {line}", INVALID_INPUT)
    if name not in _OPERATIONS:
        raise CommandError(f"invalid txn request: {line}", INVALID_INPUT)
    grammar, build = _OPERATIONS[name]
    try:
        values = grammar.make_context(name, plain_words(grammar, arguments)).params
    except click.UsageError as problem:
        raise CommandError(f"invalid txn request: {line}", INVALID_INPUT) from problem
    return build(values.pop("arguments"), values)


def _no_value(usage: str) -> bytes:
    """The lines on stdin are the transaction's own."""
    raise bad_args(usage)


def _grammar(options: Callable[[Any], Any]) -> click.Command:
    """A command that only parses."""
    command: click.Command = click.command(add_help_option=False)(options(lambda **_: None))
    return command


_OPERATIONS: dict[str, tuple[click.Command, Callable[[Any, Any], pb.RequestOp]]] = {
    "get": (_grammar(kv.get_options), lambda a, o: pb.RequestOp(request_range=kv.range_from(a, o))),
    "put": (_grammar(kv.put_options), lambda a, o: pb.RequestOp(request_put=kv.put_from(a, o, _no_value))),
    "del": (_grammar(kv.delete_options), lambda a, o: pb.RequestOp(request_delete_range=kv.delete_from(a, o))),
}


def read_block(source: BinaryIO, parse: Callable[[str], T]) -> list[T]:
    """The lines up to an empty one, parsed. CommandError when the input ends before."""
    parsed: list[T] = []
    while True:
        line = source.readline().decode("utf-8", "surrogateescape")
        if not line.endswith("\n"):
            raise CommandError("EOF", INVALID_INPUT)
        if not line.strip():
            return parsed
        parsed.append(parse(line.strip()))


def read_txn(source: BinaryIO, prompt: Callable[[str], None]) -> pb.TxnRequest:
    """A whole transaction; prompt is called before each block."""
    prompt("compares:")
    compares: Sequence[pb.Compare] = read_block(source, parse_compare)
    prompt("success requests (get, put, del):")
    success = read_block(source, parse_operation)
    prompt("failure requests (get, put, del):")
    return pb.TxnRequest(compare=compares, success=success, failure=read_block(source, parse_operation))


@click.command(
    cls=Command,
    examples="""
    printf 'version("k") = "0"\\n\\nput k v\\n\\nget k\\n\\n' | fluyt txn
    fluyt txn -i     # asks for the three blocks; an empty line ends each
    """,
)
@click.argument("arguments", nargs=-1, metavar="")
@click.option("-i", "--interactive", is_flag=True, help="Say which block comes next.")
@connected
async def txn(console: Console, arguments: tuple[str, ...], interactive: bool) -> None:
    """Run a transaction from stdin: compares, requests if all of them hold, requests if not.

    Compares: create, mod, version, value, lease (of "key") and =, !=, <, >. Requests: get, put, del.
    """
    if arguments:
        raise bad_args("txn command does not accept argument")
    with input_stream() as source:
        request = read_txn(source, lambda line: click.echo(line) if interactive else None)
    console.printer.txn(await console.client.send_txn(request))
