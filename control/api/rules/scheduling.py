"""Rules for where pods may run: selectors, affinity, tolerations, spread; and taints of nodes, priority classes.

Source: "Assigning Pods to Nodes", "Taints and Tolerations", "Pod Topology Spread Constraints" of the Kubernetes
documentation.
"""

from __future__ import annotations

from typing import Final

from control.api import names
from control.api.fielderrors import duplicate, forbidden, invalid, not_supported, required
from control.api.rules.checks import Causes, fields_unchanged, labels, named, qualified
from control.api.schema import Object

_SELECTOR_OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist")
_USER_PRIORITY: Final = 1_000_000_000
_SYSTEM_CLASSES: Final = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def check_label_selector(selector: Object, at: str) -> Causes:
    """matchLabels and matchExpressions, anywhere."""
    yield from labels(selector.get("matchLabels"), f"{at}.matchLabels")
    for index, entry in enumerate(selector.get("matchExpressions", ())):
        place = f"{at}.matchExpressions[{index}]"
        operator = entry.get("operator")
        if operator and operator not in _SELECTOR_OPERATORS:
            yield invalid(f"{place}.operator", operator, "not a valid selector operator")
        else:
            yield from _values(entry, place)
        if entry.get("key"):
            yield from qualified(entry["key"], f"{place}.key")


def _values(entry: Object, at: str) -> Causes:
    operator, values = entry.get("operator"), entry.get("values")
    if operator in ("In", "NotIn") and not values:
        yield required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    if operator in ("Exists", "DoesNotExist") and values:
        yield forbidden(f"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")


def check_node_requirement(entry: Object, at: str) -> Causes:
    """One condition on a node's labels."""
    yield from _values(entry, at)
    if entry.get("operator") in ("Gt", "Lt") and len(entry.get("values", ())) != 1:
        yield required(f"{at}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    if entry.get("key"):
        yield from qualified(entry["key"], f"{at}.key")


def check_node_selector(selector: Object, at: str) -> Causes:
    if not selector.get("nodeSelectorTerms"):
        yield required(f"{at}.nodeSelectorTerms", "must have at least one node selector term")


def check_weight(term: Object, at: str) -> Causes:
    if not 1 <= term.get("weight", 0) <= 100:
        yield invalid(f"{at}.weight", term.get("weight", 0), "must be in the range 1-100")


def check_affinity_term(term: Object, at: str) -> Causes:
    if term.get("topologyKey"):
        yield from qualified(term["topologyKey"], f"{at}.topologyKey")
    for index, namespace in enumerate(term.get("namespaces", ())):
        yield from named(names.dns_label, namespace, f"{at}.namespaces[{index}]")


def check_spread(constraint: Object, at: str) -> Causes:
    if constraint.get("maxSkew", 0) <= 0:
        yield invalid(f"{at}.maxSkew", constraint.get("maxSkew", 0), "must be greater than zero")
    minimum = constraint.get("minDomains")
    if minimum is not None and minimum <= 0:
        yield invalid(f"{at}.minDomains", minimum, "must be greater than zero")
    if minimum is not None and constraint.get("whenUnsatisfiable") != "DoNotSchedule":
        words = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"
        yield invalid(f"{at}.minDomains", minimum, words)
    if constraint.get("topologyKey"):
        yield from qualified(constraint["topologyKey"], f"{at}.topologyKey")


def check_toleration(toleration: Object, at: str) -> Causes:
    key, operator = toleration.get("key"), toleration.get("operator")
    if key:
        yield from qualified(key, f"{at}.key")
    elif operator != "Exists":
        words = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield invalid(f"{at}.operator", operator or "", words)
    if operator == "Exists" and toleration.get("value"):
        yield invalid(f"{at}.operator", toleration, "value must be empty when `operator` is 'Exists'")
    if "tolerationSeconds" in toleration and toleration.get("effect") != "NoExecute":
        words = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        yield invalid(f"{at}.effect", toleration.get("effect", ""), words)


def check_node(node: Object) -> Causes:
    """Taints, each effect of a key once."""
    seen = set()
    for index, taint in enumerate(node.get("spec", {}).get("taints", ())):
        at = f"spec.taints[{index}]"
        if taint.get("key"):
            yield from qualified(taint["key"], f"{at}.key")
        if taint.get("value"):
            yield from named(names.label_value, taint["value"], f"{at}.value")
        if (taint.get("key"), taint.get("effect")) in seen:
            yield duplicate(at, taint)
        seen.add((taint.get("key"), taint.get("effect")))


def check_node_update(new: Object, old: Object) -> Causes:
    """Once given, a node's pod addresses and its provider's name for it stay."""
    spec, before = new.get("spec", {}), old.get("spec", {})
    for field in ("podCIDRs", "podCIDR", "providerID"):
        if before.get(field) and spec.get(field) != before[field]:
            yield forbidden(f"spec.{field}", "node updates may not change it except from empty to a value")


def check_priority_class(obj: Object) -> Causes:
    name, value = obj.get("metadata", {}).get("name", ""), obj.get("value", 0)
    if name.startswith("system-"):
        if _SYSTEM_CLASSES.get(name) != value:
            words = "priority class names with 'system-' prefix are reserved for system use only"
            yield forbidden("metadata.name", words)
    elif value > _USER_PRIORITY:
        words = f"maximum allowed value of a user defined priority is {_USER_PRIORITY}"
        yield forbidden("value", words)
    if obj.get("preemptionPolicy") not in (None, "Never", "PreemptLowerPriority"):
        yield not_supported("preemptionPolicy", obj["preemptionPolicy"], ("Never", "PreemptLowerPriority"))


def check_priority_class_update(new: Object, old: Object) -> Causes:
    for field in ("value", "preemptionPolicy"):
        if new.get(field) != old.get(field):
            yield forbidden(field, "may not be changed in an update.")
    yield from fields_unchanged(new, old, "")
