"""Flags and run of `fluyt controllers` and `fluyt scheduler`: what an elected process needs of its command line.

Names and defaults are those of kube-controller-manager and kube-scheduler where the meaning is the same.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

BOOL: Final = {"type": click.BOOL, "is_flag": False, "flag_value": "true"}
FILES: Final = ("kubeconfig", "etcd_cafile", "etcd_certfile", "etcd_keyfile", "tls_cert_file", "tls_private_key_file")

# (flag, option settings, help)
Flags = Sequence[tuple[str, dict[str, Any], str]]
SERVERS: Final[Flags] = [
    ("kubeconfig", {"default": ""}, "File that says where the API servers are and who we are."),
    ("master", {"default": ""}, "URLs of the API servers, comma-separated; over those of --kubeconfig."),
    ("leader-elect", {**BOOL, "default": "true"}, "Act only while elected in the store; others stand by."),
    ("etcd-servers", {"default": "http://127.0.0.1:2379"}, "URLs of the store's members, for the election."),
    ("etcd-cafile", {"default": ""}, "Whom to trust as the store (PEM)."),
    ("etcd-certfile", {"default": ""}, "Our certificate for the store."),
    ("etcd-keyfile", {"default": ""}, "Key of --etcd-certfile."),
    ("identity", {"default": ""}, "What others see of the leader.  [default: host name and process id]"),
]


def pages(port: int) -> Flags:
    """The flags of the pages; port: where they are by default."""
    return [
        ("bind-address", {"default": "127.0.0.1"}, "Address of the pages /healthz and /metrics."),
        ("secure-port", {"default": port, "type": click.IntRange(-1, 65535)}, "Their port; 0: any free, -1: none."),
        ("tls-cert-file", {"default": ""}, "Certificate for these pages (PEM).  [default: plain HTTP]"),
        ("tls-private-key-file", {"default": ""}, "Key of --tls-cert-file."),
    ]


VERBOSITY: Final[Flags] = [("v", {"default": 0, "type": int}, "Verbosity of the log: 4 and more tell of details, too.")]


class FlagError(Exception):
    """A flag's value that does not do; the text says which and why."""


def with_flags(command: click.Command, flags: Flags) -> click.Command:
    """The command with these options, in this order in its help."""
    for flag, settings, text in flags:
        command = click.option(f"--{flag}", help=text, show_default=bool(settings.get("default")), **settings)(command)
    return command


def check_files(flags: dict[str, Any], names: Sequence[str] = FILES) -> None:
    """Files that flags name must be there. Raises FlagError."""
    for name in names:
        if flags[name] and not Path(flags[name]).is_file():
            raise FlagError(f"--{name.replace('_', '-')}: there is no file {flags[name]}")


def words(text: str) -> list[str]:
    """Comma-separated words."""
    return [word.strip() for word in text.split(",") if word.strip()]


def candidacy(flags: dict[str, Any], name: str) -> dict[str, Any]:
    """What control.elected.process.Candidacy is made of. name: of the program, for its user agent. ConfigError."""
    from control.client import kubeconfig

    api = kubeconfig.load(flags["kubeconfig"] or None, servers=words(flags["master"]))
    return {
        "api": replace(api, user_agent=f"fluyt-{name}"),
        "identity": flags["identity"] or f"{socket.gethostname()}-{os.getpid()}",
        "store": words(flags["etcd_servers"]) if flags["leader_elect"] else (),
        "store_tls": store_tls(flags),
        "bind_address": flags["bind_address"],
        "port": None if flags["secure_port"] < 0 else flags["secure_port"],
        "tls_cert": flags["tls_cert_file"],
        "tls_key": flags["tls_private_key_file"],
    }


def store_tls(flags: dict[str, Any]) -> Any:
    """The client.Tls of the store, None for no TLS. Raises FlagError."""
    from kvstore.client import Tls

    ca, cert, key = (flags[file] or None for file in ("etcd_cafile", "etcd_certfile", "etcd_keyfile"))
    if bool(cert) != bool(key):
        raise FlagError("--etcd-certfile and --etcd-keyfile belong together: give both, or neither")
    return Tls(ca=ca, cert=cert, key=key) if ca or cert else None


def run(name: str, flags: dict[str, Any], make: Callable[[], Any]) -> None:
    """Run the process that `make` makes of the flags, to its end, and exit with its code."""
    from control.client.errors import ConfigError

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if flags["v"] >= 4 else logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
    )
    import uvloop

    try:
        sys.exit(uvloop.run(_serve(name, make)))
    except (FlagError, ConfigError) as problem:
        click.echo(f"fluyt {name}: {problem}", err=True)
        sys.exit(2)


async def _serve(name: str, make: Callable[[], Any]) -> int:
    from kvstore.cli.signals import Stop

    process = make()
    log = logging.getLogger(f"fluyt.{name}")
    try:
        await process.start()
    except OSError as problem:
        click.echo(f"fluyt {name}: {problem}", err=True)
        await process.stop()
        return 1
    # Whoever started us may wait for this line.
    log.info("pages on port %d", process.pages.port)
    async with Stop() as stop:
        failed = await stop.unless(_ended(process, log))
        await process.stop()
    return 1 if failed else 0


async def _ended(process: Any, log: logging.Logger) -> bool:
    """Waits for a mistake that ends everything; says it."""
    try:
        await process.ended
    except Exception as mistake:
        log.exception("ended by a mistake: %s", mistake)
    return True
