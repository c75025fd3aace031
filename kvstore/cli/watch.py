"""`fluyt watch`: changes as they happen, printed or handed to a command, one watch or several (-i)."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

import click

from kvstore.cli.arguments import Int64
from kvstore.cli.console import Console, connected
from kvstore.cli.exits import BAD_ARGS, ERROR, INTERRUPTED, INVALID_INPUT, CommandError, bad_args
from kvstore.cli.grammar import Command
from kvstore.cli.output.printer import emit
from kvstore.cli.quoting import quote
from kvstore.cli.terminal import stdin_lines
from kvstore.client.errors import AuthenticationFailed, ClientError, Compacted
from kvstore.client.watch import Watch
from kvstore.pb import etcd_pb2 as pb

_TOO_FEW = "bad number of arguments"
_NO_COMMAND = "bad number of arguments (found separator --, but no commands)"
_KEY_TWICE = "bad number of arguments (found conflicting environment key)"


class WatchCommand(Command):
    """Keeps apart what stands before and after `--`, which click would join."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before, separator, after = _split(args)
        if separator and not after:
            raise bad_args(_NO_COMMAND)
        ctx.meta["command"] = after
        return super().parse_args(ctx, before)


def _split(words: Sequence[str]) -> tuple[list[str], bool, list[str]]:
    """What stands before the first `--`, whether there is one, what stands after it."""
    position = words.index("--") if "--" in words else len(words)
    return list(words[:position]), position < len(words), list(words[position + 1 :])


@click.command(
    cls=WatchCommand,
    examples="""
    fluyt watch greeting
    fluyt watch --prefix app/ --prev-kv
    fluyt watch --rev 1 --prefix app/           # from the beginning of history
    fluyt watch --prefix app/ -- ./reload.sh    # run a command for each change (ETCD_WATCH_KEY, …)
    """,
)
@click.argument("arguments", nargs=-1, metavar="[<key> [<range_end>]] [-- <command>...]")
@click.option("-i", "--interactive", is_flag=True, help="Read `watch …` and `progress` lines from stdin.")
@click.option("--prefix", is_flag=True, help="Every key that begins with <key>.")
@click.option("--rev", type=Int64(), default=0, help="Start at this revision instead of now.")
@click.option("--prev-kv", is_flag=True, help="Print what each change replaced, too.")
@click.option("--progress-notify", is_flag=True, help="Print the store's revision now and then while nothing changes.")
@connected
async def watch(
    console: Console,
    arguments: tuple[str, ...],
    interactive: bool,
    prefix: bool,
    rev: int,
    prev_kv: bool,
    progress_notify: bool,
) -> int:
    """Print every change of a key, or of the keys from <key> up to <range_end>.

    The key may also stand in ETCDCTL_WATCH_KEY (and ETCDCTL_WATCH_RANGE_END).
    """
    if interactive:
        await _Interactive(console).run()
        return 0
    command: list[str] = click.get_current_context().meta["command"]
    events = _watch(console, _keys(arguments), prefix, rev, prev_kv, progress_notify)
    await follow(console, events, command)
    raise CommandError("watch is canceled by the server", INTERRUPTED)


def _keys(arguments: Sequence[str]) -> list[str]:
    """Key and range end, from the words or from the environment, not from both."""
    key, end = os.environ.get("ETCDCTL_WATCH_KEY", ""), os.environ.get("ETCDCTL_WATCH_RANGE_END", "")
    if end and not key:
        raise bad_args(f"ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={quote(end)}")
    if key and arguments:
        raise bad_args(_KEY_TWICE)
    keys = [key, *([end] if end else [])] if key else list(arguments)
    if not 1 <= len(keys) <= 2:
        raise bad_args(_TOO_FEW)
    return keys


def _watch(console: Console, keys: Sequence[str], prefix: bool, rev: int, prev_kv: bool, progress: bool) -> Watch:
    if prefix and len(keys) == 2:
        raise bad_args("`range_end` and `--prefix` are mutually exclusive")
    return console.client.watch(
        keys[0],
        keys[1] if len(keys) == 2 else None,
        prefix=prefix,
        start_revision=rev,
        prev_kv=prev_kv,
        progress_notify=progress,
    )


async def follow(console: Console, events: Watch, command: Sequence[str]) -> None:
    """Print responses, and run the command for each event, until the store ends the watch."""
    try:
        async for response in events.responses():
            if not response.events:
                emit(f"progress notify: {response.header.revision}")
            console.printer.watch(response)
            if command:
                await _run_for_each(response, command)
    except AuthenticationFailed:
        raise
    except ClientError as problem:
        print(f"watch was canceled ({problem})", file=sys.stderr)
        if isinstance(problem, Compacted) and problem.response is not None:
            console.printer.watch(problem.response)
    finally:
        await events.aclose()


async def _run_for_each(response: pb.WatchResponse, command: Sequence[str]) -> None:
    """One process an event, one after the other, without a shell."""
    for event in response.events:
        facts = {
            "ETCD_WATCH_REVISION": str(response.header.revision),
            "ETCD_WATCH_EVENT_TYPE": quote(pb.Event.EventType.Name(event.type)),
            "ETCD_WATCH_KEY": quote(event.kv.key),
            "ETCD_WATCH_VALUE": quote(event.kv.value),
        }
        try:
            process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **facts})
            code = await process.wait()
        except OSError as problem:
            raise CommandError(f"cannot run {command[0]}: {problem.strerror}") from problem
        if code:
            raise CommandError(f'command "{" ".join(command)}" error (exit status {code})', ERROR)


class _Interactive:
    """Lines from stdin: `watch [flags] key [range_end] [-- command]` and `progress`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._watches: list[Watch] = []
        self._followers: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until stdin ends, which etcdctl takes for an error, too."""
        try:
            async for line in stdin_lines():
                await self._obey(line)
            raise CommandError("error reading watch request line: EOF", INVALID_INPUT)
        finally:
            for task in self._followers:
                task.cancel()
            await asyncio.gather(*self._followers, return_exceptions=True)

    async def _obey(self, line: str) -> None:
        from kvstore.cli.txn import words

        match words(line):
            case ["watch", *rest] if rest or os.environ.get("ETCDCTL_WATCH_KEY"):
                await self._start(line, rest)
            case ["watch"]:
                print(f"Invalid command {line} (command type or key is not provided)", file=sys.stderr)
            case ["progress"]:
                for each in self._watches:
                    await each.request_progress()
            case []:
                print(f"Invalid command: {line} (watch and progress supported)", file=sys.stderr)
            case _:
                print(f"Invalid command {line} (only support watch)", file=sys.stderr)

    async def _start(self, line: str, rest: list[str]) -> None:
        before, separator, command = _split(rest)
        if separator and not command:
            raise bad_args(_NO_COMMAND)
        try:
            values = watch.make_context("watch", before).params
        except click.UsageError as problem:
            raise CommandError(problem.format_message(), BAD_ARGS) from problem
        keys = _keys(values["arguments"])
        try:
            events = _watch(
                self._console, keys, values["prefix"], values["rev"], values["prev_kv"], values["progress_notify"]
            )
        except CommandError as problem:
            print(f"Invalid command {line} ({problem.message})", file=sys.stderr)
            return
        self._watches.append(await events.start())
        task = asyncio.create_task(follow(self._console, events, command))
        self._followers.add(task)
