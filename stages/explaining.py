"""Gathering what the picture of an explanation is drawn from: the question and the archived image, as they were compared."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from contracts.errors import BlobMissing
from contracts.events import Evidence, ImageFingerprinted, Match, SearchFingerprinted, SearchMatched
from contracts.ports import BlobStore, Document, Journal

Drawing = Callable[[bytes, bytes, bytes, bytes, Evidence], Awaitable[bytes]]
"""Draws a PNG from both pictures (PNG), the question's first, both fingerprints and the evidence. ValueError: one is unreadable."""


@dataclass(frozen=True, slots=True)
class Explaining:
    """The log, where pictures and fingerprints of questions and of the archive lie, and who draws."""

    journal: Journal
    questions: BlobStore
    archive: BlobStore
    drawing: Drawing

    async def __call__(self, found: SearchMatched, match: Match, document: Document) -> bytes | None:
        """The picture of why an archived image was found; None where there is no evidence, or what was compared is gone."""
        asked = await self.journal.fetch(SearchFingerprinted, found.guild_id, found.search_id)
        archived = await self.journal.fetch(ImageFingerprinted, found.guild_id, match.image_id, found.generation)
        media = document.get("media")
        if match.evidence is None or asked is None or archived is None or media is None:
            return None
        try:
            return await self.drawing(
                await self.questions.get(asked.pixels),
                await self.archive.get(media["pixels"]),
                await self.questions.get(asked.fingerprint),
                await self.archive.get(archived.fingerprint),
                match.evidence,
            )
        except (BlobMissing, ValueError):
            return None
