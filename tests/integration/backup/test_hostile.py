"""A file that somebody made to look like an export is refused with one sentence, before anything is connected to or written.

Each variant has right checksums, digests and counts, as whoever knows our code can make them. Only the export key is missing.
"""

import io
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from nats.js.api import StreamConfig
from rich.console import Console

from contracts.errors import MapSeekError
from contracts.events import ImagePosted
from contracts.subjects import IMAGES
from infra.nats.connection import LogAddress
from infra.nats.state import open_state
from pipeline.backup.archive_file import checksum, compute_settings_digest
from pipeline.backup.command import import_archive
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from pipeline.settings import Settings
from tests.support.backups import EXPORT_KEY, Installation, open_installation, record_sample_log

pytestmark = pytest.mark.asyncio(loop_scope="module")

POSTED = "mapseek.image.posted.v1.7.image-1.message-1"
HIDDEN = POSTED.replace("posted", "hidden")
FIRST = "stream = 'IMAGES' AND sequence = 3"
EMBEDDED = "stream = 'IMAGES' AND sequence = 7"
LETTER = "stream = 'FAILURES' AND sequence = 1"

Change = Callable[[sqlite3.Connection], object]


@dataclass(frozen=True)
class Server:
    """A server with a foreign stream, and a data folder that does not exist yet."""

    address: LogAddress
    client: Any
    folder: Path

    @property
    def settings(self) -> Settings:
        login = {"nats_url": self.address.url, "nats_nkey": self.address.nkey_file}
        return Settings(data_dir=self.folder, _env_file=None, **login)  # type: ignore[arg-type]

    async def describe(self) -> object:
        """Return everything that the server has, and whether the folder exists."""
        js = self.client.jetstream()
        streams = [(info.config.name, info.state) for info in await js.streams_info()]
        consumers = [await js.consumers_info(name) for name, _ in streams]
        return streams, consumers, self.folder.exists()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("source")
    async with open_installation(folder) as source:
        await record_sample_log(source)
        await topology.ensure_topology(source.client, STAGES)
        await source.export(folder / "mapseek.archive")
    return (folder / "mapseek.archive").read_bytes()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    folder = tmp_path_factory.mktemp("target")
    async with open_installation(folder / "elsewhere", new=False) as here:
        await here.client.jetstream().add_stream(StreamConfig(name="FOREIGN", subjects=["foreign.>"]))
        await here.client.jetstream().publish("foreign.1", b"theirs")
        yield Server(here.address, here.client, folder / "data")


def sql(*statements: str) -> Change:
    return lambda database: [database.execute(statement) for statement in statements]


def set_body(where: str, **fields: object) -> Change:
    def change(database: sqlite3.Connection) -> None:
        [[body]] = database.execute(f"SELECT body FROM entries WHERE {where}")
        database.execute(f"UPDATE entries SET body = ? WHERE {where}", (orjson.dumps({**orjson.loads(body), **fields}),))

    return change


def set_headers(where: str, **fields: object) -> Change:
    def change(database: sqlite3.Connection) -> None:
        [[headers]] = database.execute(f"SELECT headers FROM entries WHERE {where}")
        changed = {**orjson.loads(headers), **{name.replace("_", "-"): value for name, value in fields.items()}}
        kept = orjson.dumps({name: value for name, value in changed.items() if value is not None}).decode()
        database.execute(f"UPDATE entries SET headers = ? WHERE {where}", (kept,))

    return change


def set_config(**fields: object) -> Change:
    def change(database: sqlite3.Connection) -> None:
        [[config]] = database.execute("SELECT config FROM durables WHERE name = 'embed-image-g1'")
        changed = orjson.dumps({**orjson.loads(config), **fields}).decode()
        database.execute("UPDATE durables SET config = ? WHERE name = 'embed-image-g1'", (changed,))

    return change


def add_consumer(stream: str, name: str) -> Change:
    config = orjson.dumps({"name": name, "durable_name": name, "deliver_subject": "elsewhere", "ack_policy": "none"}).decode()
    return lambda database: database.execute("INSERT INTO durables VALUES (?, ?, ?, 0)", (stream, name, config))


