"""The blob store in a folder: one file for each blob, `ab/cd/<sha256>`.

A file is written in a temporary folder and then renamed, so that no blob is ever incomplete.
"""

import asyncio
import hashlib
import math
import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import structlog

from contracts.errors import BlobMissing, MapSeekError, Unavailable

log = structlog.get_logger(__name__)

_DIGEST = re.compile(r"[0-9a-f]{64}")
_DEPENDENCY = "blob store"
_STALE_AFTER = 3600.0
"""A temporary file that is older was left by a crash: no other process is still writing it."""


class FileBlobStore:
    """A BlobStore in a local or mounted folder, shared by any number of processes. Open it with `open_blob_store`.

    Raises Unavailable if the folder cannot be read or written, for example because it is not mounted.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._temporary = _temporary_folder(root)

    async def put(self, data: bytes) -> str:
        return await asyncio.to_thread(self._put, data)

    async def get(self, name: str) -> bytes:
        return await asyncio.to_thread(self._get, name)

    async def exists(self, name: str) -> bool:
        return await asyncio.to_thread(self._exists, name)

    async def delete(self, name: str) -> None:
        await asyncio.to_thread(self._delete, name)

    async def seconds_since_put(self, name: str) -> float:
        return await asyncio.to_thread(self._untouched_for, name)

    async def list_untouched_since(self, seconds: float) -> list[str]:
        """List the names of all blobs whose last put was longer ago than that."""
        return await asyncio.to_thread(self._untouched_since, seconds)

    def _path(self, name: str) -> Path:
        if not _DIGEST.fullmatch(name):
            raise BlobMissing(f"{name!r} is not the name of a blob")
        return self._root / name[:2] / name[2:4] / name

    def _put(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        path = self._path(name)
        try:
            if not _touched(path, data):
                _write_durably(data, path, self._temporary)
        except OSError as error:
            raise Unavailable(_DEPENDENCY, f"cannot write: {error.strerror}") from error
        return name

    def _get(self, name: str) -> bytes:
        path = self._path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            self._check_mounted()
            raise BlobMissing(f"no blob is called {name}") from None
        except OSError as error:
            raise Unavailable(_DEPENDENCY, f"cannot read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != name:
            log.error("blob_damaged", blob=name, size_bytes=len(data))
            raise BlobMissing(f"the blob {name} is damaged")
        return data

    def _exists(self, name: str) -> bool:
        return self._untouched_for(name) < math.inf

    def _untouched_for(self, name: str) -> float:
        try:
            return max(0.0, time.time() - self._path(name).stat().st_mtime)
        except (BlobMissing, FileNotFoundError):
            self._check_mounted()
            return math.inf
        except OSError as error:
            raise Unavailable(_DEPENDENCY, f"cannot read: {error.strerror}") from error

    def _delete(self, name: str) -> None:
        try:
            self._path(name).unlink()
        except (BlobMissing, FileNotFoundError):
            self._check_mounted()
        except OSError as error:
            raise Unavailable(_DEPENDENCY, f"cannot delete: {error.strerror}") from error

    def _untouched_since(self, seconds: float) -> list[str]:
        self._check_mounted()
        before = time.time() - seconds
        found = []
        for file in self._root.glob("??/??/*"):
            with suppress(FileNotFoundError):  # deleted just now
                if file.stat().st_mtime < before:
                    found.append(file.name)
        return found

    def _check_mounted(self) -> None:
        """Raise Unavailable if the folder is not mounted. It looks empty then, but its blobs are not missing.

        The temporary folder inside it always exists while it is mounted.
        """
        if not self._temporary.is_dir():
            raise Unavailable(_DEPENDENCY, f"the folder {self._root} does not exist or is not mounted")


def open_blob_store(root: Path, *, writes: bool = True) -> FileBlobStore:
    """Open the store in the folder `root`. Create the folder if needed and check that it is writable, else raise MapSeekError.

    Without `writes` the folder may be read-only, and nothing is checked.
    """
    if not writes:
        return FileBlobStore(root)
    try:
        temporary = _temporary_folder(root)
        temporary.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=temporary) as probe:
            probe.write(b"probe")
        _clean(temporary)
    except OSError as error:
        raise MapSeekError(
            f"The blob folder {root} cannot be written ({error.strerror}): make it writable for this user, "
            "or set MAPSEEK_DATA_DIR to a folder that is."
        ) from error
    return FileBlobStore(root)


def _temporary_folder(root: Path) -> Path:
    return root / "tmp"


def _clean(temporary: Path) -> None:
    for leftover in temporary.iterdir():
        with suppress(FileNotFoundError):  # another process deleted it too, or finished writing it
            if time.time() - leftover.stat().st_mtime > _STALE_AFTER:
                leftover.unlink()


def _touched(path: Path, data: bytes) -> bool:
    """Whether the file has these bytes already. If so, set its time to now, so that nobody deletes it as long unused.

    The bytes are compared, not only the name, so that a second put repairs a file that was damaged on disk.
    """
    try:
        if path.read_bytes() != data:
            return False
        os.utime(path)
    except FileNotFoundError:  # not there, or deleted between the two calls
        return False
    return True


def _write_durably(data: bytes, path: Path, temporary: Path) -> None:
    handle, name = tempfile.mkstemp(dir=temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Flush a folder to disk.

    Otherwise a power cut may undo the rename, though the fact with the blob's name is already recorded.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
