"""A webhook that says what a test wants: HTTPS in a thread of its own."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from kvstore.pki.certificates import issue, make_authority

Object = dict[str, Any]
Says = Callable[[Object], Object | web.Response | None]


class WebhookServer:
    """says(request): fields of the response ({} admits), a whole web.Response, or None: no answer at all."""

    def __init__(self, folder: Path, says: Says = lambda request: {}) -> None:
        now, day = datetime.now(UTC), timedelta(days=1)
        authority = make_authority("webhooks", now, day)
        pair = issue(authority, "hook", ["127.0.0.1", "hook.ns.svc"], now, day, server=True)
        path = folder / "webhook.pem"
        path.write_bytes(pair.certificate_pem + pair.key_pem)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(path)
        self.bundle = base64.b64encode(authority.certificate_pem).decode()
        self.says = says
        self.seen: list[Object] = []
        self.port = 0
        self._ready = threading.Event()
        self._end = asyncio.Event()
        self._go = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> WebhookServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def release(self) -> None:
        """Requests that were not answered are admitted."""
        self._loop.call_soon_threadsafe(self._go.set)

    def webhook(self, name: str = "hook.example.com", **fields: Any) -> Object:
        """An entry of a configuration that points here."""
        rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
        return {
            "name": name,
            "clientConfig": {"url": f"https://127.0.0.1:{self.port}/hook", "caBundle": self.bundle},
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 5,
            **fields,
        }

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._context)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._ready.set()
        await self._end.wait()
        self._go.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        review = json.loads(await request.read())
        self.seen.append({**review["request"], "path": request.path_qs})
        said = self.says(review["request"])
        if said is None:
            await self._go.wait()
        if isinstance(said, web.Response):
            return said
        response = {"uid": review["request"]["uid"], "allowed": True, **(said or {})}
        return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})


def patch(*operations: Object) -> Object:
    """A response with a JSON patch."""
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(operations).encode()).decode()}


def label(key: str, value: str) -> Object:
    """A response that adds labels."""
    return patch({"op": "add", "path": "/metadata/labels", "value": {key: value}})
