"""The folder for archives that are loaded by themselves, and what became of each.

    incoming/       archives that are dropped in here
    incoming.json   which of them were seen, the images that each may bring back, what is wrong with others

An image that was collected as garbage is brought back by its archive when somebody asks for it; one that a user removed
is not, until the archive is loaded or copied here again. Blocking; changes are made under the store's lock.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from node_agent.runtime.image_names import normalised
from node_agent.runtime.present import replace_file, text_if_there

# Whoever may look at images may see what became of archives.
_MODE = 0o644


class Arrivals:
    """See the module."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "incoming"
        self._file = root / "incoming.json"

    def waiting(self, missing: str) -> list[Path]:
        """The archives that are new, and the one that brought the image `missing` ("": none). InvalidImageName."""
        notes, names = self._notes(), _spellings(missing) if missing else frozenset()
        if not self.folder.is_dir():
            return []
        return [
            path
            for path in sorted(self.folder.iterdir())
            if path.is_file()
            and not path.name.startswith(".")
            and (_is_new(path, notes.get(path.name, {})) or names.intersection(notes[path.name]["names"]))
        ]

    def brought_by(self, archive: Path) -> tuple[str, ...] | None:
        """The names and ids that an archive may bring back, None for one that is new."""
        entry = self._notes().get(archive.name, {})
        return None if _is_new(archive, entry) else tuple(entry["names"])

    def problems(self) -> list[str]:
        """What is wrong with those that are not loaded."""
        return [entry["problem"] for entry in self._notes().values() if entry.get("problem")]

    def note(self, archive: Path, identity: list[int], problem: str, names: tuple[str, ...] = ()) -> None:
        """What became of an archive."""
        there = {path.name for path in self.folder.iterdir()}
        notes = {name: entry for name, entry in self._notes().items() if name in there}
        # A name is that of the newest image: only who brought it last is to bring it back.
        _take_out(notes, names)
        notes[archive.name] = {"identity": identity, "problem": problem, "names": names}
        self._write(notes)

    def forget(self, names: Collection[str]) -> None:
        """No archive is to bring these back."""
        notes = self._notes()
        _take_out(notes, names)
        self._write(notes)

    def _notes(self) -> dict[str, Any]:
        try:
            notes = json.loads(text_if_there(self._file) or "")
        except ValueError:
            return {}
        return notes if isinstance(notes, dict) else {}

    def _write(self, notes: dict[str, Any]) -> None:
        replace_file(self._file, json.dumps(notes), _MODE)


def identity(path: Path) -> list[int]:
    """By which an archive is known again; empty if it is gone."""
    try:
        known = path.stat()
    except FileNotFoundError:
        return []
    return [known.st_size, known.st_mtime_ns, known.st_ino]


def _is_new(path: Path, entry: dict[str, Any]) -> bool:
    """Also one that was noted when names were not yet."""
    return entry.get("identity") != identity(path) or "names" not in entry


def _take_out(notes: dict[str, Any], names: Collection[str]) -> None:
    for entry in notes.values():
        if "names" in entry:
            entry["names"] = [name for name in entry["names"] if name not in names]


def _spellings(name: str) -> frozenset[str]:
    """What an image that is asked for may be noted as: its name or its id."""
    whole = normalised(name)
    return frozenset((name, whole, whole.partition("@")[2])) - {""}
