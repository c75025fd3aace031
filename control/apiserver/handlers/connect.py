"""exec, attach and port-forward: a tunnel to the agent of the pod's node."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from control.api.schema import Object
from control.api.status import bad_request
from control.apiserver.agents import container_of, find_node, node_of, path_of, place_of
from control.apiserver.answer import Answer
from control.apiserver.call import Call
from control.apiserver.handlers.get import find
from control.apiserver.request import Review
from control.apiserver.tunnel import tunnel

_PASSED: Final = {
    "exec": ("command", "stdin", "stdout", "stderr", "tty"),
    "attach": ("stdin", "stdout", "stderr", "tty"),
    "portforward": ("ports",),
}
_OPTIONS: Final = {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}
_AGENT_PATHS: Final = {"exec": "exec", "attach": "attach", "portforward": "portForward"}


async def stream(call: Call) -> Answer:
    """The upgraded connection. StatusError 400: no upgrade, no command; 404; 503: the agent does not answer."""
    subresource, query = call.info.subresource, call.info.query
    pod = (await find(call, call.namespace, call.info.name)).object()
    await _admit(call, pod)
    parts = [_AGENT_PATHS[subresource], call.namespace, call.info.name]
    if subresource != "portforward":
        parts.append(container_of(pod, call.info.parameter("container")))
    if subresource == "exec" and not any(query.get("command", ())):
        raise bad_request("you must specify at least 1 command for the container")
    _check_phase(pod)
    place = place_of(find_node(call.server.resources.get("nodes", "", node_of(pod)), node_of(pod)))
    passed = [(name, value) for name in _PASSED[subresource] for value in query.get(name, ())]
    target = path_of(*parts) + (f"?{urlencode(passed)}" if passed else "")
    return await tunnel(call, place.host, place.port, target, call.server.agents.context)


async def _admit(call: Call, pod: Object) -> None:
    options: Object = {"kind": _OPTIONS[call.info.subresource], "apiVersion": "v1"}
    if call.info.subresource != "portforward":
        options["container"] = call.info.parameter("container")
    review = Review(call.user, call.info, call.of, "CONNECT", options, pod, warnings=call.warnings)
    await call.server.security.admission.mutate(review)
    await call.server.security.admission.validate(review)


def _check_phase(pod: Object) -> None:
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise bad_request(f"cannot exec into or attach to a container in a completed pod; current phase is {phase}")
