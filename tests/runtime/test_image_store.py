"""The store of images: names, shared files, arrivals, refusals."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
from pathlib import Path

import pytest
from process_runtimes import unreadable
from runtime_conformance.image_tar import digest, docker_archive, entry, layer, oci_archive

from node_agent.runtime.errors import BadArchive, ImageInUse, InvalidImageName, RuntimeUnavailable
from node_agent.runtime.image_store import store as store_module
from node_agent.runtime.image_store.store import ImageStore, StoredImage, chain_ids

BASE, MORE = layer(entry("a", b"1")), layer(entry("b", b"2"))


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    made = ImageStore(tmp_path / "store")
    made.prepare()
    return made


def found(store: ImageStore, name: str) -> StoredImage:
    image = store.find(name)
    assert image is not None
    return image


@pytest.mark.parametrize("make", [docker_archive, oci_archive])
@pytest.mark.parametrize("packed", [False, True])
def test_an_image_is_found_again(store: ImageStore, tmp_path: Path, make: type, packed: bool) -> None:
    archive = make(tmp_path / "a.tar", "example.org/web:1", [BASE, MORE], Env=["A=b=c"], Entrypoint=["/a"], User="7")
    if packed:
        archive.write_bytes(gzip.compress(archive.read_bytes()))
    assert store.load(archive) == ("example.org/web:1",)
    image = found(ImageStore(store.root), "example.org/web:1")
    assert (image.config.env, image.config.entrypoint, image.config.user) == ((("A", "b=c"),), ("/a",), "7")
    assert sorted(path.name for path in image.tree.iterdir()) == ["a", "b"]
    assert (image.size, image.id) == (2, found(store, image.id[7:20]).id)
    assert found(store, f"example.org/web@{image.id}").id == image.id


def test_images_on_top_of_another_share_its_files(store: ImageStore, tmp_path: Path) -> None:
    store.load(docker_archive(tmp_path / "a.tar", "base:1", [BASE]))
    store.load(docker_archive(tmp_path / "b.tar", "web:1", [BASE, MORE]))
    below, above = found(store, "base:1"), found(store, "web:1")
    assert (below.tree / "a").stat().st_ino == (above.tree / "a").stat().st_ino
    store.remove("base:1", lambda _: False)
    assert (above.tree / "a").read_text() == "1"
    assert not below.tree.exists()


def test_a_name_moves_to_the_newer_image(store: ImageStore, tmp_path: Path) -> None:
    store.load(docker_archive(tmp_path / "a.tar", "web:1", [BASE]))
    old = found(store, "web:1")
    store.load(docker_archive(tmp_path / "b.tar", "web:1", [MORE]))
    assert found(store, "web:1").id != old.id
    assert found(store, old.id).names == ()


def test_remove(store: ImageStore, tmp_path: Path) -> None:
    store.load(docker_archive(tmp_path / "a.tar", "web:1", [BASE]))
    store.load(docker_archive(tmp_path / "a.tar", "web:2", [BASE]))
    image = found(store, "web:1")
    assert set(image.names) == {"docker.io/library/web:1", "docker.io/library/web:2"}
    assert store.remove("web:1", lambda _: True) == ("docker.io/library/web:1",), "just a name: no container minds"
    with pytest.raises(ImageInUse):
        store.remove("web:2", lambda used: used == image.id)
    assert store.remove("web:2", lambda _: False) == ("docker.io/library/web:2", image.id)
    assert store.remove("web:2", lambda _: False) == ()
    assert list((store.root / "trees").iterdir()) == []


def test_arrivals_are_loaded_once(store: ImageStore, tmp_path: Path) -> None:
    docker_archive(store.incoming / "a.tar", "web:1", [BASE])
    (store.incoming / "b.tar").write_bytes(b"nonsense")
    (store.incoming / ".hidden").write_bytes(b"nonsense")
    said = store.load_incoming()
    assert said[0] == "loaded docker.io/library/web:1 from a.tar"
    assert said[1].startswith("refused ")
    assert store.load_incoming() == []
    assert len(store.refused()) == 1
    docker_archive(store.incoming / "b.tar", "web:2", [MORE])
    assert store.load_incoming() == ["loaded docker.io/library/web:2 from b.tar"]
    assert store.refused() == []


def test_what_a_crash_left_is_removed(store: ImageStore, tmp_path: Path) -> None:
    (store.root / "trees" / "tmp-abc").mkdir()
    archive = docker_archive(tmp_path / "a.tar", "web:1", [BASE])
    (store.root / "trees" / digest(BASE)[7:]).mkdir()
    store.load(archive)
    assert not (store.root / "trees" / "tmp-abc").exists()
    assert (found(store, "web:1").tree / "a").read_text() == "1"


def test_chain_ids_are_those_of_the_specification() -> None:
    """The first is the layer's own digest, the next the digest of both."""
    first, second = chain_ids(["sha256:" + "a" * 64, "sha256:" + "b" * 64])
    assert first == "a" * 64
    assert second == hashlib.sha256(f"sha256:{'a' * 64} sha256:{'b' * 64}".encode()).hexdigest()


