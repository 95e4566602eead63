"""The container of a process, which opens the adapters that its stages need, each at most once, and closes them in reverse order.

Also the daily sweep of old query pictures, and the figures of an archive that `/archive status` shows to managers.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from contracts.errors import BlobMissing, MapSeekError, Unavailable
from contracts.events import AlertSet, SearchJudged
from contracts.generations import Generation
from contracts.ports import (
    Alerts,
    AnswerSender,
    BlobStore,
    Catalogue,
    Downloader,
    FeatureSearch,
    ImageEncoder,
    Notifier,
    Overview,
    PictureFingerprinter,
    PictureWorkers,
    StageBacklog,
    StateStore,
    VectorSearch,
)
from contracts.stage import Stage
from contracts.subjects import FAILURES, MESSAGE, RECORD, SEARCHES, failure_subject, kind_filter, stream_of
from infra.blobs.files import FileBlobStore, open_blob_store
from infra.discord.answers.webhook import WebhookAnswers
from infra.discord.rest.client import AttachmentUrls, RestClient
from infra.discord.rest.notices import DiscordNotices
from infra.discord.rest.rate_limit import RequestBudget
from infra.discord.services import GatewayPorts
from infra.http.downloader import open_downloader
from infra.mongo.catalogue import open_mongo_catalogue
from infra.mongo.vectors import AtlasSearch, open_atlas_search
from infra.nats.connection import Client
from infra.nats.journal import JetStreamJournal
from infra.nats.projections import FollowedGenerations, follow_answers, open_alerts, open_generations
from infra.nats.reader import LogPosts, count_on_subjects, decode_entry_or_warn, read_entries
from infra.nats.state import open_state
from infra.sqlite.catalogue import open_sqlite_catalogue
from infra.tasks import cancel_tasks, raise_if_cancelled
from pipeline.clock import utc_now
from pipeline.engine.job import Policy
from pipeline.engine.registry import STAGES
from pipeline.engine.topology import STREAM_RETENTION
from pipeline.engine.unreadable import UnreadableLetters
from pipeline.generations.encoders import Encoders
from pipeline.monitoring.status import StageStatus, read_status
from pipeline.projections.snapshots import open_vector_projection
from pipeline.settings import Settings
from stages.canonical_image import make_thumbnail

if TYPE_CHECKING:
    from infra.vision.workers import WorkerProcesses

log = structlog.get_logger()

SWEEP_INTERVAL_S = timedelta(days=1).total_seconds()
QUERY_PICTURE_AGE_S = (STREAM_RETENTION[SEARCHES] + timedelta(hours=1)).total_seconds()
"""The age at which the log has dropped a query: its picture is stored when the member asks. The hour allows for
clocks that differ."""


MIN_QUERY_WORKERS = 4
ARCHIVE_NICENESS = 5

WALL_TIME_FACTOR = 4
"""A worker may take this much longer than its CPU time, since other work may have the processor."""

WORKER_BYTES, WORKER_BYTES_PER_PIXEL = 256 * 1024**2, 24
"""The memory that a worker may have: pixels of the largest picture in four bytes, copied five times on the way."""


async def sweep_query_pictures(client: Client, query_blobs: FileBlobStore, age_s: float = QUERY_PICTURE_AGE_S) -> int:
    """Delete the pictures of queries that the log has dropped. Return the number of deleted pictures. Raises Unavailable."""
    old = await find_old_query_pictures(client, query_blobs, age_s)
    for name in old:
        await query_blobs.delete(name)
    return len(old)


async def find_old_query_pictures(client: Client, query_blobs: FileBlobStore, age_s: float = QUERY_PICTURE_AGE_S) -> set[str]:
    """Return the pictures of queries that the log has dropped, without those that a vote or an alert still needs.

    Raises Unavailable.
    """
    old = set(await query_blobs.list_untouched_since(age_s))
    return old - await _list_needed(client) if old else old


async def _list_needed(client: Client) -> set[str]:
    """Return the pictures that votes (the evaluation set) and alerts still need."""
    kept: set[str] = set()
    for kind in (SearchJudged, AlertSet):
        async with aclosing(read_entries(client, stream_of(kind), kind_filter(kind))) as entries:
            async for entry in entries:
                recorded = decode_entry_or_warn(entry)
                if recorded is not None and isinstance(fact := recorded.fact, SearchJudged | AlertSet) and fact.pixels:
                    kept.add(fact.pixels)
    return kept


async def sweep_every_day(client: Client, query_blobs: FileBlobStore) -> None:
    """Sweep now and then every day. After an outage, try again the next day."""
    while True:
        try:
            count = await sweep_query_pictures(client, query_blobs)
            log.info("query_pictures_deleted", count=count)
        except Unavailable as outage:
            log.warning("query_pictures_not_deleted", error=str(outage))
        raise_if_cancelled()
        await asyncio.sleep(SWEEP_INTERVAL_S)


class ArchiveOverviewReader:
    """The OverviewReader port: counts images in the catalogue, measures the blob folder, and reads the backlogs from the log."""

    def __init__(self, client: Client, stages: Sequence[Stage[Any]], catalogue: Catalogue, blobs: Path) -> None:
        self._client = client
        self._stages = stages
        self._catalogue = catalogue
        self._blobs = blobs

    async def read_overview(self, guild_id: str) -> Overview:
        stages = await read_status(self._client, self._stages, sample_s=0)
        return Overview(
            images=await self._catalogue.count(guild_id),
            stored_bytes=await asyncio.to_thread(_measure_size, self._blobs),
            backlogs=_sum_backlogs(stages),
            unreadable=await count_on_subjects(self._client, FAILURES, failure_subject(RECORD, MESSAGE, "*", guild_id=guild_id)),
        )


def _sum_backlogs(stages: Sequence[StageStatus]) -> list[StageBacklog]:
    """Add up what each stage still has to do in each lane, over all generations."""
    backlogs: dict[tuple[str, str], StageBacklog] = {}
    for each in stages:
        before = backlogs.get((each.stage, each.lane), StageBacklog(each.stage, each.lane, 0, 0))
        pending = before.pending + each.pending + each.in_flight
        backlogs[each.stage, each.lane] = StageBacklog(each.stage, each.lane, pending, before.failures + each.dead_letters)
    return list(backlogs.values())


def _measure_size(folder: Path) -> int:
    """Return the total size in bytes of all files below a folder."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a temporary file, or one that was deleted just now
            total += file.stat().st_size if file.is_file() else 0
    return total


