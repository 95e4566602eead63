"""An export has the signature of its installation: whoever changes it is found out, and only the right key imports it."""

import io
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from contracts.errors import MapSeekError, RejectCode
from contracts.events import ImageRejected
from contracts.subjects import IMAGES, JUDGEMENTS
from infra.nats.erasure import LogErasure
from pipeline.backup.archive_file import (
    ArchivedEntry,
    add_entry,
    archive_transaction,
    compute_settings_digest,
    list_archived_entries,
    open_archive_file,
)
from pipeline.backup.authenticity import make_export_key, read_export_key, read_given_key
from pipeline.backup.command import choose_import_key
from pipeline.backup.validate import validate_archive
from tests.support.backups import (
    EXPORT_KEY,
    Installation,
    open_installation,
    record_post,
    record_removal,
    record_sample_log,
    write_key,
)
from tests.support.facts import IMAGE
from tests.support.programs import log_environment, run_to_end

OTHER_KEY = bytes(32)
FIRST = "stream = 'IMAGES' AND sequence = 3"

HEAD_CHANGED = "the key is another one, or its head or its settings were changed"
ENTRIES_CHANGED = "entries were added, changed or removed"


def validate(archive: Path, key: bytes | None) -> None:
    with open_archive_file(archive) as database:
        list(validate_archive(database, archive, key))


def expect_refusal(archive: Path, reason: str, key: bytes = EXPORT_KEY) -> None:
    with pytest.raises(MapSeekError) as refused:
        validate(archive, key)
    assert str(refused.value) == (
        f"The archive {archive} is not authentic ({reason}): "
        "give the key of the installation that wrote it, or use another copy of it."
    )


def change_entries(archive: Path, change: Callable[[sqlite3.Connection], object]) -> None:
    """Change entries, and everything that follows from them and needs no key."""
    with closing(sqlite3.connect(archive, isolation_level=None)) as database:
        database.execute("PRAGMA foreign_keys = ON")
        change(database)


def swap_entries(database: sqlite3.Connection) -> None:
    """Swap the positions of two facts about one image, which alone would be fine."""
    for before, after in ((4, 1000), (5, 4), (1000, 5)):
        database.execute("UPDATE entries SET sequence = ? WHERE stream = 'IMAGES' AND sequence = ?", (after, before))


def remove_entry(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM entries WHERE stream = 'INCIDENTS' AND sequence = 1")
    database.execute("UPDATE exports SET entries = entries - 1")


def add_fact(database: sqlite3.Connection) -> None:
    """Add a fact that MapSeek itself would write, behind the others."""
    [entry] = list_archived_entries(database, "REMOVALS")
    forged = entry.body.replace(b'"r1"', b'"r2"')
    subject = entry.subject.replace(".r1", ".r2")
    database.execute("UPDATE streams SET last = 2 WHERE name = 'REMOVALS'")
    database.execute("UPDATE exports SET entries = entries + 1, digest = ?", (compute_settings_digest(database),))
    add_entry(database, ArchivedEntry("REMOVALS", 2, subject, {**entry.headers, "ce-id": subject}, forged))


def remove_all(database: sqlite3.Connection) -> None:
    for table in ("entries", "uses", "blobs"):
        database.execute(f"DELETE FROM {table}")
    database.execute("UPDATE exports SET entries = 0")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (remove_entry, HEAD_CHANGED),
        (add_fact, HEAD_CHANGED),
        (swap_entries, ENTRIES_CHANGED),
        (remove_all, HEAD_CHANGED),
        (lambda database: database.execute("UPDATE exports SET number = 7"), HEAD_CHANGED),
        (lambda database: database.execute("UPDATE exports SET made_at = '2026-01-01T00:00:00+00:00'"), HEAD_CHANGED),
        (lambda database: database.execute(f"UPDATE exports SET archive = '{'a' * 32}'"), HEAD_CHANGED),
        (lambda database: database.execute("UPDATE exports SET nonce = zeroblob(32)"), HEAD_CHANGED),
        (lambda database: database.execute("UPDATE exports SET combination = zeroblob(32)"), HEAD_CHANGED),
        (lambda database: database.execute("UPDATE exports SET mac = zeroblob(32)"), HEAD_CHANGED),
        (lambda database: database.execute("UPDATE exports SET mac = x''"), HEAD_CHANGED),
    ],
)
async def test_a_change_is_found_out(
    source: Installation, archive: Path, change: Callable[[sqlite3.Connection], object], reason: str
) -> None:
    await record_sample_log(source)
    await source.export(archive)
    change_entries(archive, change)
    expect_refusal(archive, reason)


async def test_changed_settings_are_found_out(source: Installation, archive: Path) -> None:
    """Whoever changes them can compute their digest, but not the HMAC over it."""
    await record_sample_log(source)
    await source.export(archive)

    def change(database: sqlite3.Connection) -> None:
        database.execute("UPDATE state SET value = CAST('{}' AS BLOB)")
        database.execute("UPDATE exports SET digest = ?", (compute_settings_digest(database),))

    change_entries(archive, change)
    validate(archive, None)
    expect_refusal(archive, HEAD_CHANGED)


