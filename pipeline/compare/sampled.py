"""Archived pictures, changed as pictures are on their way through chats: the answer to each is known without asking anybody."""

import asyncio
import hashlib
import heapq
from collections.abc import Callable
from io import BytesIO

from PIL import Image

from contracts.errors import BlobMissing
from contracts.ports import BlobStore, Catalogue, CatalogueEntry
from infra.vision.distortions import brightness, crop, reencode
from pipeline.compare.queries import Query
from stages.canonical_image import as_png

DISTORTIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG quality 40": lambda image: reencode(image, 40),
    "cropped by 10 %": lambda image: crop(image, 0.1, anchor=(0.2, 0.8)),
    "25 % darker": lambda image: brightness(image, 0.75),
}
"""They take turns. The crop takes more from one side than from the other, as a hand does."""


async def sampled_queries(number: int, blobs: BlobStore, questions: BlobStore, catalogue: Catalogue) -> list[Query]:
    """So many archived pictures, the same ones each time; the changed ones are put in the store of questions.

    Other posts of the same piece are right answers as well. Pictures whose blob is lost are left out.
    """
    chosen = await _chosen(number, catalogue) if number else []
    pieces: dict[str, set[str]] = {_piece(entry): set() for entry in chosen}
    copies: dict[str, set[str]] = {entry.document["media"]["pixels"]: set() for entry in chosen}
    async for entry in catalogue.scan():
        for alike, key in ((pieces, _piece(entry)), (copies, entry.document.get("media", {}).get("pixels", ""))):
            if key in alike:
                alike[key].add(entry.image_id)
    queries = []
    for turn, entry in enumerate(chosen):
        how = list(DISTORTIONS)[turn % len(DISTORTIONS)]
        media, metadata = entry.document["media"], entry.document["metadata"]
        try:
            png = await blobs.get(media["pixels"])
        except BlobMissing:
            continue
        queries.append(
            Query(
                name=f"{metadata['filename']}, {how}",
                kind=f"sample, {how}",
                guild_id=metadata["guild_id"],
                picture=await questions.put(await asyncio.to_thread(_distorted, png, how)),
                expected=frozenset(pieces[_piece(entry)] | copies[media["pixels"]]),
            )
        )
    return queries


async def _chosen(number: int, catalogue: Catalogue) -> list[CatalogueEntry]:
    """Those whose ids have the least digests: as good as chance, but the same each time."""
    least: list[tuple[int, str, CatalogueEntry]] = []
    async for entry in catalogue.scan():
        if "media" in entry.document and "metadata" in entry.document:
            digest = int.from_bytes(hashlib.sha256(entry.image_id.encode()).digest())
            put = heapq.heappush if len(least) < number else heapq.heappushpop
            put(least, (-digest, entry.image_id, entry))
    return [entry for _, _, entry in sorted(least, reverse=True)]


def _piece(entry: CatalogueEntry) -> str:
    """The first post of the piece, as far as the archive has seen that it is one."""
    repost: dict[str, str] = entry.document.get("repost_of", {})
    return repost.get("image_id", entry.image_id)


def _distorted(png: bytes, how: str) -> bytes:
    return as_png(DISTORTIONS[how](Image.open(BytesIO(png)).convert("RGB")))
