"""A stage that fails until it is repaired, and its dead letters."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from nats.aio.client import Client

from contracts.errors import Retry
from contracts.events import Incident
from contracts.events.base import Fact
from contracts.subjects import INCIDENTS, RETRIES
from infra.nats.connection import LogAddress
from infra.nats.erasure import LogErasure
from infra.nats.journal import JetStreamJournal
from infra.nats.reader import decode_fact
from pipeline.failures.letters import Letter, list_letters, retry_letter
from tests.support.archives import iter_messages
from tests.support.bench_stage import count_messages, downloaded, run_stage
from tests.support.waiting import eventually

DOWNLOADED = "mapseek.image.downloaded.>"


class FailingStage:
    """A stage that fails while `broken` is true."""

    def __init__(self, address: LogAddress, client: Client, journal: JetStreamJournal) -> None:
        self.address, self.client, self.journal = address, client, journal
        self.erasure = LogErasure(client)
        self.broken = True
        self.calls = 0

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async def work(event: Fact) -> Sequence[Fact]:
            self.calls += 1
            if self.broken:
                raise Retry("the CDN answered 503")
            return [downloaded(event)]

        async with run_stage(self.address, self.client, self.journal, work):
            yield

    async def incidents(self) -> list[Incident]:
        found = [
            decode_fact(each.subject or "", each.headers, each.data or b"").fact
            async for each in iter_messages(self.client, INCIDENTS)
        ]
        return [fact for fact in found if isinstance(fact, Incident)]

    async def wait_for_letters(self, number: int = 1) -> list[Letter]:
        async def enough() -> list[Letter]:
            found = await list_letters(self.client)
            return found if len(found) >= number else []

        return await eventually(enough)

    async def put_back(self, letter: Letter) -> None:
        await retry_letter(letter, self.journal, self.erasure)

    async def recorded(self) -> bool:
        return await count_messages(self.client, "IMAGES", DOWNLOADED) == 1

    async def has_no_retries(self) -> bool:
        return await count_messages(self.client, RETRIES) == 0
