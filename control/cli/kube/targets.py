"""What TYPE, TYPE/NAME and TYPE NAME… mean: kinds of the server, and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from control.api.catalogue import BUILTIN
from control.api.kind import Kind
from control.client.directory import Directory
from kvstore.cli.exits import CommandError


@dataclass(frozen=True)
class Target:
    """name "": all of the kind."""

    kind: Kind
    name: str = ""

    @property
    def shown(self) -> str:
        """As kubectl names an object: "pod/web", "deployment.apps/web"."""
        kind = self.kind
        return f"{kind.singular}{'.' + kind.group if kind.group else ''}/{self.name}"


async def resolve(directory: Directory, words: Sequence[str]) -> list[Target]:
    """The targets that the words of a command name. Raises CommandError."""
    if not words:
        raise CommandError("you must specify the type of resource, as in: fluyt kube get pods", prefix="error: ")
    if any("/" in word for word in words):
        return [await _one(directory, word) for word in words]
    kinds = [kind for word in words[0].split(",") if word for kind in await find(directory, word)]
    names = words[1:]
    if names and len(kinds) > 1:
        raise CommandError("names go with one type; write TYPE/NAME for each", prefix="error: ")
    return [Target(kind, name) for kind in kinds for name in names or [""]]


def refuse_named(targets: Sequence[Target], words: Sequence[str], *, selected: bool, everywhere: bool) -> None:
    """A selector beside names, if it were ignored, would let go what it was to spare. Raises CommandError.

    selected: there is a selector; everywhere: all namespaces are meant.
    """
    named = [target for target in targets if target.name]
    if named and selected:
        pair = "selectors and the all flag cannot be used when passing resource/name arguments"
        alone = "name cannot be provided when a selector is specified"
        raise CommandError(pair if "/" in words[0] else alone, prefix="error: ")
    if everywhere and any(target.kind.namespaced for target in named):
        raise CommandError("a resource cannot be retrieved by name across all namespaces", prefix="error: ")


async def one(directory: Directory, words: Sequence[str], example: str) -> Target:
    """The one object that the words name."""
    found = await resolve(directory, words)
    if len(found) != 1 or not found[0].name:
        raise CommandError(f"name one object, as in: {example}", prefix="error: ")
    return found[0]


async def _one(directory: Directory, word: str) -> Target:
    kind, _, name = word.partition("/")
    if not kind or not name or "/" in name:
        raise CommandError(f"{word!r}: write TYPE/NAME; types and names cannot be mixed", prefix="error: ")
    return Target((await find(directory, kind))[0], name)


async def find(directory: Directory, word: str) -> list[Kind]:
    """The kind of a word, or those of a category ("all"). Raises CommandError, StatusError, Unreachable."""
    known = BUILTIN.named(word)
    if known is not None:
        return [known]
    kinds = [kind for kind in await directory.all() if "list" in kind.verbs or "get" in kind.verbs]
    found = [kind for kind in kinds if _means(kind, word.lower())]
    if found:
        return found[:1]
    members = {kind.resource: kind for kind in reversed(kinds) if word.lower() in kind.categories}
    if not members:
        raise CommandError(f'the server doesn\'t have a resource type "{word}"', prefix="error: ")
    order = [kind.resource for kind in kinds]
    return sorted(members.values(), key=lambda kind: order.index(kind.resource))


def _means(kind: Kind, word: str) -> bool:
    name, _, rest = word.partition(".")
    if name not in (kind.plural, kind.singular, kind.name.lower(), *kind.short_names):
        return False
    return rest in ("", kind.group, f"{kind.version}.{kind.group}", kind.version)
