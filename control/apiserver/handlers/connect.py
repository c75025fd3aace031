"""exec, attach and port-forward: a tunnel to the agent of the pod's node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from control.api.schema import Object
from control.api.status import bad_request, quoted
from control.apiserver.agents import container_of, find_node, node_of, path_of, place_of
from control.apiserver.answer import Answer
from control.apiserver.call import Call
from control.apiserver.handlers.get import find
from control.apiserver.request import Review
from control.apiserver.tunnel import tunnel

_STREAMS: Final = ("stdin", "stdout", "stderr", "tty")
_KINDS: Final = {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}
_AGENT_PATHS: Final = {"exec": "exec", "attach": "attach", "portforward": "portForward"}
_LAST_PORT: Final = 65535


async def stream(call: Call) -> Answer:
    """The upgraded connection. StatusError 400: no upgrade, no command; 404; 503: the agent does not answer."""
    subresource = call.info.subresource
    pod = (await find(call, call.namespace, call.info.name)).object()
    options = await _admitted(call, options_of(subresource, call.info.query))
    parts = [_AGENT_PATHS[subresource], call.namespace, call.info.name]
    if subresource != "portforward":
        parts.append(container_of(pod, str(options.get("container") or "")))
    if subresource == "exec" and not any(options.get("command") or ()):
        raise bad_request("you must specify at least 1 command for the container")
    _check_phase(pod)
    place = place_of(find_node(call.server.resources.get("nodes", "", node_of(pod)), node_of(pod)))
    passed = urlencode(parameters(options))
    target = path_of(*parts) + (f"?{passed}" if passed else "")
    return await tunnel(call, place.host, place.port, target, call.server.agents.context)


async def _admitted(call: Call, options: Object) -> Object:
    """The options as admission leaves them: what is done is what webhooks saw."""
    review = Review(call.user, call.info, call.of, "CONNECT", options, warnings=call.warnings, audit=call.annotations)
    await call.server.security.admission.mutate(review)
    await call.server.security.admission.validate(review)
    return review.object or options


def options_of(subresource: str, query: Mapping[str, Sequence[str]]) -> Object:
    """What the client asks for, as admission sees it. A switch is on unless it says false or 0, as in Kubernetes.

    StatusError 400: a port is no number. Pure.
    """
    found: Object = {"kind": _KINDS[subresource], "apiVersion": "v1"}
    if subresource == "portforward":
        ports = [_port(text) for value in query.get("ports", ()) for text in value.split(",")]
        return {**found, "ports": ports} if ports else found
    for name in _STREAMS:
        if query.get(name) and query[name][0].lower() not in ("false", "0"):
            found[name] = True
    if any(query.get("container", ())):
        found["container"] = query["container"][0]
    if subresource == "exec" and query.get("command"):
        found["command"] = list(query["command"])
    return found


def parameters(options: Object) -> list[tuple[str, str]]:
    """The same for the node's agent, which has the container in the path. Pure."""
    found = [(name, "true") for name in _STREAMS if options.get(name) is True]
    return found + [(name, str(value)) for name in ("command", "ports") for value in options.get(name) or ()]


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= _LAST_PORT):
        raise bad_request(f"ports: {quoted(text)} is not the number of a port")
    return int(text)


def _check_phase(pod: Object) -> None:
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise bad_request(f"cannot exec into or attach to a container in a completed pod; current phase is {phase}")
