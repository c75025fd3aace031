"""From any Python ≥ 3.11 into the project's own .venv. Standard library only: it runs before anything is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def enter_venv(*extras: str) -> None:
    """Make .venv (with these extras) if need be and go on inside it; returns there, with tests/ importable.

    Ends the program with scripts/venv's exit code when that fails.
    """
    venv = ROOT / ".venv"
    if os.environ.get("FLUYT_INSIDE_VENV") != str(venv):
        code = subprocess.call([sys.executable, str(ROOT / "scripts" / "venv"), *extras])
        if code:
            sys.exit(code)
        environment = {**os.environ, "FLUYT_INSIDE_VENV": str(venv)}
        python = str(venv / "bin" / "python")
        os.execve(python, [python, *sys.argv], environment)
    sys.path[:0] = [str(ROOT / "tests")]
