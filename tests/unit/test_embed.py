"""The embed stage: which facts it makes of a picture, and what it does when the picture is not there."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pytest

from contracts.errors import Reject, RejectCode, Retry
from contracts.events import (
    Calibration,
    ImageEmbedded,
    ImagePreprocessed,
    LocalReply,
    Person,
    Question,
    SearchEmbedded,
    SearchPreprocessed,
)
from contracts.ports import Encoder
from stages.embed import STAGE, Deps, handle
from tests.suites.fakes import MemoryBlobs

PIXELS, LOST = hashlib.sha256(b"png").hexdigest(), "b" * 64
VECTOR = np.array([0.6, 0.8], "<f4").tobytes()
QUESTION = Question(asker=Person(id="5", name="Ada"), requested_at=datetime(2026, 11, 21, tzinfo=UTC), reply=LocalReply())


@dataclass
class FixedEncoder:
    encoder: Encoder = field(default=Encoder("fixed", "0" * 64, 2, False, Calibration(match_at=0.9, possible_at=0.7)))
    asked: list[tuple[bytes, bool]] = field(default_factory=list)
    refuses: bool = False

    async def encode(self, image: bytes, *, urgent: bool) -> bytes:
        self.asked.append((image, urgent))
        if self.refuses:
            raise Reject(RejectCode.DAMAGED, "The picture cannot be decoded.")
        return VECTOR


def stored() -> MemoryBlobs:
    blobs = MemoryBlobs()
    blobs.blobs[PIXELS] = b"png"
    return blobs


def posted(pixels: str = PIXELS) -> ImagePreprocessed:
    return ImagePreprocessed(
        guild_id="1",
        channel_id="2",
        image_id="3",
        pixels=pixels,
        thumbnail=PIXELS,
        width=128,
        height=128,
        format="PNG",
        preprocessing="p1",
    )


def asked(pixels: str = PIXELS) -> SearchPreprocessed:
    return SearchPreprocessed(
        guild_id="1", search_id="4", question=QUESTION, pixels=pixels, width=128, height=128, preprocessing="p1"
    )


async def test_a_posted_picture_gets_its_vector_of_the_generation_and_gives_way_to_searches() -> None:
    encoder = FixedEncoder()
    facts = await handle(posted(), Deps(stored(), encoder, "g1"))
    assert facts == (ImageEmbedded(guild_id="1", channel_id="2", image_id="3", generation="g1", vector=VECTOR),)
    assert encoder.asked == [(b"png", False)]


async def test_a_question_goes_first_and_takes_along_how_to_read_a_similarity() -> None:
    encoder = FixedEncoder()
    facts = await handle(asked(), Deps(stored(), encoder, "g1"))
    assert facts == (
        SearchEmbedded(
            guild_id="1",
            search_id="4",
            question=QUESTION,
            generation="g1",
            vector=VECTOR,
            calibration=Calibration(match_at=0.9, possible_at=0.7),
            trained=False,
        ),
    )
    assert encoder.asked == [(b"png", True)]


@pytest.mark.parametrize("event", [posted(LOST), asked(LOST)])
async def test_pixels_that_are_not_in_the_store_may_come_later(event: ImagePreprocessed | SearchPreprocessed) -> None:
    encoder = FixedEncoder()
    with pytest.raises(Retry, match=LOST):
        await handle(event, Deps(stored(), encoder, "g1"))
    assert encoder.asked == []


async def test_a_picture_that_the_encoder_refuses_is_rejected() -> None:
    with pytest.raises(Reject):
        await handle(posted(), Deps(stored(), FixedEncoder(refuses=True), "g1"))


async def test_the_stage_emits_what_it_declares_in_both_lanes() -> None:
    deps = Deps(stored(), FixedEncoder(), "g1")
    made = [type(fact) for event in (posted(), asked()) for fact in await handle(event, deps)]
    assert tuple(made) == STAGE.emits
    assert STAGE.families == ("image", "search")
