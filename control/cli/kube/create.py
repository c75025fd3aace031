"""`fluyt kube create`: objects from files, and the simple ones from flags."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from control.api.schema import Object
from control.cli.kube import manifests
from control.cli.kube.apply import namespace_of
from control.cli.kube.grammar import GoFlags, KubeCommand, files_option, flags_of
from control.cli.kube.output import Format, name_of
from control.cli.kube.session import Session, run
from kvstore.cli.exits import CommandError

_DRY_RUNS = ["none", "client", "server"]


class _CreateGroup(GoFlags, click.Group):
    """`create -f FILE` as well as `create KIND NAME`."""

    command_class = KubeCommand

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(p for p in KubeCommand("flags").params if isinstance(p, click.Option))


@click.group("create", cls=_CreateGroup, invoke_without_command=True)
@files_option("File, folder, or - for standard input.")
@click.option("-R", "--recursive", is_flag=True, help="Folders inside folders, too.")
@click.option("--dry-run", type=click.Choice(_DRY_RUNS), default="none", help="Change nothing; server: check it there.")
@click.option("-o", "--output", default="", help="json, yaml, name, jsonpath=….")
@click.pass_context
def create(ctx: click.Context, files: tuple[str, ...], recursive: bool, dry_run: str, output: str) -> None:
    """Create objects from files, or simple ones from flags.

    \b
      fluyt kube create -f web.yaml
      fluyt kube create namespace shop
      fluyt kube create configmap settings --from-literal=colour=blue
      fluyt kube create deployment web --image=nginx --replicas=3
    """
    if ctx.invoked_subcommand is not None:
        return
    if not files:
        raise CommandError("must specify -f, or what to create: see fluyt kube create --help", prefix="error: ")
    _make(ctx, manifests.read(files, recursive=recursive), dry_run, output)


def _make(ctx: click.Context, objects: Sequence[Object], dry_run: str, output: str) -> None:
    shown = Format(output)
    if dry_run == "client":
        # Nobody is asked, so the namespace is what was said, or nothing.
        made = [_placed(obj, flags_of(ctx).namespace) for obj in objects]
    else:
        made = run(ctx, lambda session: _create_all(session, objects, dry_run))
    if output:
        shown.show(made, as_list=len(made) > 1)
        return
    for obj in made:
        click.echo(f"{name_of(obj)} created" + ("" if dry_run == "none" else f" ({dry_run} dry run)"))


def _placed(obj: Object, namespace: str) -> Object:
    if not namespace:
        return obj
    return {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}


async def _create_all(session: Session, objects: Sequence[Object], dry_run: str) -> list[Object]:
    made: list[Object] = []
    for obj in objects:
        kind = await session.client.directory.of_object(obj["apiVersion"], obj["kind"])
        made.append(
            await session.client.create(
                kind.resource,
                obj,
                namespace=namespace_of(session, obj, kind.namespaced),
                dry_run=dry_run == "server",
                options={"fieldManager": "fluyt-kube", "fieldValidation": "Strict"},
            )
        )
    return made


def _generator(name: str, *aliases: str) -> Callable[[Callable[..., Object]], click.Command]:
    """A command that makes one object of NAME and its flags."""

    def decorate(make: Callable[..., Object]) -> click.Command:
        def callback(dry_run: str, output: str, **flags: Any) -> None:
            _make(click.get_current_context(), [make(**flags)], dry_run, output)

        callback.__doc__ = make.__doc__
        callback.__click_params__ = getattr(make, "__click_params__", [])  # type: ignore[attr-defined]
        dry = click.option("--dry-run", type=click.Choice(_DRY_RUNS), default="none", help="Change nothing.")
        out = click.option("-o", "--output", default="", help="json, yaml, name, jsonpath=….")
        command = create.command(name)(click.argument("name")(dry(out(callback))))
        for alias in aliases:
            create.add_command(command, alias)
        return command

    return decorate


_literal = click.option("--from-literal", "literals", multiple=True, metavar="KEY=VALUE", help="May be repeated.")
_file = click.option("--from-file", "files", multiple=True, metavar="[KEY=]FILE", help="May be repeated.")


@_generator("namespace", "ns")
def namespace(name: str) -> Object:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


@_generator("serviceaccount", "sa")
def serviceaccount(name: str) -> Object:
    """A service account."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


@_generator("configmap", "cm")
@_literal
@_file
def configmap(name: str, literals: Sequence[str], files: Sequence[str]) -> Object:
    """A config map of literals and files."""
    made: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    for key, content in _contents(literals, files).items():
        try:
            made.setdefault("data", {})[key] = content.decode()
        except UnicodeDecodeError:
            made.setdefault("binaryData", {})[key] = base64.b64encode(content).decode()
    return made


@_generator("secret")
@_literal
@_file
@click.option("--type", "kind", default="Opaque", help="What the secret is for.  [default: Opaque]")
def secret(name: str, literals: Sequence[str], files: Sequence[str], kind: str) -> Object:
    """A secret of literals and files. Literals stand in the shell's history: prefer files."""
    data = {key: base64.b64encode(content).decode() for key, content in _contents(literals, files).items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "data": data}


@_generator("deployment", "deploy")
@click.option("--image", "images", multiple=True, required=True, help="Image of a container. May be repeated.")
@click.option("--replicas", type=int, default=1, show_default=True)
@click.option("--port", type=int, help="Port that the first container listens on.")
def deployment(name: str, images: Sequence[str], replicas: int, port: int | None) -> Object:
    """A deployment of one image, or of several in one pod."""
    labels = {"app": name}
    containers: list[Object] = [{"name": _container_name(image), "image": image} for image in images]
    if port is not None:
        containers[0]["ports"] = [{"containerPort": port}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def _container_name(image: str) -> str:
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0].lower().replace("_", "-").replace(".", "-")


def _contents(literals: Sequence[str], files: Sequence[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for literal in literals:
        key, equals, value = literal.partition("=")
        if not key or not equals:
            raise CommandError(f"invalid literal source {literal}, expected key=value", prefix="error: ")
        _once(found, key, value.encode())
    for named in files:
        key, equals, path = named.partition("=")
        path = path if equals else key
        try:
            _once(found, key if equals else Path(path).name, Path(path).read_bytes())
        except OSError as problem:
            raise CommandError(f"{path}: {problem.strerror}", prefix="error: ") from None
    return found


def _once(found: dict[str, bytes], key: str, value: bytes) -> None:
    if key in found:
        raise CommandError(f"cannot add key {key}, another key by that name already exists", prefix="error: ")
    found[key] = value
