"""`fluyt`: the command line of the store, in etcdctl's grammar.

This module stays light: what a command needs is imported when it runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from kvstore.cli import exits
from kvstore.cli.grammar import LazyGroup

# name → (where it is, what --help says of it).
COMMANDS = {
    "store": ("kvstore.cli.store:store", "Run one member of a store."),
    "get": ("kvstore.cli.kv:get", "Get a key or a range of keys."),
    "put": ("kvstore.cli.kv:put", "Write a key."),
    "del": ("kvstore.cli.kv:delete", "Delete a key or a range of keys."),
    "txn": ("kvstore.cli.txn:txn", "Run several requests as one transaction, from stdin."),
    "compaction": ("kvstore.cli.kv:compaction", "Forget the history below a revision."),
    "watch": ("kvstore.cli.watch:watch", "Print the changes of keys as they happen."),
    "lease": ("kvstore.cli.lease:lease", "Grant, revoke, renew and list leases."),
    "lock": ("kvstore.cli.lock:lock", "Hold a named lock, and run a command under it."),
    "elect": ("kvstore.cli.elect:elect", "Take part in an election, or watch one."),
    "endpoint": ("kvstore.cli.endpoint:endpoint", "Health, status and hash of members."),
    "auth": ("kvstore.cli.auth:auth", "Turn authentication on and off."),
    "user": ("kvstore.cli.user:user", "Users, their passwords and roles."),
    "role": ("kvstore.cli.role:role", "Roles and what they permit."),
    "member": ("kvstore.cli.member:member", "List and change the members of the cluster."),
    "move-leader": ("kvstore.cli.member:move_leader", "Hand leadership to another member."),
    "alarm": ("kvstore.cli.alarm:alarm", "List and disarm alarms."),
    "defrag": ("kvstore.cli.defrag:defrag", "Give the disk space of deleted data back."),
    "snapshot": ("kvstore.cli.snapshot:snapshot", "Save, inspect and restore snapshots."),
    "make-mirror": ("kvstore.cli.mirror:make_mirror", "Keep a copy of keys in another cluster."),
    "check": ("kvstore.cli.check:check", "Measure whether a cluster performs well enough."),
    "bench": ("kvstore.cli.bench.commands:bench", "Measure a store under load."),
    "apiserver": ("control.cli.apiserver:apiserver", "Run one API server."),
    "agent": ("control.cli.agent:agent", "Run a node: its containers, volumes, probes, logs."),
    "image": ("control.cli.image:image", "Load, list and remove the images of a node."),
    "controllers": ("control.cli.controllers:controllers", "Run the controllers of one master."),
    "scheduler": ("control.cli.scheduler:scheduler", "Run the scheduler of one master."),
    "up": ("control.cli.up:up", "Start a whole cluster on this machine."),
    "down": ("control.cli.down:down", "End the cluster that fluyt up started."),
    "kube": ("control.cli.kube.group:kube", "The everyday part of kubectl."),
    "why": ("control.cli.why:why", "Say why an object is as it is."),
    "kubeconfig": ("control.cli.kubeconfig:kubeconfig", "Make a kubeconfig file for a user of the API server."),
    "credentials": ("control.cli.credentials:credentials", "Make the credentials of a cluster's machines."),
    "pki": ("kvstore.cli.pki:pki", "Make the certificates of a cluster."),
    "completion": ("kvstore.cli.completion:completion", "Print the completion script of a shell."),
    "version": ("kvstore.cli.version:version", "Print the versions of fluyt and of its API."),
}

_HELP = """A store like etcd's, and the command line for it and for any etcd v3 store.

\b
  fluyt put greeting hello          write a key
  fluyt get greeting                read it
  fluyt watch --prefix gr           see it change
  fluyt endpoint status --cluster   see who leads

Commands may be shortened as long as they are unambiguous. Every option below may also stand after the command, or in
the environment: --dial-timeout is FLUYT_DIAL_TIMEOUT or ETCDCTL_DIAL_TIMEOUT.
"""

cli = LazyGroup(
    "fluyt",
    lazy=COMMANDS,
    help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with etcdctl's exit codes."""
    # gRPC's own remarks on connections that come and go; what matters of them is in our errors.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        code = _run(arguments)
    finally:
        _let_go_of_output()
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    """The exit code; what went wrong has been told."""
    try:
        code = cli.main(args=arguments, prog_name="fluyt", standalone_mode=False)
    except exits.CommandError as problem:
        _complain(problem.message, problem.prefix)
        return problem.code
    except click.exceptions.NoArgsIsHelpError as problem:
        click.echo(problem.ctx.get_help() if problem.ctx else "")
        return 0
    except click.ClickException as problem:
        _complain(_in_gos_words(problem))
        return exits.BAD_ARGS if isinstance(problem, click.MissingParameter) else exits.ERROR
    except (click.Abort, KeyboardInterrupt):
        return exits.CTRL_C
    except BrokenPipeError:
        # Who reads our output has gone (`fluyt get … | head`).
        return exits.ERROR
    except UnicodeEncodeError as problem:
        from kvstore.cli.quoting import quote

        _complain(f"{quote(problem.object)} is not UTF-8, which every name must be")
        return exits.BAD_ARGS
    except Exception as bug:
        if "--debug" in sys.argv:
            raise
        _complain(_in_one_line(bug))
        return exits.ERROR
    return code if isinstance(code, int) else 0


def _in_one_line(problem: Exception) -> str:
    if isinstance(problem, OSError) and problem.strerror:
        return f"{problem.filename or 'input or output'}: {problem.strerror}"
    return f"unexpected {type(problem).__name__}: {problem} (--debug shows where)"


def _let_go_of_output() -> None:
    """Keep the interpreter from complaining at its end about what cannot be written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str, prefix: str = "Error: ") -> None:
    click.echo(prefix + message, err=True)


def _in_gos_words(problem: click.ClickException) -> str:
    """The message that scripts written for etcdctl may look for."""
    if isinstance(problem, click.NoSuchOption):
        hint = f" (did you mean {' or '.join(problem.possibilities)}?)" if problem.possibilities else ""
        return f"unknown flag: {problem.option_name}{hint}"
    if isinstance(problem, click.UsageError) and problem.ctx is not None:
        return f"{problem.format_message()}\nRun '{problem.ctx.command_path} --help' for usage."
    return problem.format_message()


if __name__ == "__main__":
    main()
