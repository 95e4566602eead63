"""The blob store suite on files, and errors that only files have: full disks, crashes, missing folders."""

import errno
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from contracts.errors import BlobMissing, MapSeekError, Unavailable
from contracts.ports import BlobStore
from infra.blobs.files import FileBlobStore, open_blob_store
from tests.support.blob_store import HELLO, HELLO_NAME, BlobStoreSuite


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def store(root: Path) -> FileBlobStore:
    return open_blob_store(root)


def blob_path(root: Path, name: str) -> Path:
    return root / name[:2] / name[2:4] / name


def files_under(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


class TestFileBlobStore(BlobStoreSuite):
    @pytest.fixture
    def store(self, root: Path) -> FileBlobStore:
        return open_blob_store(root)

    @pytest.fixture
    def damage(self, root: Path) -> Callable[[str], None]:
        def overwrite(name: str) -> None:
            blob_path(root, name).write_bytes(b"jello")

        return overwrite

    async def pass_time(self, store: BlobStore, seconds: float) -> None:
        for path in files_under(store._root):  # type: ignore[attr-defined]
            changed = path.stat().st_mtime - seconds
            os.utime(path, (changed, changed))


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Simulate a full disk: the kernel refuses to write more than `size` bytes to any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


async def test_the_path_of_a_blob_is_made_from_its_digest(store: FileBlobStore, root: Path) -> None:
    await store.put(HELLO)
    assert files_under(root) == [root / "2c" / "f2" / HELLO_NAME]


async def test_an_existing_blob_is_not_written_again(store: FileBlobStore, root: Path) -> None:
    await store.put(HELLO)
    before = blob_path(root, HELLO_NAME).stat()
    await store.put(HELLO)
    assert blob_path(root, HELLO_NAME).stat().st_ino == before.st_ino


async def test_a_blob_deleted_during_a_second_put_is_written_again(
    store: FileBlobStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put(HELLO)
    touch = os.utime

    def touch_too_late(path: Path) -> None:
        path.unlink()
        touch(path)

    monkeypatch.setattr(os, "utime", touch_too_late)
    await store.put(HELLO)
    assert await store.get(HELLO_NAME) == HELLO


async def test_two_stores_on_one_folder_share_their_blobs(store: FileBlobStore, root: Path) -> None:
    await store.put(HELLO)
    assert await open_blob_store(root).get(HELLO_NAME) == HELLO


async def test_damage_is_logged(store: FileBlobStore, root: Path) -> None:
    await store.put(HELLO)
    blob_path(root, HELLO_NAME).write_bytes(b"")
    with capture_logs() as logs, pytest.raises(BlobMissing):
        await store.get(HELLO_NAME)
    assert logs == [{"event": "blob_damaged", "log_level": "error", "blob": HELLO_NAME, "size_bytes": 0}]


async def test_a_full_disk_is_an_outage_and_leaves_nothing_behind(store: FileBlobStore, root: Path) -> None:
    with full_disk(1000), pytest.raises(Unavailable, match=r"blob store.*File too large"):
        await store.put(b"x" * 5000)
    assert files_under(root) == []
    assert await store.get(await store.put(b"x" * 5000)) == b"x" * 5000


async def test_a_crash_before_the_rename_leaves_no_blob(store: FileBlobStore, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(Killed):
        await store.put(HELLO)
    monkeypatch.undo()
    assert not await store.exists(HELLO_NAME)


async def test_bytes_are_flushed_before_the_rename(store: FileBlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(handle: int) -> None:
        steps.append("fsync")
        fsync(handle)

    def record_replace(old: str, new: Path) -> None:
        steps.append("replace")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    await store.put(HELLO)
    assert steps == ["fsync", "replace", "fsync"]


def test_opening_deletes_stale_temporary_files_only(store: FileBlobStore, root: Path) -> None:
    old, young = root / "tmp" / "old", root / "tmp" / "young"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    os.utime(old, (two_hours_ago, two_hours_ago))
    open_blob_store(root)
    assert files_under(root) == [young]


async def test_an_unmounted_folder_is_an_outage_not_a_missing_blob(store: FileBlobStore, root: Path) -> None:
    await store.put(HELLO)
    root.rename(root.with_name("elsewhere"))
    root.mkdir()  # what an unmounted volume looks like
    for call in (
        store.put(HELLO),
        store.get(HELLO_NAME),
        store.exists(HELLO_NAME),
        store.seconds_since_put(HELLO_NAME),
        store.delete(HELLO_NAME),
    ):
        with pytest.raises(Unavailable, match="blob store"):
            await call


async def test_an_unreadable_file_is_an_outage(store: FileBlobStore, root: Path) -> None:
    blob_path(root, HELLO_NAME).mkdir(parents=True)  # a folder in the file's place cannot be read even by root
    with pytest.raises(Unavailable, match="blob store is unavailable: cannot read"):
        await store.get(HELLO_NAME)
    with pytest.raises(Unavailable, match="blob store is unavailable: cannot delete"):
        await store.delete(HELLO_NAME)
    (root / "ab").write_bytes(b"")  # nothing can be in a folder that is a file
    with pytest.raises(Unavailable, match="blob store is unavailable: cannot read"):
        await store.exists("ab" * 32)


def test_a_root_that_is_a_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        MapSeekError, match=r"^The blob folder \S+ cannot be written \(.+\): make it writable .*MAPSEEK_DATA_DIR"
    ) as info:
        open_blob_store(tmp_path / "file" / "blobs")
    assert "\n" not in str(info.value)


def test_a_root_that_cannot_be_written_is_refused(root: Path) -> None:
    open_blob_store(root)
    with full_disk(0), pytest.raises(MapSeekError, match=os.strerror(errno.EFBIG)):
        open_blob_store(root)


async def test_who_only_reads_needs_no_writable_folder(store: FileBlobStore, root: Path) -> None:
    await store.put(HELLO)
    with full_disk(0):
        reading = open_blob_store(root, writes=False)
        assert await reading.get(HELLO_NAME) == HELLO


async def test_who_only_reads_creates_nothing(tmp_path: Path) -> None:
    reading = open_blob_store(tmp_path / "not mounted", writes=False)
    with pytest.raises(Unavailable, match="blob store"):
        await reading.get(HELLO_NAME)
    assert list(tmp_path.iterdir()) == []
