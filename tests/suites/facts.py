"""Facts to test with."""

from datetime import UTC, datetime

from contracts.errors import RejectCode
from contracts.events import (
    Calibration,
    GenerationActivated,
    ImageDownloaded,
    ImageEmbedded,
    ImageIndexed,
    ImagePosted,
    ImagePreprocessed,
    ImageRejected,
    ImageRemoved,
    LocalReply,
    Match,
    Person,
    Question,
    SearchAnswered,
    SearchDownloaded,
    SearchEmbedded,
    SearchMatched,
    SearchPreprocessed,
    SearchRejected,
    SearchRequested,
    StoredFile,
)
from contracts.events.base import Fact

MOMENT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BLOB = "ab" * 32
VECTOR = b"\x00\x00\x80\x3f" + bytes(12)
IMAGE = {"guild_id": "7", "channel_id": "8", "image_id": "9"}
QUESTION = Question(asker=Person(id="5", name="Alex"), requested_at=MOMENT, reply=LocalReply())
SEARCH = {"guild_id": "7", "search_id": "11", "question": QUESTION}


def posted(image_id: str = "9", guild_id: str = "7") -> ImagePosted:
    return ImagePosted(
        guild_id=guild_id,
        channel_id="8",
        image_id=image_id,
        message_id="10",
        author=Person(id="5", name="Steve"),
        posted_at=MOMENT,
        filename="dragon.png",
        message_link="https://discord.com/channels/7/8/10",
        source=StoredFile(blob=BLOB),
        content_type="image/png",
        size=1234,
        width=128,
        height=128,
    )


def requested(search_id: str = "11") -> SearchRequested:
    return SearchRequested(guild_id="7", search_id=search_id, question=QUESTION, filename="q.png", source=StoredFile(blob=BLOB))


def one_of_each() -> list[Fact]:
    """Every kind of fact, with every field that has no default."""
    return [
        posted(),
        ImageDownloaded(**IMAGE, blob=BLOB, size=1234),
        ImagePreprocessed(**IMAGE, pixels=BLOB, thumbnail=BLOB, width=128, height=128, format="PNG", preprocessing="p1"),
        ImageEmbedded(**IMAGE, generation="g1", vector=VECTOR),
        ImageIndexed(**IMAGE, generation="g1"),
        ImageRejected(**IMAGE, stage="download", code=RejectCode.GONE, reason="The message is gone."),
        ImageRemoved(**IMAGE, removed_at=MOMENT, cause="deleted"),
        requested(),
        SearchDownloaded(**SEARCH, blob=BLOB, size=1234),
        SearchPreprocessed(**SEARCH, pixels=BLOB, width=128, height=128, preprocessing="p1"),
        SearchEmbedded(
            **SEARCH, generation="g1", vector=VECTOR, calibration=Calibration(match_at=0.9, possible_at=0.8), trained=True
        ),
        SearchMatched(**SEARCH, generation="g1", verdict="match", matches=(Match(image_id="9", score=0.97),), trained=True),
        SearchRejected(**SEARCH, stage="preprocess", code=RejectCode.DAMAGED, reason="The file is damaged."),
        SearchAnswered(**SEARCH, verdict="match", outcome="local"),
        GenerationActivated(number=1, generation="g1", encoder="e", digest="d", preprocessing="p1", dimensions=4),
    ]
