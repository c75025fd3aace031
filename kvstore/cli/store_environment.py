"""ETCD_* variables that belong to no flag.

One that is nearly a flag's is a misspelling, and an error. Others are only reported, as etcd does: container platforms
set variables such as ETCD_SERVICE_HOST or ETCD_VERSION by themselves.
"""

from __future__ import annotations

import os
from difflib import get_close_matches

import click

from kvstore.member.config import ConfigError

PREFIX = "ETCD_"
# How like a flag's name a variable must be to count as a misspelling (difflib's ratio).
NEAR = 0.9


def check(command: click.Command) -> list[str]:
    """What to say about unknown variables. Raises ConfigError for a misspelt one."""
    known = {PREFIX + (param.name or "").upper() for param in command.params} | {"ETCD_VERSION"}
    remarks = []
    for name in sorted(set(os.environ) - known):
        if not name.startswith(PREFIX):
            continue
        near = get_close_matches(name, known, 1, NEAR)
        if near:
            raise ConfigError(f"unknown environment variable {name}; did you mean {near[0]}?")
        remarks.append(f"unknown environment variable {name} is ignored")
    return remarks
