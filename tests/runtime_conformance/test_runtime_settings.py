"""What a container's configuration asks for is what its program finds."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from node_agent.runtime.types import Dns, Mount, Resources, Security
from runtime_conformance.bench import Bench, until


def test_environment_folder_and_arguments(real: Bench) -> None:
    async def check() -> None:
        script = 'echo "$FROM_IMAGE $GIVEN $PWD"; echo "$@"'
        code, text = await real.says(
            "sh", "-c", script, args=("zero", "one two"), env=(("GIVEN", "a b"), ("GIVEN", "c=d")), working_dir="/tmp"
        )
        assert (code, text) == (0, "yes c=d /tmp\none two\n")
        code, text = await real.says("sh", "-c", 'test -n "$HOSTNAME" && test "$HOSTNAME" = "$(hostname)" && echo same')
        assert (code, text) == (0, "same\n"), "programs take their pod's name from it"

    real.run(check())


def test_the_images_command_runs_where_none_is_given(real: Bench) -> None:
    """The image's command is `sh`, which ends when its stdin does; the arguments replace it."""

    async def check() -> None:
        assert await real.says() == (0, "")
        assert await real.says(args=("echo", "args")) == (0, "args\n")

    real.run(check())


def test_users_and_groups(real: Bench) -> None:
    async def check() -> None:
        show = "id -u; id -g; id -G"
        _, by_name = await real.says("sh", "-c", show, security=Security(username="alice"))
        assert by_name.split("\n")[:2] == ["1001", "1002"]
        assert "29" in by_name.split("\n")[2].split()
        security = Security(user=1234, group=2345, supplemental_groups=(3456,))
        _, by_number = await real.says("sh", "-c", show, security=security)
        assert by_number.split("\n")[:2] == ["1234", "2345"]
        assert set(by_number.split("\n")[2].split()) == {"2345", "3456"}

    real.run(check())


def test_mounts(real: Bench) -> None:
    async def check() -> None:
        volume = real.folder / "volume"
        volume.mkdir(exist_ok=True)
        (volume / "in").write_text("from outside\n")
        file = real.folder / "one-file"
        file.write_text("just this\n")
        mounts = (
            Mount(str(volume), "/data/rw"),
            Mount(str(volume), "/data/ro", read_only=True),
            Mount(str(file), "/etc/one", read_only=True),
        )
        script = "cat /data/rw/in /etc/one; echo inside > /data/rw/out; touch /data/ro/x 2>/dev/null || echo refused"
        _, text = await real.says("sh", "-c", script, mounts=mounts)
        assert "from outside\njust this\n" in text
        assert text.endswith("refused\n")
        assert (volume / "out").read_text() == "inside\n"
        assert stat.S_ISREG((volume / "out").stat().st_mode)

    real.run(check())


def test_the_image_stays_as_it_is(real: Bench) -> None:
    async def check() -> None:
        assert (await real.says("sh", "-c", "echo two > /etc/release; rm /bin/wget; cat /etc/release"))[1] == "two\n"
        assert (await real.says("sh", "-c", "cat /etc/release; ls /bin/wget"))[1] == "one\n/bin/wget\n"

    real.run(check())


def test_security(real: Bench) -> None:
    async def check() -> None:
        show = "cat /proc/self/status"
        _, text = await real.says("sh", "-c", f"touch /x && echo wrote; {show}")
        assert text.startswith("wrote\n")
        assert "CapEff:\t0000000000000000" not in text
        strict = Security(read_only_rootfs=True, no_new_privs=True, drop_capabilities=("ALL",))
        _, text = await real.says("sh", "-c", f"touch /x 2>/dev/null || echo refused; {show}", security=strict)
        assert text.startswith("refused\n")
        assert "CapEff:\t0000000000000000" in text
        assert "NoNewPrivs:\t1" in text
        some = Security(drop_capabilities=("ALL",), add_capabilities=("NET_BIND_SERVICE",))
        _, text = await real.says("cat", "/proc/self/status", security=some)
        assert "CapEff:\t0000000000000400" in text

    real.run(check())


