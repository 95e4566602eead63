"""Who wrote an archive, and whether it is as they left it: the export key, and the sum of the keyed hashes of all entries.

Each entry has an HMAC. Their sum modulo 2^256 is a hash of the whole set of entries: an export adds the HMACs of new entries and
subtracts those of deleted ones, without reading the rest. The archive stores the sum under a mask that differs at each export, and
an HMAC over everything that is not an entry (docs/adr/0016).
"""

import hmac
import os
import secrets
import sqlite3
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from contracts.errors import Malformed, MapSeekError
from pipeline.backup.archive_file import BLOBS, QUERIES, compute_settings_digest, count_rows

EXPORT_KEY_FILENAME = "export.key"
"""The file in the data folder with the export key of the installation: 64 hex digits, readable by its owner only."""

KEY_BYTES = 32
_MODULUS = 1 << 256

_ENTRY_COLUMNS = ("stream", "sequence", "subject", "entity", "headers", "body")


@dataclass(slots=True)
class EntrySum:
    """The number of entries of an archive, and the sum of their HMACs under `key` modulo 2^256."""

    key: bytes
    total: int = 0
    count: int = 0

    def change(self, sign: int, *entry: object) -> None:
        """Add the HMAC of an entry, given as its columns, or subtract it if `sign` is -1."""
        self.total = (self.total + sign * int.from_bytes(_mac(self.key, "entry", entry))) % _MODULUS
        self.count += sign


@dataclass(frozen=True, slots=True)
class Head:
    """What an export says about itself.

    `digest` is that of the settings, `combination` the masked sum of the entries, `mac` the HMAC over all other fields.
    """

    number: int
    archive: str
    made_at: str
    digest: str
    entries: int
    nonce: bytes
    combination: bytes
    mac: bytes


def _mac(key: bytes, purpose: str, parts: Iterable[object]) -> bytes:
    """Return the HMAC of the parts. Each goes in with its length, so that no other parts have the same bytes."""
    encoded = [part if isinstance(part, bytes) else str(part).encode() for part in (purpose, *parts)]
    return hmac.digest(key, b"".join(len(part).to_bytes(8) + part for part in encoded), "sha256")


def _compute_mask(key: bytes, nonce: bytes) -> int:
    return int.from_bytes(_mac(key, "mask", (nonce,)))


def _mask_sum(entries: EntrySum, nonce: bytes) -> bytes:
    return ((entries.total + _compute_mask(entries.key, nonce)) % _MODULUS).to_bytes(32)


def _compute_head_mac(key: bytes, head: Head) -> bytes:
    about = (head.number, head.archive, head.made_at, head.digest, head.entries, head.nonce, head.combination)
    return _mac(key, "head", about)


def read_head(database: sqlite3.Connection) -> Head | None:
    """Return the head of an archive, None before its first export is complete. Raises Malformed."""
    query = "SELECT number, archive, made_at, digest, entries, nonce, combination, mac FROM exports ORDER BY number DESC"
    row = database.execute(query).fetchone()
    if row is None:
        return None
    if tuple(map(type, row)) != (int, str, str, str, int, bytes, bytes, bytes):
        raise Malformed("its head is none that MapSeek writes")
    return Head(*row)


def is_head_authentic(database: sqlite3.Connection, head: Head, key: bytes) -> bool:
    """Return whether the installation with this key wrote the head, and the settings are those of that export."""
    return hmac.compare_digest(_compute_head_mac(key, head), head.mac) and hmac.compare_digest(
        compute_settings_digest(database).encode(), head.digest.encode()
    )


def are_entries_authentic(head: Head, entries: EntrySum) -> bool:
    """Return whether these are exactly the entries of the export with this head, which is authentic."""
    return hmac.compare_digest(_mask_sum(entries, head.nonce), head.combination) and entries.count == head.entries


