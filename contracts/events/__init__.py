"""Every fact, by family, and the table that finds one by its type name and version."""

from contracts.events.base import DiscordFile, Fact, Person, Source, StoredFile
from contracts.events.generation import GenerationActivated
from contracts.events.image import (
    ImageDownloaded,
    ImageEmbedded,
    ImageFact,
    ImageIndexed,
    ImagePosted,
    ImagePreprocessed,
    ImageRejected,
    ImageRemoved,
)
from contracts.events.search import (
    Calibration,
    DiscordReply,
    LocalReply,
    Match,
    Question,
    SearchAnswered,
    SearchDownloaded,
    SearchEmbedded,
    SearchFact,
    SearchMatched,
    SearchPreprocessed,
    SearchRejected,
    SearchRequested,
    Verdict,
)

FACTS: dict[str, type[Fact]] = {
    fact.type_name(): fact
    for fact in (
        ImagePosted,
        ImageDownloaded,
        ImagePreprocessed,
        ImageEmbedded,
        ImageIndexed,
        ImageRejected,
        ImageRemoved,
        SearchRequested,
        SearchDownloaded,
        SearchPreprocessed,
        SearchEmbedded,
        SearchMatched,
        SearchRejected,
        SearchAnswered,
        GenerationActivated,
    )
}
"""The current version of every fact, by type name."""

__all__ = [
    "FACTS",
    "Calibration",
    "DiscordFile",
    "DiscordReply",
    "Fact",
    "GenerationActivated",
    "ImageDownloaded",
    "ImageEmbedded",
    "ImageFact",
    "ImageIndexed",
    "ImagePosted",
    "ImagePreprocessed",
    "ImageRejected",
    "ImageRemoved",
    "LocalReply",
    "Match",
    "Person",
    "Question",
    "SearchAnswered",
    "SearchDownloaded",
    "SearchEmbedded",
    "SearchFact",
    "SearchMatched",
    "SearchPreprocessed",
    "SearchRejected",
    "SearchRequested",
    "Source",
    "StoredFile",
    "Verdict",
]
