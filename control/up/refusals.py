"""What a cluster cannot be, told before anything of it is made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from control.up.plan import Plan, UpError
from control.up.rows import Row


def refuse_impossible(plan: Plan) -> None:
    """Raises UpError for pods on bridges where the machine cannot have any."""
    if plan.network != "bridge" or not plan.nodes:
        return
    if os.geteuid() != 0:
        raise UpError("--network bridge needs root: it makes interfaces and nftables rules; leave it out, or use sudo")
    from node_agent.network.command import program

    missing = [name for name in ("ip", "nft") if not program(name)]
    if missing:
        raise UpError(f"--network bridge needs {' and '.join(missing)}; install Debian's iproute2 and nftables")


def refuse_other_runtime(before: Plan | None, wanted: Plan, folder: Path) -> None:
    """For a cluster with agents that run. Raises UpError: nobody could find their containers again to end them."""
    if before is not None and (before.runtime, before.endpoint) != (wanted.runtime, wanted.endpoint):
        raise UpError(
            f"nodes are up with --runtime {before.runtime}, and keep it while they are; "
            f"first end them with fluyt down --data-dir {folder}"
        )


def refuse_wrong_flags(rows: Sequence[Row]) -> None:
    """Raises UpError for flags that a row's command does not have, or values that they do not take."""
    # Loaded here: it is only asked of what the user wrote, and loads every command.
    import click

    from kvstore.cli.main import cli

    for row in {row.role: row for row in rows}.values():
        command = cli.get_command(click.Context(cli), row.role)
        assert command is not None
        try:
            command.make_context(row.role, list(row.command[1:]), auto_envvar_prefix=None)
        except click.UsageError as problem:
            raise UpError(f"--extra-config for {row.role}: {problem.format_message()}") from None
