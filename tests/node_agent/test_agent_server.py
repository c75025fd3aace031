"""The agent's own server over the simulated runtime: logs, exec, attach, port-forward, figures, who may call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from agent_fake_api import FakeApi
from agent_one_node import one_node, pod, status, until
from spdy_client import SpdyClient, control, data

from kvstore.pki.certificates import Pair, issue, make_authority
from node_agent.server import fronts
from node_agent.server.app import AgentServer, new_app, server_tls
from node_agent.server.certificate import own_certificate
from node_agent.server.directory import Directory, _no_container


@contextlib.asynccontextmanager
async def served(
    root: Path, *pods: str, simulate: str = ""
) -> AsyncIterator[tuple[FakeApi, aiohttp.ClientSession, str]]:
    """An agent with running pods and its server without TLS."""
    async with one_node(log_root=str(root / "logs"), root=root) as (api, _, agent):
        server = AgentServer(new_app(Directory([agent]), guarded=False), None)
        await server.start("127.0.0.1", 0)
        for name in pods:
            api.put("pods", pod(name, simulate=simulate))
            await until(lambda name=name: status(api, name).get("phase") == "Running", "it runs")
        async with aiohttp.ClientSession() as session:
            yield api, session, f"http://127.0.0.1:{server.port}"
        await server.close()


async def text(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with session.get(url) as answer:
        return answer.status, await answer.text()


def test_logs(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, "web", simulate="log=one\ntwo") as (_, session, url):
            logs = f"{url}/containerLogs/default/web/web"
            assert await text(session, logs) == (200, "one\ntwo\n")
            assert await text(session, f"{logs}?tailLines=1") == (200, "two\n")
            assert await text(session, f"{logs}?limitBytes=2") == (200, "on")
            assert (await text(session, f"{logs}?timestamps=true&tailLines=1"))[1].endswith("Z two\n")
            assert await text(session, f"{logs}?sinceSeconds=0") in ((200, ""), (200, "one\ntwo\n"))
            for query in ("tailLines=-1", "sinceTime=yesterday", "stream=Nonsense"):
                assert (await text(session, f"{logs}?{query}"))[0] == 400
            code, message = await text(session, f"{logs}?previous=true")
            assert (code, message) == (400, 'previous terminated container "web" in pod "web" not found')
            assert (await text(session, f"{url}/containerLogs/default/web/nope"))[0] == 404
            assert (await text(session, f"{url}/containerLogs/default/nope/web"))[0] == 404

    asyncio.run(work())


def test_logs_of_a_container_that_waits(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as (api, session, url):
            api.put("pods", pod("stuck", {"name": "web", "imagePullPolicy": "Never", "image": "absent"}))
            await until(lambda: status(api, "stuck").get("containerStatuses"), "it waits")

            async def answer() -> tuple[int, str]:
                return await text(session, f"{url}/containerLogs/default/stuck/web")

            await until(lambda: "ErrImageNeverPull" in json.dumps(status(api, "stuck")), "it says why")
            code, message = await answer()
            assert code == 400
            assert message == 'container "web" in pod "stuck" is waiting to start: ErrImageNeverPull'
            for method, what in (("GET", "exec"), ("POST", "exec"), ("POST", "attach")):
                asked = f"{url}/{what}/default/stuck/web?command=id&stdout=true"
                async with session.request(method, asked) as refused:
                    assert (refused.status, await refused.text()) == (404, 'container not found ("web")')
            waiting = {"state": {"waiting": {"reason": "ImagePullBackOff"}}}
            pulled = {**pod("p"), "status": {"containerStatuses": [{"name": "web", **waiting}]}}
            words = 'container "web" in pod "p" is waiting to start: trying and failing to pull image'
            assert _no_container(pulled, "web").text == words

    asyncio.run(work())


def test_following_ends_with_the_container(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, "web", simulate="log=hello, run=700ms, exit=0") as (_, session, url):
            async with asyncio.timeout(10):
                assert await text(session, f"{url}/containerLogs/default/web/web?follow=true") == (200, "hello\n")

    asyncio.run(work())


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
def test_exec(tmp_path: Path, protocol: str) -> None:
    async def work() -> None:
        async with served(tmp_path, "web") as (_, session, url):
            address = f"{url}/exec/default/web/web?command=echo&command=hi&stdout=1&stderr=1"
            async with session.ws_connect(address, protocols=[protocol]) as socket:
                assert socket.protocol == protocol
                said = [message.data async for message in socket]
            assert b"".join(part[1:] for part in said if part[0] == 1) == b"hi\n"
            assert json.loads(said[-1][1:])["status"] == "Success"

    asyncio.run(work())


def test_kubectl_has_time_to_make_its_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to 1.32 it throws away what comes before: an empty output, and exit code 0."""
    monkeypatch.setattr(fronts, "_SETTLE_SECONDS", 0.3)

    async def work() -> None:
        async with served(tmp_path, "web") as (_, session, url):
            address = f"{url}/exec/default/web/web?command=echo&command=hi&stdout=1"
            began = asyncio.get_running_loop().time()
            async with session.ws_connect(address, protocols=["v5.channel.k8s.io"]) as socket:
                assert (await socket.receive(timeout=20)).data == b"\x01hi\n"
                assert asyncio.get_running_loop().time() - began > 0.29

    asyncio.run(work())


