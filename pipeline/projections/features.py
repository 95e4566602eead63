"""The index of local features that follows the log, which reads the fingerprints from the blob store."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from contracts.errors import BlobMissing, Unavailable
from contracts.events import ImageFingerprinted
from contracts.ports import BlobStore, Candidate
from infra.features.index import FeatureIndex, digest_of, entry_of
from infra.features.snapshot import load, save
from infra.nats.connection import Client
from pipeline.projections.index import Kind, Projected
from pipeline.projections.snapshots import opened

log = structlog.get_logger()

FEATURES = "index of features"


def features(blobs: BlobStore) -> Kind[FeatureIndex]:
    """The index of local features (infra/features). An image whose fingerprint cannot be read is left out, with a warning."""

    async def add(index: FeatureIndex, fact: ImageFingerprinted) -> None:
        if not index.awaits(fact.generation, fact.image_id):
            return
        try:
            data = await blobs.get(fact.fingerprint)
            entry = await asyncio.to_thread(entry_of, fact.fingerprint, fact.hash, fact.quality, data)
        except (BlobMissing, Unavailable, ValueError) as error:
            log.warning("a fingerprint is left out of the index", image=fact.image_id, blob=fact.fingerprint, reason=str(error))
            return
        index.add(fact.guild_id, fact.generation, fact.image_id, fact.audience, entry)

    return Kind(FEATURES, ImageFingerprinted, empty=FeatureIndex, add=add, load=load, save=save, digest=digest_of)


class ProjectedFeatures(Projected[FeatureIndex]):
    """The FeatureSearch port over the index of features; `candidates` waits for every fingerprint recorded before, and it alone."""

    async def candidates(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        return await (await self.fresh(guild_id)).candidates(guild_id, generation, fingerprint, top=top, channels=channels)

    async def coloured(
        self, guild_id: str, generation: str, fingerprint: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Candidate]:
        return await self._index.coloured(guild_id, generation, fingerprint, top=top, channels=channels)

    async def fingerprints(self, guild_id: str, generation: str, image_ids: Collection[str]) -> Mapping[str, Candidate]:
        return await self._index.fingerprints(guild_id, generation, image_ids)

    async def size(self, guild_id: str, generation: str) -> int:
        return await self._index.size(guild_id, generation)


@asynccontextmanager
async def projected_features(client: Client, folder: Path, blobs: BlobStore) -> AsyncIterator[ProjectedFeatures]:
    """The index of features, followed from its snapshot in `folder` (see pipeline/projections/snapshots.py)."""
    async with opened(client, features(blobs), folder, ProjectedFeatures) as index:
        yield index
