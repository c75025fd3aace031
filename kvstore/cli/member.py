"""`fluyt member` and `fluyt move-leader`: who belongs to the cluster, and who leads it."""

from __future__ import annotations

import click

from kvstore.cli.arguments import hex_id, text_arguments
from kvstore.cli.console import Console, connected
from kvstore.cli.exits import BAD_ARGS, CommandError, bad_args
from kvstore.cli.grammar import Command, SubGroup
from kvstore.cli.output.printer import emit
from kvstore.cli.quoting import quote
from kvstore.pb import etcd_pb2 as pb

_BAD_ID = "bad member ID arg ({}), expecting ID in Hex"


@click.group(cls=SubGroup)
def member() -> None:
    """The members of the cluster."""


def _member_id(arguments: tuple[str, ...]) -> int:
    if len(arguments) != 1:
        raise bad_args("member ID is not provided")
    return hex_id(arguments[0], _BAD_ID, signed=False)


@member.command("list", cls=Command, examples="fluyt member list -w table")
@connected
async def list_all(console: Console) -> None:
    """List every member: ID, status, name, peer and client addresses, whether it is a learner."""
    console.printer.member_list(await console.client.cluster.list())


@member.command(
    cls=Command,
    examples="""
    fluyt member add m4 --peer-urls http://10.0.0.4:2380
    fluyt member add m4 --peer-urls http://10.0.0.4:2380 --learner
    """,
)
@text_arguments("<name>")
@click.option("--peer-urls", default="", help="Where the other members will find it, separated by commas.")
@click.option("--learner", is_flag=True, help="It gets the data, and no vote until it is promoted.")
@connected
async def add(console: Console, arguments: tuple[str, ...], peer_urls: str, learner: bool) -> None:
    """Make room for a member, and print the settings to start it with."""
    if not arguments:
        raise bad_args("member name not provided")
    if len(arguments) > 1:
        guesses = [f", did you mean --peer-urls={word}" for word in arguments if word.lower().startswith("http")]
        raise bad_args("too many arguments" + "".join(guesses))
    if not peer_urls:
        raise bad_args("member peer urls not provided")
    answer = await console.client.cluster.add(peer_urls.split(","), learner=learner)
    console.printer.member_add(answer)
    if console.format == "simple":
        _print_settings(arguments[0], peer_urls, answer)


def _print_settings(name: str, peer_urls: str, answer: pb.MemberAddResponse) -> None:
    everyone = [
        f"{name if other.ID == answer.member.ID else other.name}={url}"
        for other in answer.members
        for url in other.peerURLs
    ]
    emit(
        "",
        f"ETCD_NAME={quote(name)}",
        f"ETCD_INITIAL_CLUSTER={quote(','.join(everyone))}",
        f"ETCD_INITIAL_ADVERTISE_PEER_URLS={quote(peer_urls)}",
        'ETCD_INITIAL_CLUSTER_STATE="existing"',
    )


@member.command(cls=Command, examples="fluyt member remove 8e9e05c52164694d")
@text_arguments("<member id>")
@connected
async def remove(console: Console, arguments: tuple[str, ...]) -> None:
    """Take a member out of the cluster for good."""
    member_id = _member_id(arguments)
    console.printer.member_change("removed from", member_id, await console.client.cluster.remove(member_id))


@member.command(cls=Command, examples="fluyt member update 8e9e05c52164694d --peer-urls http://10.0.0.9:2380")
@text_arguments("<member id>")
@click.option("--peer-urls", default="", help="Where the other members find it from now on, separated by commas.")
@connected
async def update(console: Console, arguments: tuple[str, ...], peer_urls: str) -> None:
    """Change where the other members find a member."""
    member_id = _member_id(arguments)
    if not peer_urls:
        raise bad_args("member peer urls not provided")
    answer = await console.client.cluster.update(member_id, peer_urls.split(","))
    console.printer.member_change("updated in", member_id, answer)


@member.command(cls=Command, examples="fluyt member promote 8e9e05c52164694d")
@text_arguments("<member id>")
@connected
async def promote(console: Console, arguments: tuple[str, ...]) -> None:
    """Give a learner that has caught up its vote."""
    member_id = _member_id(arguments)
    console.printer.member_change("promoted in", member_id, await console.client.cluster.promote(member_id))


@click.command("move-leader", cls=Command, examples="fluyt move-leader 8e9e05c52164694d --endpoints <the leader's>")
@text_arguments("<member id>")
@connected
async def move_leader(console: Console, arguments: tuple[str, ...]) -> None:
    """Hand leadership to another member; --endpoints must name the leader, too."""
    if len(arguments) != 1:
        raise bad_args("move-leader command needs 1 argument")
    target = hex_id(arguments[0], "{}", signed=False)
    for endpoint in console.endpoints:
        status = await console.client.maintenance.status(endpoint)
        if status.leader == status.header.member_id:
            answer = await console.client.maintenance.move_leader(target, endpoint)
            console.printer.move_leader(status.leader, target, answer)
            return
    raise CommandError(f"no leader endpoint given at [{' '.join(console.endpoints)}]", BAD_ARGS)