async def test_a_changed_entry_is_found_out(source: Installation, archive: Path) -> None:
    """Also after another export, which does not read it."""
    await record_sample_log(source)
    await source.record(ImageRejected(**IMAGE, stage="download", code=RejectCode.GONE, reason="The message is gone."))
    await source.export(archive)

    def change(database: sqlite3.Connection) -> None:
        [entry] = [each for each in list_archived_entries(database, IMAGES) if ".rejected." in each.subject]
        database.execute("DELETE FROM entries WHERE stream = ? AND sequence = ?", (IMAGES, entry.sequence))
        body = entry.body.replace(b"The message is gone.", b"It was stolen.")
        add_entry(database, ArchivedEntry(entry.stream, entry.sequence, entry.subject, entry.headers, body))

    change_entries(archive, change)
    validate(archive, None)
    expect_refusal(archive, ENTRIES_CHANGED)
    await record_post(source, 4)
    await source.export(archive)
    expect_refusal(archive, ENTRIES_CHANGED)
    await source.client.jetstream().purge_stream(IMAGES, subject="mapseek.image.rejected.>")
    await source.export(archive)
    expect_refusal(archive, ENTRIES_CHANGED)


async def test_an_entry_that_comes_and_goes_between_exports_changes_nothing(source: Installation, archive: Path) -> None:
    """Everything that an export deletes leaves the sum: erased entries, removed images, purged logs."""
    await record_sample_log(source)
    await source.export(archive)
    await record_removal(source, 2)
    await LogErasure(source.client).erase_image("7", "image-2", 10_000)
    await source.export(archive)
    validate(archive, EXPORT_KEY)
    await record_removal(source, 3)
    await source.client.jetstream().purge_stream(JUDGEMENTS)
    await record_post(source, 4)
    await source.export(archive)
    validate(archive, EXPORT_KEY)
    await source.export(archive)
    validate(archive, EXPORT_KEY)


async def test_another_key_is_refused(source: Installation, archive: Path) -> None:
    await record_sample_log(source)
    await source.export(archive)
    expect_refusal(archive, HEAD_CHANGED, OTHER_KEY)
    validate(archive, EXPORT_KEY)
    validate(archive, None)


async def test_an_export_continues_only_what_its_own_installation_wrote(source: Installation, archive: Path) -> None:
    await record_sample_log(source)
    await source.export(archive)
    change_entries(archive, lambda database: database.execute("UPDATE streams SET last = 1"))
    with pytest.raises(MapSeekError) as refused:
        await source.export(archive)
    assert str(refused.value) == "This archive was changed, or written with another export key: export to a new file."


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM exports",
        "UPDATE exports SET mac = NULL",
        "UPDATE exports SET combination = 'text'",
        "UPDATE blobs SET store = '../..' WHERE rowid = 1",
        "UPDATE blobs SET name = 'x' WHERE rowid = 1",
    ],
)
async def test_an_export_refuses_a_file_that_was_changed(source: Installation, archive: Path, change: str) -> None:
    await record_sample_log(source)
    await source.export(archive)
    change_entries(archive, lambda database: database.execute(change))
    before = archive.read_bytes()
    with pytest.raises(MapSeekError, match=r"^This archive was changed.*: export to a new file\.$"):
        await source.export(archive)
    assert archive.read_bytes() == before


async def test_a_removal_that_somebody_wrote_into_the_file_removes_nothing(source: Installation, archive: Path) -> None:
    await record_sample_log(source)
    await source.export(archive)
    change_entries(archive, lambda database: database.execute("INSERT INTO removed VALUES ('7.image-1')"))
    await source.export(archive)
    validate(archive, EXPORT_KEY)
    with open_archive_file(archive) as database:
        assert "7.image-1" in {entry.entity for entry in list_archived_entries(database, IMAGES)}


def make_old(archive: Path) -> None:
    """Turn an archive into one of format 1, as the code before wrote it."""
    with closing(sqlite3.connect(archive, isolation_level=None)) as database:
        rows = database.execute("SELECT number, archive, made_at, digest FROM exports").fetchall()
        database.execute("DROP TABLE exports")
        database.execute("CREATE TABLE exports (number INTEGER PRIMARY KEY, archive TEXT, made_at TEXT, digest TEXT)")
        database.executemany("INSERT INTO exports VALUES (?, ?, ?, ?)", rows)
        database.execute("PRAGMA user_version = 1")


