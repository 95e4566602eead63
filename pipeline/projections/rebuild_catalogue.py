"""Rebuilding the catalogue: fill a second one from the log with the code of the persist stage, compare both, and swap them.

For the comparison, the stages that write to the catalogue are paused for a moment, so that both catalogues are at a known position
of the log. Reads continue. Only one process at a time can rebuild: it answers requests on a subject while it lives, so nothing is
left behind when it dies.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import orjson

from contracts.errors import MapSeekError, Retry
from contracts.events import ImageEmbedded, ImageFact
from contracts.ports import Catalogue, CatalogueRecord
from contracts.ports.storage import pair_records
from contracts.subjects import CATALOGUE_REBUILD_CHECK, IMAGES, RETRIES
from infra.nats.connection import Client, Msg, has_listener, subscribe_subject
from infra.nats.consumers import Consumer, list_consumers, pause_consumer, resume_consumer
from infra.nats.projections import read_generations
from infra.nats.reader import RecordedFact, decode_or_warn, read_log
from infra.tasks import cancel_tasks, raise_if_cancelled
from pipeline.clock import utc_now
from stages import erase, persist

ReportPosition = Callable[[int, int], None]
"""Called with the position that is reached, and the position of the end."""

BATCH_FACTS = 256
"""Facts that are applied concurrently. Those of one image are applied in order."""

MAX_EXAMPLES = 5

PAUSE_DURATION = timedelta(minutes=1)
"""A pause is this short and is renewed, so that a process that is killed leaves nothing paused for longer."""

PAUSE_RENEWAL_S = 15.0
IDLE_TIMEOUT_S = 1.0
SETTLE_TIMEOUT_S = 5.0
REDELIVERY_TIMEOUT_S = 35.0
"""Within this time, the server redelivers messages that are being retried or that a dead process held."""

_KINDS = {kind.type_name() for kind in persist.STAGE.consumes}

_REFUSAL = "The catalogue is being rebuilt already: wait until that is finished."


@dataclass(frozen=True, slots=True)
class WriterPosition:
    """The position of a consumer in the stream of images, and its filters for facts that the persist stage handles."""

    durable: str
    filters: tuple[str, ...]
    sequence: int


class CatalogueFiller:
    """Fills an empty catalogue from the log, step by step. It skips vectors of `dropped` generations."""

    def __init__(self, client: Client, catalogue: Catalogue, dropped: Collection[str], progress: ReportPosition) -> None:
        self._client = client
        self._deps = persist.Deps(catalogue)
        self._dropped = dropped
        self._progress = progress
        self._reached: dict[str, int] = {}
        self._postponed: list[ImageFact] = []

    async def fill_to(self, places: Sequence[WriterPosition]) -> None:
        """Apply the rest of the log up to these positions. Raises Unavailable."""
        total = sum(place.sequence for place in places)
        done = 0
        for place in places:
            await self._apply_stream(place, done, total)
            self._reached[place.durable] = place.sequence
            done += place.sequence
            self._progress(done, total)
        postponed, self._postponed = self._postponed, []
        await self._apply(postponed)

    async def _apply_stream(self, place: WriterPosition, done: int, total: int) -> None:
        after = self._reached.get(place.durable, 0)
        if not place.filters or after >= place.sequence:
            return
        batch: list[RecordedFact | None] = []
        async with aclosing(read_log(self._client, IMAGES, place.filters, after=after)) as messages:
            async for message in messages:
                if message.metadata.sequence.stream > place.sequence:
                    break
                batch.append(decode_or_warn(message))
                if len(batch) == BATCH_FACTS:
                    await self._apply(self._select_facts(batch))
                    self._progress(done + message.metadata.sequence.stream, total)
                    batch.clear()
        await self._apply(self._select_facts(batch))

    def _select_facts(self, batch: Sequence[RecordedFact | None]) -> list[ImageFact]:
        facts = [recorded.fact for recorded in batch if recorded is not None]
        return [fact for fact in facts if isinstance(fact, ImageFact) and not self._is_dropped(fact)]

    def _is_dropped(self, fact: ImageFact) -> bool:
        return isinstance(fact, ImageEmbedded) and fact.generation in self._dropped

    async def _apply(self, facts: Sequence[ImageFact]) -> None:
        of_image: dict[str, list[ImageFact]] = defaultdict(list)
        for fact in facts:
            of_image[fact.image_id].append(fact)
        await asyncio.gather(*(self._apply_in_order(each) for each in of_image.values()))

    async def _apply_in_order(self, facts: Sequence[ImageFact]) -> None:
        for fact in facts:
            try:
                await persist.handle(fact, self._deps)
            except Retry:
                self._postponed.append(fact)  # a vector whose post is in a part of the log that is not applied yet


@dataclass(frozen=True, slots=True)
class CatalogueComparison:
    """The digests of the old catalogue and of the one built from the log.

    `examples` are the first differences, one sentence each.
    """

    before: str
    after: str
    images: int
    different: int
    examples: tuple[str, ...]


async def compare_catalogues(before: AsyncIterator[CatalogueRecord], after: AsyncIterator[CatalogueRecord]) -> CatalogueComparison:
    """Compare all records of two catalogues. `after` is the one built from the log."""
    digests = hashlib.sha256(), hashlib.sha256()
    images = different = 0
    examples: list[str] = []
    async for pair in pair_records(before, after):
        for kept, digest in zip(pair, digests, strict=True):
            if kept is not None:
                digest.update(encode_for_digest(kept))
        images += pair[1] is not None
        if pair[0] != pair[1]:
            different += 1
            if different <= MAX_EXAMPLES:
                examples.append(describe_difference(*pair))
    return CatalogueComparison(digests[0].hexdigest(), digests[1].hexdigest(), images, different, tuple(examples))


def encode_for_digest(kept: CatalogueRecord) -> bytes:
    """Encode a record for the digest of a catalogue: one line for each image, with sorted keys and vectors in hexadecimal."""
    vectors = {generation: vector.hex() for generation, vector in kept.vectors.items()}
    line = [kept.image_id, kept.removed, kept.document, vectors]
    return orjson.dumps(line, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def describe_difference(before: CatalogueRecord | None, after: CatalogueRecord | None) -> str:
    """Describe in one sentence how two records of one image differ."""
    if after is None:
        return f"{_name_record(before)} is not in the log." if before else ""
    if before is None:
        return f"{_name_record(after)} is missing."
    if before.removed != after.removed:
        return f"Image {after.image_id} is {'' if before.removed else 'not '}removed, but the log says otherwise."
    fields = [field for field in {**before.document, **after.document} if before.document.get(field) != after.document.get(field)]
    vectors = [name for name in {**before.vectors, **after.vectors} if before.vectors.get(name) != after.vectors.get(name)]
    parts = [*sorted(fields), *(f"the vector of {name}" for name in sorted(vectors))]
    return f"Image {after.image_id} is not as the log says: {', '.join(parts)}."


def _name_record(kept: CatalogueRecord) -> str:
    return f"{'The tombstone of image' if kept.removed else 'Image'} {kept.image_id}"


@asynccontextmanager
async def pause_writers(client: Client) -> AsyncIterator[tuple[list[WriterPosition], int]]:
    """Pause the writers, and yield their positions and the number of facts that stay unsettled because they are retried.

    Those facts are delivered, so a catalogue that is filled up to these positions has them. Raises Unavailable.
    """
    await _wait_until_settled(client, IDLE_TIMEOUT_S, idle=True)  # the best time is one without work, but there may be none
    for last in (False, True):
        async with _pause_while_open(client):
            unsettled = await _wait_until_settled(client, SETTLE_TIMEOUT_S)
            if last or not unsettled:
                yield await read_writer_positions(client), unsettled
                return
        await _wait_until_settled(client, REDELIVERY_TIMEOUT_S)


async def read_writer_positions(client: Client, *, settled: bool = False) -> list[WriterPosition]:
    """Read the position of each writer: of its last delivered message, or with `settled`, up to which all messages are settled."""
    found = []
    for writer in await _list_writers(client, IMAGES):
        ours = tuple(each for each in writer.filters if ".".join(each.split(".")[1:3]) in _KINDS)
        found.append(WriterPosition(writer.name, ours, writer.settled if settled else writer.delivered))
    return found


@asynccontextmanager
async def _pause_while_open(client: Client) -> AsyncIterator[None]:
    paused = await _pause(client)
    renewal = asyncio.create_task(_keep_paused(client))
    try:
        yield
    finally:
        await cancel_tasks(renewal)
        for stream, name in paused:
            await resume_consumer(client, stream, name)


async def _keep_paused(client: Client) -> None:
    while True:
        raise_if_cancelled()
        await asyncio.sleep(PAUSE_RENEWAL_S)
        await _pause(client)


async def _pause(client: Client) -> list[tuple[str, str]]:
    until = utc_now() + PAUSE_DURATION
    names = [(stream, writer.name) for stream in (IMAGES, RETRIES) for writer in await _list_writers(client, stream)]
    for stream, name in names:
        await pause_consumer(client, stream, name, until)
    return names


async def _wait_until_settled(client: Client, within: float, *, idle: bool = False) -> int:
    """Wait until all messages delivered to persist are settled, or with `idle`, until it has no message left.

    Return how many are left when the time is over.
    """
    left = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            while left := await _count_left(client, idle=idle):
                raise_if_cancelled()
                await asyncio.sleep(0.05)
    return left


async def _count_left(client: Client, *, idle: bool) -> int:
    writers = await _list_writers(client, IMAGES, (persist.STAGE.name,))
    return sum(writer.unsettled if idle else writer.in_flight for writer in writers)


async def _list_writers(
    client: Client, stream: str, stages: Sequence[str] = (persist.STAGE.name, erase.STAGE.name)
) -> list[Consumer]:
    """List the consumers of these stages by name. So posts come before vectors, whose consumers' names end with the generation."""
    names = tuple(f"{stage}-" for stage in stages)
    return [consumer for consumer in await list_consumers(client, stream) if consumer.name.startswith(names)]