def set_subject(where: str, subject: str) -> Change:
    return lambda database: database.execute(f"UPDATE entries SET subject = ? WHERE {where}", (subject,))


def hide_first(on_turn: int, **fields: object) -> Change:
    """Turn the first post into a fact that hides it, on the subject of a turn."""

    def change(database: sqlite3.Connection) -> None:
        set_body(FIRST, **{"hidden_at": "2026-11-21T12:00:00Z", **fields})(database)
        set_subject(FIRST, f"{HIDDEN}.{on_turn}")(database)

    return change


def add_state(key: str, value: bytes) -> Change:
    return lambda database: database.execute("INSERT INTO state VALUES (?, ?)", (key, value))


def forge(path: Path, change: Change) -> None:
    """Change an archive, and make its checksums right again as far as they can be computed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        change(database)
        if database.execute("SELECT 1 FROM sqlite_schema WHERE type = 'view'").fetchone():
            return
        with suppress(sqlite3.Error):
            for row, *content in database.execute("SELECT id, subject, headers, body FROM entries").fetchall():
                with suppress(TypeError):
                    database.execute("UPDATE entries SET crc = ? WHERE id = ?", (checksum(*content), row))
            database.execute(
                "UPDATE exports SET digest = ?, entries = (SELECT count(*) FROM entries)", (compute_settings_digest(database),)
            )


def loop_forever(table: str) -> Change:
    """Put a view that never ends in the place of a table."""
    endless = "WITH RECURSIVE more(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM more) SELECT n AS key, n AS value FROM more"
    return sql(f"DROP TABLE {table}", f"CREATE VIEW {table} AS {endless}")


IS_NO_JSON = "is not JSON: unexpected character, expected a JSON value: line 1 column 1 (char 0)"
IS_NO_SUBJECT = "is not the subject of a fact"
NOT_OUR_TABLES = "its tables are not those of an archive"
JAVASCRIPT = "javascript:alert(1)"

HOSTILE: dict[str, tuple[Change, str]] = {
    # The log
    "a request to the server": (
        set_subject(FIRST, "$JS.API.STREAM.DELETE.FOREIGN"),
        f"entry 3 of IMAGES: '$JS.API.STREAM.DELETE.FOREIGN' {IS_NO_SUBJECT}",
    ),
    "a line break in a subject": (
        set_subject(FIRST, f"{POSTED}\r\nPUB foreign.2 0"),
        rf"entry 3 of IMAGES: '{POSTED}\r\nPUB foreign.2 0' {IS_NO_SUBJECT}",
    ),
    "a wildcard in a subject": (
        set_subject(FIRST, "mapseek.image.posted.v1.>"),
        f"entry 3 of IMAGES: 'mapseek.image.posted.v1.>' {IS_NO_SUBJECT}",
    ),
    "a digit that is no ASCII": (
        set_subject(FIRST, POSTED.replace("v1", "v\u00b2")),
        rf"entry 3 of IMAGES: 'mapseek.image.posted.v\xb2.7.image-1.message-1' {IS_NO_SUBJECT}",
    ),
    "an empty subject": (set_subject(FIRST, ""), f"entry 3 of IMAGES: '' {IS_NO_SUBJECT}"),
    "an unknown fact": (
        set_subject(FIRST, "mapseek.image.stolen.v1.7.image-1"),
        "entry 3 of IMAGES: mapseek.image.stolen.v1.7.image-1 is no subject of this stream",
    ),
    "a fact of a newer release": (
        set_subject(FIRST, POSTED.replace("v1", "v2")),
        "entry 3 of IMAGES: image.posted v2 was written by a newer MapSeek; this one reads up to v1",
    ),
    "an entry moved to another stream": (
        sql("UPDATE streams SET last = 99", f"UPDATE entries SET stream = 'ALERTS' WHERE {FIRST}"),
        f"entry 3 of ALERTS: {POSTED} is no subject of this stream",
    ),
    "an entry of a foreign stream": (
        sql(f"UPDATE entries SET stream = 'FOREIGN' WHERE {FIRST}"),
        "its stream 'FOREIGN' is none that is exported",
    ),
    "a foreign stream": (
        sql("UPDATE streams SET name = 'KV_mapseek-state' WHERE name = 'IMAGES'"),
        "its stream 'KV_mapseek-state' is none that is exported",
    ),
    "an entry behind the end": (
        sql(f"UPDATE entries SET sequence = 99 WHERE {FIRST}"),
        "an entry of IMAGES is behind the end of its stream",
    ),
    "an entry before the beginning": (sql(f"UPDATE entries SET sequence = 0 WHERE {FIRST}"), "entry 0 of IMAGES has no position"),
    "a negative position": (
        sql(f"UPDATE entries SET sequence = -1 WHERE {FIRST}"),
        "its table entries has a value in sequence that MapSeek does not write",
    ),
    "a fact twice": (
        sql(
            "UPDATE streams SET last = 99",
            f"INSERT INTO entries SELECT 99, stream, 99, subject, entity, headers, body, crc FROM entries WHERE {FIRST}",
            f"INSERT INTO uses SELECT 99, store, name FROM uses WHERE entry = (SELECT id FROM entries WHERE {FIRST})",
        ),
        "a fact is in it twice",
    ),
    "a body that is no JSON": (
        sql(f"UPDATE entries SET body = CAST('?' AS BLOB) WHERE {FIRST}"),
        f"entry 3 of IMAGES: the body on {POSTED} {IS_NO_JSON}",
    ),
    "a body of another shape": (
        set_body(FIRST, author="Steve"),
        "entry 3 of IMAGES: image.posted v1: author: Input should be a valid dictionary or instance of Person",
    ),
    "a body about another image": (
        set_body(FIRST, image_id="image-2"),
        f"entry 3 of IMAGES: the body on {POSTED} is about another entity: {POSTED.replace('image-1', 'image-2')}",
    ),
    "a link that is a script": (
        set_body(FIRST, message_link=JAVASCRIPT),
        "entry 3 of IMAGES: image.posted v1: message_link: String should match pattern "
        "'^(https?|file)://[A-Za-z0-9._~:/?#@!$&'*+,;=%-]+$'",
    ),
    "a link that ends itself": (
        set_body(FIRST, message_link="https://discord.com/)[here](https://elsewhere.example"),
        "entry 3 of IMAGES: image.posted v1: message_link: String should match pattern "
        "'^(https?|file)://[A-Za-z0-9._~:/?#@!$&'*+,;=%-]+$'",
    ),
    "an address that is a script": (
        set_body(FIRST, source={"kind": "discord", "url": JAVASCRIPT}),
        "entry 3 of IMAGES: image.posted v1: source.discord.url: String should match pattern "
        r"""'^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20\x7f-\xa0<>"\u200e\u200f\u2028-\u202e\u2066-\u2069]+$'""",
    ),
    "an unknown kind of source": (
        set_body(FIRST, source={"kind": "\x1b[2J\u202e"}),
        "entry 3 of IMAGES: image.posted v1: source: Input tag '\\x1b[2J\\u202e' found using 'kind' does not match any of the "
        "expected tags: 'discord', 'stored'",
    ),
    "a number that no catalogue stores": (
        set_body(FIRST, size="9" * 400),
        "entry 3 of IMAGES: a number in it is too large or not finite",
    ),
    "a time at the end of the calendar": (
        set_body(FIRST, posted_at="9999-12-31T23:59:59-23:00"),
        "entry 3 of IMAGES: image.posted v1: posted_at: Value error, a time in the first or last year of the calendar has no time "
        "in every time zone",
    ),
    "a turn before the first": (
        hide_first(0, turn=0),
        "entry 3 of IMAGES: image.hidden v1: turn: Input should be greater than or equal to 1",
    ),
    "a turn that no catalogue stores": (
        hide_first(9**20, turn=9**20),
        "entry 3 of IMAGES: image.hidden v1: turn: Input should be less than 2147483648",
    ),
    "a turn on the subject of another": (
        hide_first(2, turn=1),
        f"entry 3 of IMAGES: the body on {HIDDEN}.2 is about another entity: {HIDDEN}.1",
    ),
    "a hidden image without a time": (
        hide_first(1, turn=1, hidden_at=None),
        "entry 3 of IMAGES: image.hidden v1: hidden_at: Input should be a valid datetime",
    ),
    "the removal of one image of no message": (
        set_body("stream = 'REMOVALS'", scope="image"),
        "entry 1 of REMOVALS: removal.requested v2: payload: Value error, the removal of one image, and no other, names its "
        "message in message_id",
    ),
    "a removal of a newer release": (
        set_subject("stream = 'REMOVALS'", "mapseek.removal.requested.v3.7.r1"),
        "entry 1 of REMOVALS: removal.requested v3 was written by a newer MapSeek; this one reads up to v2",
    ),
    "a number that is none": (
        set_body("subject LIKE '%.judged.%'", score="NaN"),
        "entry 1 of JUDGEMENTS: a number in it is too large or not finite",
    ),
    "a vector that is none": (
        set_body(EMBEDDED, vector="AADAfwAAAAAAAAAAAAAAAA=="),
        "entry 7 of IMAGES: its vector is zero or not finite",
    ),
    "a vector of half a number": (
        set_body(EMBEDDED, vector="AACAPwA="),
        "entry 7 of IMAGES: image.embedded v1: vector: Value error, a vector has 4 bytes for each number",
    ),
    "a vector of another model": (set_body(EMBEDDED, vector="AACAPw=="), "generation g1 has vectors of different dimensions"),
    "a header for the server": (
        set_headers(FIRST, Nats_Rollup="all"),
        "entry 3 of IMAGES: its header 'Nats-Rollup' is none that MapSeek writes",
    ),
    "a line break in a header": (
        set_headers(FIRST, ce_source="x\r\nNats-Rollup: all"),
        "entry 3 of IMAGES: its header 'ce-source' is none that MapSeek writes",
    ),
    "a line break in the name of a header": (
        set_headers(FIRST, **{"ce-x\r\n": "y"}),
        r"entry 3 of IMAGES: its header 'ce-x\r\n' is none that MapSeek writes",
    ),
    "headers that are no texts": (set_headers(FIRST, ce_time=[1]), "entry 3 of IMAGES: its headers are no JSON object of texts"),
    "headers that are no JSON": (
        sql(f"UPDATE entries SET headers = '[' WHERE {FIRST}"),
        "entry 3 of IMAGES: its headers are no JSON object of texts",
    ),
    "the id of another fact": (set_headers(FIRST, ce_id="another"), "entry 3 of IMAGES: its header ce-id does not fit its subject"),
    "a time that is none": (set_headers(FIRST, ce_time="soon"), "entry 3 of IMAGES: its header ce-time does not fit its subject"),
    "too many headers": (
        set_headers(FIRST, ce_source="x" * 60_000),
        "entry 3 of IMAGES: it is larger than the server accepts",
    ),
    "another entity": (
        sql(f"UPDATE entries SET entity = '7.image-2' WHERE {FIRST}"),
        "entry 3 of IMAGES is about something else than the archive says",
    ),
    # Dead letters
    "a dead letter of an unknown lane": (
        set_subject(LETTER, "mapseek.failure.download.elsewhere.3"),
        "entry 1 of FAILURES: 'mapseek.failure.download.elsewhere.3' is not the subject of a dead letter",
    ),
    "a dead letter of no entry": (
        set_subject(LETTER, "mapseek.failure.download.image.x"),
        "entry 1 of FAILURES: 'mapseek.failure.download.image.x' is not the subject of a dead letter",
    ),
    "a dead letter with a long subject": (
        set_subject(LETTER, "mapseek.failure.download.image.3.g1.g2"),
        "entry 1 of FAILURES: 'mapseek.failure.download.image.3.g1.g2' is not the subject of a dead letter",
    ),
    "a retry among the dead letters": (
        set_subject(LETTER, "mapseek.retry.download.image.3"),
        "entry 1 of FAILURES: mapseek.retry.download.image.3 is no subject of this stream",
    ),
    "a dead letter without a header": (
        set_headers(LETTER, mapseek_round=None),
        "entry 1 of FAILURES: its header mapseek-round is missing",
    ),
    "a dead letter of a strange round": (
        set_headers(LETTER, mapseek_round="1e9"),
        "entry 1 of FAILURES: its header mapseek-round does not fit its subject",
    ),
    "a dead letter of another stream": (
        set_headers(LETTER, mapseek_stream="FOREIGN"),
        "entry 1 of FAILURES: its header mapseek-stream does not fit its subject",
    ),
    "a dead letter about a request": (
        set_headers(LETTER, mapseek_subject="$JS.API.STREAM.DELETE.FOREIGN"),
        "entry 1 of FAILURES: its header mapseek-subject does not fit its subject",
    ),
    "a dead letter of another entry": (
        lambda database: (
            set_headers(LETTER, mapseek_subject=POSTED.replace("image-1", "image-2"))(database),
            database.execute(f"UPDATE entries SET entity = '7.image-2' WHERE {LETTER}"),
        ),
        "entry 1 of FAILURES is the dead letter of another entry than it says",
    ),
    "a dead letter about a search": (
        lambda database: (
            set_headers(
                LETTER, mapseek_stream="SEARCHES", mapseek_sequence="1", mapseek_subject="mapseek.search.requested.v1.7.image-1"
            )(database),
            set_subject(LETTER, "mapseek.failure.download.search.1")(database),
        ),
        "entry 1 of FAILURES is about a search, and archives have none",
    ),
    # Consumers
    "a push consumer": (set_config(deliver_subject="elsewhere"), "its consumer 'embed-image-g1' is none that MapSeek makes"),
    "a consumer with notes": (set_config(metadata={"a": "b"}), "its consumer 'embed-image-g1' is none that MapSeek makes"),
    "a paused consumer": (
        set_config(pause_until="2999-01-01T00:00:00Z"),
        "its consumer 'embed-image-g1' is none that MapSeek makes",
    ),
    "a consumer with flow control": (set_config(flow_control=True), "its consumer 'embed-image-g1' is none that MapSeek makes"),
    "a consumer of other facts": (set_config(filter_subjects=[">"]), "its consumer 'embed-image-g1' is none that MapSeek makes"),
    "a consumer that starts elsewhere": (
        set_config(deliver_policy="by_start_sequence", opt_start_seq=9),
        "its consumer 'embed-image-g1' is none that MapSeek makes",
    ),
    "a consumer that acknowledges nothing": (
        set_config(ack_policy="none"),
        "its consumer 'embed-image-g1' is none that MapSeek makes",
    ),
    "a consumer with another type": (set_config(idle_heartbeat=False), "its consumer 'embed-image-g1' is none that MapSeek makes"),
    "a foreign consumer": (add_consumer("IMAGES", "theirs"), "its consumer 'theirs' is none that MapSeek makes"),
    "a consumer of a foreign stream": (
        add_consumer("FOREIGN", "download-image"),
        "its consumer 'download-image' is none that MapSeek makes",
    ),
    "a consumer of a generation that is not there": (
        sql("UPDATE durables SET name = 'embed-image-g9' WHERE name = 'embed-image-g1'"),
        "its consumer 'embed-image-g9' is none that MapSeek makes",
    ),
    "a configuration that is no JSON": (
        sql("UPDATE durables SET config = '{' WHERE name = 'embed-image-g1'"),
        "its consumer 'embed-image-g1' is none that MapSeek makes",
    ),
    "a consumer behind the end": (
        sql("UPDATE durables SET floor = 99 WHERE name = 'embed-image-g1'"),
        "its consumer 'embed-image-g1' is behind the end of its stream",
    ),
    # Settings
    "an odd key": (
        add_state("a b.>", b"{}"),
        "its document 'a b.>' is none that MapSeek writes: 'a b.>' is not the key of a document",
    ),
    "the claim of another import": (
        add_state("import", b"{}"),
        "its document 'import' is none that MapSeek writes: 'import' is not the key of a document",
    ),
    "a count of requests": (
        add_state("requests.all", b"17"),
        "its document 'requests.all' is none that MapSeek writes: 'requests.all' is not the key of a document",
    ),
    "a mark in no channel": (
        add_state("mark.7.x", b"{}"),
        "its document 'mark.7.x' is none that MapSeek writes: 'mark.7.x' is not the key of a document",
    ),
    "a mark at no message": (
        add_state("mark.7.8", b'{"message_id": "x", "heard_at": "2026-11-21T12:00:00Z"}'),
        "its document 'mark.7.8' is none that MapSeek writes: message_id: String should match pattern '^[0-9]{1,20}$'",
    ),
    "a setting out of range": (
        add_state("settings.8", b'{"searches_at_once": 1000000}'),
        "its document 'settings.8' is none that MapSeek writes: searches_at_once: Input should be less than or equal to 20",
    ),
    "a setting that is no JSON": (
        add_state("settings.8", b"\xff"),
        "its document 'settings.8' is none that MapSeek writes: GuildSettings: Invalid JSON: expected value at line 1 column 1",
    ),
    # Blobs and what follows from the entries
    "an odd blob store": (
        sql(
            "UPDATE blobs SET store = '../../etc' WHERE rowid = 1",
            "UPDATE uses SET store = '../../etc' WHERE name = (SELECT name FROM blobs WHERE rowid = 1)",
        ),
        "entry 3 of IMAGES has other blobs than the archive says",
    ),
    "a blob that no entry names": (
        sql(f"INSERT INTO blobs VALUES ('blobs', '{'0' * 64}', x'00')"),
        "it has a blob that no entry names",
    ),
    "a blob that an entry should not have": (
        sql(
            f"INSERT INTO blobs VALUES ('blobs', '{'0' * 64}', x'00')",
            f"INSERT INTO uses SELECT id, 'blobs', '{'0' * 64}' FROM entries WHERE {FIRST}",
        ),
        "entry 3 of IMAGES has other blobs than the archive says",
    ),
    "a blob that belongs to no entry": (
        sql(f"INSERT INTO blobs VALUES ('blobs', '{'0' * 64}', x'00')", f"INSERT INTO uses VALUES (99, 'blobs', '{'0' * 64}')"),
        "a blob belongs to no entry",
    ),
    "a blob that is not there at all": (
        sql("DELETE FROM blobs WHERE rowid = 1"),
        "it lacks a blob that an entry names",
    ),
    "a removal without a tombstone": (sql("INSERT INTO removed VALUES ('7.image-1')"), "an image is removed that has no tombstone"),
    # The database
    "a text instead of bytes": (
        sql(f"UPDATE entries SET body = CAST(body AS TEXT) WHERE {FIRST}"),
        "its table entries has a value in body that MapSeek does not write",
    ),
    "no headers": (
        sql(f"UPDATE entries SET headers = NULL WHERE {FIRST}"),
        "its table entries has a value in headers that MapSeek does not write",
    ),
    "a huge body": (
        sql(f"UPDATE entries SET body = zeroblob(9000000) WHERE {FIRST}"),
        "its table entries has a value in body that MapSeek does not write",
    ),
    "a huge subject": (
        sql(f"UPDATE entries SET subject = replace(hex(zeroblob(1000)), '0', 'a') WHERE {FIRST}"),
        "its table entries has a value in subject that MapSeek does not write",
    ),
    "a blob that is a text": (
        sql("UPDATE blobs SET data = 'text' WHERE rowid = 1"),
        "its table blobs has a value in data that MapSeek does not write",
    ),
    "a setting without value": (
        sql("UPDATE state SET value = NULL"),
        "its table state has a value in value that MapSeek does not write",
    ),
    "a text that is not UTF-8": (
        sql(f"UPDATE entries SET subject = CAST(x'ff' AS TEXT) WHERE {FIRST}"),
        "a text in it is not UTF-8",
    ),
    "a view": (loop_forever("state"), NOT_OUR_TABLES),
    "a trigger": (sql("CREATE TRIGGER t AFTER INSERT ON blobs BEGIN DELETE FROM entries; END"), NOT_OUR_TABLES),
    "one more table": (sql("CREATE TABLE more (a)"), NOT_OUR_TABLES),
    "one more index": (sql("CREATE INDEX more ON entries (lower(subject))"), NOT_OUR_TABLES),
    "a generated column": (sql("ALTER TABLE removed ADD COLUMN more TEXT AS (entity || entity)"), NOT_OUR_TABLES),
    "no export": (sql("DELETE FROM exports"), "no export to it was completed"),
    "two heads": (
        sql("INSERT INTO exports SELECT 99, archive, made_at, digest, entries, nonce, combination, mac FROM exports"),
        "its head is none that MapSeek writes",
    ),
    "an odd archive id": (sql("UPDATE exports SET archive = 'x'"), "its head is none that MapSeek writes"),
    "a time of export that is none": (sql("UPDATE exports SET made_at = 'soon'"), "its head is none that MapSeek writes"),
    "a format of the future": (sql("PRAGMA user_version = 0"), NOT_OUR_TABLES),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_hostile_export_is_refused_and_nothing_is_written(
    what: str, exported: bytes, server: Server, tmp_path: Path
) -> None:
    change, reason = HOSTILE[what]
    path = tmp_path / "hostile.archive"
    path.write_bytes(exported)
    forge(path, change)
    before, content = await server.describe(), path.read_bytes()
    out = Console(file=io.StringIO())
    with pytest.raises(MapSeekError) as refused:
        await import_archive(server.settings, path, None, out, out)
    assert str(refused.value) == (
        f"The archive {path} is damaged or no archive ({reason}): use another copy of it, or export to a new file."
    )
    with pytest.raises(MapSeekError):
        await import_archive(server.settings, path, EXPORT_KEY, out, out)
    assert (await server.describe(), path.read_bytes()) == (before, content)


async def test_a_refused_file_makes_no_installation(exported: bytes, tmp_path: Path) -> None:
    """Not even a log server is started."""
    path, out = tmp_path / "hostile.archive", Console(file=io.StringIO())
    path.write_bytes(exported)
    forge(path, HOSTILE["a request to the server"][0])
    with pytest.raises(MapSeekError, match="damaged or no archive"):
        await import_archive(Settings(data_dir=tmp_path / "data", _env_file=None), path, None, out, out)  # type: ignore[call-arg]
    assert not (tmp_path / "data").exists()


async def test_what_somebody_published_is_left_out_of_an_export(tmp_path: Path) -> None:
    """No import would accept it, and the rest must stay useful."""
    async with open_installation(tmp_path / "source") as source:
        await record_sample_log(source)
        await source.client.jetstream().publish("mapseek.image.posted.v1.7.foreign", b"?")
        await source.client.jetstream().publish("mapseek.failure.>x", b"no letter")
        await (await open_state(source.client)).put("foreign", b"no document")
        summary = await source.export(tmp_path / "mapseek.archive")
        assert summary.refused == [
            "document foreign: 'foreign' is not the key of a document",
            "entry 4 of FAILURES: 'mapseek.failure.>x' is not the subject of a dead letter",
            f"entry 18 of IMAGES: the body on mapseek.image.posted.v1.7.foreign {IS_NO_JSON}",
        ]
        assert (await source.export(tmp_path / "mapseek.archive")).refused == [
            "document foreign: 'foreign' is not the key of a document"
        ]
        async with open_installation(tmp_path / "target", new=False) as target:
            await target.restore(tmp_path / "mapseek.archive")
            assert await count_posts(target) == 3


async def count_posts(here: Installation) -> int:
    return len([subject for subject, _, _ in await here.dump(IMAGES) if f".{ImagePosted.name}." in subject])