REFUSED = {
    "two layers listed, one there": lambda text: text.replace('["layer0.tar", "layer1.tar"]', '["layer0.tar"]'),
    "a layer that is missing": lambda text: text.replace("layer1.tar", "layer9.tar"),
    "no list": lambda text: text.replace("[{", "{", 1).replace("}]", "}", 1),
    "no JSON": lambda text: text.replace("{", "<", 1),
    "a bad name": lambda text: text.replace("web:1", "WEB:1"),
    "the machine's name": lambda text: text.replace('"web:1"', '"host"'),
}


@pytest.mark.parametrize("why", REFUSED)
def test_archives_that_are_refused(store: ImageStore, tmp_path: Path, why: str) -> None:
    archive = docker_archive(tmp_path / "a.tar", "web:1", [BASE, MORE])
    content = archive.read_bytes()
    start = content.rindex(b'[{"Config": ')
    end = content.index(b"}]", start) + 2
    text = content[start:end].decode()
    changed = REFUSED[why](text)
    assert changed != text
    archive.write_bytes(content[:start] + changed.ljust(len(text)).encode() + content[end:])
    with pytest.raises((BadArchive, InvalidImageName)):
        store.load(archive)
    assert store.all() == []


def test_a_configuration_that_is_damaged(store: ImageStore, tmp_path: Path) -> None:
    archive = docker_archive(tmp_path / "a.tar", "web:1", [BASE])
    archive.write_bytes(archive.read_bytes().replace(b'"linux"', b'"minix"'))
    with pytest.raises(BadArchive, match="damaged"):
        store.load(archive)


def test_a_configuration_of_wrong_types(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="Env is no list"):
        store.load(docker_archive(tmp_path / "a.tar", "web:1", [BASE], Env={"A": "b"}))


def test_zstd_is_refused_with_a_cure(store: ImageStore, tmp_path: Path) -> None:
    squeezed = b"\x28\xb5\x2f\xfd" + os.urandom(20)
    archive = docker_archive(tmp_path / "a.tar", "web:1", [BASE])
    content = archive.read_bytes().replace(BASE, squeezed.ljust(len(BASE), b"\0"))
    archive.write_bytes(content)
    with pytest.raises(BadArchive, match="gzip"):
        store.load(archive)


class Killed(BaseException):
    """The agent was, here: nothing catches it."""


def killed_in_a_folder(path: str) -> None:
    """As remove_tree, but it comes no further than the first file of a folder."""
    if not os.path.isdir(path):
        os.unlink(path)
        return
    os.unlink(min(entry.path for entry in os.scandir(path)))
    raise Killed


