"""Exports and imports that are interrupted: nothing is lost, and the next run continues."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from nats.js.errors import NotFoundError

from contracts.subjects import IMAGES
from pipeline.backup import restore
from pipeline.backup.archive_file import BLOBS, open_archive_file
from pipeline.backup.restore import begin_import, import_from
from pipeline.engine import topology
from tests.support.backups import Installation, list_blob_names, open_installation, record_post, record_sample_log, write_key
from tests.support.programs import run_program, run_to_end
from tests.support.waiting import eventually


@pytest.mark.parametrize("killed_after", [1, 2, 5, 8, 12, 20, 28])
async def test_an_import_that_was_killed_is_continued(
    source: Installation, target: Installation, archive: Path, killed_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "ENTRIES_IN_FLIGHT", 2)

    class Killed(Exception):
        pass

    steps = 0

    def raise_killed(_what: str, _done: int, _total: int | None) -> None:
        nonlocal steps
        steps += 1
        if steps == killed_after:
            raise Killed

    await record_sample_log(source)
    await source.export(archive)
    with open_archive_file(archive) as database:
        await topology.ensure_topology(target.client, ())
        assert await begin_import(database, target.client, target.catalogue)
        with pytest.raises(Killed):
            await import_from(database, target.client, target.stores, raise_killed)
    await target.restore(archive)
    assert await target.dump_all() == await source.dump_all()


async def test_an_import_process_that_was_killed_is_continued(source: Installation, archive: Path, tmp_path: Path) -> None:
    for number in range(200):
        await record_post(source, number)
    await source.export(archive)
    asked = ("import", str(archive), "--key", str(write_key(tmp_path)))
    async with open_installation(tmp_path / "target", new=False) as target:
        environment = {"MAPSEEK_DATA_DIR": str(tmp_path / "target")}
        async with run_program(tmp_path / "log", *asked, environment=environment) as first:

            async def begun() -> bool:
                try:
                    return (await target.client.jetstream().stream_info(IMAGES)).state.messages > 0
                except NotFoundError:
                    return False

            await eventually(begun, every=0.001)
            await first.kill()
        second = await run_to_end(*asked, environment=environment)
        assert second.code == 0, second.err
        assert "IMAGES" in second.out
        assert await target.dump(IMAGES) == await source.dump(IMAGES)
        assert len((await list_blob_names(target))[BLOBS]) == 800
        third = await run_to_end(*asked, environment=environment)
        assert (third.code, "This installation is not empty" in third.err) == (1, True)


async def test_a_killed_export_leaves_the_archive_as_it_was(source: Installation, target: Installation, archive: Path) -> None:
    await record_sample_log(source)
    await source.export(archive)
    before = await source.dump_all()
    await record_post(source, 4)
    copy = archive.with_name("killed.archive")
    half = sqlite3.connect(archive, isolation_level=None)
    half.execute("PRAGMA cache_size = 1")
    half.execute("BEGIN")
    half.execute("DELETE FROM entries")
    half.execute("INSERT INTO blobs VALUES ('blobs', 'x', randomblob(1000000))")
    for file in archive.parent.glob("mapseek.archive*"):
        shutil.copy(file, file.with_name(file.name.replace("mapseek", "killed")))
    half.close()
    assert copy.with_name("killed.archive-journal").exists()
    assert copy.read_bytes() != archive.read_bytes()
    await target.restore(copy)
    assert await target.dump_all() == before
