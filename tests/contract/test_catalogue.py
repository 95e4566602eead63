"""The catalogue suite on SQLite and on MongoDB, and tests of errors that only one of them has."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from contracts.errors import MapSeekError, Unavailable
from infra.mongo.catalogue import MongoCatalogue, open_mongo_catalogue
from infra.mongo.vectors import open_atlas_search
from infra.sqlite import schema
from infra.sqlite.catalogue import _OF_FILE, _USES, SqliteCatalogue, open_sqlite_catalogue
from tests.support.catalogue import MEDIA, POST, VECTOR, CatalogueSuite, Outage
from tests.support.mongo_server import MongoDouble, MongoServer, announce_server, drop_database, run_mongo_server


class TestSqlite(CatalogueSuite):
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "new folder" / "catalogue.sqlite"

    @pytest.fixture
    async def catalogue(self, path: Path) -> AsyncIterator[SqliteCatalogue]:
        catalogue = await open_sqlite_catalogue(path)
        yield catalogue
        await catalogue.close()

    @pytest.fixture
    async def other(self, catalogue: SqliteCatalogue, path: Path) -> AsyncIterator[SqliteCatalogue]:
        other = await open_sqlite_catalogue(path)
        yield other
        await other.close()

    @pytest.fixture
    async def outage(self, path: Path) -> AsyncIterator[Outage]:
        catalogue = await open_sqlite_catalogue(path, busy_timeout_s=0.05)
        holder = sqlite3.connect(path, isolation_level=None)
        yield Outage(catalogue, lambda: holder.execute("BEGIN EXCLUSIVE"), lambda: holder.execute("COMMIT"))
        holder.close()
        await catalogue.close()

    async def test_reads_go_on_while_another_process_writes(self, outage: Outage) -> None:
        await outage.catalogue.merge("1", POST)
        outage.begin()
        assert await outage.catalogue.count() == 1
        outage.end()

    async def test_a_full_disk_is_unavailable_and_leaves_the_document_as_it_was(
        self, catalogue: SqliteCatalogue, path: Path
    ) -> None:
        await catalogue.merge("1", POST)
        await catalogue._writer._connection.run(lambda database: database.execute("PRAGMA max_page_count = 1"))
        with pytest.raises(Unavailable, match="full"):
            await catalogue.merge("1", {"media": {"pixels": "x" * 1_000_000}})
        assert (await catalogue.entries(["1"]))["1"].document == POST
        await catalogue._writer._connection.run(lambda database: database.execute("PRAGMA max_page_count = 1000000"))
        await catalogue.merge("1", MEDIA)
        assert (await catalogue.entries(["1"]))["1"].document == POST | MEDIA

    async def test_a_bug_in_a_value_is_no_outage_and_leaves_no_transaction_open(self, catalogue: SqliteCatalogue) -> None:
        with pytest.raises(TypeError):
            await catalogue.merge("1", {"media": object()})
        await catalogue.merge("1", POST)
        assert (await catalogue.entries(["1"]))["1"].document == POST

    async def test_a_bad_write_among_others_fails_alone(self, catalogue: SqliteCatalogue) -> None:
        values = [object() if number == 7 else number for number in range(20)]
        outcomes = await asyncio.gather(
            *(catalogue.merge(str(number), {"media": value}) for number, value in enumerate(values)), return_exceptions=True
        )
        assert [number for number, outcome in enumerate(outcomes) if outcome is not True] == [7]
        assert isinstance(outcomes[7], TypeError)
        assert await catalogue.count() == 19

    async def test_writes_that_wait_together_are_committed_together(self, catalogue: SqliteCatalogue) -> None:
        statements: list[str] = []
        await catalogue._writer._connection.run(lambda database: database.set_trace_callback(statements.append))
        await asyncio.gather(*(catalogue.merge(str(number), POST) for number in range(200)))
        assert await catalogue.count() == 200
        assert 1 <= statements.count("COMMIT") < 100

    async def test_all_waiting_writes_wait_for_an_outage_only_once(self, outage: Outage) -> None:
        outage.begin()
        begun = time.monotonic()
        outcomes = await asyncio.gather(
            *(outage.catalogue.merge(str(number), POST) for number in range(100)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {Unavailable}
        assert time.monotonic() - begun < 100 * 0.05 / 2
        outage.end()
        assert await outage.catalogue.count() == 0

    async def test_a_file_is_read_by_a_later_process(self, path: Path) -> None:
        for _ in range(2):
            catalogue = await open_sqlite_catalogue(path)
            await catalogue.merge("1", POST)
            await catalogue.remove("2")
            await catalogue.close()
        catalogue = await open_sqlite_catalogue(path)
        assert await catalogue.count("7") == 1
        assert await catalogue.is_removed("2")
        await catalogue.close()

    def test_commits_survive_a_power_cut(self, catalogue: SqliteCatalogue) -> None:
        database = catalogue._writer._connection._database
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    async def test_many_catalogues_can_open_the_same_new_file_at_once(self, tmp_path: Path) -> None:
        for attempt in range(10):
            path = tmp_path / f"{attempt}.sqlite"
            catalogues = await asyncio.gather(*(open_sqlite_catalogue(path) for _ in range(6)))
            await asyncio.gather(*(catalogue.merge(str(number), POST) for number, catalogue in enumerate(catalogues)))
            assert await catalogues[0].count() == 6
            await asyncio.gather(*(catalogue.close() for catalogue in catalogues))

    def test_many_processes_can_create_the_same_new_file_at_once(self, path: Path) -> None:
        script = (
            "import asyncio, sys; from pathlib import Path; from infra.sqlite.catalogue import open_sqlite_catalogue\n"
            "async def main():\n"
            "    catalogue = await open_sqlite_catalogue(Path(sys.argv[1]))\n"
            "    await asyncio.gather(*(catalogue.merge(f'{sys.argv[2]}-{i}', {'media': {}}) for i in range(50)))\n"
            "    await catalogue.close()\n"
            "sys.stdin.readline(); asyncio.run(main())"
        )
        command = [sys.executable, "-c", script, str(path)]
        processes = [
            subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stderr=subprocess.PIPE) for number in range(3)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        assert [(process.communicate()[1], process.returncode) for process in processes] == [(b"", 0)] * 3
        assert sqlite3.connect(path).execute("SELECT count(*) FROM images").fetchone() == (150,)

    @pytest.mark.parametrize("content", [b"this is no database at all, but a text of some length" * 100, b"short"])
    async def test_a_file_that_is_not_a_database_is_refused_with_a_sentence(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "catalogue.sqlite"
        path.write_bytes(content)
        with pytest.raises(MapSeekError, match="cannot be opened"):
            await open_sqlite_catalogue(path)
        assert path.read_bytes() == content

    async def test_the_database_of_another_program_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "catalogue.sqlite"
        with sqlite3.connect(path) as foreign:
            foreign.execute("CREATE TABLE theirs (a)")
        before = path.read_bytes()
        with pytest.raises(MapSeekError, match="another program"):
            await open_sqlite_catalogue(path)
        assert path.read_bytes() == before

    async def test_a_file_of_the_first_schema_version_is_upgraded_with_its_content(self, path: Path) -> None:
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as old:
            for statement in (*schema._first("", ""), "PRAGMA user_version = 1"):
                old.execute(statement)
            document = json.dumps(POST | {"media": {"pixels": "a" * 64, "thumbnail": "b" * 64}})
            old.execute("INSERT INTO images (image_id, document) VALUES ('1', ?)", (document,))
            old.execute("INSERT INTO embeddings VALUES ('1', 'g1', ?)", (VECTOR,))
            old.execute("INSERT INTO tombstones VALUES ('2')")
            old.commit()
        for _ in range(2):
            catalogue = await open_sqlite_catalogue(path)
            assert await catalogue.count("7") == 1
            assert await catalogue.vector("1", "g1") == VECTOR
            assert await catalogue.is_removed("2")
            assert [await catalogue.uses(blob) for blob in ("a" * 64, "b" * 64, "c" * 64)] == [True, True, False]
            await catalogue.close()
        with closing(sqlite3.connect(path)) as now:
            assert now.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)

    async def test_a_rebuilt_file_of_the_second_schema_version_is_upgraded_and_rebuilt_again(self, path: Path) -> None:
        """In a rebuilt file, the names of the indexes have the suffix."""
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as old:
            for step in (schema._first, schema._second):
                for statement in step("", schema.REPLACEMENT_SUFFIX):
                    old.execute(statement)
            old.execute("PRAGMA user_version = 2")
            document = json.dumps(POST | {"fingerprint": {"blob": "a" * 64}})
            old.execute("INSERT INTO images (image_id, document) VALUES ('1', ?)", (document,))
            old.commit()
        catalogue = await open_sqlite_catalogue(path)
        assert await catalogue.uses("a" * 64)
        for _ in range(2):
            await catalogue.replace_with(await catalogue.create_replacement())
        await catalogue.close()

    async def test_a_blob_is_found_by_index(self, catalogue: SqliteCatalogue) -> None:
        for _ in range(3):
            plan = await catalogue._rows(f"EXPLAIN QUERY PLAN {_USES}", "a" * 64)
            steps = [row[-1] for row in plan]
            for column in ("original", "pixels", "thumbnail", "fingerprint"):
                assert any(f"images_by_{column}" in step for step in steps), steps
            assert not any(step.startswith("SCAN") for step in steps), steps
            [[*_, step]] = await catalogue._rows(f"EXPLAIN QUERY PLAN {_OF_FILE}", "a" * 64, "7")
            assert "images_by_original" in step
            replacement = await catalogue.create_replacement()
            await catalogue.replace_with(replacement)
            await replacement.close()

    async def test_a_rebuilt_file_has_the_same_tables_as_a_new_one(
        self, catalogue: SqliteCatalogue, path: Path, tmp_path: Path
    ) -> None:
        def shape(file: Path) -> object:
            with closing(sqlite3.connect(file)) as database:
                tables = ("images", "embeddings", "tombstones")
                columns = [database.execute(f"PRAGMA table_xinfo({table})").fetchall() for table in tables]
                return columns, database.execute("SELECT type, tbl_name FROM sqlite_schema ORDER BY 1, 2").fetchall()

        replacement = await catalogue.create_replacement()
        await catalogue.replace_with(replacement)
        await replacement.close()
        await (await open_sqlite_catalogue(tmp_path / "new.sqlite")).close()
        assert shape(path) == shape(tmp_path / "new.sqlite")

    async def test_a_replacement_left_by_a_killed_process_does_no_harm(self, catalogue: SqliteCatalogue, path: Path) -> None:
        leftover = await catalogue.create_replacement()
        await leftover.merge("1", POST)
        opened = await open_sqlite_catalogue(path)
        await opened.merge("2", POST)
        assert await opened.count() == 1
        replacement = await opened.create_replacement()
        await opened.replace_with(replacement)
        for each in (leftover, replacement, opened):
            await each.close()

    async def test_a_file_of_another_schema_version_is_refused(self, path: Path) -> None:
        await (await open_sqlite_catalogue(path)).close()
        with sqlite3.connect(path) as newer:
            newer.execute("PRAGMA user_version = 99")
        with pytest.raises(MapSeekError, match="schema 99"):
            await open_sqlite_catalogue(path)

    async def test_a_folder_that_cannot_be_created_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(MapSeekError, match="cannot be created"):
            await open_sqlite_catalogue(tmp_path / "file" / "catalogue.sqlite")

    async def test_a_path_that_cannot_be_a_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(MapSeekError, match="cannot be opened"):
            await open_sqlite_catalogue(tmp_path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    async def test_a_folder_that_is_not_writable_is_refused(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(MapSeekError, match="writable"):
            await open_sqlite_catalogue(tmp_path / "catalogue.sqlite")


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    with run_mongo_server(tmp_path_factory.mktemp("mongo")) as server:
        announce_server(server, request.config)
        yield server


@pytest.fixture
def database(server: MongoServer) -> Iterator[str]:
    name = f"mapseek_test_{uuid.uuid4().hex[:12]}"
    yield name
    drop_database(server.uri, name)


class TestMongo(CatalogueSuite):
    @pytest.fixture
    async def catalogue(self, server: MongoServer, database: str) -> AsyncIterator[MongoCatalogue]:
        catalogue = await open_mongo_catalogue(server.uri, database)
        yield catalogue
        await catalogue.close()

    @pytest.fixture
    async def other(self, server: MongoServer, database: str) -> AsyncIterator[MongoCatalogue]:
        other = await open_mongo_catalogue(server.uri, database)
        yield other
        await other.close()

    @pytest.fixture
    async def outage(self, tmp_path: Path) -> AsyncIterator[Outage]:
        """Always the test double, since it can be killed."""
        double = MongoDouble(tmp_path)
        double.start()
        catalogue = await open_mongo_catalogue(double.uri, timeout_s=0.3)
        yield Outage(catalogue, double.kill, double.start)
        await catalogue.close()
        double.kill()

    async def test_reads_are_unavailable_too_when_the_server_is_down(self, outage: Outage) -> None:
        outage.begin()
        for read in (
            outage.catalogue.vector("1", "g1"),
            outage.catalogue.entries(["1"]),
            outage.catalogue.count(),
            outage.catalogue.is_removed("1"),
            anext(aiter(outage.catalogue.scan())),
        ):
            with pytest.raises(Unavailable):
                await read

    async def test_opening_without_a_server_is_unavailable(self, outage: Outage, tmp_path: Path) -> None:
        with pytest.raises(Unavailable):
            await open_mongo_catalogue(MongoDouble(tmp_path).uri, timeout_s=0.2)

    async def test_the_document_has_the_documented_shape(self, catalogue: MongoCatalogue) -> None:
        await catalogue.merge("1", POST)
        await catalogue.put_vector("1", "g1", VECTOR)
        await catalogue.put_vector("1", "g2", VECTOR)
        stored = await catalogue._images.find_one({"_id": "1"})
        assert stored is not None
        assert set(stored.pop("clip_embedding")) == {"g1", "g2"}
        assert stored == {"_id": "1"} | POST

    async def test_a_guild_and_a_blob_are_found_by_index(self, catalogue: MongoCatalogue) -> None:
        indexes = await catalogue._images.index_information()
        for field in ("metadata.guild_id", "original.blob", "media.pixels", "media.thumbnail", "fingerprint.blob"):
            assert [(field, 1)] in [index["key"] for index in indexes.values()]

    async def test_a_write_that_overlaps_a_removal_deletes_what_it_wrote(self, catalogue: MongoCatalogue) -> None:
        """The worst interleaving, step by step: the removal finishes between the two steps of the write."""
        await catalogue.merge("1", POST)
        await catalogue.remove("1")
        await catalogue._images.update_one({"_id": "1"}, {"$set": POST}, upsert=True)
        await catalogue.merge("1", MEDIA)
        assert await catalogue.entries(["1"]) == {}

    async def test_a_server_without_vector_search_is_reported(self, server: MongoServer, database: str) -> None:
        if "nx-27017" not in server.kind:
            pytest.skip(f"{server.kind} may have vector search")
        vectors = await open_atlas_search(server.uri, database)
        with pytest.raises(MapSeekError, match="has no vector search: use MongoDB Atlas"):
            await vectors.ensure_index("g1", 2)
        with pytest.raises(MapSeekError, match="has no vector search: use MongoDB Atlas"):
            await vectors.search("7", "g1", VECTOR, top=3, channels=None)
        await vectors.close()