def test_half_a_tree_is_not_taken_for_the_whole_after_a_kill(store: ImageStore, tmp_path: Path) -> None:
    """Of an image that was being removed when the agent was killed, the next load took what was left for all of it."""
    for number in range(8):  # which of the two a folder's listing gives first, the tree or its size, is chance
        files = [entry("a", str(number).encode()), entry("b", b"2")]
        archive = docker_archive(tmp_path / "a.tar", "web:1", [layer(*files)])
        store.load(archive)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(store_module, "remove_tree", killed_in_a_folder)
            store.remove("web:1", lambda _: False)
        store.load(archive)
        assert sorted(path.name for path in found(store, "web:1").tree.iterdir()) == ["a", "b"]
        store.remove("web:1", lambda _: False)
        assert list((store.root / "trees").iterdir()) == []


def test_half_a_tree_that_is_replaced_is_not_taken_for_the_whole_either(store: ImageStore, tmp_path: Path) -> None:
    archive = docker_archive(tmp_path / "a.tar", "web:1", [layer(entry("a", b"1"), entry("b", b"2"))])
    store.load(archive)
    tree = found(store, "web:1").tree
    tree.with_suffix(".size").unlink()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(store_module, "remove_tree", killed_in_a_folder)
        store.load(archive)
    store.load(archive)
    assert sorted(path.name for path in tree.iterdir()) == ["a", "b"]


def test_an_arrival_that_was_removed_comes_back_when_it_is_asked_for(store: ImageStore, tmp_path: Path) -> None:
    """Collected as garbage, it was never found again, though its archive lay there."""
    docker_archive(store.incoming / "a.tar", "web:1", [BASE])
    docker_archive(store.incoming / "b.tar", "db:1", [MORE])
    store.load_incoming()
    store.remove("web:1", lambda _: False)
    store.remove("db:1", lambda _: False)
    assert store.load_incoming() == []
    assert store.load_incoming("cache:1") == []
    assert store.load_incoming("web:1") == ["loaded docker.io/library/web:1 from a.tar"]
    assert store.load_incoming("web:1") == []
    assert store.find("db:1") is None
    assert (found(store, "web:1").tree / "a").read_text() == "1"


def test_the_archive_that_brought_a_name_last_brings_it_back(store: ImageStore) -> None:
    docker_archive(store.incoming / "b.tar", "web:1", [BASE])
    store.load_incoming()
    docker_archive(store.incoming / "a.tar", "web:1", [MORE])
    store.load_incoming()
    newest = found(store, "web:1").id
    store.remove("web:1", lambda _: False)
    assert store.load_incoming("web:1") == ["loaded docker.io/library/web:1 from a.tar"]
    assert found(store, "web:1").id == newest


def test_an_image_without_a_name_comes_back_by_its_id(store: ImageStore, tmp_path: Path) -> None:
    docker_archive(store.incoming / "a.tar", "web:1", [BASE])
    store.load_incoming()
    identity = found(store, "web:1").id
    store.remove("web:1", lambda _: False)
    store.load_incoming(f"web@{identity}")
    assert found(store, f"web@{identity}").id == identity