def test_exec_carries_input_and_exit_codes(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, "web") as (_, session, url):
            address = f"{url}/exec/default/web/web?command=cat&stdin=true&stdout=true"
            async with session.ws_connect(address, protocols=["v5.channel.k8s.io"]) as socket:
                await socket.send_bytes(b"\x04" + b'{"Width":80,"Height":24}')
                await socket.send_bytes(b"\x00echoed")
                first = await socket.receive(timeout=5)
                assert first.data == b"\x01echoed"
                await socket.send_bytes(b"\xff\x00")
                last = [message.data async for message in socket][-1]
            assert json.loads(last[1:])["status"] == "Success"
            failing = f"{url}/exec/default/web/web?command=false&stdout=1"
            async with session.ws_connect(failing, protocols=["v5.channel.k8s.io"]) as socket:
                last = [message.data async for message in socket][-1]
            assert json.loads(last[1:])["details"]["causes"] == [{"reason": "ExitCode", "message": "1"}]

    asyncio.run(work())


def test_streams_that_are_refused(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, "web") as (_, session, url):
            for path, code in (
                ("exec/default/web/web?command=x", 400),
                ("exec/default/web/web?stdout=1", 400),
                ("exec/default/web/web?command=x&stdout=1", 400),
                ("exec/default/web/nope?command=x&stdout=1", 404),
                ("attach/default/nope/web?stdout=1", 404),
                ("portForward/default/nope", 404),
                ("portForward/default/web", 400),
            ):
                assert (await text(session, f"{url}/{path}"))[0] == code, path

    asyncio.run(work())


def test_attach_ends_with_the_container(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, "web", simulate="run=500ms, exit=3") as (_, session, url):
            address = f"{url}/attach/default/web/web?stdout=1"
            async with session.ws_connect(address, protocols=["v5.channel.k8s.io"]) as socket:
                last = [message.data async for message in socket][-1]
            assert last[0] == 3

    asyncio.run(work())


def test_port_forward(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, "web") as (_, session, url):
            client = SpdyClient()
            protocol = "SPDY/3.1+portforward.k8s.io"
            async with session.ws_connect(f"{url}/portForward/default/web", protocols=[protocol]) as socket:
                assert socket.protocol == protocol
                headers = {"port": "80", "requestid": "0"}
                await socket.send_bytes(client.open(1, {**headers, "streamtype": "error"}, fin=True))
                await socket.send_bytes(client.open(3, {**headers, "streamtype": "data"}))
                await socket.send_bytes(data(3, b"GET / HTTP/1.0\r\n\r\n", fin=True))
                await socket.send_bytes(client.open(5, {"port": "x", "streamtype": "data"}))
                async with asyncio.timeout(5):
                    while 3 not in client.ended or 5 not in client.reset:
                        client.feed((await socket.receive()).data)
                assert client.replied == [1, 3]
                assert client.data[3]
                assert client.reset == {5: 1}
                await socket.send_bytes(control(6, b"\x00\x00\x00\x01"))
                async with asyncio.timeout(5):
                    while not client.pings:
                        client.feed((await socket.receive()).data)
                await socket.send_bytes(b"\x80\x09garbage")
                async with asyncio.timeout(5):
                    assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)

    asyncio.run(work())


