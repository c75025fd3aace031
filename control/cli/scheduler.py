"""`fluyt scheduler`: the scheduler of one master, with kube-scheduler's flags."""

from __future__ import annotations

from typing import Any, Final

import click

from control.cli import elected

FLAGS: Final[elected.Flags] = [
    *elected.SERVERS,
    ("scheduler-name", {"default": "default-scheduler"}, "spec.schedulerName of the pods to place; comma-separated."),
    *elected.pages(10259),
    *elected.VERBOSITY,
]


@click.command("scheduler", context_settings={"auto_envvar_prefix": "FLUYT_SCHEDULER"})
def scheduler(**flags: Any) -> None:
    """Give pods their nodes; on every master, of which the one that is elected in the store acts.

    \b
      fluyt scheduler --kubeconfig scheduler.conf --etcd-servers https://10.0.0.1:2379,https://10.0.0.2:2379 \\
        --etcd-cafile pki/store-ca.crt --etcd-certfile pki/store-client.crt --etcd-keyfile pki/store-client.key
    """

    def make() -> Any:
        from control.scheduler.process import SchedulerProcess

        return SchedulerProcess(settings_of(flags))

    elected.run("scheduler", flags, make)


def settings_of(flags: dict[str, Any]) -> Any:
    """flags: values by flag name with underscores. Raises FlagError, ConfigError."""
    from control.scheduler.process import ProcessSettings

    elected.check_files(flags)
    names = frozenset(elected.words(flags["scheduler_name"]))
    return ProcessSettings(**elected.candidacy(flags, "scheduler"), names=names)


scheduler = elected.with_flags(scheduler, FLAGS)
