"""Chooses and opens the adapters that the stages of a process need, each at most once, and closes them in reverse."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from contracts.errors import MapSeekError, Unavailable
from contracts.ports import Answering, BlobStore, Catalogue, Downloader, ImageEncoder, VectorSearch
from contracts.stage import Stage
from infra.blobs.files import open_blob_store
from infra.discord.answers import WebhookAnswers
from infra.discord.attachments import AttachmentUrls
from infra.http.downloader import open_downloader
from infra.mongo.catalogue import open_mongo_catalogue
from infra.mongo.vectors import open_atlas_search
from infra.nats.journal import JetStreamJournal
from infra.sqlite.catalogue import open_sqlite_catalogue
from pipeline.clock import utc_now
from pipeline.generations import active_generation, generation_for
from pipeline.projections import projected_index
from pipeline.settings import Settings
from stages import download, embed, match, persist, preprocess, reply


class Wiring:
    """The adapters of one process. Every method opens its adapter on the first call and returns the same one afterwards.

    An `encoder` that is given is used in place of the one that the settings name; whoever opened it closes it.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        client: Client,
        journal: JetStreamJournal,
        stack: AsyncExitStack,
        encoder: ImageEncoder | None = None,
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.client = client
        self.journal = journal
        self._stack = stack
        self._opened: dict[str, Any] = {} if encoder is None else {"encoder": encoder}

    async def _once(self, name: str, opening: Callable[[], Awaitable[Any]]) -> Any:
        if name not in self._opened:
            try:
                self._opened[name] = await opening()
            except Unavailable as outage:
                raise MapSeekError(f"The {outage}: start it, or correct its setting.") from None
        return self._opened[name]

    @property
    def opened(self) -> dict[str, Any]:
        """What is open, by name; for readiness."""
        return dict(self._opened)

    async def blobs(self) -> BlobStore:
        async def opening() -> BlobStore:
            return open_blob_store(self.folder / "blobs")

        blobs: BlobStore = await self._once("blobs", opening)
        return blobs

    async def catalogue(self) -> Catalogue:
        async def opening() -> Catalogue:
            catalogue = await open_catalogue(self.settings, self.folder)
            self._stack.push_async_callback(catalogue.close)
            return catalogue

        catalogue: Catalogue = await self._once("catalogue", opening)
        return catalogue

    async def downloader(self) -> Downloader:
        async def opening() -> Downloader:
            token = self.settings.discord_token
            urls = AttachmentUrls(token.get_secret_value()) if token else None
            if urls is not None:
                self._stack.push_async_callback(urls.close)
            downloader = open_downloader(
                origins=self.settings.cdn_origins,
                max_bytes=self.settings.max_file_bytes,
                fresh_url=urls.fresh_url if urls else None,
            )
            return await self._stack.enter_async_context(downloader)

        downloader: Downloader = await self._once("downloader", opening)
        return downloader

    async def encoder(self) -> ImageEncoder:
        async def opening() -> ImageEncoder:
            # Deferred: only a process that embeds pays for importing torch.
            from infra.clip.encoder import open_encoder

            settings = self.settings
            encoder = await open_encoder(
                settings.model,
                settings.pretrained,
                device=settings.device,
                precision=settings.precision,
                batch_size=settings.batch_size,
                batch_wait_ms=settings.batch_wait_ms,
            )
            self._stack.push_async_callback(encoder.close)
            return encoder

        encoder: ImageEncoder = await self._once("encoder", opening)
        return encoder

    async def vectors(self) -> VectorSearch:
        async def opening() -> VectorSearch:
            if self.settings.vectors == "atlas":
                return await self._atlas()
            projected: VectorSearch = await self._stack.enter_async_context(projected_index(self.client, self.folder / "vectors"))
            return projected

        vectors: VectorSearch = await self._once("vectors", opening)
        return vectors

    async def _atlas(self) -> VectorSearch:
        atlas = await open_atlas_search(_mongodb_uri(self.settings), self.settings.mongodb_database)
        self._stack.push_async_callback(atlas.close)
        active = await active_generation(self.client)
        if active is None:
            raise MapSeekError(
                "MongoDB's vector index needs to know the model first: start the embed stage before the match stage."
            )
        await atlas.ensure_index(active.generation, active.dimensions)
        return atlas

    async def answering(self) -> Answering:
        async def opening() -> Answering:
            answers = WebhookAnswers()
            self._stack.push_async_callback(answers.close)
            return answers

        answering: Answering = await self._once("answering", opening)
        return answering

    async def deps(self, stage: Stage[Any]) -> object:
        """The dependencies of a stage."""
        return await _DEPS[stage.name](self)


async def open_catalogue(settings: Settings, folder: Path) -> Catalogue:
    """The catalogue that the settings choose."""
    if settings.catalogue == "mongodb":
        return await open_mongo_catalogue(_mongodb_uri(settings), settings.mongodb_database)
    return await open_sqlite_catalogue(folder / "catalogue.sqlite")


def _mongodb_uri(settings: Settings) -> str:
    if settings.mongodb_uri is None:
        raise MapSeekError("MONGODB_URI is not set, but the settings choose MongoDB: set it, or set MAPSEEK_CATALOGUE=sqlite.")
    return settings.mongodb_uri.get_secret_value()


async def _download(wiring: Wiring) -> download.Deps:
    return download.Deps(await wiring.downloader(), await wiring.blobs())


async def _preprocess(wiring: Wiring) -> preprocess.Deps:
    return preprocess.Deps(await wiring.blobs(), wiring.settings.max_pixels)


async def _embed(wiring: Wiring) -> embed.Deps:
    encoder = await wiring.encoder()
    generation = await generation_for(wiring.client, wiring.journal, encoder.encoder, preprocess.PREPROCESSING)
    return embed.Deps(await wiring.blobs(), encoder, generation)


async def _persist(wiring: Wiring) -> persist.Deps:
    return persist.Deps(await wiring.catalogue())


async def _match(wiring: Wiring) -> match.Deps:
    return match.Deps(await wiring.vectors())


async def _reply(wiring: Wiring) -> reply.Deps:
    return reply.Deps(await wiring.answering(), await wiring.catalogue(), await wiring.blobs(), wiring.journal, utc_now)


_DEPS: dict[str, Callable[[Wiring], Awaitable[object]]] = {
    "download": _download,
    "preprocess": _preprocess,
    "embed": _embed,
    "persist": _persist,
    "match": _match,
    "reply": _reply,
}
