"""`fluyt pki`: a small certificate authority for one cluster, so that TLS needs no other tool.

`init` makes the authority and a certificate for every member and user; called again it makes only what is missing, so
a member or a user is added by naming it. The authority's key is needed for that alone, and is best kept elsewhere.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from kvstore.cli.exits import BAD_ARGS, CommandError
from kvstore.pki.certificates import Pair, issue, make_authority
from kvstore.pki.files import certificate_path, has_pair, key_path, load_pair, write_pair

CA = "ca"


@click.group("pki")
def pki() -> None:
    """Certificates for a cluster."""


@pki.command("init")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--member",
    "members",
    multiple=True,
    metavar="NAME=HOST[,HOST…]",
    help="A member and the host names and addresses it is reached at. May be repeated.",
)
@click.option(
    "--user", "users", multiple=True, metavar="NAME", help="A client's user name. May be repeated.  [default: root]"
)
@click.option("--days", default=3650, type=click.IntRange(1, 36500), show_default=True, help="How long all are valid.")
def init(folder: Path, members: tuple[str, ...], users: tuple[str, ...], days: int) -> None:
    """Make a certificate authority, and certificates for members and users, in FOLDER.

    \b
    What is there already is kept; what is missing is made. Files:
      ca.pem  ca-key.pem          the authority; its key signs further certificates, keep it safe
      NAME.pem  NAME-key.pem      for a member's --cert-file, --key-file and --peer-cert-file, --peer-key-file
      user-NAME.pem  user-NAME-key.pem  for a client's --cert and --key

    \b
    Example, three members on one machine:
      fluyt pki init certs --member m1=127.0.0.1,localhost --member m2=127.0.0.1 --member m3=127.0.0.1
    """
    now, lifetime = datetime.now(UTC), timedelta(days=days)
    wanted = [_member(text) for text in members or ("default=localhost,127.0.0.1",)]
    try:
        authority = _authority(folder, now, lifetime)
        for name, hosts in wanted:
            if _is_missing(folder, name):
                pair = issue(authority, name, hosts, now, lifetime, server=True, client=True)
                _write(folder, name, pair)
        for user in users or ("root",):
            if _is_missing(folder, f"user-{_checked(user)}"):
                _write(folder, f"user-{user}", issue(authority, user, [], now, lifetime, client=True))
    except ValueError as problem:
        raise CommandError(str(problem), BAD_ARGS) from None
    except OSError as problem:
        raise CommandError(f"{problem.filename or folder}: {problem.strerror}") from None
    first = wanted[0][0]
    click.echo(f"""
A member's flags, with https:// in its URLs:
  --cert-file {certificate_path(folder, first)} --key-file {key_path(folder, first)}
  --client-cert-auth --trusted-ca-file {certificate_path(folder, CA)}
  --peer-cert-file {certificate_path(folder, first)} --peer-key-file {key_path(folder, first)}
  --peer-client-cert-auth --peer-trusted-ca-file {certificate_path(folder, CA)}""")


def _authority(folder: Path, now: datetime, lifetime: timedelta) -> Pair:
    if _is_missing(folder, CA):
        _write(folder, CA, make_authority("fluyt cluster authority", now, lifetime))
    return load_pair(folder, CA)


def _member(text: str) -> tuple[str, list[str]]:
    name, equals, hosts = text.partition("=")
    found = [host.strip() for host in hosts.split(",") if host.strip()]
    if not equals or not found:
        raise CommandError(f"--member {text!r}: give it as NAME=HOST,HOST", BAD_ARGS)
    if name == CA or name.startswith("user-"):
        raise CommandError(f"--member {name!r}: a member cannot be called ca or user-…, other files are", BAD_ARGS)
    return _checked(name), found


def _checked(name: str) -> str:
    """The name of a file, too, and no longer than a common name may be (RFC 5280: 64)."""
    if not name or len(name) > 64 or name.startswith(".") or "/" in name or "\0" in name:
        raise CommandError(f"{name!r} cannot be a name here: 1 to 64 letters, no slash, no dot at its start", BAD_ARGS)
    return name


def _is_missing(folder: Path, name: str) -> bool:
    """False if both files are there. CommandError if only one is: it belongs to something that went wrong."""
    if has_pair(folder, name):
        return False
    for path in (certificate_path(folder, name), key_path(folder, name)):
        if path.exists():
            raise CommandError(f"{path} is there without its other half; remove it, or bring that back")
    return True


def _write(folder: Path, name: str, pair: Pair) -> None:
    write_pair(folder, name, pair)
    click.echo(f"made {certificate_path(folder, name)} and {key_path(folder, name)}")
