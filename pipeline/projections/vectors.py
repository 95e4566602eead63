"""The vector index as a projection of the log."""

from collections.abc import Collection, Sequence

from contracts.events import ImageEmbedded
from contracts.ports import Neighbour
from infra.vectors.index import EmbeddedIndex, compute_digest
from infra.vectors.snapshot import load, save
from pipeline.projections.index import IndexKind, IndexProjection


async def _add(index: EmbeddedIndex, fact: ImageEmbedded) -> None:
    index.add(fact.guild_id, fact.generation, fact.image_id, fact.audience_channel_id, fact.vector)


VECTOR_INDEX_KIND = IndexKind(
    "vector index", ImageEmbedded, empty=lambda _: EmbeddedIndex(), add=_add, load=load, save=save, digest=compute_digest
)
"""The kind of the embedded vector index (infra/vectors)."""


class VectorProjection(IndexProjection[EmbeddedIndex]):
    """The VectorSearch port on the embedded index. A search sees all that was recorded before it."""

    def count(self, generation: str) -> int:
        """Return how many images have a vector of a generation."""
        return sum(len(shard) for (_, name), shard in self._index.shards.items() if name == generation)

    async def search(
        self, guild_id: str, generation: str, vector: bytes, *, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        return await (await self.wait_until_fresh(guild_id)).search(guild_id, generation, vector, top=top, channels=channels)

    async def find_similar(
        self, guild_id: str, generation: str, image_id: str, *, at_least: float, top: int, channels: Collection[str] | None
    ) -> Sequence[Neighbour]:
        index = await self.wait_until_fresh(guild_id)
        return await index.find_similar(guild_id, generation, image_id, at_least=at_least, top=top, channels=channels)
