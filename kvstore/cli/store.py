"""`fluyt store`: run one member, with etcd's flags, ETCD_* variables, or a configuration file.

Precedence as in etcd: with --config-file the file alone counts; else a flag wins over its variable.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import click
import uvloop
from click.core import ParameterSource

from kvstore import failpoints
from kvstore.cli import store_environment, store_etcd_flags
from kvstore.cli.store_command import StoreCommand
from kvstore.cli.store_file import read_file
from kvstore.cli.store_flags import FLAGS
from kvstore.cli.store_settings import config_of
from kvstore.member.config import ConfigError
from kvstore.member.process import run
from kvstore.services.all import register_all
from kvstore.storage.errors import StorageError

log = logging.getLogger(__name__)

_LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warn": "WARNING",
    "warning": "WARNING",
    "error": "ERROR",
    "panic": "CRITICAL",
    "fatal": "CRITICAL",
}


@click.command(
    "store",
    cls=StoreCommand,
    context_settings={"auto_envvar_prefix": "ETCD"},
    short_help="Run one member of the store.",
    epilog="Every flag can also be given as ETCD_ and its name, as in ETCD_DATA_DIR.",
)
@click.pass_context
def store(ctx: click.Context, /, **flags: Any) -> None:
    """Run one member of the store.

    \b
    One member, for trying things out:
      fluyt store --data-dir /tmp/one
    \b
    The first of three (the others alike, with their own names and URLs):
      fluyt store --name m1 --data-dir m1.fluyt \\
        --listen-client-urls http://127.0.0.1:12379 \\
        --listen-peer-urls http://127.0.0.1:12380 \\
        --initial-advertise-peer-urls http://127.0.0.1:12380 \\
        --initial-cluster m1=http://127.0.0.1:12380,m2=http://127.0.0.1:22380,m3=http://127.0.0.1:32380
    """
    try:
        flags, remarks = _settle(ctx, flags)
        _log_to_stderr(flags["log_level"])
        for remark in remarks:
            log.warning("%s", remark)
        failpoints.configure(os.environ.get(failpoints.VARIABLE, ""))
        code = uvloop.run(run(config_of(flags), register_all))
    except (ConfigError, StorageError, failpoints.FailpointError) as problem:
        click.echo(f"fluyt store: {problem}", err=True)
        sys.exit(1)
    except OSError as problem:
        click.echo(f"fluyt store: {problem.strerror or problem}: {problem.filename or 'system call'}", err=True)
        sys.exit(1)
    sys.exit(code)


for _flag, _settings, _help in reversed(FLAGS):
    store = click.option(f"--{_flag}", help=_help, show_default=bool(_settings.get("default")), **_settings)(store)
store.params.extend(store_etcd_flags.options())


def _settle(ctx: click.Context, flags: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values that count, and what to say about others. Raises ConfigError."""
    path = flags.pop("config_file")
    if path:
        ignored = [name for name in flags if ctx.get_parameter_source(name) in _GIVEN]
        flags = read_file(path, ctx)
        remarks = [f"--{name.replace('_', '-')} is ignored: --config-file alone counts" for name in ignored]
    else:
        remarks = store_environment.check(ctx.command)
    return flags, remarks + store_etcd_flags.take_out(flags)


_GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def _log_to_stderr(level: str) -> None:
    if level not in _LEVELS:
        raise ConfigError(f"--log-level must be one of {', '.join(_LEVELS)}, not {level!r}")
    logging.basicConfig(
        stream=sys.stderr, level=_LEVELS[level], format="%(asctime)s %(levelname).1s %(name)s: %(message)s"
    )


if __name__ == "__main__":
    store()
