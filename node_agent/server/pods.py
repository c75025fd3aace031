"""GET /pods: the pods the node has, as the agent sees them now; also while no API server answers."""

from __future__ import annotations

from aiohttp import web

from node_agent.server.directory import Directory


class Pods:
    """The handler of one server."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def list(self, request: web.Request) -> web.Response:
        pods = [worker.pod for agent in self._directory.agents for worker in agent.dispatch.workers.values()]
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})
