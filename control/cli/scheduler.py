"""`fluyt scheduler`: the scheduler of one master, with kube-scheduler's flags."""

from __future__ import annotations

import logging
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

BOOL = {"type": click.BOOL, "is_flag": False, "flag_value": "true"}
_FILES = ("kubeconfig", "etcd_cafile", "etcd_certfile", "etcd_keyfile", "tls_cert_file", "tls_private_key_file")

# (flag, option settings, help); names and defaults are kube-scheduler's where the meaning is the same.
FLAGS: list[tuple[str, dict[str, Any], str]] = [
    ("kubeconfig", {"default": ""}, "File that says where the API servers are and who we are."),
    ("master", {"default": ""}, "URLs of the API servers, comma-separated; over those of --kubeconfig."),
    ("leader-elect", {**BOOL, "default": "true"}, "Act only while elected in the store; others stand by."),
    ("etcd-servers", {"default": "http://127.0.0.1:2379"}, "URLs of the store's members, for the election."),
    ("etcd-cafile", {"default": ""}, "Whom to trust as the store (PEM)."),
    ("etcd-certfile", {"default": ""}, "Our certificate for the store."),
    ("etcd-keyfile", {"default": ""}, "Key of --etcd-certfile."),
    ("identity", {"default": ""}, "What others see of the leader.  [default: host name and process id]"),
    ("scheduler-name", {"default": "default-scheduler"}, "spec.schedulerName of the pods to place; comma-separated."),
    ("bind-address", {"default": "127.0.0.1"}, "Address of the pages /healthz and /metrics."),
    ("secure-port", {"default": 10259, "type": click.IntRange(-1, 65535)}, "Their port; 0: any free one, -1: none."),
    ("tls-cert-file", {"default": ""}, "Certificate for these pages (PEM).  [default: plain HTTP]"),
    ("tls-private-key-file", {"default": ""}, "Key of --tls-cert-file."),
    ("v", {"default": 0, "type": int}, "Verbosity of the log: 4 and more also tell of every decision."),
]


@click.command("scheduler", context_settings={"auto_envvar_prefix": "FLUYT_SCHEDULER"})
def scheduler(**flags: Any) -> None:
    """Give pods their nodes; on every master, of which the one that is elected in the store acts.

    \b
      fluyt scheduler --kubeconfig scheduler.conf --etcd-servers https://10.0.0.1:2379,https://10.0.0.2:2379 \\
        --etcd-cafile pki/store-ca.crt --etcd-certfile pki/store-client.crt --etcd-keyfile pki/store-client.key
    """
    from control.client.errors import ConfigError

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if flags["v"] >= 4 else logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
    )
    for name in _FILES:
        if flags[name] and not Path(flags[name]).is_file():
            flag = name.replace("_", "-")
            click.echo(f"fluyt scheduler: --{flag}: there is no file {flags[name]}", err=True)
            sys.exit(2)
    try:
        settings = settings_of(flags)
    except ConfigError as problem:
        click.echo(f"fluyt scheduler: {problem}", err=True)
        sys.exit(2)
    import uvloop

    sys.exit(uvloop.run(_run(settings)))


def settings_of(flags: dict[str, Any]) -> Any:
    """The process's settings. flags: values by flag name with underscores. Raises ConfigError."""
    from control.client import kubeconfig
    from control.scheduler.process import ProcessSettings
    from kvstore.client import Tls

    api = kubeconfig.load(flags["kubeconfig"] or None, servers=_words(flags["master"]))
    files = [flags[name] or None for name in ("etcd_cafile", "etcd_certfile", "etcd_keyfile")]
    return ProcessSettings(
        api=replace(api, user_agent="fluyt-scheduler"),
        identity=flags["identity"] or f"{socket.gethostname()}-{os.getpid()}",
        store=_words(flags["etcd_servers"]) if flags["leader_elect"] else (),
        store_tls=Tls(ca=files[0], cert=files[1], key=files[2]) if any(files) else None,
        names=frozenset(_words(flags["scheduler_name"])),
        bind_address=flags["bind_address"],
        port=None if flags["secure_port"] < 0 else flags["secure_port"],
        tls_cert=flags["tls_cert_file"],
        tls_key=flags["tls_private_key_file"],
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


async def _run(settings: Any) -> int:
    from control.scheduler.process import SchedulerProcess
    from kvstore.cli.signals import Stop

    process = SchedulerProcess(settings)
    try:
        await process.start()
    except OSError as problem:
        click.echo(f"fluyt scheduler: {problem}", err=True)
        await process.stop()
        return 1
    # Whoever started us may wait for this line.
    logging.getLogger("fluyt.scheduler").info("pages on port %d", process.port)
    async with Stop() as stop:
        failed = await stop.unless(_ended(process))
        await process.stop()
    return 1 if failed else 0


async def _ended(process: Any) -> bool:
    """Waits for a mistake that ends everything; says it."""
    try:
        await process.ended
    except Exception as mistake:
        logging.getLogger("fluyt.scheduler").exception("ended by a mistake: %s", mistake)
    return True


for _flag, _options, _help in FLAGS:
    scheduler = click.option(f"--{_flag}", help=_help, show_default=bool(_options.get("default")), **_options)(
        scheduler
    )
