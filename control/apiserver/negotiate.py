"""What a client accepts: whole objects, a Table, or metadata only; gzip or not.

Source: "Resource representations in the API" of the Kubernetes documentation; RFC 9110, section 12.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from control.api.status import not_acceptable

OFFERED: Final = ("application/json", "application/yaml")
_YAML: Final = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})
_AS: Final = frozenset({"Table", "PartialObjectMetadata", "PartialObjectMetadataList"})
_META_VERSIONS: Final = frozenset({"v1", "v1beta1"})


@dataclass(frozen=True, slots=True)
class Form:
    """How to show objects. shape: "", "Table", "PartialObjectMetadata"; version: of meta.k8s.io for the latter two."""

    yaml: bool = False
    shape: str = ""
    version: str = "v1"
    pretty: bool = False

    @property
    def plain(self) -> bool:
        """Whether stored bytes can be sent as they are."""
        return not self.yaml and not self.shape


PLAIN: Final = Form()


@lru_cache(512)
def form_of(accept: str, watch: bool = False) -> Form:
    """The first of the accepted forms that we have; JSON when the client does not say. StatusError 406."""
    if not accept:
        return PLAIN
    for _, clause in sorted(_clauses(accept), key=lambda pair: -pair[0]):
        form = _form(clause, watch)
        if form is not None:
            return form
    raise not_acceptable(OFFERED)


def _clauses(accept: str) -> list[tuple[float, dict[str, str]]]:
    found = []
    for text in accept.split(","):
        media, *parameters = (part.strip() for part in text.split(";"))
        clause = {"": media.lower()}
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            clause[name.strip()] = value.strip()
        found.append((_quality(clause.get("q", "1")), clause))
    return [pair for pair in found if pair[0] > 0]


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


def _form(clause: dict[str, str], watch: bool) -> Form | None:
    media, shape = clause[""], clause.get("as", "")
    yaml = media in _YAML
    if not yaml and media not in ("application/json", "application/*", "*/*"):
        return None
    if yaml and watch:
        return None
    if shape and (shape not in _AS or clause.get("g") != "meta.k8s.io" or clause.get("v") not in _META_VERSIONS):
        return None
    return Form(yaml, shape.removesuffix("List"), clause.get("v") or "v1", clause.get("pretty") == "1")


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the body may be compressed."""
    for part in accept_encoding.split(","):
        coding, _, weight = part.partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            return _quality(weight.strip().removeprefix("q=") or "1") > 0
    return False
