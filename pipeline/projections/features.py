"""The feature index as a projection of the log. It reads the fingerprints from the blob store."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from contracts.errors import BlobMissing, Unavailable
from contracts.events import ImageFingerprinted
from contracts.ports import BlobStore, Candidate
from infra.features.index import FeatureIndex, build_entry, compute_digest
from infra.features.snapshot import load, save
from infra.nats.connection import Client
from pipeline.projections.index import IndexKind, IndexProjection
from pipeline.projections.snapshots import open_projection

log = structlog.get_logger()

FEATURE_INDEX_NAME = "feature index"


def build_feature_kind(blobs: BlobStore) -> IndexKind[FeatureIndex]:
    """Return the kind of the feature index (infra/features).

    It leaves out an image whose fingerprint cannot be read, with a warning.
    """

    async def add(index: FeatureIndex, fact: ImageFingerprinted) -> None:
        if not index.accepts(fact.generation, fact.image_id):
            return
        try:
            data = await blobs.get(fact.fingerprint)
            entry = await asyncio.to_thread(build_entry, fact.fingerprint, fact.hash, fact.quality, data)
        except (BlobMissing, Unavailable, ValueError) as error:
            log.warning("fingerprint_not_indexed", image_id=fact.image_id, blob=fact.fingerprint, error=str(error))
            return
        index.add(fact.guild_id, fact.generation, fact.image_id, fact.audience_channel_id, entry)

    return IndexKind(
        FEATURE_INDEX_NAME, ImageFingerprinted, empty=FeatureIndex, add=add, load=load, save=save, digest=compute_digest
    )


class FeatureProjection(IndexProjection[FeatureIndex]):
    """The FeatureSearch port on the feature index.

    Only `candidates` waits until all that was recorded before is in the index.
    """

    async def candidates(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        return await (await self.wait_until_fresh(guild_id)).candidates(
            guild_id, generation, fingerprint, top=top, channels=channels
        )

    async def find_by_colour(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        return await self._index.find_by_colour(guild_id, generation, fingerprint, top=top, channels=channels)

    async def fingerprints(self, guild_id: str, generation: str, image_ids: Collection[str]) -> Mapping[str, Candidate]:
        return await self._index.fingerprints(guild_id, generation, image_ids)

    async def size(self, guild_id: str, generation: str) -> int:
        return await self._index.size(guild_id, generation)


@asynccontextmanager
async def open_feature_projection(client: Client, folder: Path, blobs: BlobStore) -> AsyncIterator[FeatureProjection]:
    """Open the feature index from its snapshot in `folder`, and keep following the log (see `open_projection`)."""
    async with open_projection(client, build_feature_kind(blobs), folder, FeatureProjection) as index:
        yield index
