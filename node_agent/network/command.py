"""Runs `ip` and `nft`: words, never a shell; a deadline; errors that say what was refused."""

from __future__ import annotations

import asyncio
import shutil
from typing import Final

_SECONDS: Final = 20.0
_PLACES: Final = "/usr/sbin:/sbin:/usr/bin:/bin"
_MOST_WORDS: Final = 2000


class CommandFailed(Exception):
    """A program is missing, hung, or refused what it was told."""


def program(name: str) -> str:
    """Its path, "" when the machine has none."""
    return shutil.which(name) or shutil.which(name, path=_PLACES) or ""


async def run(*words: str, stdin: str = "") -> str:
    """What it printed. Raises CommandFailed."""
    path = program(words[0])
    if not path:
        raise CommandFailed(f"there is no program {words[0]!r}; install Debian's iproute2 and nftables")
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            *words[1:],
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as problem:
        raise CommandFailed(f"{words[0]} cannot be started: {problem.strerror or problem}") from None
    try:
        async with asyncio.timeout(_SECONDS):
            out, err = await process.communicate(stdin.encode() if stdin else None)
    except BaseException as problem:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if isinstance(problem, TimeoutError):
            raise CommandFailed(f"{' '.join(words)} took longer than {_SECONDS:.0f} s") from None
        raise
    if process.returncode:
        said = err.decode("utf-8", "replace").strip()[:_MOST_WORDS] or f"exit code {process.returncode}"
        raise CommandFailed(f"{' '.join(words)}: {said}")
    return out.decode("utf-8", "replace")