def test_figures(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, "web", simulate="cpu=500m, memory=64Mi") as (_, session, url):
            code, body = await text(session, f"{url}/stats/summary")
            assert code == 200
            (of_pod,) = json.loads(body)["pods"]
            assert of_pod["podRef"]["name"] == "web"
            assert of_pod["containers"][0]["memory"]["workingSetBytes"] == 64 << 20
            assert of_pod["cpu"]["usageNanoCores"] == pytest.approx(500_000_000, rel=0.2)
            metrics = (await text(session, f"{url}/metrics/resource"))[1]
            sample = 'container_memory_working_set_bytes{container="web",namespace="default",pod="web"}'
            assert sample in metrics
            assert "kubelet_running_pods 1.0" in (await text(session, f"{url}/metrics"))[1]
            assert len(json.loads((await text(session, f"{url}/pods"))[1])["items"]) == 1
            assert await text(session, f"{url}/healthz") == (200, "ok")

    asyncio.run(work())


def test_only_the_api_server_may_call(tmp_path: Path) -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    authority, stranger = make_authority("ca", now, day), make_authority("ca", now, day)

    def client(pair: Pair | None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if pair is not None:
            (tmp_path / "c.crt").write_bytes(pair.certificate_pem)
            (tmp_path / "c.key").write_bytes(pair.key_pem)
            context.load_cert_chain(tmp_path / "c.crt", tmp_path / "c.key")
        return context

    def named(name: str, by: Pair, *groups: str) -> Pair:
        return issue(by, name, [], now, day, client=True, organizations=groups)

    async def work() -> None:
        certificate, key = own_certificate(tmp_path / "pki", "n1", ["127.0.0.1"])
        assert own_certificate(tmp_path / "pki", "n1", ["127.0.0.1"]) == (certificate, key)
        assert Path(key).stat().st_mode & 0o777 == 0o600
        tls = server_tls(certificate, key, authority.certificate_pem.decode())
        async with one_node() as (_, _, agent), aiohttp.ClientSession() as session:
            server = AgentServer(new_app(Directory([agent]), guarded=True), tls)
            await server.start("127.0.0.1", 0)

            async def call(path: str, pair: Pair | None) -> int:
                async with session.get(f"https://127.0.0.1:{server.port}{path}", ssl=client(pair)) as answer:
                    return answer.status

            assert await call("/healthz", None) == 200
            assert await call("/pods", None) == 401
            assert await call("/pods", named("kube-apiserver-kubelet-client", authority)) == 200
            assert await call("/pods", named("anna", authority, "system:masters")) == 200
            assert await call("/pods", named("anna", authority)) == 403
            with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
                await call("/pods", named("kube-apiserver-kubelet-client", stranger))
            await server.close()

    asyncio.run(work())


def test_simulated_nodes_are_called_at_addresses_of_their_own() -> None:
    async def work() -> None:
        async with (
            one_node(name="sim-0", ips=("127.1.0.1",)) as (_, _, one),
            one_node(name="sim-1", ips=("127.1.0.2",)) as (_, _, two),
        ):
            server = AgentServer(new_app(Directory([one, two]), guarded=False), None)
            await server.start_on_loopback(0)
            async with aiohttp.ClientSession() as session:
                for address, name in (("127.1.0.2", "sim-1"), ("127.1.0.1", "sim-0"), ("127.9.9.9", "sim-0")):
                    _, said = await text(session, f"http://{address}:{server.port}/stats/summary")
                    assert json.loads(said)["node"]["nodeName"] == name
            await server.close()

    asyncio.run(work())


def test_where_no_interface_can_be_chosen_the_server_has_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    # An option that no kernel knows.
    monkeypatch.setattr("socket.SO_BINDTODEVICE", 9999)

    async def work() -> None:
        async with one_node() as (_, _, agent), aiohttp.ClientSession() as session:
            server = AgentServer(new_app(Directory([agent]), guarded=False), None)
            await server.start_on_loopback(0)
            assert (await text(session, f"http://127.0.0.1:{server.port}/healthz")) == (200, "ok")
            with pytest.raises(aiohttp.ClientConnectionError):
                await text(session, f"http://127.1.0.1:{server.port}/healthz")
            await server.close()

    asyncio.run(work())
