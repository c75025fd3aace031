"""Small files that may not be there, read and replaced.

Only a file that is missing is no file: one that is there and cannot be read now (no descriptor left, a disk that fails,
no right to it) says nothing, and nobody may go on as if it were gone.
"""

from __future__ import annotations

import os
from pathlib import Path

from node_agent.runtime.errors import RuntimeUnavailable


def text_if_there(path: Path) -> str | None:
    """None: there is no such file. Raises RuntimeUnavailable, and UnicodeDecodeError as for any text."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise _unknown(path, problem) from problem


def names_if_there(folder: Path) -> list[str]:
    """What is in a folder; nothing if there is no such folder. Raises RuntimeUnavailable."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise _unknown(folder, problem) from problem


def replace_file(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file whole or not at all; only its owner may read it, unless `mode` lets others. OSError."""
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(new, path)


def _unknown(path: Path, problem: OSError) -> RuntimeUnavailable:
    return RuntimeUnavailable(f"{path} cannot be read: {problem.strerror or problem}")
