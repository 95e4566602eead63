"""What a comparison reads: the archive, and the store of what people ask with, to which it adds its own questions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.ports import BlobStore, Catalogue, FeatureSearch
from infra.blobs.files import open_blob_store
from infra.nats.connection import Client
from pipeline.container import open_catalogue
from pipeline.index.features import projected_features
from pipeline.index.opening import projected_index
from pipeline.index.projected import ProjectedIndex
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Archive:
    """The open archive. `questions` keeps a picture for a week after it was last asked with."""

    client: Client
    catalogue: Catalogue
    blobs: BlobStore
    questions: BlobStore
    vectors: ProjectedIndex
    features: FeatureSearch


@asynccontextmanager
async def open_archive(client: Client, settings: Settings, folder: Path) -> AsyncIterator[Archive]:
    """Open what lies in the data folder, beside whoever works on it."""
    catalogue = await open_catalogue(settings, folder)
    try:
        blobs, questions = open_blob_store(folder / "blobs"), open_blob_store(folder / "questions")
        async with (
            projected_index(client, folder / "vectors") as vectors,
            projected_features(client, folder / "features", blobs) as features,
        ):
            yield Archive(client, catalogue, blobs, questions, vectors, features)
    finally:
        await catalogue.close()
