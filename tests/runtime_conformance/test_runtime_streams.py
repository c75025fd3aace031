"""Logs, exec, attach, port-forward."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from node_agent.runtime.errors import ExecTimeout, NotRunning
from node_agent.runtime.streams import Channel, ProcessStream
from node_agent.runtime.types import EventType, Security
from runtime_conformance.bench import Bench, until


async def everything(stream: ProcessStream) -> tuple[bytes, bytes, int]:
    said = {Channel.STDOUT: b"", Channel.STDERR: b""}
    while (piece := await stream.read()) is not None:
        said[piece[0]] += piece[1]
    code = await stream.wait()
    await stream.close()
    return said[Channel.STDOUT], said[Channel.STDERR], code


async def until_said(stream: ProcessStream, text: bytes) -> None:
    said = b""
    while text not in said:
        piece = await stream.read()
        assert piece is not None, said
        said += piece[1]


def test_logs(real: Bench) -> None:
    async def check() -> None:
        long = "x" * 40000
        script = f'echo out; echo err >&2; printf "%s\\n" {long}; printf end'
        status = await real.ended(await real.container(await real.sandbox(), "sh", "-c", script))
        rows = await real.log(status.log_path, 4, "end")
        assert ("stderr", "F", "err") in rows
        out = [row for row in rows if row[0] == "stdout"]
        assert out[0] == ("stdout", "F", "out")
        pieces = out[1:-1]
        assert "".join(text for _, _, text in pieces) == long
        assert [flag for _, flag, _ in pieces] == ["P"] * (len(pieces) - 1) + ["F"]
        assert max(len(text) for _, _, text in pieces) <= 16384
        assert out[-1][2] == "end"

    real.run(check())


def test_logs_are_rotated(real: Bench) -> None:
    async def check() -> None:
        script = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done"
        container = await real.container(await real.sandbox(), "sh", "-c", script)
        path = (await real.runtime.container_status(container)).log_path

        async def grown(lines: int) -> bool | None:
            return True if Path(path).exists() and Path(path).read_text().count("\n") >= lines else None

        await until(lambda: grown(3))
        os.rename(path, path + ".old")
        await real.runtime.reopen_log(container)
        await until(lambda: grown(3))
        await real.runtime.stop_container(container, 0)
        old = await real.log(path + ".old")
        new = await real.log(path)
        numbers = [int(text) for _, _, text in (*old, *new)]
        assert numbers == list(range(1, len(numbers) + 1)), "not a line is lost"

    real.run(check())


def test_exec_sync(bench: Bench) -> None:
    async def check() -> None:
        sandbox = await bench.sandbox()
        container = await bench.container(sandbox, "sleep", "1000", env=(("GIVEN", "x"),))
        assert (await bench.runtime.exec_sync(container, ["echo", "hi"])).stdout == b"hi\n"
        assert (await bench.runtime.exec_sync(container, ["sh", "-c", "exit 5"])).exit_code == 5
        assert b"GIVEN=x" in (await bench.runtime.exec_sync(container, ["env"])).stdout
        with pytest.raises(ExecTimeout):
            await bench.runtime.exec_sync(container, ["sleep", "30"], timeout=1)
        await bench.runtime.stop_container(container, 0)
        with pytest.raises(NotRunning):
            await bench.runtime.exec_sync(container, ["true"])

    bench.run(check())


def test_exec_sync_of_what_cannot_run(real: Bench) -> None:
    async def check() -> None:
        container = await real.container(await real.sandbox(), "sleep", "1000")
        result = await real.runtime.exec_sync(container, ["nothing-like-it"])
        assert result.exit_code in (126, 127)
        assert b"nothing-like-it" in result.stdout + result.stderr, "docker says it on stdout"
        both = await real.runtime.exec_sync(container, ["sh", "-c", "echo a; echo b >&2"])
        assert (both.stdout, both.stderr) == (b"a\n", b"b\n")

    real.run(check())


def test_exec_with_stdin(bench: Bench) -> None:
    async def check() -> None:
        container = await bench.container(await bench.sandbox(), "sleep", "1000")
        stream = await bench.runtime.exec(container, ["cat"], stdin=True)
        data = os.urandom(1000) * 300
        reading = asyncio.create_task(everything(stream))
        for at in range(0, len(data), 50000):
            await stream.write(data[at : at + 50000])
        await stream.close_stdin()
        await stream.close_stdin()
        out, err, code = await reading
        assert (out == data, err, code) == (True, b"", 0)

    bench.run(check())


def test_exec_says_how_it_ended(real: Bench) -> None:
    async def check() -> None:
        container = await real.container(await real.sandbox(), "sleep", "1000")
        stream = await real.runtime.exec(container, ["sh", "-c", "echo out; echo err >&2; exit 9"])
        assert await everything(stream) == (b"out\n", b"err\n", 9)
        refused = await real.runtime.exec(container, ["nothing-like-it"])
        _, _, code = await everything(refused)
        assert code in (126, 127)

    real.run(check())


def test_exec_in_a_terminal(real: Bench) -> None:
    async def check() -> None:
        container = await real.container(await real.sandbox(), "sleep", "1000")
        stream = await real.runtime.exec(container, ["sh"], tty=True, stdin=True)
        await stream.resize(97, 33)
        await stream.write(b"test -t 0 && stty size; sleep 0.1; stty size; exit 6\n")
        out, err, code = await everything(stream)
        assert b"33 97" in out
        assert (err, code) == (b"", 6)

    real.run(check())


def test_a_terminal_is_the_containers_own(real: Bench) -> None:
    """It has a name there, and can be opened by it, also by a user who is not root."""

    async def check() -> None:
        container = await real.container(await real.sandbox(), "sleep", "1000", security=Security(user=12345))
        asked = 'name=$(readlink /proc/self/fd/0); test -c "$name" && echo "on $name" > "$name"; : > /dev/tty; echo $?'
        out, _, code = await everything(await real.runtime.exec(container, ["sh", "-c", asked], tty=True))
        assert re.fullmatch(rb"on /dev/pts/\d+\r\n0\r\n", out), out
        assert code == 0

    real.run(check())


def test_keys_reach_the_job_in_the_foreground(real: Bench) -> None:
    async def check() -> None:
        container = await real.container(await real.sandbox(), "sleep", "1000")
        stream = await real.runtime.exec(container, ["sh", "-i"], tty=True, stdin=True)
        said = b""

        async def hear(word: bytes) -> None:
            nonlocal said
            while word not in said:
                piece = await stream.read()
                assert piece is not None, said
                said += piece[1]

        await stream.write(b"sleep 778 & echo be''gun; jobs; sh -c 'echo in fro''nt; exec sleep 779'\n")
        await hear(b"in front")
        await stream.write(b"\x03")
        await stream.write(b"echo ended by $((130)), here=$?; kill %1; exit 0\n")
        await hear(b"here=130")
        assert b"begun" in said
        assert b"unning" in said, "jobs are listed"
        _, _, code = await everything(stream)
        assert code == 0

    real.run(check())


def test_an_exec_that_nobody_wants_any_more_ends(real: Bench) -> None:
    async def check() -> None:
        container = await real.container(await real.sandbox(), "sleep", "1000")
        stream = await real.runtime.exec(container, ["sh", "-c", "echo started; sleep 777"], tty=True, stdin=True)
        assert await stream.read() is not None
        await stream.close()

        async def gone() -> bool | None:
            result = await real.runtime.exec_sync(container, ["ps"])
            return None if b"sleep 777" in result.stdout else True

        await until(gone)

    real.run(check())


def test_attach(real: Bench) -> None:
    async def check() -> None:
        script = "while read line; do echo got $line; done; exit 3"
        container = await real.container(await real.sandbox(), "sh", "-c", script, stdin=True, stdin_once=True)
        stream = await real.runtime.attach(container, stdin=True)
        await stream.write(b"one\n")
        assert await stream.read() == (Channel.STDOUT, b"got one\n")
        await stream.write(b"two\n")
        assert await stream.read() == (Channel.STDOUT, b"got two\n")
        await stream.close_stdin()
        assert await stream.read() is None
        assert await stream.wait() == 3
        await stream.close()
        status = await real.ended(container)
        assert await real.log_text(status.log_path) == "got one\ngot two\n"
        with pytest.raises(NotRunning):
            await real.runtime.attach(container)

    real.run(check())


def test_a_container_with_a_terminal(real: Bench) -> None:
    async def check() -> None:
        sized = 'until test "$(stty size)" = "23 91"; do sleep 0.05; done'
        script = f"test -t 0 && echo terminal; read x; {sized}; echo got $x; read x; exit 5"
        container = await real.container(await real.sandbox(), "sh", "-c", script, stdin=True, tty=True)
        path = (await real.runtime.container_status(container)).log_path
        await real.log(path, 1)
        stream = await real.runtime.attach(container, stdin=True)
        await stream.resize(91, 23)
        await stream.write(b"hi\n")
        # Only then may it end: what it says in its last moment containerd may keep to itself (its issue 12396).
        await until_said(stream, b"got hi")
        await stream.write(b"bye\n")
        _, err, code = await everything(stream)
        assert (err, code) == (b"", 5)
        await real.ended(container)
        lines = [text.strip() for _, _, text in await real.log(path, 3)]
        assert lines[0] == "terminal"
        assert "got hi" in lines

    real.run(check())


def test_leaving_an_attachment_leaves_the_container(real: Bench) -> None:
    async def check() -> None:
        script = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done"
        container = await real.container(await real.sandbox(), "sh", "-c", script)
        for _ in range(2):
            stream = await real.runtime.attach(container)
            assert await stream.read() is not None
            await stream.close()
        assert (await real.runtime.exec_sync(container, ["true"])).exit_code == 0

    real.run(check())


def test_port_forward(bench: Bench) -> None:
    async def check() -> None:
        sandbox = await bench.sandbox()
        port = 20000 + os.getpid() % 20000
        script = f"echo hello > /tmp/index.html; exec httpd -f -p 127.0.0.1:{port} -h /tmp"
        await bench.container(sandbox, "sh", "-c", script)

        async def page() -> bytes | None:
            try:
                stream = await bench.runtime.port_forward(sandbox, port)
                await stream.write(b"GET /index.html HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                got = b""
                while data := await stream.read():
                    got += data
            except OSError:
                return None
            await stream.close()
            return got or None

        got = await until(page)
        assert b" 200 " in got.splitlines()[0]
        if bench.real:
            assert got.endswith(b"hello\n")

    bench.run(check())


def test_nobody_listens(real: Bench) -> None:
    async def check() -> None:
        sandbox = await real.sandbox()
        with pytest.raises(OSError):
            stream = await real.runtime.port_forward(sandbox, 1)
            while await stream.read():
                pass
        await real.runtime.stop_sandbox(sandbox)
        with pytest.raises(NotRunning):
            await real.runtime.port_forward(sandbox, 1)

    real.run(check())


def test_events(bench: Bench) -> None:
    """Where there are any, the end of a container is told."""

    async def check() -> None:
        events = bench.runtime.events()
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.1)
        container = await bench.container(await bench.sandbox(), "true")
        await bench.ended(container)
        try:
            event = await asyncio.wait_for(first, 5)
            while (event.container_id, event.type) != (container, EventType.STOPPED):
                event = await asyncio.wait_for(anext(events), 5)
        except StopAsyncIteration:
            assert bench.kind == "cri", "containerd 1.6 has no events"

    bench.run(check())