def continue_archive(database: sqlite3.Connection, key: bytes) -> EntrySum:
    """Verify the head that an export continues, and return its sum of entries. From now on the sum follows every change of entries.

    Reads no entry: one that was tampered with stays in the sum as it was, so that an import still finds it. Raises MapSeekError.
    """
    head = read_head(database)
    if head is None:
        if any(count_rows(database, table) for table in ("entries", "streams", "durables", "state", "removed", "blobs", "uses")):
            raise MapSeekError("This archive was changed, since it has content and no completed export: export to a new file.")
        entries = EntrySum(key)
    elif not is_head_authentic(database, head, key):
        raise MapSeekError("This archive was changed, or written with another export key: export to a new file.")
    else:
        total = (int.from_bytes(head.combination) - _compute_mask(key, head.nonce)) % _MODULUS
        entries = EntrySum(key, total, head.entries)
    odd = "SELECT 1 FROM blobs WHERE store NOT IN (?, ?) OR length(name) != 64 OR name GLOB '*[^0-9a-f]*'"
    if database.execute(odd, (BLOBS, QUERIES)).fetchone():
        raise Malformed("it has a blob that no entry names")
    _follow_changes(database, entries)
    return entries


def _follow_changes(database: sqlite3.Connection, entries: EntrySum) -> None:
    """Let every INSERT, DELETE and UPDATE of an entry change the sum. The triggers belong to the connection, not to the file."""
    database.create_function("change_sum", 1 + len(_ENTRY_COLUMNS), entries.change)
    new, old = [
        f"change_sum({sign}, {', '.join(f'{row}.{name}' for name in _ENTRY_COLUMNS)})" for sign, row in ((1, "NEW"), (-1, "OLD"))
    ]
    for event, changes in (("INSERT", new), ("DELETE", old), ("UPDATE", f"{old}, {new}")):
        database.execute(f"CREATE TEMP TRIGGER sum_{event} AFTER {event} ON main.entries BEGIN SELECT {changes}; END")


def seal_archive(database: sqlite3.Connection, entries: EntrySum, made_at: str) -> None:
    """Record that an export is complete: write its head in place of the last one."""
    last = read_head(database)
    number, archive = (last.number + 1, last.archive) if last else (1, uuid4().hex)
    nonce = secrets.token_bytes(KEY_BYTES)
    combination = _mask_sum(entries, nonce)
    digest = compute_settings_digest(database)
    unsigned = Head(number, archive, made_at, digest, entries.count, nonce, combination, b"")
    database.execute("DELETE FROM exports")
    database.execute(
        "INSERT INTO exports (number, archive, made_at, digest, entries, nonce, combination, mac) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (number, archive, made_at, digest, entries.count, nonce, combination, _compute_head_mac(entries.key, unsigned)),
    )


def read_export_key(folder: Path) -> bytes | None:
    """Return the export key in the data folder, None if there was no export yet. Raises MapSeekError."""
    path = folder / EXPORT_KEY_FILENAME
    try:
        path.chmod(0o600)
        text = path.read_text("ascii")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise MapSeekError(
            f"The export key {path} cannot be read: make it readable for this user, or put back a copy of it."
        ) from None
    return _parse_key(text, f"{path} has no export key: put back a copy of it, or delete it and export to a new file.")


def make_export_key(folder: Path) -> bytes:
    """Make the export key in the data folder and return it. Another process may be quicker: then return its key.

    Raises MapSeekError.
    """
    path = folder / EXPORT_KEY_FILENAME
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=f"{EXPORT_KEY_FILENAME}.")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(f"{secrets.token_hex(KEY_BYTES)}\n")
                file.flush()
                os.fsync(file.fileno())
            if not path.exists():
                os.link(name, path)
        finally:
            Path(name).unlink()
    except FileExistsError:
        pass
    except OSError as error:
        raise MapSeekError(f"The export key {path} cannot be written ({error.strerror}): make the folder writable.") from None
    key = read_export_key(folder)
    if key is None:
        raise MapSeekError(f"The export key {path} was deleted meanwhile: export again.")
    return key


def read_given_key(name: str) -> bytes:
    """Read the export key from a file, or from standard input if the name is `-`. Raises MapSeekError."""
    where = "standard input" if name == "-" else f"the file {name}"
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text("ascii")
    except OSError as error:
        raise MapSeekError(f"The export key cannot be read from {where} ({error.strerror}): name a readable file.") from None
    except UnicodeDecodeError:
        text = ""
    return _parse_key(text, f"There is no export key in {where}: it has the 64 hex digits that the first `mapseek export` showed.")


def _parse_key(text: str, problem: str) -> bytes:
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise MapSeekError(problem)
    return key
