"""Asking the peers who is in the cluster, before this member has a data directory of its own.

A member whose data directory is gone must not simply start again: Raft counts on what it once voted for and
acknowledged. Peers that run know whether it has been there before (it publishes its client URLs as soon as it runs),
so a founding member asks them first.
"""

from __future__ import annotations

import asyncio

from kvstore.errors import EtcdError
from kvstore.member.cluster import Cluster, cluster_id, member_id
from kvstore.member.config import Config, ConfigError, parse_url
from kvstore.member.peers.dial import Dialer
from kvstore.pb import raft_pb2
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

MEMBERS_PATH = "/fluyt.raft.Raft/Members"
ASK_SECONDS = 1.0


def register(server: GrpcServer, cluster: Cluster) -> None:
    """Serve Members on the peer port."""

    def members(call: Call, message: bytes) -> None:
        reply = raft_pb2.MembersReply(cluster_id=cluster.id)
        for member in cluster.members.values():
            reply.members.add(
                ID=member.ID,
                name=member.name,
                peerURLs=member.peerURLs,
                clientURLs=member.clientURLs,
                isLearner=member.isLearner,
            )
        call.reply(reply.SerializeToString())

    server.unary(MEMBERS_PATH, members)


async def ask(url: str, dialer: Dialer) -> raft_pb2.MembersReply | None:
    """What the member at a peer URL knows; None if it does not answer."""
    address = parse_url(url, "initial-cluster")
    try:
        channel = await dialer.connect(address, timeout=ASK_SECONDS, on_lost=lambda problem: None)
    except (OSError, EtcdError, TimeoutError):
        return None
    try:
        answer = await channel.unary(MEMBERS_PATH, b"", ASK_SECONDS)
        return raft_pb2.MembersReply.FromString(answer)
    except (OSError, EtcdError, TimeoutError):
        return None
    finally:
        channel.close()


async def refuse_second_founding(config: Config, dialer: Dialer) -> None:
    """Before a member with an empty data directory founds a cluster. Raises ConfigError if it has been in it before."""
    mine = member_id(config.initial_advertise_peer_urls, config.initial_cluster_token)
    cluster = cluster_id(Cluster.founders(config.initial_cluster, config.initial_cluster_token))
    others = [url for name, urls in config.initial_cluster.items() if name != config.name for url in urls]
    for reply in await asyncio.gather(*(ask(url, dialer) for url in others)):
        if reply is None or reply.cluster_id != cluster:
            continue
        known = {member.ID: member for member in reply.members}
        if mine not in known or known[mine].clientURLs:
            raise ConfigError(
                f"member {mine:x} ({config.name}) was bootstrapped before, but {config.data_dir} is empty; starting"
                " it anew could lose acknowledged writes; bring its data back, or remove the member and add it again"
            )