def test_a_privileged_container_may_do_everything(real: Bench) -> None:
    if real.kind == "docker" and not may_everything():
        pytest.skip("this machine gives root fewer capabilities than docker wants to pass on")

    async def check() -> None:
        mighty = await real.sandbox(privileged=True)
        container = await real.container(mighty, "cat", "/proc/self/status", security=Security(privileged=True))
        text = await real.log_text((await real.ended(container)).log_path)
        (bits,) = [line.split()[1] for line in text.splitlines() if line.startswith("CapEff:")]
        assert int(bits, 16) >> 21 & 1, "a privileged container has SYS_ADMIN"

    real.run(check())


def may_everything() -> bool:
    status = Path("/proc/self/status").read_text()
    (bits,) = [line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:")]
    return int(bits, 16) & (1 << 38) - 1 == (1 << 38) - 1


def test_names_of_the_sandbox(real: Bench) -> None:
    async def check() -> None:
        dns = Dns(servers=("10.9.8.7",), searches=("svc.cluster.local",), options=("ndots:5",))
        sandbox = await real.sandbox(dns=dns)
        status = await real.ended(await real.container(sandbox, "cat", "/etc/resolv.conf"))
        text = await real.log_text(status.log_path)
        assert "nameserver 10.9.8.7" in text
        assert "search svc.cluster.local" in text
        assert "options ndots:5" in text

    real.run(check())


def test_a_process_namespace_is_shared_where_asked_for(real: Bench) -> None:
    async def check() -> None:
        for shared in (True, False):
            sandbox = await real.sandbox(share_process_namespace=shared)
            first = await real.container(sandbox, "sleep", "4321", name="first", log_path="first/0.log")
            second = await real.container(sandbox, "sleep", "8765", name="second", log_path="second/0.log")
            seen = (await real.runtime.exec_sync(second, ["ps"])).stdout
            assert (b"sleep 4321" in seen, b"sleep 8765" in seen) == (shared, True)
            await asyncio.gather(*(real.runtime.stop_container(each, 0) for each in (first, second)))

    real.run(check())


def test_a_container_sees_the_processes_of_its_target(real: Bench) -> None:
    """What kubectl debug --target asks for."""

    async def check() -> None:
        sandbox = await real.sandbox()
        first = await real.container(sandbox, "sleep", "4321", name="first", log_path="first/0.log")
        second = await real.container(sandbox, "sleep", "8765", name="second", log_path="second/0.log", target=first)
        seen = (await real.runtime.exec_sync(second, ["ps"])).stdout
        assert (b"sleep 4321" in seen, b"sleep 8765" in seen) == (True, True)
        await asyncio.gather(*(real.runtime.stop_container(each, 0) for each in (second, first)))

    real.run(check())


def test_a_memory_limit_is_kept(real: Bench) -> None:
    async def check() -> None:
        sandbox = await real.sandbox()
        resources = Resources(memory=32 << 20, cpu_shares=512, cpu_quota=50_000, pids=50)
        eat = ("dd", "if=/dev/zero", "of=/dev/null", "bs=150M", "count=1")
        container = await real.container(sandbox, *eat, resources=resources)
        status = await real.ended(container)
        assert status.exit_code == 137

        # containerd tells dockerd of the end and of its cause in two events, either of which may come first.
        async def cause() -> str | None:
            reason = (await real.runtime.container_status(container)).reason
            return reason if reason == "OOMKilled" else None

        await until(cause)

    real.run(check())


def test_limits_can_be_changed_and_usage_is_known(real: Bench) -> None:
    async def check() -> None:
        sandbox = await real.sandbox()
        small = Resources(memory=64 << 20, cpu_shares=512)
        container = await real.container(sandbox, "sleep", "1000", resources=small, labels={"a": "b"})
        await real.runtime.update_resources(container, Resources(memory=96 << 20, cpu_shares=256))
        (usage,) = [each for each in await real.runtime.stats() if each.id == container]
        assert (usage.name, usage.sandbox_id, usage.labels) == ("main", sandbox, {"a": "b"})
        assert usage.cpu_nanoseconds > 0
        assert 0 < usage.memory_working_set <= usage.memory_usage < 96 << 20

    real.run(check())
