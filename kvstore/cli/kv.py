"""`fluyt get`, `put`, `del`, `compaction`: requests from etcdctl's flags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from kvstore.cli.arguments import Int64, hex_id, integer, text_arguments
from kvstore.cli.console import Console, connected
from kvstore.cli.exits import BAD_ARGS, BAD_FEATURE, CommandError, bad_args
from kvstore.cli.grammar import Command
from kvstore.cli.output.printer import emit
from kvstore.cli.terminal import input_stream
from kvstore.client.requests import delete_request, put_request, range_request
from kvstore.pb import etcd_pb2 as pb

_SORT_TARGETS = {"CREATE": "create", "KEY": "key", "MODIFY": "mod", "VALUE": "value", "VERSION": "version", "": "key"}
_SORT_ORDERS = {"ASCEND": "ascend", "DESCEND": "descend", "": "none"}
_ONE_OF = "`--prefix` and `--from-key` cannot be set at the same time, choose one"


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several decorators as one, so that txn.py can read the same commands from its lines."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


get_options = _options(
    text_arguments("<key> [<range_end>]"),
    click.option("--prefix", is_flag=True, help="Every key that begins with <key>."),
    click.option("--from-key", is_flag=True, help="Every key from <key> on, in byte order."),
    click.option("--rev", type=Int64(), default=0, help="The store as it was at this revision."),
    click.option("--limit", type=Int64(), default=0, help="At most so many results."),
    click.option("--order", default="", help="ASCEND or DESCEND."),
    click.option("--sort-by", default="", help="CREATE, KEY, MODIFY, VALUE or VERSION."),
    click.option("--keys-only", is_flag=True, help="Only the keys."),
    click.option("--count-only", is_flag=True, help="Only the count (with -w fields)."),
    click.option("--print-value-only", is_flag=True, help="Only the values (with -w simple)."),
    click.option("--consistency", default="l", help="Linearizable (l) or serializable (s): one member's own state."),
)
put_options = _options(
    text_arguments("<key> [<value>]"),
    click.option("--lease", default="0", help="Attach the key to this lease (hexadecimal)."),
    click.option("--prev-kv", is_flag=True, help="Print the key and value that were there before."),
    click.option("--ignore-value", is_flag=True, help="Keep the key's value."),
    click.option("--ignore-lease", is_flag=True, help="Keep the key's lease."),
)
delete_options = _options(
    text_arguments("<key> [<range_end>]"),
    click.option("--prefix", is_flag=True, help="Every key that begins with <key>."),
    click.option("--from-key", is_flag=True, help="Every key from <key> on, in byte order."),
    click.option("--range", "as_range", is_flag=True, help="Delete [<key>, <range_end>); needs both."),
    click.option("--prev-kv", is_flag=True, help="Print what was deleted."),
)


def range_from(arguments: tuple[str, ...], options: dict[str, Any]) -> pb.RangeRequest:
    """The request that `get` stands for. CommandError for flags that do not fit together."""
    if not arguments:
        raise bad_args("get command needs one argument as key and an optional argument as range_end")
    if options["prefix"] and options["from_key"]:
        raise bad_args(_ONE_OF)
    if options["keys_only"] and options["count_only"]:
        raise bad_args("`--keys-only` and `--count-only` cannot be set at the same time, choose one")
    if options["consistency"] not in ("l", "s"):
        raise CommandError(f'unknown consistency flag "{options["consistency"]}"', BAD_FEATURE)
    return range_request(
        arguments[0],
        _range_end(arguments, options),
        prefix=options["prefix"],
        from_key=options["from_key"],
        serializable=options["consistency"] == "s",
        limit=options["limit"],
        revision=max(options["rev"], 0),
        order=_choice(_SORT_ORDERS, "order", options["order"]),
        sort_by=_choice(_SORT_TARGETS, "target", options["sort_by"]),
        keys_only=options["keys_only"],
        count_only=options["count_only"],
    )


def put_from(arguments: tuple[str, ...], options: dict[str, Any], read_value: Callable[[str], bytes]) -> pb.PutRequest:
    """The request that `put` stands for. CommandError as for `get`; read_value gives a missing value, or raises it."""
    usage = "put command needs 1 argument and input from stdin or 2 arguments"
    if not arguments:
        raise bad_args(usage)
    if options["ignore_value"] and len(arguments) > 1:
        raise bad_args("put command needs only 1 argument when 'ignore-value' is set")
    value: str | bytes = b""
    if not options["ignore_value"]:
        value = arguments[1] if len(arguments) > 1 else read_value(usage)
    return put_request(
        arguments[0],
        value,
        lease=hex_id(options["lease"], "bad lease ID ({}), expecting ID in Hex"),
        prev_kv=options["prev_kv"],
        ignore_value=options["ignore_value"],
        ignore_lease=options["ignore_lease"],
    )


def delete_from(arguments: tuple[str, ...], options: dict[str, Any]) -> pb.DeleteRangeRequest:
    """The request that `del` stands for. CommandError as for `get`."""
    if not 1 <= len(arguments) <= 2:
        raise bad_args("del command needs one argument as key and an optional argument as range_end")
    if options["prefix"] and options["from_key"]:
        raise bad_args(_ONE_OF)
    if options["as_range"] and len(arguments) != 2:
        raise bad_args("`--range` needs two arguments: the first key and the end of the range")
    return delete_request(
        arguments[0],
        _range_end(arguments, options),
        prefix=options["prefix"],
        from_key=options["from_key"],
        prev_kv=options["prev_kv"],
    )


def _range_end(arguments: tuple[str, ...], options: dict[str, Any]) -> str | None:
    if len(arguments) < 2:
        return None
    if options["prefix"] or options["from_key"]:
        raise bad_args("too many arguments, only accept one argument when `--prefix` or `--from-key` is set")
    return arguments[1]


def _choice(choices: dict[str, str], what: str, given: str) -> Any:
    if given.upper() not in choices:
        raise CommandError(f"bad sort {what} {given}", BAD_FEATURE)
    return choices[given.upper()]


@click.command(
    cls=Command,
    examples="""
    fluyt get greeting
    fluyt get --prefix app/ --keys-only
    fluyt get a c                       # every key from a up to, but not including, c
    fluyt get greeting --rev 7 -w json  # as it was then
    """,
)
@get_options
@connected
async def get(console: Console, /, arguments: tuple[str, ...], **options: Any) -> None:
    """Get a key, or the keys from <key> up to <range_end>."""
    answer = await console.client.send_range(range_from(arguments, options))
    if options["count_only"] and console.format != "fields":
        raise CommandError("--count-only is only for `--write-out=fields`", BAD_ARGS)
    if options["print_value_only"]:
        from kvstore.cli.output.simple import SimplePrinter

        if not isinstance(console.printer, SimplePrinter):
            raise CommandError("print-value-only is only for `--write-out=simple`", BAD_ARGS)
        console.printer.value_only = True
    console.printer.get(answer)


@click.command(
    cls=Command,
    examples="""
    fluyt put greeting hello
    fluyt put -- greeting -hello    # a value that begins with a dash
    fluyt put config < config.json  # the value from stdin
    fluyt put greeting hello --lease 694d77aa9e38260f
    """,
)
@put_options
@connected
async def put(console: Console, /, arguments: tuple[str, ...], **options: Any) -> None:
    """Write a key. Without <value>, it is read from stdin."""
    console.printer.put(await console.client.send_put(put_from(arguments, options, _from_stdin)))


def _from_stdin(usage: str) -> bytes:
    with input_stream() as source:
        value = source.read()
    if not value:
        raise bad_args(usage)
    return value


@click.command(
    "del",
    cls=Command,
    examples="""
    fluyt del greeting
    fluyt del --prefix app/ --prev-kv
    fluyt del a c                     # every key from a up to, but not including, c
    """,
)
@delete_options
@connected
async def delete(console: Console, /, arguments: tuple[str, ...], **options: Any) -> None:
    """Delete a key, or the keys from <key> up to <range_end>; prints how many."""
    console.printer.delete(await console.client.send_delete(delete_from(arguments, options)))


@click.command(cls=Command, examples="fluyt compaction 1000 --physical")
@text_arguments("<revision>")
@click.option("--physical", is_flag=True, help="Wait until the old revisions are gone from the disk.")
@connected
async def compaction(console: Console, arguments: tuple[str, ...], physical: bool) -> None:
    """Forget the history below <revision>."""
    if len(arguments) != 1:
        raise bad_args("compaction command needs 1 argument")
    revision = integer(arguments[0])
    await console.client.compact(revision, physical=physical)
    emit(f"compacted revision {revision}")
