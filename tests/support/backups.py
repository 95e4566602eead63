"""An installation to back up and restore: a real log with a few facts of every kind, and its stores."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from contracts.envelope import Origin
from contracts.events import (
    AlertSet,
    AttemptFailed,
    Calibration,
    Fact,
    ImageDownloaded,
    ImageEmbedded,
    ImageFingerprinted,
    ImagePosted,
    ImagePreprocessed,
    ImageRemoved,
    Incident,
    MessageBuried,
    Person,
    RemovalRequested,
    SearchJudged,
    StoredFile,
)
from contracts.ports import BlobStore, Catalogue
from contracts.subjects import FAILURES, IMAGES, RETRIES, failure_subject, retry_subject, subject_of
from infra.blobs.files import open_blob_store
from infra.nats.connection import LogAddress, connect
from infra.nats.journal import JetStreamJournal
from infra.nats.reader import decode_fact, encode_body
from infra.nats.server import embedded_server
from infra.nats.state import open_state
from infra.sqlite.catalogue import open_sqlite_catalogue
from pipeline.backup.archive_file import BLOBS, EXPORTED_STREAMS, QUERIES, Summary, open_archive_file
from pipeline.backup.export import export_to
from pipeline.backup.restore import begin_import, end_import, fill_catalogue, import_from
from pipeline.backup.validate import validate_archive
from pipeline.clock import utc_now
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from tests.support.facts import MOMENT, VECTOR, founding_facts

EXPORT_KEY = bytes(range(32))
"""The export key of every installation of the tests."""


def ignore_progress(_what: str, _done: int, _total: int | None) -> None:
    """Ignore reported progress."""


def write_key(folder: Path) -> Path:
    """Write the export key into a file, as an owner keeps it."""
    file = folder / "kept.key"
    file.write_text(EXPORT_KEY.hex())
    return file


@dataclass(frozen=True)
class Installation:
    """A log with its stores. No stage runs."""

    address: LogAddress
    client: Client
    journal: JetStreamJournal
    stores: dict[str, BlobStore]
    catalogue: Catalogue

    async def record(self, *facts: Fact) -> None:
        for fact in facts:
            assert await self.journal.record(fact, Origin(fact.type_name()))

    async def sequence_of(self, fact: Fact) -> int:
        message = await self.client.jetstream().get_last_msg(IMAGES, subject_of(fact))
        return int(message.seq or 0)

    async def settle_next(self, durable: str, number: int) -> None:
        """Acknowledge the next `number` messages of a consumer."""
        subscription = await self.client.jetstream().pull_subscribe_bind(durable, stream=IMAGES)
        for message in await subscription.fetch(number, timeout=5):
            await message.ack_sync()
        await subscription.unsubscribe()

    async def peek_next(self, durable: str) -> tuple[str, int]:
        """Return the subject of the next message of a consumer, and how many messages are pending."""
        info = await self.client.jetstream().consumer_info(IMAGES, durable)
        subscription = await self.client.jetstream().pull_subscribe_bind(durable, stream=IMAGES)
        [message] = await subscription.fetch(1, timeout=5)
        await message.nak()
        await subscription.unsubscribe()
        return message.subject, info.num_pending or 0

    async def dump(self, stream: str) -> list[tuple[str, dict[str, str], bytes]]:
        """Return subject, headers and body of all messages of a stream, in order."""
        found = []
        async for message in self._messages(stream):
            headers = {name: value for name, value in (message.headers or {}).items() if not name.startswith("Nats-")}
            found.append((message.subject, headers, message.data))
        return found

    async def dump_all(self) -> dict[str, list[tuple[str, dict[str, str], bytes]]]:
        return {stream: await self.dump(stream) for stream in EXPORTED_STREAMS}

    async def _messages(self, stream: str) -> AsyncIterator[Any]:
        js = self.client.jetstream()
        state = (await js.stream_info(stream)).state
        for sequence in range(state.first_seq, state.last_seq + 1):
            try:
                yield await js.get_msg(stream, sequence)
            except NotFoundError:
                continue

    async def export(self, path: Path) -> Summary:
        with open_archive_file(path, new=True) as database:
            return await export_to(database, EXPORT_KEY, self.client, self.stores, ignore_progress)

    async def restore(self, path: Path, key: bytes | None = EXPORT_KEY) -> Summary:
        with open_archive_file(path) as database:
            list(validate_archive(database, path, key))
            await topology.ensure_topology(self.client, ())
            await begin_import(database, self.client, self.catalogue)
            summary = await import_from(database, self.client, self.stores, ignore_progress)
            await fill_catalogue(self.catalogue, self.client, ignore_progress)
            await end_import(self.client)
            return summary


@asynccontextmanager
async def open_installation(folder: Path, *, new: bool = True) -> AsyncIterator[Installation]:
    """Open a server and stores in a folder. If `new`, create every stream and consumer, without messages."""
    async with embedded_server(folder / "nats") as address:
        client = await connect(address, "test")
        catalogue = await open_sqlite_catalogue(folder / "catalogue.sqlite")
        try:
            journal = JetStreamJournal(client, source="test", now=utc_now)
            stores: dict[str, BlobStore] = {store: open_blob_store(folder / store) for store in (BLOBS, QUERIES)}
            if new:
                await topology.ensure_topology(client, STAGES)
            yield Installation(address, client, journal, stores, catalogue)
        finally:
            await catalogue.close()
            await client.close()


def read_incidents(dumped: list[tuple[str, dict[str, str], bytes]]) -> Iterator[Incident]:
    """Read the facts of a dumped INCIDENTS stream."""
    for subject, headers, body in dumped:
        fact = decode_fact(subject, headers, body).fact
        assert isinstance(fact, Incident)
        yield fact


async def list_blob_names(here: Installation) -> dict[str, list[str]]:
    return {store: await here.stores[store].list_untouched_since(-1) for store in (BLOBS, QUERIES)}  # type: ignore[attr-defined]


async def record_post(here: Installation, number: int) -> list[Fact]:
    """Record an image with all facts of its processing."""
    data = [f"{kind} of {number}".encode() for kind in ("file", "pixels", "thumbnail", "fingerprint")]
    blob, pixels, thumbnail, known_by = [await here.stores[BLOBS].put(each) for each in data]
    image: dict[str, Any] = {"guild_id": "7", "channel_id": "8", "image_id": f"image-{number}"}
    facts: list[Fact] = [
        ImagePosted(
            **image,
            message_id=f"message-{number}",
            author=Person(id="5", name=f"Steve the {number}th"),
            posted_at=MOMENT + timedelta(minutes=number),
            filename=f"map-{number}.png",
            message_link=f"https://discord.com/channels/7/8/{number}",
            source=StoredFile(blob=blob),
        ),
        ImageDownloaded(**image, blob=blob, size=9),
        ImagePreprocessed(**image, pixels=pixels, thumbnail=thumbnail, width=8, height=8, format="PNG", preprocessing="p1"),
        ImageFingerprinted(**image, generation="g1", method="f1", fingerprint=known_by, hash="0" * 64, quality=9, features=0),
        ImageEmbedded(**image, generation="g1", vector=VECTOR),
    ]
    await here.record(*facts)
    return facts


async def record_failure(here: Installation, fact: Fact, entity: str) -> None:
    """Record the failure of a stage at a fact: a failed attempt, a burial, a dead letter, and a retried dead letter."""
    sequence = await here.sequence_of(fact)
    attempt: dict[str, Any] = {"guild_id": "7", "entity_id": entity, "lane": "image", "stage": "download", "attempt": 1}
    attempt |= {"consumer": "download-image", "sequence": sequence, "happened_at": MOMENT, "process": "here"}
    await here.record(
        AttemptFailed(**attempt, reason="503", delay_s=1), MessageBuried(**{**attempt, "attempt": 2}, cause="error", reason="503")
    )
    headers = {"mapseek-stage": "download", "mapseek-consumer": "download-image", "mapseek-round": "0", "mapseek-reason": "503"}
    headers |= {"mapseek-subject": subject_of(fact), "mapseek-stream": IMAGES, "mapseek-sequence": str(sequence)}
    for stream, subject in (
        (FAILURES, failure_subject("download", "image", sequence)),
        (RETRIES, retry_subject("download", "image", sequence, "g1")),
    ):
        assert await here.journal.publish_once(subject, encode_body(fact) + b"\xff", dict(headers), stream)


async def record_removal(here: Installation, number: int) -> None:
    """Record that an image was removed, without erasing anything."""
    image: dict[str, Any] = {"guild_id": "7", "channel_id": "8", "image_id": f"image-{number}"}
    await here.record(ImageRemoved(**image, message_id=f"message-{number}", removed_at=MOMENT, cause="forgotten"))


async def record_vote_and_alert(here: Installation, person: str, number: int) -> tuple[SearchJudged, AlertSet]:
    """Record a vote and an alert of a person, each with its picture."""
    voted, awaited = [await here.stores[QUERIES].put(f"{what} {number}".encode()) for what in ("voted", "awaited")]
    vote = SearchJudged(
        guild_id="7", search_id=f"s{number}", interaction_id=f"i{number}", image_id="image-1", right=True, voter_id=person,
        judged_at=MOMENT, generation="g1", score=0.9, pixels=voted,
    )  # fmt: skip
    alert = AlertSet(
        guild_id="7", alert_id=f"a{number}", person=Person(id=person, name=f"Alex the {number}th"), channel_id="8", locale="de",
        age_restricted=False, requested_at=MOMENT, pixels=awaited, generation="g1", vector=VECTOR,
        calibration=Calibration(match_at=0.9, possible_at=0.8),
    )  # fmt: skip
    await here.record(vote, alert)
    return vote, alert


async def record_sample_log(here: Installation) -> None:
    """Record a few facts of every kind."""
    await here.record(*founding_facts())
    for number in (1, 2, 3):
        facts = await record_post(here, number)
        await record_failure(here, facts[0], f"image-{number}")
    await record_vote_and_alert(here, "5", 1)
    await here.record(
        RemovalRequested(guild_id="7", removal_id="r1", scope="message", target="gone", cause="deleted", requested_at=MOMENT)
    )
    state = await open_state(here.client)
    await state.put("settings.7", b'{"locale": "de"}')
    await state.put("requests.all", b"17")
