"""`fluyt kubeconfig`: a kubeconfig file for a user, with a client certificate that the cluster's authority signs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from control.cli.kubeconfig_files import ADMIN, refuse_foreign
from control.cli.server_urls import refuse_no_server
from control.pki.cluster import CA, MASTERS, Subject, user_login
from control.pki.files import certificate_path
from control.pki.kubeconfig import as_yaml, read_kubeconfig, server_url, write_kubeconfig
from control.pki.kubeconfig import kubeconfig as content_of
from kvstore.cli.exits import BAD_ARGS, CommandError

_DEFAULT_URL = "https://127.0.0.1:6443"


@click.command("kubeconfig")
@click.option(
    "--pki-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder with the cluster's ca.crt and ca.key.  [default: ./pki if it is there, else that of fluyt up]",
)
@click.option("--user", default=ADMIN, show_default=True, help="The user's name, as RBAC knows it.")
@click.option("--group", "groups", multiple=True, help="A group of the user's. May be repeated.")
@click.option("--server", default="", help="URL of the API server.  [default: that of admin.conf beside the folder]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file to write.  [default: stdout]")
@click.option("--force", is_flag=True, help="Write over --out whatever is in it.")
def kubeconfig(
    pki_dir: Path | None, user: str, groups: tuple[str, ...], server: str, out: Path | None, force: bool
) -> None:
    """Make a kubeconfig file for a user.

    \b
    Without options it is an administrator's. Others may do what RBAC grants them:
      fluyt kubeconfig --user alice --group developers --out alice.conf
      kubectl create clusterrolebinding alice --clusterrole=view --user=alice

    The certificate in it is valid for a year. It cannot be revoked; for logins that can, use service-account tokens.
    """
    pki = pki_dir or _usual_folder()
    try:
        content = _content(pki, Subject(user, _groups(user, groups)), server)
        if out is None:
            click.echo(as_yaml(content), nl=False)
        else:
            if not force:
                refuse_foreign(out, [server_url(content)], user, "choose another --out, or --force")
            write_kubeconfig(out, content)
            click.echo(f"wrote {out}; use it with: kubectl --kubeconfig {out} …", err=True)
    except ValueError as problem:
        raise CommandError(str(problem), BAD_ARGS) from None
    except OSError as problem:
        raise CommandError(f"{problem.filename or pki}: {problem.strerror}") from None


def _content(pki: Path, subject: Subject, server: str) -> dict[str, object]:
    if not subject.user:
        raise ValueError("--user must not be empty")
    url = server or _server_beside(pki)
    refuse_no_server(url)
    login = user_login(pki, subject, datetime.now(UTC))
    return content_of(url, certificate_path(pki, CA).read_bytes(), subject.user, login)


def _usual_folder() -> Path:
    from control.up.cluster import default_folder

    here = Path("pki")
    return here if certificate_path(here, CA).exists() else default_folder() / "pki"


def _groups(user: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    return groups or ((MASTERS,) if user == ADMIN else ())


def _server_beside(pki: Path) -> str:
    try:
        return server_url(read_kubeconfig(pki.parent / "admin.conf")) or _DEFAULT_URL
    except FileNotFoundError:
        return _DEFAULT_URL