def test_an_arrival_for_which_the_disk_had_no_room_is_tried_again(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault is the disk's, not the archive's: it was refused for good."""
    docker_archive(store.incoming / "a.tar", "web:1", [BASE])

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "read_config", full)
        assert store.load_incoming()[0].startswith("refused ")
        assert "No space left" in store.refused()[0]
    assert store.load_incoming() == ["loaded docker.io/library/web:1 from a.tar"]
    assert store.refused() == []


def test_an_arrival_with_a_bad_name_keeps_no_other_from_being_loaded(store: ImageStore) -> None:
    """It was the answer to everyone who asked for an image."""
    docker_archive(store.incoming / "a.tar", "WEB:1", [BASE])
    docker_archive(store.incoming / "b.tar", "web:2", [MORE])
    assert store.load_incoming()[1] == "loaded docker.io/library/web:2 from b.tar"
    assert "a.tar" in store.refused()[0]


def test_what_was_noted_before_names_were_is_looked_at_again(store: ImageStore) -> None:
    docker_archive(store.incoming / "a.tar", "web:1", [BASE])
    store.load_incoming()
    path = store.root / "incoming.json"
    notes = json.loads(path.read_text())
    path.write_text(json.dumps({"a.tar": {key: notes["a.tar"][key] for key in ("identity", "problem")}}))
    store.remove("web:1", lambda _: False)
    assert store.load_incoming("web:1") == ["loaded docker.io/library/web:1 from a.tar"]


# what a user removed


def test_an_arrival_that_a_user_removed_stays_so(store: ImageStore) -> None:
    """It was back as soon as its archive was looked at again, for itself or for another image in it."""
    archive = docker_archive(store.incoming / "a.tar", "web:1", [BASE])
    store.load_incoming()
    store.remove("web:1", lambda _: False, for_good=True)
    assert store.load_incoming("web:1") == []
    assert store.find("web:1") is None
    os.utime(archive, (1, 1))
    assert store.load_incoming() == ["loaded docker.io/library/web:1 from a.tar"], "copied there again"


def test_what_a_user_removed_does_not_come_with_another_image_of_its_archive(store: ImageStore) -> None:
    oci_archive(store.incoming / "a.tar", "web:1", [BASE])
    store.load_incoming()
    identity = found(store, "web:1").id
    store.load(docker_archive(store.root / "b.tar", "web:2", [BASE]))
    store.remove("web:1", lambda _: False, for_good=True)
    store.remove(identity, lambda _: False)
    assert store.load_incoming(f"web@{identity}") != []
    assert found(store, identity).names == (), "what it is called was removed, itself was collected"
    store.remove(identity, lambda _: False, for_good=True)
    assert store.load_incoming(f"web@{identity}") == []


def test_what_is_refused_to_a_user_is_not_forgotten(store: ImageStore) -> None:
    docker_archive(store.incoming / "a.tar", "web:1", [BASE])
    store.load_incoming()
    with pytest.raises(ImageInUse):
        store.remove("web:1", lambda _: True, for_good=True)
    store.remove("web:1", lambda _: False)
    assert store.load_incoming("web:1") == ["loaded docker.io/library/web:1 from a.tar"]


# files that are there and cannot be read now


@pytest.mark.parametrize("problem", [errno.EIO, errno.EMFILE, errno.EACCES])
def test_an_image_that_cannot_be_read_now_is_not_gone(store: ImageStore, tmp_path: Path, problem: int) -> None:
    """Its files were removed with those of the next image, and its other names were lost with the next load."""
    archive = docker_archive(tmp_path / "a.tar", "web:1", [BASE])
    store.load(docker_archive(tmp_path / "b.tar", "web:2", [BASE]))
    store.load(archive)
    store.load(docker_archive(tmp_path / "c.tar", "db:1", [MORE]))
    before = found(store, "web:1")
    with unreadable(f"{before.id[7:]}.json", problem):
        for call in (store.all, lambda: store.find("cache:1"), lambda: store.remove("db:1", lambda _: False)):
            with pytest.raises(RuntimeUnavailable, match=os.strerror(problem)):
                call()
        with pytest.raises(RuntimeUnavailable):
            store.load(archive)
    assert found(store, "web:2") == before
    assert (before.tree / "a").read_text() == "1"
    assert store.find("db:1") is not None


def test_images_that_cannot_be_listed_now_are_not_gone(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> list[str]:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "listdir", refused)
    with pytest.raises(RuntimeUnavailable, match="images cannot be read: Permission denied"):
        store.all()


def test_notes_that_cannot_be_read_now_are_not_written_anew(store: ImageStore) -> None:
    """All that was noted but one was lost: what had been refused was tried again, what a user removed was back."""
    (store.incoming / "a.tar").write_bytes(b"nonsense")
    store.load_incoming()
    docker_archive(store.incoming / "b.tar", "web:1", [BASE])
    with unreadable("incoming.json", errno.EIO), pytest.raises(RuntimeUnavailable):
        store.load_incoming()
    assert store.load_incoming() == ["loaded docker.io/library/web:1 from b.tar"]
    assert len(store.refused()) == 1
