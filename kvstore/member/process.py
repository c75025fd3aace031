"""A member as a process: servers on its ports, signals, a clean stop.

Exit codes: 0 after SIGTERM or SIGINT and when it was removed from the cluster, 1 when it could not start or could not
go on.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
from collections.abc import Callable

from kvstore.member import security
from kvstore.member.bootstrap import MemberRemoved, Opened, open_member
from kvstore.member.config import Address, Config, ConfigError, parse_url
from kvstore.member.member import Member
from kvstore.member.peers.dial import Dialer
from kvstore.member.peers.joining import Joined, find_cluster
from kvstore.member.peers.roster import refuse_second_founding
from kvstore.member.tokens import open_tokens
from kvstore.storage.data_dir import DataDir
from kvstore.storage.errors import StorageError
from kvstore.version import ETCD_VERSION, FLUYT_VERSION
from kvstore.wire.limits import Limits
from kvstore.wire.server import GrpcServer
from kvstore.wire.tls import ServerTls, TlsFiles

log = logging.getLogger(__name__)

# Calls that run are answered well within this; watches, which never end, are cut off after it.
STOP_SECONDS = 1.0
# etcd takes requests up to this much above its own limit, so that it can answer those just over it with its own error.
GRPC_OVERHEAD = 512 * 1024

# Puts the services on the server of the client ports, and what is for supervision on that of the metrics ports.
Register = Callable[[GrpcServer, Member, GrpcServer], None]


async def run(config: Config, register: Register, stop: asyncio.Event | None = None) -> int:
    """Run one member until a signal or a failure; with `stop`, until that is set: signals are the caller's then.

    Returns the exit code. Raises ConfigError and storage errors before anything is served.
    """
    config.validate()
    security.check(config)
    # Before a directory is made: a wrong key file is better found now.
    open_tokens(config.auth_token, config.auth_token_ttl)
    data_dir = DataDir.open(config.data_dir)
    joined = None
    try:
        security.complete(config, data_dir.path)
        if data_dir.identity() is None:
            joined = await _before_founding(config)
        opened = open_member(config, data_dir, joined)
    except MemberRemoved as problem:
        data_dir.close()
        # As etcd does: a supervisor that starts again whatever fails need not go on starting this.
        log.warning("%s", problem)
        return 0
    except BaseException:
        data_dir.close()
        raise
    try:
        return await _serve(config, opened, register, stop)
    finally:
        opened.close()


async def _before_founding(config: Config) -> Joined | None:
    """What the peers say before this member has a directory of its own: the cluster to join, if it is to join one."""
    dialer = Dialer(config.peer_tls)
    if config.initial_cluster_state == "existing":
        return await find_cluster(config, dialer)
    await refuse_second_founding(config, dialer)
    return None


async def _serve(config: Config, opened: Opened, register: Register, stop: asyncio.Event | None) -> int:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def end(code: int) -> None:
        if not ended.done():
            ended.set_result(code)

    member = Member(config, opened, failed=lambda problem: end(1), removed=lambda: end(0))
    limits = Limits(
        keepalive_interval=config.keepalive_interval,
        keepalive_timeout=config.keepalive_timeout,
        # The JSON gateway's requests are the same in base64, which is a third longer.
        max_http_body=(config.max_request_bytes + GRPC_OVERHEAD) * 3 // 2,
    )
    clients = GrpcServer(limits, max_message_bytes=config.max_request_bytes + GRPC_OVERHEAD)
    peers = GrpcServer(limits=Limits(stall_timeout=0), max_message_bytes=1 << 30)
    metrics = GrpcServer()
    register(clients, member, metrics)
    member.register_peer(peers)
    stopping = _stopping(loop, stop, end)
    try:
        if config.initial_corrupt_check:
            await member.corruption.check_before_serving()
        await _listen(peers, config.listen_peer_urls, "listen-peer-urls", config.peer_tls)
        await _listen(clients, config.listen_client_urls, "listen-client-urls", config.client_tls)
        await _listen(metrics, config.listen_metrics_urls, "listen-metrics-urls", config.client_tls)
        _settle()
        member.start()
        _greet(config, member)
        code = await ended
    finally:
        if stopping is not None:
            stopping.cancel()
        await member.stop()
        await clients.stop(STOP_SECONDS if ended.done() and ended.result() == 0 else 0)
        await peers.stop(0)
        await metrics.stop(0)
    return await _last_commit(member) if code == 0 else code


def _stopping(
    loop: asyncio.AbstractEventLoop, stop: asyncio.Event | None, end: Callable[[int], None]
) -> asyncio.Task[None] | None:
    """Have end(0) called when it is time; the task that waits for that, if there is one."""
    if stop is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end, 0)
        return None

    async def wait() -> None:
        await stop.wait()
        end(0)

    return loop.create_task(wait())


async def _listen(server: GrpcServer, urls: list[str], flag: str, files: TlsFiles) -> None:
    for url in urls:
        address = parse_url(url, flag)
        tls = ServerTls(files).context if address.tls else None
        try:
            await server.listen(address.host, address.port, tls, files.admits if address.tls else None)
        except OSError as problem:
            raise ConfigError(_cannot_listen(address, flag, problem)) from None


def _cannot_listen(address: Address, flag: str, problem: OSError) -> str:
    reason = problem.strerror or str(problem)
    return f"--{flag}: cannot listen on {address}: {reason}; stop what uses the port, or choose another"


async def _last_commit(member: Member) -> int:
    """Everything applied goes to disk, so that the next start has nothing to replay. Returns the exit code."""
    backend = member.state.backend
    try:
        member.state.save_position()
        backend.commit()
        await asyncio.get_running_loop().run_in_executor(None, backend.sync)
    except StorageError as problem:
        log.error("%s; nothing acknowledged is lost: the next start applies it again from the log", problem)
        return 1
    log.info("stopped")
    return 0


def _settle() -> None:
    """What lives from here on lives for good: the collector need not look at it again. And sockets need descriptors."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _greet(config: Config, member: Member) -> None:
    log.info(
        "fluyt %s (etcd %s), member %s %x of cluster %x",
        FLUYT_VERSION,
        ETCD_VERSION,
        config.name,
        member.id,
        member.cluster.id,
    )
    log.info(
        "data in %s, clients at %s, peers at %s",
        config.data_dir,
        ",".join(config.listen_client_urls),
        ",".join(config.listen_peer_urls),
    )
    if config.unsafe_no_fsync:
        log.warning("--unsafe-no-fsync: acknowledged writes can be lost when the machine crashes")
