"""Example facts for tests."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contracts.errors import RejectCode
from contracts.events import (
    AlertCancelled,
    AlertDelivered,
    AlertEmbedded,
    AlertRequested,
    AlertSet,
    AlertTriggered,
    AttemptFailed,
    Calibration,
    GenerationActivated,
    GenerationDropped,
    GenerationStarted,
    ImageDownloaded,
    ImageEmbedded,
    ImageFingerprinted,
    ImageHidden,
    ImageIndexed,
    ImagePosted,
    ImagePreprocessed,
    ImageRejected,
    ImageRemoved,
    ImageReposted,
    ImageResurfaced,
    ImageShown,
    LocalReply,
    Match,
    MessageBuried,
    MessageDiscarded,
    MessageRequeued,
    Person,
    Question,
    RemovalRequested,
    SearchAnswered,
    SearchBrowsed,
    SearchDescribed,
    SearchDownloaded,
    SearchEmbedded,
    SearchFingerprinted,
    SearchJudged,
    SearchMatched,
    SearchPreprocessed,
    SearchRejected,
    SearchRequested,
    SearchVoted,
    StoredFile,
)
from contracts.events.base import Fact

MOMENT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BLOB = "ab" * 32
VECTOR = b"\x00\x00\x80\x3f" + bytes(12)
PLACE = (0.1, 0.2, 0.8, 0.1, 0.9, 0.9, 0.05, 1.02)
IMAGE = {"guild_id": "7", "channel_id": "8", "image_id": "9"}
ALEX = Person(id="5", name="Alex")
QUESTION = Question(asker=ALEX, requested_at=MOMENT, reply=LocalReply())
PRESS = {"guild_id": "7", "search_id": "11", "interaction_id": "12"}
ALERT = {"guild_id": "7", "alert_id": "13", "person": ALEX}
SEARCH = {"guild_id": "7", "search_id": "11", "question": QUESTION}


INCIDENT: dict[str, Any] = {
    "guild_id": "7",
    "entity_id": "9",
    "lane": "image",
    "stage": "embed",
    "consumer": "embed-image-g2",
    "generation": "g2",
    "sequence": 12,
    "happened_at": MOMENT,
    "process": "mapseek/host/1",
}

TINY_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 32, "width": 64, "head_width": 64, "layers": 1},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 1},
}


def founding_facts(name: str = "g1", number: int = 1, **about: Any) -> tuple[GenerationStarted, GenerationActivated]:
    """Return the facts of a generation that is started and then activated."""
    about = {"generation": name, "encoder": "e", "digest": "d", "preprocessing": "p1", "dimensions": 4} | about
    started = GenerationStarted(**about, model="m", precision="fp32", started_at=MOMENT)
    return started, GenerationActivated(number=number, **about)


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


def example_facts() -> list[Fact]:
    """Return one fact of every type, with every field that has no default."""
    return [
        posted(),
        ImageDownloaded(**IMAGE, blob=BLOB, size=1234),
        ImagePreprocessed(**IMAGE, pixels=BLOB, thumbnail=BLOB, width=128, height=128, format="PNG", preprocessing="p1"),
        ImageEmbedded(**IMAGE, generation="g1", vector=VECTOR),
        ImageFingerprinted(**IMAGE, generation="g1", method="f1", fingerprint=BLOB, hash=BLOB, quality=100, features=412),
        ImageIndexed(**IMAGE, generation="g1"),
        ImageRejected(**IMAGE, stage="download", code=RejectCode.GONE, reason="The message is gone."),
        ImageReposted(**IMAGE, generation="g1", same_as="3", score=0.98),
        ImageHidden(**IMAGE, message_id="10", turn=1, hidden_at=MOMENT),
        ImageShown(**IMAGE, message_id="10", turn=1, shown_at=MOMENT),
        ImageRemoved(**IMAGE, message_id="10", removed_at=MOMENT, cause="deleted"),
        ImageResurfaced(**IMAGE, late="embedded"),
        requested(),
        SearchDescribed(**SEARCH, words="a red dragon"),
        SearchDownloaded(**SEARCH, blob=BLOB, size=1234),
        SearchPreprocessed(**SEARCH, pixels=BLOB, width=128, height=128, preprocessing="p1"),
        SearchFingerprinted(
            **SEARCH, pixels=BLOB, width=128, height=128, preprocessing="p1", method="f1", fingerprint=BLOB, places=(PLACE,)
        ),
        SearchEmbedded(
            **SEARCH, generation="g1", vector=VECTOR, calibration=Calibration(match_at=0.9, possible_at=0.8), trained=True
        ),
        SearchMatched(**SEARCH, generation="g1", verdict="match", matches=(Match(image_id="9", score=0.97),), trained=True),
        SearchRejected(**SEARCH, stage="preprocess", code=RejectCode.DAMAGED, reason="The file is damaged."),
        SearchAnswered(**SEARCH, verdict="match", outcome="local"),
        SearchBrowsed(**PRESS, question=QUESTION),
        SearchVoted(**PRESS, image_id="9", right=True, voter=ALEX, voted_at=MOMENT),
        SearchJudged(
            **PRESS, image_id="9", right=True, voter_id="5", judged_at=MOMENT, generation="g1", score=0.97, pixels=BLOB, words=None
        ),
        AlertRequested(**ALERT, search_id="11", channel_id="8", locale="de", age_restricted=False, requested_at=MOMENT),
        AlertSet(
            **ALERT,
            channel_id="8",
            locale="de",
            age_restricted=False,
            requested_at=MOMENT,
            pixels=BLOB,
            generation="g1",
            vector=VECTOR,
            calibration=Calibration(match_at=0.9, possible_at=0.8),
        ),
        AlertTriggered(**ALERT, image_id="9", score=0.97, channel_id="8", locale="de", age_restricted=False),
        AlertDelivered(**ALERT, image_id="9", outcome="direct"),
        AlertCancelled(**ALERT, cancelled_at=MOMENT),
        RemovalRequested(guild_id="7", removal_id="deleted-10", scope="message", target="10", cause="deleted", requested_at=MOMENT),
        AlertEmbedded(**ALERT, generation="g2", vector=VECTOR, calibration=Calibration(match_at=0.9, possible_at=0.8)),
        GenerationActivated(number=1, generation="g1", encoder="e", digest="d", preprocessing="p1", dimensions=4),
        GenerationStarted(
            generation="g2",
            encoder="e2",
            digest="d2",
            preprocessing="p1",
            dimensions=4,
            model="ViT-B-32",
            pretrained="laion2b_s34b_b79k",
            precision="fp32",
            started_at=MOMENT,
        ),
        GenerationDropped(generation="g1"),
        AttemptFailed(**INCIDENT, attempt=1, reason="the CDN answered 503", delay_s=2.0),
        MessageBuried(**INCIDENT, attempt=5, cause="exhausted", reason="the CDN answered 503"),
        MessageRequeued(**INCIDENT, attempt=5),
        MessageDiscarded(**INCIDENT, attempt=5),
    ]


def save_tiny_model(folder: Path, name: str) -> Path:
    """Save a tiny model, always the same, and register its name with open_clip in this process. Return the checkpoint."""
    import torch

    from infra.clip.loading import open_clip

    (folder / f"{name}.json").write_text(json.dumps(TINY_CONFIG))
    open_clip.add_model_config(folder)
    torch.manual_seed(2)
    checkpoint = folder / f"{name}.pt"
    torch.save(open_clip.create_model(name).state_dict(), checkpoint)
    return checkpoint