@asynccontextmanager
async def claim_subject(client: Client, subject: str, refusal: str) -> AsyncIterator[None]:
    """Answer on a subject, as the only process.

    Raises MapSeekError with `refusal` if another process answers already, and Unavailable.
    """
    if await has_listener(client, subject):
        raise MapSeekError(refusal)

    async def answer(message: Msg) -> None:
        await message.respond(b"")

    async with subscribe_subject(client, subject, answer):
        yield


@dataclass(frozen=True, slots=True)
class RebuildResult:
    """The result of a rebuild. `unsettled` facts were delivered but not settled: the old catalogue may lack them."""

    comparison: CatalogueComparison
    unsettled: int


async def rebuild_catalogue(client: Client, catalogue: Catalogue, *, verify: bool, progress: ReportPosition) -> RebuildResult:
    """Fill a second catalogue from the log, pause the writers, and compare both at the same position of the log.

    Unless only to `verify`, the new catalogue then replaces the old one. Searches are answered all the time. Raises MapSeekError if
    a rebuild is running already, Unavailable if the log or the catalogue cannot be reached.
    """
    async with claim_subject(client, CATALOGUE_REBUILD_CHECK, _REFUSAL):
        return await _rebuild(client, catalogue, verify=verify, progress=progress)


async def _rebuild(client: Client, catalogue: Catalogue, *, verify: bool, progress: ReportPosition) -> RebuildResult:
    dropped = (await read_generations(client)).dropped
    replacement = await catalogue.create_replacement()
    try:
        filler = CatalogueFiller(client, replacement, dropped, progress)
        for _ in range(2):  # once for everything, once for what was recorded during the first time
            await filler.fill_to(await read_writer_positions(client, settled=True))
        async with pause_writers(client) as (held_at, unsettled):
            await filler.fill_to(held_at)
            await _drop(replacement, (await read_generations(client)).dropped - dropped)
            comparison = await compare_catalogues(catalogue.contents(), replacement.contents())
            if not verify:
                await filler.fill_to(
                    await read_writer_positions(client)
                )  # mostly nothing, except the first messages of a new generation's consumer
                await catalogue.replace_with(replacement)
        if not verify:
            await _drop(catalogue, (await read_generations(client)).dropped - dropped)
    finally:
        await replacement.close()
    return RebuildResult(comparison, unsettled)


async def _drop(catalogue: Catalogue, generations: frozenset[str]) -> None:
    """Drop generations that were dropped during the rebuild."""
    for generation in generations:
        await catalogue.drop_generation(generation)
