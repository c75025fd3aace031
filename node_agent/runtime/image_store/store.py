"""The images of a node, as files: any number of processes (agents, `fluyt image`) may use one folder at a time.

    images/<id>.json          what is known of an image: its configuration, its layers, its size, its names
    trees/<chain id>/         its files; images with the same layers share them, and so do images on top of others
    incoming/, incoming.json  archives that are loaded by themselves (arrivals.py)

Invariants: a tree is complete when it has its name (renamed there at the end), and an image's file is written after
its tree; a tree that goes loses its name before its files; every change holds the lock; readers need none, because
files are replaced whole. A crash leaves a `tmp-` folder, which the next change removes. A file that is there and cannot
be read now is not taken for one that is gone: whoever needs it hears RuntimeUnavailable.
Blocking: call it in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from node_agent.runtime.errors import BadArchive, ImageInUse, InvalidImageName, PullFailed
from node_agent.runtime.image_names import is_host, normalised
from node_agent.runtime.image_store.archive import Archive, ArchivedImage
from node_agent.runtime.image_store.arrivals import Arrivals, identity
from node_agent.runtime.image_store.bounds import DEFAULT_BOUNDS, Bounds
from node_agent.runtime.image_store.config import ImageConfig, read_config
from node_agent.runtime.image_store.plain import plain_archive
from node_agent.runtime.image_store.unpack import Unpacker, clone_tree, remove_tree
from node_agent.runtime.present import names_if_there, replace_file, text_if_there

_TEMPORARY = "tmp-"


@dataclass(frozen=True, slots=True)
class StoredImage:
    """`tree` is the folder of its files; `chains` the digests of its layers, one on top of the other."""

    id: str
    names: tuple[str, ...]
    chains: tuple[str, ...]
    size: int
    loaded_at: float
    config: ImageConfig
    tree: Path


class ImageStore:
    """See the module."""

    def __init__(self, root: Path, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        self.root = root
        self._arrivals = Arrivals(root)
        self.incoming = self._arrivals.folder
        self._bounds = bounds

    def prepare(self) -> None:
        """Make the folders. Raises OSError."""
        for name in ("images", "trees", "incoming"):
            (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o755)

    # looking

    def all(self) -> list[StoredImage]:
        """Oldest first. A file that is not ours is left out."""
        folder = self.root / "images"
        found = [self._read(folder / name) for name in names_if_there(folder) if name.endswith(".json")]
        return sorted((image for image in found if image), key=lambda image: image.loaded_at)

    def find(self, name: str) -> StoredImage | None:
        """By id, a part of it (twelve digits or more), or name. Raises InvalidImageName."""
        digits = name.removeprefix("sha256:")
        if len(digits) >= 12 and not set(digits) - set("0123456789abcdef"):
            matches = [image for image in self.all() if image.id.removeprefix("sha256:").startswith(digits)]
            if len(matches) == 1:
                return matches[0]
        whole = normalised(name)
        by_name = next((image for image in self.all() if whole in image.names), None)
        if by_name is None and "@sha256:" in whole:
            return next((image for image in self.all() if image.id == whole.partition("@")[2]), None)
        return by_name

    # changing

    def load(self, archive: Path) -> tuple[str, ...]:
        """Take all images of an archive: their names (ids where they have none). Raises BadArchive, PullFailed."""
        self.prepare()
        with _explained(archive), self._changing():
            return self._load(archive)

    def remove(self, name: str, in_use: Callable[[str], bool], *, for_good: bool = False) -> tuple[str, ...]:
        """What is gone: a name, or the image with all of its names. Raises ImageInUse, InvalidImageName.

        for_good: nor does the archive in `incoming` that brought it bring it back.
        """
        with self._changing():
            image = self.find(name)
            if image is None:
                return ()
            by_name = not image.id.removeprefix("sha256:").startswith(name.removeprefix("sha256:"))
            whole = not by_name or len(image.names) < 2
            gone = (*image.names, image.id) if whole else (normalised(name),)
            if whole and in_use(image.id):
                raise ImageInUse(f"image {name} is used by a container: remove that first")
            if for_good:
                # First: whoever is killed or refused after it can do it again.
                self._arrivals.forget(gone)
            if whole:
                os.unlink(self._path(image.id))
                self._sweep()
            else:
                self._rename(image, tuple(each for each in image.names if each not in gone))
            return gone

    def load_incoming(self, wanted: str = "") -> list[str]:
        """Load what was dropped into `incoming` since: what happened, a line each (also of what was refused).

        `wanted`: the name of an image; if it was removed since its archive was loaded, the archive is loaded again.
        Raises InvalidImageName.
        """
        said = []
        for archive in self._arrivals.waiting(wanted if wanted and self.find(wanted) is None else ""):
            with _explained(archive), self._changing():
                said.append(self._arrive(archive))
        return said

    def _arrive(self, archive: Path) -> str:
        arrivals, before = self._arrivals, identity(archive)
        again = arrivals.brought_by(archive)
        try:
            with _explained(archive):
                names = self._load(archive, again)
        except BadArchive as problem:
            arrivals.note(archive, before, str(problem))
            return f"refused {problem}"
        except PullFailed as problem:
            # The disk's fault, not the archive's: without an identity it counts as new the next time.
            arrivals.note(archive, [] if again is None else before, str(problem), again or ())
            return f"refused {problem}"
        ids = (image.id for image in map(self.find, names) if image)
        arrivals.note(archive, before, "", (*names, *ids))
        return f"loaded {', '.join(names)} from {archive.name}"

    def refused(self) -> list[str]:
        """What is wrong with archives that wait in `incoming`."""
        return self._arrivals.problems()

    # inside

    def _load(self, archive: Path, again: Collection[str] | None = None) -> tuple[str, ...]:
        """again: of an archive that was loaded before, take these names and ids only."""
        with plain_archive(archive, self.root, self._bounds) as file:
            opened = Archive(file, self._bounds)
            images = opened.images() if again is None else _only(again, opened.images())
            for image in images:
                self._take(opened, image)
        return tuple(name for image in images for name in (_normalised_all(image.names) or (image.id,)))

    def _take(self, archive: Archive, image: ArchivedImage) -> None:
        names = _normalised_all(image.names)
        if any(is_host(name) for name in names):
            raise BadArchive("no image may be called host: that is the machine itself")
        config = read_config(json.loads(image.document))
        chains = chain_ids([diff for _, diff in image.layers])
        size = self._tree(archive, image, chains)
        for other in self.all():
            if other.id != image.id and set(other.names) & set(names):
                self._rename(other, tuple(name for name in other.names if name not in names))
        known = self._read(self._path(image.id))
        self._write(image.id, tuple(dict.fromkeys((*(known.names if known else ()), *names))), chains, size, config)

    def _tree(self, archive: Archive, image: ArchivedImage, chains: tuple[str, ...]) -> int:
        """Unpack what is not there yet: its size."""
        tree = self._tree_path(chains)
        marker = tree.with_suffix(".size")
        if tree.is_dir() and marker.exists():
            return int(marker.read_text())
        work = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self.root / "trees"))
        os.chmod(work, 0o755)
        start, size = self._longest(chains)
        if start:
            clone_tree(self._tree_path(chains[:start]), work)
        unpacker = Unpacker(work, self._bounds)
        for member, diff in image.layers[start:]:
            with archive.layer(member) as layer:
                unpacker.apply(layer, diff)
        unpacker.finish()
        self._discard(tree)
        marker.write_text(str(size + unpacker.size))
        os.rename(work, tree)
        return size + unpacker.size

    def _longest(self, chains: tuple[str, ...]) -> tuple[int, int]:
        """How many of the layers are unpacked already, and their size."""
        for count in range(len(chains) - 1, 0, -1):
            marker = self._tree_path(chains[:count]).with_suffix(".size")
            if marker.exists() and marker.with_suffix("").is_dir():
                return count, int(marker.read_text())
        return 0, 0

    def _tree_path(self, chains: tuple[str, ...]) -> Path:
        return self.root / "trees" / (chains[-1] if chains else "empty")

    def _path(self, image_id: str) -> Path:
        return self.root / "images" / f"{image_id.removeprefix('sha256:')}.json"

    def _read(self, path: Path) -> StoredImage | None:
        """None: there is none, or it is not ours. Raises RuntimeUnavailable."""
        try:
            found: dict[str, Any] = json.loads(text_if_there(path) or "")
            chains = tuple(found["chains"])
            return StoredImage(
                id=found["id"],
                names=tuple(found["names"]),
                chains=chains,
                size=found["size"],
                loaded_at=found["loaded_at"],
                config=read_config({"config": found["config"]}),
                tree=self._tree_path(chains),
            )
        except (ValueError, KeyError, TypeError, BadArchive):
            return None

    def _write(
        self, image_id: str, names: tuple[str, ...], chains: tuple[str, ...], size: int, config: ImageConfig
    ) -> None:
        document = {
            "id": image_id,
            "names": names,
            "chains": chains,
            "size": size,
            "loaded_at": time.time(),
            "config": {
                "Entrypoint": config.entrypoint,
                "Cmd": config.command,
                "Env": [f"{name}={value}" for name, value in config.env],
                "WorkingDir": config.working_dir,
                "User": config.user,
                "StopSignal": config.stop_signal,
            },
        }
        replace_file(self._path(image_id), json.dumps(document), 0o644)

    def _rename(self, image: StoredImage, names: tuple[str, ...]) -> None:
        self._write(image.id, names, image.chains, image.size, image.config)

    def _sweep(self) -> None:
        """Remove trees that belong to no image (more)."""
        used = {image.tree.name for image in self.all()}
        there = {path.name.removesuffix(".size") for path in (self.root / "trees").iterdir()}
        for name in there - used:
            self._discard(self.root / "trees" / name)

    def _discard(self, tree: Path) -> None:
        """Marker and name go first: whoever is killed here leaves nothing that looks like a whole tree."""
        tree.with_suffix(".size").unlink(missing_ok=True)
        going = tree.with_name(f"{_TEMPORARY}{tree.name}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(tree, going)
        remove_tree(str(going))

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with open(self.root / "images.lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for path in (self.root / "trees").glob(f"{_TEMPORARY}*"):
                remove_tree(str(path))
            yield


@contextlib.contextmanager
def _explained(archive: Path) -> Iterator[None]:
    """Raises PullFailed for what the disk refuses, and BadArchive for what is wrong with the archive."""
    try:
        yield
    except OSError as problem:
        raise PullFailed(f"{archive}: {problem.strerror or problem}") from problem
    except (BadArchive, InvalidImageName) as problem:
        raise BadArchive(f"{archive}: {problem}") from problem


def chain_ids(diffs: list[str]) -> tuple[str, ...]:
    """Names for "these layers, on top of each other", as the OCI specification makes them (without the algorithm)."""
    chains: list[str] = []
    for diff in diffs:
        below = f"sha256:{chains[-1]} {diff}" if chains else ""
        chains.append(hashlib.sha256(below.encode()).hexdigest() if below else diff.removeprefix("sha256:"))
    return tuple(chains)


def _normalised_all(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(normalised(name) for name in names))


def _only(wanted: Collection[str], images: Iterable[ArchivedImage]) -> list[ArchivedImage]:
    chosen = [replace(each, names=tuple(n for n in each.names if normalised(n) in wanted)) for each in images]
    return [each for each in chosen if each.names or each.id in wanted]


def disk_usage(root: Path) -> tuple[int, int]:
    """(bytes, inodes) below a folder; each file once, however many links it has."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            with contextlib.suppress(OSError):
                known = os.lstat(os.path.join(folder, name))
                if (known.st_dev, known.st_ino) not in seen:
                    seen.add((known.st_dev, known.st_ino))
                    total += known.st_blocks * 512
    return total, len(seen)


def copy_tree(source: Path, target: Path) -> None:
    """A container's own copy of an image's files, where there are no overlays. Raises OSError."""
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