async def test_an_archive_of_the_first_format_is_imported_only_without_authentication(
    source: Installation, target: Installation, archive: Path
) -> None:
    await record_sample_log(source)
    await source.export(archive)
    make_old(archive)
    with pytest.raises(MapSeekError) as refused:
        validate(archive, EXPORT_KEY)
    assert str(refused.value) == (
        f"The archive {archive} has an earlier format without authentication: "
        "import it with --unauthenticated if you trust where it was kept."
    )
    with pytest.raises(MapSeekError) as refused:
        await source.export(archive)
    assert str(refused.value) == f"The archive {archive} has an earlier format without authentication: export to a new file."
    await target.restore(archive, key=None)
    assert await target.dump_all() == await source.dump_all()


def test_an_export_is_private_whatever_the_umask(archive: Path) -> None:
    """So is its journal, which has what is changed."""
    before = os.umask(0)
    try:
        with open_archive_file(archive, new=True) as database, archive_transaction(database):
            database.execute("INSERT INTO state VALUES ('settings.7', x'00')")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in archive.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {archive.name: 0o600, f"{archive.name}-journal": 0o600}


def test_a_journal_that_names_another_file_is_refused(archive: Path) -> None:
    """SQLite would delete that file."""
    with open_archive_file(archive, new=True):
        pass
    archive.with_name(f"{archive.name}-journal").write_bytes(bytes(600) + bytes.fromhex("d9d505f920a163d7"))
    with pytest.raises(MapSeekError, match="its journal belongs to another database"), open_archive_file(archive):
        pass


def test_an_empty_file_is_refused_and_stays_empty(archive: Path) -> None:
    archive.touch()
    with pytest.raises(MapSeekError, match="damaged or no archive"), open_archive_file(archive):
        pass
    assert archive.read_bytes() == b""


def test_the_export_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    assert read_export_key(tmp_path) is None
    key = make_export_key(tmp_path)
    assert (len(key), make_export_key(tmp_path), read_export_key(tmp_path)) == (32, key, key)
    [file] = tmp_path.iterdir()
    assert (file.name, stat.S_IMODE(file.stat().st_mode), file.read_text()) == ("export.key", 0o600, f"{key.hex()}\n")


@pytest.mark.parametrize("text", ["", "ab", "x" * 64, "ab" * 33, "\u00e4" * 64])
def test_a_file_without_a_key_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "no.key"
    file.write_text(text)
    with pytest.raises(MapSeekError) as refused:
        read_given_key(str(file))
    assert str(refused.value) == (
        f"There is no export key in the file {file}: it has the 64 hex digits that the first `mapseek export` showed."
    )


def test_a_key_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{EXPORT_KEY.hex()}\n"))
    assert read_given_key("-") == EXPORT_KEY


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MapSeekError) as refused:
        read_given_key(str(tmp_path / "nothing"))
    assert str(refused.value) == (
        f"The export key cannot be read from the file {tmp_path / 'nothing'} (No such file or directory): name a readable file."
    )


@pytest.mark.parametrize(("key", "unauthenticated"), [(None, False), ("-", True)])
def test_an_import_asks_who_wrote_the_file(archive: Path, key: str | None, unauthenticated: bool) -> None:
    archive.touch()
    with pytest.raises(MapSeekError) as refused:
        choose_import_key(archive, key, unauthenticated=unauthenticated)
    assert str(refused.value) == (
        "Say who wrote the archive: give its export key with --key KEYFILE (- reads standard input), "
        "or else --unauthenticated, and not both."
    )


async def test_the_commands_ask_for_the_key_and_keep_everything_private(
    source: Installation, archive: Path, tmp_path: Path
) -> None:
    await record_sample_log(source)
    environment = {"MAPSEEK_DATA_DIR": str(tmp_path / "own"), **log_environment(source.address)}
    for store in ("blobs", "questions"):
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / "own" / store).symlink_to(tmp_path / "source" / store)
    archive.touch(0o666)
    first = await run_to_end("export", str(archive), environment=environment)
    assert first.code == 0, first.err
    kept = (tmp_path / "own" / "export.key").read_text().strip()
    assert first.err.splitlines()[:2] == [
        "This is the export key of this installation, shown only now: keep it elsewhere, `mapseek import` asks for it.",
        kept,
    ]
    second = await run_to_end("export", str(archive), environment=environment)
    assert (second.code, kept in second.err + second.out + first.out) == (0, False)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    (tmp_path / "kept.key").write_text(kept)
    async with open_installation(tmp_path / "target", new=False) as target:
        there = {"MAPSEEK_DATA_DIR": str(tmp_path / "target"), **log_environment(target.address)}
        (tmp_path / "target" / "features").mkdir()
        refused = await run_to_end("import", str(archive), "--key", str(write_key(tmp_path / "own")), environment=there)
        assert (refused.code, HEAD_CHANGED in refused.err, (tmp_path / "target" / "features").exists()) == (1, True, True)
        restored = await run_to_end("import", str(archive), "--key", str(tmp_path / "kept.key"), environment=there)
        assert restored.code == 0, restored.err
        assert not (tmp_path / "target" / "features").exists()
        assert await target.dump_all() == await source.dump_all()
