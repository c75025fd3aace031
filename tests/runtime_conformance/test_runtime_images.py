"""Images: loaded, found, refused, removed."""

from __future__ import annotations

import pytest

from node_agent.runtime.errors import BadArchive, ImageInUse, ImageNotFound, InvalidImageName, PullFailed
from runtime_conformance import image_tar
from runtime_conformance.bench import IMAGE, Bench


def test_an_image_is_found_by_its_name_and_id(bench: Bench) -> None:
    async def check() -> None:
        image = await bench.runtime.image_status(IMAGE)
        assert image is not None
        assert IMAGE in image.tags
        assert image.size > 1 << 20
        by_id = await bench.runtime.image_status(image.id)
        assert by_id is not None
        assert by_id.id == image.id
        assert image.id in {each.id for each in await bench.runtime.list_images()}
        assert await bench.runtime.image_status("fluyt.test/none:1") is None
        usage = await bench.runtime.image_fs()
        assert 0 < usage.available <= usage.capacity
        assert usage.used >= 0

    bench.run(check())


def test_an_image_that_nobody_has(bench: Bench) -> None:
    async def check() -> None:
        name = "127.0.0.1:1/no/such/image:1" if bench.real else "missing"
        with pytest.raises((ImageNotFound, PullFailed), match="image"):
            await bench.runtime.pull_image(name)
        with pytest.raises(InvalidImageName):
            await bench.runtime.pull_image("Not A Name")

    bench.run(check())


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_an_image_is_loaded_and_removed(real: Bench, form: str) -> None:
    async def check() -> None:
        make = image_tar.docker_archive if form == "docker" else image_tar.oci_archive
        name = f"fluyt.test/{form}:2"
        upper = image_tar.layer(image_tar.entry("etc/release", b"two\n"), image_tar.entry("etc/.wh.group"))
        archive = make(
            real.folder / f"{form}.tar",
            name,
            [image_tar.busybox_layer(), upper],
            Env=["PATH=/bin"],
            Entrypoint=["sh", "-c"],
            Cmd=["echo from the image"],
            User="alice",
        )
        assert await real.runtime.load_image(archive) == (name,)
        assert await real.says(image=name) == (0, "from the image\n")
        _, text = await real.says(image=name, args=("cat /etc/release; test -e /etc/group || echo hidden; id -u",))
        assert text == "two\nhidden\n1001\n"
        await real.clean()
        await real.runtime.remove_image(name)
        await real.runtime.remove_image(name)
        assert await real.runtime.image_status(name) is None

    real.run(check())


def test_an_image_in_use_is_not_removed(bench: Bench) -> None:
    async def check() -> None:
        await bench.container(await bench.sandbox(), "sleep", "1000")
        with pytest.raises(ImageInUse):
            await bench.runtime.remove_image(IMAGE)
        assert await bench.runtime.image_status(IMAGE) is not None

    bench.run(check())


def test_what_is_no_image_is_refused(real: Bench) -> None:
    async def check() -> None:
        nonsense = real.folder / "nonsense.tar"
        nonsense.write_bytes(b"this is no tar archive at all" * 100)
        with pytest.raises(BadArchive, match=r"nonsense\.tar"):
            await real.runtime.load_image(nonsense)
        with pytest.raises((BadArchive, PullFailed)):
            await real.runtime.load_image(real.folder / "is-not-there.tar")

    real.run(check())
