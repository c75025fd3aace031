"""Joining a cluster that runs: `--initial-cluster-state existing` with an empty data directory.

Somebody has added this member before (MemberAdd), so its peers know it by its peer URLs. They are asked for the
cluster's id and the members' ids; --initial-cluster must name exactly the members there are, by their peer URLs, as
etcd wants it. A member that has not heard yet that this one was added gives an outdated answer, so one that fits is
enough, and they are asked a few times.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from kvstore.member.config import Config, ConfigError
from kvstore.member.peers.dial import Dialer
from kvstore.member.peers.roster import ask
from kvstore.pb.etcd_pb2 import Member as MemberInfo
from kvstore.pb.raft_pb2 import MembersReply, PeerMember

ROUNDS = 5
ROUND_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Joined:
    """The cluster that a new member is to be part of, as its peers know it."""

    cluster_id: int
    member_id: int
    members: list[MemberInfo]


async def find_cluster(config: Config, dialer: Dialer) -> Joined:
    """Ask the peers that --initial-cluster names. Raises ConfigError: none answers, or it does not fit."""
    _refuse_shared_urls(config)
    others = sorted(url for name, urls in config.initial_cluster.items() if name != config.name for url in urls)
    if not others:
        raise ConfigError(
            "--initial-cluster-state existing needs members to join, but --initial-cluster names only this one; use"
            " what `member add` printed"
        )
    problem = ConfigError("")
    for round_number in range(ROUNDS):
        if round_number:
            await asyncio.sleep(ROUND_SECONDS)
        answers = [reply for reply in await asyncio.gather(*(ask(url, dialer) for url in others)) if reply is not None]
        if not answers:
            problem = ConfigError(
                f"cannot fetch cluster info from peer urls: no member answers at {', '.join(others)}; start them, or"
                " correct --initial-cluster"
            )
        for reply in answers:
            try:
                return fitting(config, reply)
            except ConfigError as refused:
                problem = refused
    raise problem


def fitting(config: Config, reply: MembersReply) -> Joined:
    """The cluster in a peer's answer. Raises ConfigError unless --initial-cluster names the same members."""
    wanted = {tuple(sorted(urls)): name for name, urls in config.initial_cluster.items()}
    known = {tuple(sorted(member.peerURLs)): member for member in reply.members}
    listed = "; ".join(f"{m.name or '(not started)'} {m.ID:x} at {','.join(m.peerURLs)}" for m in known.values())
    if len(known) != len(wanted):
        raise ConfigError(
            f"error validating peerURLs: member count is unequal: --initial-cluster names {len(wanted)} members, the"
            f" cluster has {len(known)} ({listed}); add this member first, and use the --initial-cluster printed then"
        )
    for urls, name in wanted.items():
        if urls not in known:
            raise ConfigError(
                f"error validating peerURLs: no match found for {name}={','.join(urls)} among the members ({listed});"
                " correct --initial-cluster"
            )
    mine = known[tuple(sorted(config.initial_cluster[config.name]))]
    if mine.clientURLs:
        raise ConfigError(
            f"member {mine.ID:x} ({mine.name}) has been part of the cluster before, but {config.data_dir} is empty;"
            " starting it anew could lose acknowledged writes; bring its data back, or remove the member and add it"
            " again"
        )
    return Joined(reply.cluster_id, mine.ID, [_member(m) for m in reply.members])


def _refuse_shared_urls(config: Config) -> None:
    seen: dict[str, str] = {}
    for name, urls in config.initial_cluster.items():
        for url in urls:
            if seen.setdefault(url, name) != name:
                raise ConfigError(f"--initial-cluster has a duplicate url: {url} belongs to {seen[url]} and to {name}")


def _member(peer: PeerMember) -> MemberInfo:
    return MemberInfo(
        ID=peer.ID, name=peer.name, peerURLs=peer.peerURLs, clientURLs=peer.clientURLs, isLearner=peer.isLearner
    )
