"""What is around the controllers: their table, the flags of `fluyt controllers`, its pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import aiohttp
import click
import pytest
import yaml
from ctl_fake_client import FakeClient, World

from control.api.catalogue import BUILTIN
from control.cli import elected
from control.cli.controllers import controllers as command
from control.cli.controllers_settings import FlagError, settings_of
from control.client.client import Client
from control.controllers.choice import chosen
from control.controllers.registry import Settings, controllers
from control.controllers.running.manager import Manager
from control.controllers.running.process import ProcessSettings
from control.controllers.values.controller import EVERYTHING
from control.elected.pages import Pages
from control.pki.requests import Signer
from kvstore.pki.certificates import make_authority


def test_every_controller_follows_resources_that_exist() -> None:
    now = datetime.now(UTC)
    signer = Signer(make_authority("fluyt", now, timedelta(days=1)), timedelta(days=1))
    every = controllers(Settings(root_ca="PEM", signer=signer))
    assert len({controller.name for controller in every}) == len(every) == 27
    for controller in every:
        for resource in controller.resources - {EVERYTHING}:
            assert BUILTIN.by_resource(resource) is not None, f"{controller.name}: {resource}"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["job"], {"job-controller"}),
        (["job-controller", "cronjob"], {"job-controller", "cronjob-controller"}),
        (["job", "-job"], set()),
    ],
)
def test_which_controllers_run(words: list[str], expected: set[str]) -> None:
    assert {controller.name for controller in chosen(controllers(Settings()), words)} == expected


def test_all_but_one_run() -> None:
    every = controllers(Settings())
    assert {c.name for c in every} - {c.name for c in chosen(every, ["*", "-namespace"])} == {"namespace-controller"}


def test_a_controller_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"no controller is called 'jobs'; there are: .*job-controller"):
        chosen(controllers(Settings()), ["*", "jobs"])


# ---- flags ----


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
    contexts = [{"name": "x", "context": {"cluster": "c", "user": "u"}}]
    users = [{"name": "u", "user": {"token": "t"}}]
    content = {"clusters": [cluster], "contexts": contexts, "users": users, "current-context": "x"}
    file = tmp_path / "controllers.conf"
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **content}))
    return str(file)


def _settings(*words: str) -> ProcessSettings:
    context = command.make_context("controllers", list(words), auto_envvar_prefix=None)
    return settings_of(dict(context.params))


def test_flags_become_settings(kubeconfig: str) -> None:
    flags = ["--concurrent-job-syncs=9", "--port=0", "--identity=me", "--etcd-servers=http://a:1,http://b:2"]
    found = _settings(f"--kubeconfig={kubeconfig}", *flags, "--cluster-cidr=10.244.0.0/16,fd00::/56")
    assert (found.port, found.identity, list(found.store)) == (0, "me", ["http://a:1", "http://b:2"])
    workers = {controller.name: controller.workers for controller in found.controllers}
    assert workers["job-controller"] == 9
    assert "node-ipam-controller" in workers
    assert "root-ca-certificate-publisher-controller" not in workers
    assert _settings(f"--kubeconfig={kubeconfig}", "--leader-elect=false").store == ()


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--controllers=nobody", "--controllers: no controller is called 'nobody'"),
        ("--cluster-cidr=10.0.0.1/8", "--cluster-cidr: 10.0.0.1/8 has host bits set"),
        ("--node-monitor-grace-period=40", "--node-monitor-grace-period: invalid duration '40'"),
        ("--etcd-cafile=/nowhere/ca.crt", "--etcd-cafile: there is no file /nowhere/ca.crt"),
        ("--root-ca-file=/nowhere", "--root-ca-file: there is no file /nowhere"),
    ],
)
def test_flags_that_do_not_do_say_why(kubeconfig: str, flag: str, words: str) -> None:
    with pytest.raises(FlagError, match="^" + words.replace("(", r"\(")):
        _settings(f"--kubeconfig={kubeconfig}", flag)


def test_a_mask_that_does_not_fit_its_range(kubeconfig: str) -> None:
    with pytest.raises(FlagError, match=r"--node-cidr-mask-size 24 does not fit 10\.0\.0\.0/28"):
        _settings(f"--kubeconfig={kubeconfig}", "--cluster-cidr=10.0.0.0/28")


def test_help_tells_of_every_flag_in_the_tables_order() -> None:
    text = command.get_help(click.Context(command))
    assert text.index("--kubeconfig") < text.index("--leader-elect") < text.index("--concurrent-deployment-syncs")


# ---- pages ----


def test_the_pages_say_whether_the_view_is_complete() -> None:
    async def scenario() -> None:
        world = World("pods", "replicasets.apps")
        every = chosen(controllers(Settings()), ["replicaset"])
        recorder: Callable[[str], Callable[[Any], None]] = lambda _: lambda _: None  # noqa: E731
        manager = Manager(cast(Client, FakeClient(world)), every, recorder)
        pages = Pages(manager.started, manager.registry)
        await pages.start("127.0.0.1", 0)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{pages.port}") as session:

            async def ask(path: str) -> tuple[int, str]:
                async with session.get(path) as answer:
                    return answer.status, await answer.text()

            assert await ask("/healthz") == (200, "ok")
            assert (await ask("/readyz"))[0] == 503
            await manager.start()
            assert await ask("/readyz") == (200, "ok")
            assert "fluyt_fenced_writes_refused_total 0.0" in (await ask("/metrics"))[1]
        await manager.close()
        await pages.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("given", ["etcd_certfile", "etcd_keyfile"])
def test_half_a_pair_for_the_store_is_refused(given: str) -> None:
    flags = dict.fromkeys(("etcd_cafile", "etcd_certfile", "etcd_keyfile"), "")
    with pytest.raises(elected.FlagError, match="--etcd-certfile and --etcd-keyfile belong together"):
        elected.store_tls({**flags, given: "a.pem"})
