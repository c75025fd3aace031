"""`fluyt snapshot status` and `restore`: work on a file, without a store. Output and refusals as etcdutl's."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import click

from kvstore.cli.arguments import text_arguments
from kvstore.cli.exits import ERROR, CommandError, bad_args
from kvstore.cli.grammar import Command
from kvstore.cli.output import printer_of
from kvstore.cli.output.printer import SnapshotStatus, emit
from kvstore.cli.signals import cleared_up

P = ParamSpec("P")


def _explained(command: Callable[P, None]) -> Callable[P, None]:
    """What is wrong with the file or the flags, in one line."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        from kvstore.member.config import ConfigError
        from kvstore.storage.errors import StorageError

        try:
            command(*args, **kwargs)
        except (StorageError, ConfigError) as problem:
            raise CommandError(str(problem), ERROR) from problem
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            raise CommandError(f"{problem.filename or 'snapshot'}: {reason}", ERROR) from problem

    return run


@click.command(cls=Command, examples="fluyt snapshot status backup.db -w table")
@text_arguments("<file>", files=True)
@_explained
def status(arguments: tuple[str, ...]) -> None:
    """Show hash, revision, number of rows and size of a snapshot, after reading all of it."""
    from kvstore.backup import status as reading

    if len(arguments) != 1:
        raise bad_args("snapshot status requires exactly one argument")
    values: dict[str, Any] = click.get_current_context().find_root().obj
    shown = printer_of(values["write_out"], values["hex"])
    found = reading.status(arguments[0])
    shown.snapshot_status(SnapshotStatus(found.hash, found.revision, found.total_key, found.total_size))


@click.command(
    cls=Command,
    examples="""
    fluyt snapshot restore backup.db --data-dir new.fluyt
    fluyt snapshot restore backup.db --name m1 --data-dir m1.fluyt --initial-cluster m1=http://10.0.0.1:2380,m2=… \\
      --initial-advertise-peer-urls http://10.0.0.1:2380
    """,
)
@text_arguments("<file>", files=True)
@click.option(
    "--data-dir", default="", help="Directory to make, one that is empty or not there.  [default: NAME.fluyt]"
)
@click.option("--name", default="default", show_default=True, help="Name of this member.")
@click.option(
    "--initial-cluster",
    default="default=http://localhost:2380",
    show_default=True,
    help="All members of the new cluster: name=URL,name=URL,…",
)
@click.option("--initial-cluster-token", default="etcd-cluster", show_default=True, help="Token of the new cluster.")
@click.option(
    "--initial-advertise-peer-urls",
    default="http://localhost:2380",
    show_default=True,
    help="URLs that the other members reach this one at.",
)
@click.option(
    "--skip-hash-check", is_flag=True, help="Take a file without a checksum, as copied from a data directory."
)
@click.option("--bump-revision", type=click.IntRange(min=0), default=0, help="Revisions to skip; see --mark-compacted.")
@click.option(
    "--mark-compacted",
    is_flag=True,
    help="Everything before the bumped revision counts as compacted; goes with --bump-revision.",
)
@_explained
def restore(
    arguments: tuple[str, ...],
    data_dir: str,
    name: str,
    initial_cluster: str,
    initial_cluster_token: str,
    initial_advertise_peer_urls: str,
    skip_hash_check: bool,
    bump_revision: int,
    mark_compacted: bool,
) -> None:
    """Make a data directory for one member of a new cluster from a snapshot, ours or etcd's.

    Restore the same file once for each member, with its own name and URLs; then start them all with the same
    --initial-cluster and token. Clients that remember revisions (watches, caches) should not see one go back: skip
    as many as may have been written since the snapshot with --bump-revision and --mark-compacted.
    """
    from kvstore.backup.restore import restore as make
    from kvstore.member.config import Config, parse_cluster, split_urls

    if len(arguments) != 1:
        raise bad_args("snapshot restore requires exactly one argument")
    if bool(bump_revision) != mark_compacted:
        raise bad_args("--mark-compacted required if --bump-revision > 0, and disallowed otherwise")
    config = Config(
        name=name,
        data_dir=data_dir,
        initial_cluster=parse_cluster(initial_cluster),
        initial_cluster_token=initial_cluster_token,
        initial_advertise_peer_urls=split_urls(initial_advertise_peer_urls, "initial-advertise-peer-urls"),
    )
    with cleared_up():
        made = make(arguments[0], config, skip_hash_check=skip_hash_check, bump=bump_revision)
    emit(
        f"Restored {arguments[0]} at revision {made.revision} to {config.data_dir}:"
        f" member {name} {made.member_id:x} of cluster {made.cluster_id:x}"
    )
