"""`fluyt image`: the images of a node's process runtime, in its folder; no agent needs to run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import click

from kvstore.cli.exits import CommandError

if TYPE_CHECKING:
    from node_agent.runtime.image_store.store import ImageStore, StoredImage

_P = ParamSpec("_P")
_UNITS = ("B", "kB", "MB", "GB", "TB")


def _explained(command: Callable[_P, None]) -> Callable[_P, None]:
    """What is wrong, in one line."""

    @wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        from node_agent.runtime.errors import RuntimeFault

        try:
            command(*args, **kwargs)
        except RuntimeFault as problem:
            raise CommandError(str(problem)) from problem
        except OSError as problem:
            raise CommandError(
                f"{problem.filename or 'image'}: {(problem.strerror or str(problem)).lower()}"
            ) from problem

    return run


_roots = click.option(
    "--root-dir",
    "roots",
    multiple=True,
    default=("/var/lib/fluyt/agent",),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The agent's --root-dir; may be given for several nodes (fluyt up: <data-dir>/<node>).",
)


@click.group("image")
def image() -> None:
    """The images of a node's process runtime: archives in, containers out.

    An archive is what `docker save`, `podman save` or an OCI tool writes. Archives that are copied into
    <root-dir>/runtime/incoming are loaded by the agent itself when a pod wants an image that is not there; one of their
    images that was removed stays so, until its archive is loaded or copied again. The image `host` is the machine's own
    files, `host:/some/root` a folder of it; neither needs loading.

    \b
      docker save web:1 -o web.tar
      fluyt image load web.tar
      fluyt image list
      fluyt image remove web:1
    """


@image.command("load")
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path))
@_roots
@_explained
def load(archives: Sequence[Path], roots: Sequence[Path]) -> None:
    """Load the images of archives (docker-archive or OCI layout, plain or gzip)."""
    for root in roots:
        for archive in archives:
            # Images may be there before the agent is: this makes the folder.
            for name in _store(root).load(archive):
                click.echo(f"Loaded image: {name}")


@image.command("list")
@_roots
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@_explained
def list_images(roots: Sequence[Path], output: str) -> None:
    """List the images, oldest first."""
    found = [each for root in roots for each in _present(root).all()]
    if output == "json":
        rows = [{"id": each.id, "names": each.names, "size": each.size, "loadedAt": each.loaded_at} for each in found]
        click.echo(json.dumps(rows))
        return
    click.echo(f"{'NAME':<48} {'ID':<14} SIZE")
    for each in found:
        for name in each.names or ("<none>",):
            click.echo(f"{name:<48} {_short(each):<14} {_size(each.size)}")


@image.command("remove")
@click.argument("names", nargs=-1, required=True)
@_roots
@_explained
def remove(names: Sequence[str], roots: Sequence[Path]) -> None:
    """Remove images by name or id; refused while a container was made from them."""
    stores = {root: _present(root) for root in roots}
    for name in names:
        gone = [
            each
            for root, store in stores.items()
            for each in store.remove(name, _used(root).__contains__, for_good=True)
        ]
        if not gone:
            raise CommandError(f"image {name} is not there; fluyt image list says which are")
        for each in gone:
            click.echo(f"Removed: {each}")


def _store(root: Path) -> ImageStore:
    from node_agent.runtime.image_store.store import ImageStore

    return ImageStore(root.absolute() / "runtime")


def _present(root: Path) -> ImageStore:
    """The store of a node that has one: who only looks, or takes away, must not make one where none was meant."""
    store = _store(root)
    try:
        os.stat(store.root / "images")
    except (FileNotFoundError, NotADirectoryError):
        raise CommandError(
            f"{root} holds no images: no node's process runtime has been there; name its --root-dir "
            f"(fluyt up: <data-dir>/<node>)"
        ) from None
    return store


def _used(root: Path) -> set[str]:
    """Ids of images that containers of the node were made from. OSErrors: nobody knows which, so none may go."""
    found = set()
    for record in (root / "runtime" / "containers").glob("*/record.json"):
        try:
            found.add(str(json.loads(record.read_text())["image_id"]))
        except (FileNotFoundError, ValueError, KeyError):
            continue
    return found


def _short(each: StoredImage) -> str:
    return each.id.removeprefix("sha256:")[:12]


def _size(size: float) -> str:
    """As Docker shows it: three digits, powers of a thousand."""
    power = 0
    while size >= 1000 and power < len(_UNITS) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.3g}{_UNITS[power]}"
