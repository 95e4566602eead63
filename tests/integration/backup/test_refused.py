"""An import or export refuses, with one sentence, a file that is no archive, is damaged or is of another log."""

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from contracts.errors import MapSeekError
from contracts.subjects import IMAGES
from infra.nats.state import open_state
from pipeline.backup.archive_file import open_archive_file
from pipeline.backup.validate import validate_archive
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from tests.support.backups import Installation, record_post, record_sample_log


def cut_short(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-5000])


def change(words: bytes) -> Callable[[Path], None]:
    def changed(archive: Path) -> None:
        data = archive.read_bytes()
        assert words in data
        archive.write_bytes(data.replace(words, words[:-1] + b"X"))

    return changed


def scribble(archive: Path) -> None:
    archive.write_bytes(b"not an archive at all" * 100)


def another_database(archive: Path) -> None:
    archive.unlink()
    with sqlite3.connect(archive) as database:
        database.execute("CREATE TABLE other (thing TEXT)")


@pytest.mark.parametrize(
    "damage", [cut_short, change(b"pixels of 1"), change(b"map-1.png"), change(b'"locale": "de'), scribble, another_database]
)
async def test_a_damaged_archive_is_refused(source: Installation, archive: Path, damage: Callable[[Path], None]) -> None:
    await record_sample_log(source)
    await source.export(archive)
    damage(archive)
    with pytest.raises(MapSeekError, match="damaged or no archive"), open_archive_file(archive) as database:
        list(validate_archive(database, archive, None))


async def test_a_whole_archive_is_accepted(source: Installation, archive: Path) -> None:
    await record_sample_log(source)
    await source.export(archive)
    with open_archive_file(archive) as database:
        assert list(validate_archive(database, archive, None))[-1] == 32 + 14


async def test_a_missing_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MapSeekError, match="There is no archive"), open_archive_file(tmp_path / "nothing"):
        pass
    with pytest.raises(MapSeekError, match="cannot be"), open_archive_file(tmp_path / "no" / "folder", new=True):
        pass


async def archive_image(target: Installation) -> None:
    await topology.ensure_topology(target.client, STAGES)
    await record_post(target, 1)


async def save_setting(target: Installation) -> None:
    await (await open_state(target.client)).put("settings.7", b"{}")


async def start_import(target: Installation) -> None:
    await (await open_state(target.client)).put("import", b"another")


@pytest.mark.parametrize("before", [archive_image, save_setting, start_import])
async def test_an_archive_is_imported_only_into_an_empty_installation(
    source: Installation, target: Installation, archive: Path, before: Callable[[Installation], Awaitable[None]]
) -> None:
    await record_sample_log(source)
    await source.export(archive)
    await before(target)
    was = await (await open_state(target.client)).read_all()
    with pytest.raises(MapSeekError, match="empty"):
        await target.restore(archive)
    assert await (await open_state(target.client)).read_all() == was


async def test_no_consumers_are_created_during_an_incomplete_import(target: Installation) -> None:
    """Such consumers would begin at the start of the log, and they would be in the way when the import is resumed."""
    await topology.ensure_topology(target.client, ())
    await start_import(target)
    for asked in (topology.ensure_topology, topology.update_topology):
        with pytest.raises(MapSeekError, match="interrupted: run `mapseek import`"):
            await asked(target.client, STAGES)
    assert await target.client.jetstream().consumers_info(IMAGES) == []


async def test_an_archive_of_another_log_is_refused(source: Installation, target: Installation, archive: Path) -> None:
    """An export from an empty log must not delete everything in an archive."""
    await record_sample_log(source)
    await source.export(archive)
    before = archive.read_bytes()
    await topology.ensure_topology(target.client, STAGES)
    with pytest.raises(MapSeekError, match="another log"):
        await target.export(archive)
    assert archive.read_bytes() == before
