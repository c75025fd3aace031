"""Other people's programs against the front door: nghttp, h2load, curl, etcdctl (grpc-go)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from harness.require import missing
from wire_peer import message
from wire_site import running


@pytest.fixture(scope="module")
def site():
    with running() as made:
        yield made


def tool(name: str) -> str:
    """Its path; the test is skipped where it is not installed (CI installs all of them)."""
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not installed")
    return path


def run(*command: object, **options) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def body(tmp_path):
    path = tmp_path / "body"
    path.write_bytes(message(b"hello"))
    return path


def test_nghttp(site, body):
    out = run(
        tool("nghttp"), "-v", "-H", "content-type: application/grpc", "-H", "te: trailers", "-d", body,
        f"http://127.0.0.1:{site.port}/test.Store/Same",
    )  # fmt: skip
    assert "grpc-status: 0" in out
    assert ":status: 200" in out
    assert "PROTOCOL_ERROR" not in out


@pytest.mark.parametrize("table", ["4096", "0", "100"])
def test_h2load(site, body, table):
    out = run(
        tool("h2load"), "-n", "5000", "-c", "4", "-m", "64", "-d", body, f"--header-table-size={table}",
        "-H", "content-type: application/grpc", "-H", "te: trailers",
        f"http://127.0.0.1:{site.port}/test.Store/Same",
    )  # fmt: skip
    assert "5000 succeeded, 0 failed, 0 errored, 0 timeout" in out
    assert re.search(r"status codes: 5000 2xx", out)


def test_curl_http_1(site):
    curl = tool("curl")
    url = f"http://127.0.0.1:{site.port}"
    assert run(curl, "-sS", f"{url}/health?x=1") == "/health "
    assert run(curl, "-sS", "-d", "x" * 100_000, f"{url}/big") == "/big " + "x" * 100_000
    assert run(curl, "-sS", "-N", f"{url}/stream") == "piece\n" * 3
    assert run(curl, "-sS", "-H", "Transfer-Encoding: chunked", "-d", "abc", f"{url}/c") == "/c abc"
    assert "200 OK" in run(curl, "-sSI", f"{url}/health")


def test_curl_http_2(site):
    curl = tool("curl")
    if "HTTP2" not in run(curl, "--version"):
        pytest.skip("this curl has no HTTP/2")
    url = f"http://127.0.0.1:{site.port}"
    prior = "--http2-prior-knowledge"
    assert run(curl, "-sS", prior, f"{url}/health?x=1", "-w", "%{http_version}") == "/health 2"
    assert run(curl, "-sS", prior, "-d", "x" * 100_000, f"{url}/big") == "/big " + "x" * 100_000
    assert run(curl, "-sS", prior, f"{url}/stream") == "piece\n" * 3
    assert "HTTP/2 200" in run(curl, "-sSI", prior, f"{url}/health")


def test_etcdctl(site):
    etcdctl = tool("etcdctl")
    out = run(etcdctl, f"--endpoints=127.0.0.1:{site.port}", "-w", "json", "put", "a", "b", env={"ETCDCTL_API": "3"})
    assert json.loads(out)["header"] == {"cluster_id": 1, "member_id": 2}


def test_etcdctl_hears_errors(site):
    done = subprocess.run(
        [tool("etcdctl"), f"--endpoints=127.0.0.1:{site.port}", "get", "a"],
        capture_output=True, text=True, timeout=60, env={"ETCDCTL_API": "3"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "unknown method Range for service etcdserverpb.KV" in done.stderr
