"""Rules for volumes of pods, and for PersistentVolumes and their claims.

Source: the fields of Volume, PersistentVolumeSpec and PersistentVolumeClaimSpec in Kubernetes' API reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from control.api import names
from control.api.fielderrors import forbidden, invalid, required
from control.api.quantity import ZERO, Quantity
from control.api.rules.checks import Causes, below, named, relative_path, unique
from control.api.rules.containers import check_amount, check_field_path
from control.api.schema import Object, lookup

_SOURCES: Final = tuple(lookup("core.v1.VolumeSource").fields)
_PROJECTIONS: Final = tuple(lookup("core.v1.VolumeProjection").fields)
_PERSISTENT_SOURCES: Final = tuple(lookup("core.v1.PersistentVolumeSource").fields)
_MODE_WORDS: Final = "must be a number between 0 and 0777 (octal), both inclusive"


def check_volume(volume: Object, at: str) -> Causes:
    """One volume: a name and one source."""
    if volume.get("name"):
        yield from named(names.dns_label, volume["name"], f"{at}.name")
    given = [source for source in _SOURCES if source in volume]
    if not given:
        yield required(at, "must specify a volume type")
    for source in given[1:]:
        yield forbidden(f"{at}.{source}", "may not specify more than 1 volume type")
    for source in given:
        yield from _source(source, volume[source], f"{at}.{source}")


def _source(kind: str, source: Object, at: str) -> Causes:
    match kind:
        case "secret":
            if not source.get("secretName"):
                yield required(f"{at}.secretName")
            yield from _files(source, at)
        case "configMap":
            if not source.get("name"):
                yield required(f"{at}.name")
            yield from _files(source, at)
        case "downwardAPI":
            yield from _files(source, at)
        case "emptyDir":
            yield from check_amount(source.get("sizeLimit"), f"{at}.sizeLimit")
        case "hostPath":
            if ".." in source.get("path", "").split("/"):
                yield invalid(f"{at}.path", source["path"], "must not contain '..'")
        case "projected":
            yield from _projected(source, at)
        case "image":
            if not source.get("reference"):
                yield required(f"{at}.reference")


def _projected(source: Object, at: str) -> Causes:
    yield from _mode(source.get("defaultMode"), f"{at}.defaultMode")
    for index, part in enumerate(source.get("sources", ())):
        place = f"{at}.sources[{index}]"
        given = [field for field in _PROJECTIONS if field in part]
        if len(given) != 1:
            words = "may not specify more than 1 volume type" if given else "must specify a volume type"
            yield forbidden(place, words)
        for field in given:
            if field in ("secret", "configMap") and not part[field].get("name"):
                yield required(f"{place}.{field}.name")
            yield from _files(part[field], f"{place}.{field}")
            if field == "serviceAccountToken":
                yield from _token(part[field], f"{place}.{field}")


def _token(part: Object, at: str) -> Causes:
    seconds = part.get("expirationSeconds", 3600)
    if seconds < 600:
        yield invalid(f"{at}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    if seconds > 2**32:
        yield invalid(f"{at}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    if part.get("path"):
        yield from relative_path(part["path"], f"{at}.path")


def _files(source: Object, at: str) -> Causes:
    """The modes and paths of single files."""
    yield from _mode(source.get("defaultMode"), f"{at}.defaultMode")
    for index, item in enumerate(source.get("items", ())):
        place = f"{at}.items[{index}]"
        yield from _mode(item.get("mode"), f"{place}.mode")
        if item.get("path"):
            yield from relative_path(item["path"], f"{place}.path")
        if "fieldRef" in item:
            yield from check_field_path(item["fieldRef"], f"{place}.fieldRef")


def _mode(mode: int | None, at: str) -> Causes:
    if mode is not None and not 0 <= mode <= 0o777:
        yield invalid(at, mode, _MODE_WORDS)


def check_claim_spec(spec: Object, at: str) -> Causes:
    """What a claim asks for."""
    if not spec.get("accessModes"):
        yield required(f"{at}.accessModes", "at least 1 access mode is required")
    modes = spec.get("accessModes", ())
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield forbidden(f"{at}.accessModes", "may not use ReadWriteOncePod with other access modes")
    storage = spec.get("resources", {}).get("requests", {}).get("storage")
    if storage is None:
        yield required(f"{at}.resources[storage]")
    elif Quantity.parse(storage) <= ZERO:
        yield invalid(f"{at}.resources[storage]", storage, "must be greater than zero")
    if spec.get("storageClassName"):
        yield from named(names.dns_subdomain, spec["storageClassName"], f"{at}.storageClassName")


def check_claim_update(new: Object, old: Object) -> Causes:
    """A claim's spec stays, but for its size once it is bound, and what binding itself writes."""
    spec, before = dict(new.get("spec", {})), dict(old.get("spec", {}))
    bound = old.get("status", {}).get("phase") == "Bound"
    free = ["volumeAttributesClassName", *(["resources"] if bound else [])]
    if not before.get("volumeName"):
        free.append("volumeName")
    if "storageClassName" not in before:
        free.append("storageClassName")
    for field in free:
        spec.pop(field, None)
        before.pop(field, None)
    if spec != before:
        yield forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        )
    elif bound:
        yield from _shrunk(new, old)


def _shrunk(new: Object, old: Object) -> Causes:
    size, was = (c.get("spec", {}).get("resources", {}).get("requests", {}).get("storage", "0") for c in (new, old))
    if Quantity.parse(size) < Quantity.parse(was):
        yield forbidden("spec.resources.requests.storage", "field can not be less than previous value")


def check_volume_spec(spec: Object, at: str) -> Causes:
    """A PersistentVolume: a size, ways to mount it, one source."""
    if not spec.get("accessModes"):
        yield required(f"{at}.accessModes")
    if not spec.get("capacity"):
        yield required(f"{at}.capacity")
    elif "storage" not in spec["capacity"]:
        yield invalid(f"{at}.capacity", spec["capacity"], "must have a storage amount")
    elif Quantity.parse(spec["capacity"]["storage"]) <= ZERO:
        yield invalid(f"{at}.capacity[storage]", spec["capacity"]["storage"], "must be greater than zero")
    given = [source for source in _PERSISTENT_SOURCES if source in spec]
    if not given:
        yield required(at, "must specify a volume type")
    for source in given[1:]:
        yield forbidden(below(at, source), "may not specify more than 1 volume type")


def check_volume_update(new: Object, old: Object) -> Causes:
    """A volume's source stays."""
    spec, before = new.get("spec", {}), old.get("spec", {})
    if any(spec.get(source) != before.get(source) for source in _PERSISTENT_SOURCES):
        yield forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
    if spec.get("volumeMode") != before.get("volumeMode"):
        yield invalid("spec.volumeMode", spec.get("volumeMode"), "field is immutable")


def check_volume_names(volumes: Iterable[Object], at: str) -> Causes:
    yield from unique((f"{at}[{index}].name", volume.get("name")) for index, volume in enumerate(volumes))


def check_storage_class_update(new: Object, old: Object) -> Causes:
    """What volumes were made with stays."""
    for field, default in (("parameters", None), ("provisioner", ""), ("reclaimPolicy", "Delete")):
        if (new.get(field) or default) != (old.get(field) or default):
            yield forbidden(field, f"updates to {field} are forbidden.")
    mode = new.get("volumeBindingMode") or "Immediate"
    if mode != (old.get("volumeBindingMode") or "Immediate"):
        yield invalid("volumeBindingMode", mode, "field is immutable")
