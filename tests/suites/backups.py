"""An installation to back up: a real log with a little of everything, its blobs, and where a restore goes."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from contracts.envelope import Origin
from contracts.events import Fact, Incident
from contracts.ports import BlobStore, Catalogue
from contracts.subjects import IMAGES, subject_of
from infra.blobs.files import open_blob_store
from infra.nats.connection import connect
from infra.nats.journal import JetStreamJournal
from infra.nats.reader import read
from infra.nats.server import embedded_server
from infra.sqlite.catalogue import open_sqlite_catalogue
from pipeline.backup.archive_file import BLOBS, EXPORTED, QUESTIONS, Summary, open_archive
from pipeline.backup.export import export_to
from pipeline.backup.restore import begin_import, end_import, fill, import_from
from pipeline.clock import utc_now
from pipeline.engine import topology
from pipeline.engine.registry import STAGES


def quiet(_what: str, _done: int, _total: int | None) -> None:
    """A progress that nobody looks at."""


@dataclass(frozen=True)
class Installation:
    """A log with its stores, and no stage at work."""

    client: Client
    journal: JetStreamJournal
    stores: dict[str, BlobStore]
    catalogue: Catalogue

    async def record(self, *facts: Fact) -> None:
        for fact in facts:
            assert await self.journal.record(fact, Origin(fact.type_name()))

    async def place_of(self, fact: Fact) -> int:
        message = await self.client.jetstream().get_last_msg(IMAGES, subject_of(fact))
        return int(message.seq or 0)

    async def worked(self, durable: str, number: int) -> None:
        """A stage is through with so many entries."""
        subscription = await self.client.jetstream().pull_subscribe_bind(durable, stream=IMAGES)
        for message in await subscription.fetch(number, timeout=5):
            await message.ack_sync()
        await subscription.unsubscribe()

    async def next_of(self, durable: str) -> tuple[str, int]:
        """What a stage would be given next, and how many entries are left for it."""
        info = await self.client.jetstream().consumer_info(IMAGES, durable)
        subscription = await self.client.jetstream().pull_subscribe_bind(durable, stream=IMAGES)
        [message] = await subscription.fetch(1, timeout=5)
        await message.nak()
        await subscription.unsubscribe()
        return message.subject, info.num_pending or 0

    async def dump(self, stream: str) -> list[tuple[str, dict[str, str], bytes]]:
        """Subject, headers and body of all that a log holds, in order."""
        found = []
        async for message in self._messages(stream):
            headers = {name: value for name, value in (message.headers or {}).items() if not name.startswith("Nats-")}
            found.append((message.subject, headers, message.data))
        return found

    async def dumps(self) -> dict[str, list[tuple[str, dict[str, str], bytes]]]:
        return {stream: await self.dump(stream) for stream in EXPORTED}

    async def _messages(self, stream: str) -> AsyncIterator[Any]:
        js = self.client.jetstream()
        state = (await js.stream_info(stream)).state
        for sequence in range(state.first_seq, state.last_seq + 1):
            try:
                yield await js.get_msg(stream, sequence)
            except NotFoundError:
                continue

    async def export(self, path: Path) -> Summary:
        with open_archive(path, new=True) as database:
            return await export_to(database, self.client, self.stores, quiet)

    async def restore(self, path: Path) -> Summary:
        with open_archive(path) as database:
            await topology.ensure(self.client, ())
            await begin_import(database, self.client, self.catalogue)
            summary = await import_from(database, self.client, self.stores, quiet)
            await fill(self.catalogue, self.client, quiet)
            await end_import(self.client)
            return summary


@asynccontextmanager
async def installation(folder: Path, *, new: bool = True) -> AsyncIterator[Installation]:
    """A server and stores in a folder; if it is `new`, with every stream and every consumer, but no entry."""
    async with embedded_server(folder / "nats") as url:
        client = await connect(url, "test")
        catalogue = await open_sqlite_catalogue(folder / "catalogue.sqlite")
        try:
            journal = JetStreamJournal(client, source="test", now=utc_now)
            stores: dict[str, BlobStore] = {store: open_blob_store(folder / store) for store in (BLOBS, QUESTIONS)}
            if new:
                await topology.ensure(client, STAGES)
            yield Installation(client, journal, stores, catalogue)
        finally:
            await catalogue.close()
            await client.close()


def incidents(dumped: list[tuple[str, dict[str, str], bytes]]) -> Iterator[Incident]:
    """The facts of a dumped log of incidents."""
    for subject, headers, body in dumped:
        fact = read(subject, headers, body).fact
        assert isinstance(fact, Incident)
        yield fact


async def names_of(here: Installation) -> dict[str, list[str]]:
    return {store: await here.stores[store].untouched_since(-1) for store in (BLOBS, QUESTIONS)}  # type: ignore[attr-defined]
