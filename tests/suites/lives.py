"""What happens in an installation that is backed up: images, failures, votes, alerts, removals. No stage is at work."""

from datetime import timedelta
from typing import Any

from contracts.events import (
    AlertSet,
    AttemptFailed,
    Calibration,
    Fact,
    ImageDownloaded,
    ImageEmbedded,
    ImageFingerprinted,
    ImagePosted,
    ImagePreprocessed,
    ImageRemoved,
    MessageBuried,
    Person,
    RemovalRequested,
    SearchJudged,
    StoredFile,
)
from contracts.subjects import FAILURES, IMAGES, RETRIES, failure_subject, retry_subject, subject_of
from infra.nats.reader import body_of
from infra.nats.state import open_state
from pipeline.backup.archive_file import BLOBS, QUESTIONS
from tests.suites.backups import Installation
from tests.suites.facts import MOMENT, VECTOR, founding


async def post(here: Installation, number: int) -> list[Fact]:
    """An image with all that is made of it."""
    data = [f"{kind} of {number}".encode() for kind in ("file", "pixels", "thumbnail", "fingerprint")]
    blob, pixels, thumbnail, known_by = [await here.stores[BLOBS].put(each) for each in data]
    image: dict[str, Any] = {"guild_id": "7", "channel_id": "8", "image_id": f"image-{number}"}
    facts: list[Fact] = [
        ImagePosted(
            **image,
            message_id=f"message-{number}",
            author=Person(id="5", name=f"Steve the {number}th"),
            posted_at=MOMENT + timedelta(minutes=number),
            filename=f"map-{number}.png",
            message_link=f"https://discord.com/channels/7/8/{number}",
            source=StoredFile(blob=blob),
        ),
        ImageDownloaded(**image, blob=blob, size=9),
        ImagePreprocessed(**image, pixels=pixels, thumbnail=thumbnail, width=8, height=8, format="PNG", preprocessing="p1"),
        ImageFingerprinted(**image, generation="g1", method="f1", fingerprint=known_by, hash="0" * 64, quality=9, features=0),
        ImageEmbedded(**image, generation="g1", vector=VECTOR),
    ]
    await here.record(*facts)
    return facts


async def fails(here: Installation, fact: Fact, entity: str) -> None:
    """A stage fails at an image's fact: an attempt, a burial, a dead letter, and one that was put back."""
    sequence = await here.place_of(fact)
    told: dict[str, Any] = {"guild_id": "7", "entity_id": entity, "lane": "image", "stage": "download", "attempt": 1}
    told |= {"consumer": "download-image", "sequence": sequence, "happened_at": MOMENT, "process": "here"}
    await here.record(
        AttemptFailed(**told, reason="503", delay_s=1), MessageBuried(**{**told, "attempt": 2}, cause="error", reason="503")
    )
    headers = {"mapseek-stage": "download", "mapseek-consumer": "download-image", "mapseek-round": "0", "mapseek-reason": "503"}
    headers |= {"mapseek-subject": subject_of(fact), "mapseek-stream": IMAGES, "mapseek-sequence": str(sequence)}
    for stream, subject in (
        (FAILURES, failure_subject("download", "image", sequence)),
        (RETRIES, retry_subject("download", "image", sequence, "g1")),
    ):
        assert await here.journal.publish_once(subject, body_of(fact) + b"\xff", dict(headers), stream)


async def remove(here: Installation, number: int) -> None:
    """A tombstone, and nothing of what follows from it."""
    image: dict[str, Any] = {"guild_id": "7", "channel_id": "8", "image_id": f"image-{number}"}
    await here.record(ImageRemoved(**image, message_id=f"message-{number}", removed_at=MOMENT, cause="forgotten"))


async def said(here: Installation, person: str, number: int) -> tuple[SearchJudged, AlertSet]:
    """A vote and an alert of somebody, each with its picture."""
    voted, awaited = [await here.stores[QUESTIONS].put(f"{what} {number}".encode()) for what in ("voted", "awaited")]
    vote = SearchJudged(
        guild_id="7", search_id=f"s{number}", interaction_id=f"i{number}", image_id="image-1", right=True, voter_id=person,
        judged_at=MOMENT, generation="g1", score=0.9, pixels=voted,
    )  # fmt: skip
    alert = AlertSet(
        guild_id="7", alert_id=f"a{number}", person=Person(id=person, name=f"Alex the {number}th"), channel_id="8", locale="de",
        age_restricted=False, requested_at=MOMENT, pixels=awaited, generation="g1", vector=VECTOR,
        calibration=Calibration(match_at=0.9, possible_at=0.8),
    )  # fmt: skip
    await here.record(vote, alert)
    return vote, alert


async def lived(here: Installation) -> None:
    """A little of everything."""
    await here.record(*founding())
    for number in (1, 2, 3):
        facts = await post(here, number)
        await fails(here, facts[0], f"image-{number}")
    await said(here, "5", 1)
    await here.record(
        RemovalRequested(guild_id="7", removal_id="r1", scope="message", target="gone", cause="deleted", requested_at=MOMENT)
    )
    state = await open_state(here.client)
    await state.put("settings.7", b'{"locale": "de"}')
    await state.put("requests.all", b"17")