class Container:
    """The adapters of one process. Every method opens its adapter at the first call, and returns the same one afterwards.

    `encoders` are used for the generations that they fit, and the first one for the first generation. The caller closes them.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        client: Client,
        journal: JetStreamJournal,
        stack: AsyncExitStack,
        encoders: Sequence[ImageEncoder] = (),
        policy: Policy | None = None,
    ) -> None:
        self.settings = settings
        self.policy = policy or Policy()
        self.folder = folder
        self.client = client
        self.journal = journal
        self._stack = stack
        self.encoders = Encoders(settings, encoders)
        stack.push_async_callback(self.encoders.close_all)
        self._opened: dict[str, Any] = {}

    async def _once(self, name: str, open_adapter: Callable[[], Awaitable[Any]]) -> Any:
        if name not in self._opened:
            try:
                self._opened[name] = await open_adapter()
            except Unavailable as outage:
                raise MapSeekError(f"The {outage}: start it, or correct its setting.") from None
        return self._opened[name]

    @property
    def opened(self) -> dict[str, Any]:
        """The open adapters by name, for readiness."""
        return dict(self._opened)

    async def blobs(self, *, writes: bool = True) -> BlobStore:
        """The blob store of the archive. A stage that only reads it works on a read-only folder too."""

        async def open_adapter() -> BlobStore:
            return open_blob_store(self.folder / "blobs", writes=writes)

        blobs: BlobStore = await self._once("blobs" if writes else "blobs, read only", open_adapter)
        return blobs

    async def query_blobs(self, *, writes: bool = True) -> FileBlobStore:
        """The blob store of query pictures, which are kept as long as their queries. A process that writes it also sweeps it."""

        async def open_adapter() -> FileBlobStore:
            query_blobs = open_blob_store(self.folder / "questions", writes=writes)
            if not writes:
                return query_blobs
            sweeper = asyncio.create_task(sweep_every_day(self.client, query_blobs), name="sweep")
            self._stack.push_async_callback(cancel_tasks, sweeper)
            return query_blobs

        query_blobs: FileBlobStore = await self._once("questions" if writes else "questions, read only", open_adapter)
        return query_blobs

    async def catalogue(self) -> Catalogue:
        async def open_adapter() -> Catalogue:
            catalogue = await open_catalogue(self.settings, self.folder)
            self._stack.push_async_callback(catalogue.close)
            return catalogue

        catalogue: Catalogue = await self._once("catalogue", open_adapter)
        return catalogue

    async def budget(self) -> RequestBudget:
        """The budget of requests to Discord, which all processes share."""

        async def open_adapter() -> RequestBudget:
            return RequestBudget(await self.state())

        budget: RequestBudget = await self._once("budget", open_adapter)
        return budget

    async def rest(self) -> RestClient:
        """Discord's REST API with the bot's token. It sends no request before the first use."""

        async def open_adapter() -> RestClient:
            token = self.settings.discord_token
            rest = RestClient(token.get_secret_value() if token else "", await self.budget())
            self._stack.push_async_callback(rest.close)
            return rest

        rest: RestClient = await self._once("rest", open_adapter)
        return rest

    async def downloader(self) -> Downloader:
        async def open_adapter() -> Downloader:
            downloader = open_downloader(
                origins=self.settings.cdn_origins,
                max_bytes=self.settings.max_file_bytes,
                fresh_url=AttachmentUrls(await self.rest()).fresh_url if self.settings.discord_token else None,
            )
            return await self._stack.enter_async_context(downloader)

        downloader: Downloader = await self._once("downloader", open_adapter)
        return downloader

    async def generations(self) -> FollowedGenerations:
        """The generations, which follow the log."""

        async def open_adapter() -> FollowedGenerations:
            return await self._stack.enter_async_context(open_generations(self.client))

        generations: FollowedGenerations = await self._once("generations", open_adapter)
        return generations

    async def encoder(self) -> ImageEncoder:
        """The encoder of the active generation. Raises MapSeekError if there is none yet."""
        active = (await self.generations()).now.active
        if active is None:
            raise MapSeekError("This archive has no model yet: start the embed stage first.")
        return await self.encoders.open(active)

    async def query_workers(self) -> PictureWorkers:
        """The worker processes for queries. There are at least MIN_QUERY_WORKERS, so that a slow query leaves some for others."""
        return await self._open_workers("query workers", max(MIN_QUERY_WORKERS, os.cpu_count() or 1), 0)

    async def archive_workers(self) -> PictureWorkers:
        """The worker processes for archived pictures, one for each core. They give way to those for queries."""
        return await self._open_workers("archive workers", os.cpu_count() or 1, ARCHIVE_NICENESS)

    async def _open_workers(self, name: str, number: int, niceness: int) -> PictureWorkers:
        async def open_adapter() -> PictureWorkers:
            workers = start_workers(self.settings, number, niceness)
            self._stack.push_async_callback(workers.close)
            return workers

        workers: PictureWorkers = await self._once(name, open_adapter)
        return workers

    async def workers(self, family: str) -> PictureWorkers:
        """The worker processes of a lane."""
        return await (self.query_workers() if family == "search" else self.archive_workers())

    async def fingerprinter(self, family: str) -> PictureFingerprinter:
        """The fingerprinter of a lane."""
        # Imported here: only a process that analyses pictures needs OpenCV.
        from infra.vision.fingerprint import Fingerprinter

        return Fingerprinter(await self.workers(family))

    async def vectors(self) -> VectorSearch:
        async def open_adapter() -> VectorSearch:
            if self.settings.vectors == "atlas":
                return await self._atlas()
            projected: VectorSearch = await self._stack.enter_async_context(
                open_vector_projection(self.client, self.folder / "vectors")
            )
            return projected

        vectors: VectorSearch = await self._once("vectors", open_adapter)
        return vectors

    async def features(self) -> FeatureSearch:
        async def open_adapter() -> FeatureSearch:
            # Imported here: only a process that analyses pictures needs OpenCV.
            from pipeline.projections.features import open_feature_projection

            opened = open_feature_projection(self.client, self.folder / "features", await self.blobs(writes=False))
            features: FeatureSearch = await self._stack.enter_async_context(opened)
            return features

        features: FeatureSearch = await self._once("features", open_adapter)
        return features

    async def _atlas(self) -> VectorSearch:
        atlas = await open_atlas_search(_mongodb_uri(self.settings), self.settings.mongodb_database)
        self._stack.push_async_callback(atlas.close)
        return atlas

    async def ensure_vector_index(self, generation: Generation) -> None:
        """Create the server's index of a generation's vectors, if a server searches them, before the first search needs it."""
        vectors = self._opened.get("vectors")
        if isinstance(vectors, AtlasSearch):
            await vectors.ensure_index(generation.name, generation.dimensions)

    async def drop_vector_index(self, generation: str) -> None:
        """Delete the server's index of a dropped generation's vectors, if there is one: the server allows only a few."""
        if self.settings.vectors == "atlas" and isinstance(vectors := await self.vectors(), AtlasSearch):
            await vectors.drop_index(generation)

    async def state(self) -> StateStore:
        async def open_adapter() -> StateStore:
            return await open_state(self.client)

        state: StateStore = await self._once("state", open_adapter)
        return state

    async def alerts(self) -> Alerts:
        async def open_adapter() -> Alerts:
            return await self._stack.enter_async_context(open_alerts(self.client))

        alerts: Alerts = await self._once("alerts", open_adapter)
        return alerts

    async def read_query_thumbnail(self, pixels: str) -> bytes | None:
        """Return a query picture as a small WebP, None if it is deleted. Raises Unavailable."""
        try:
            data = await (await self.query_blobs(writes=False)).get(pixels)
        except BlobMissing:
            return None
        return await (await self.query_workers()).run(make_thumbnail, data)

    async def gateway_ports(self, on_unreadable: Callable[[], None]) -> GatewayPorts:
        """The ports of the Discord gateway. `on_unreadable` is called for each message that cannot be read."""
        overseer = ArchiveOverviewReader(self.client, STAGES, await self.catalogue(), self.folder / "blobs")
        await self.query_blobs(writes=False)
        return GatewayPorts(
            journal=self.journal,
            state=await self.state(),
            posts=LogPosts(self.client),
            alerts=await self.alerts(),
            overviews=overseer,
            now=utc_now,
            follow_answers=lambda: follow_answers(self.client),
            alert_thumbnail=lambda alert: self.read_query_thumbnail(alert.pixels),
            unreadable_messages=UnreadableLetters(self.client, self.journal, on_unreadable),
        )

    async def answer_sender(self) -> AnswerSender:
        async def open_adapter() -> AnswerSender:
            answers = WebhookAnswers(await self.budget())
            self._stack.push_async_callback(answers.close)
            return answers

        answer_sender: AnswerSender = await self._once("answering", open_adapter)
        return answer_sender

    async def notifier(self) -> Notifier:
        async def open_adapter() -> Notifier:
            return DiscordNotices(await self.rest())

        notifier: Notifier = await self._once("notifying", open_adapter)
        return notifier


def start_workers(settings: Settings, number: int, niceness: int = 0) -> "WorkerProcesses":
    """Start so many worker processes for pictures, with the limits that follow from the settings. The caller closes them."""
    # Imported here: a process that works on no pictures needs no worker processes.
    from infra.vision.workers import WorkerLimits, WorkerProcesses

    memory = WORKER_BYTES + WORKER_BYTES_PER_PIXEL * settings.max_pixels
    return WorkerProcesses(
        number, WorkerLimits(settings.max_cpu_s, WALL_TIME_FACTOR * settings.max_cpu_s, memory), niceness=niceness
    )


async def open_catalogue(settings: Settings, folder: Path) -> Catalogue:
    """Open the catalogue that the settings choose."""
    if settings.catalogue == "mongodb":
        return await open_mongo_catalogue(_mongodb_uri(settings), settings.mongodb_database)
    return await open_sqlite_catalogue(folder / "catalogue.sqlite")


def _mongodb_uri(settings: Settings) -> str:
    if settings.mongodb_uri is None:
        raise MapSeekError("MONGODB_URI is not set, but the settings choose MongoDB: set it, or set MAPSEEK_CATALOGUE=sqlite.")
    return settings.mongodb_uri.get_secret_value()
