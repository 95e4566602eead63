"""The stage embed: the facts it makes of pictures and words, and what it does if a picture is missing."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import pytest

from contracts.errors import Reject, RejectCode, Retry
from contracts.events import (
    AlertEmbedded,
    AlertSet,
    Calibration,
    ImageEmbedded,
    ImagePreprocessed,
    LocalReply,
    Person,
    Quad,
    Question,
    SearchDescribed,
    SearchEmbedded,
    SearchFingerprinted,
)
from contracts.ports import Encoder
from stages.embed import EXCLUDED_WEIGHT, MAX_VIEWS, STAGE, Deps, HostedEncoder, handle
from tests.support.facts import ALERT, MOMENT
from tests.support.fakes import MemoryBlobs

PIXELS, LOST = hashlib.sha256(b"png").hexdigest(), "b" * 64
VECTOR = np.array([0.6, 0.8], "<f4").tobytes()
QUESTION = Question(asker=Person(id="5", name="Ada"), requested_at=datetime(2026, 11, 21, tzinfo=UTC), reply=LocalReply())


@dataclass
class FixedEncoder:
    encoder: Encoder = field(default=Encoder("fixed", "0" * 64, 2, False, Calibration(match_at=0.9, possible_at=0.7)))
    asked: list[tuple[bytes, bool]] = field(default_factory=list)
    refuses: bool = False
    words: dict[str, list[float]] = field(default_factory=dict)

    async def encode(self, image: bytes, *, urgent: bool) -> bytes:
        self.asked.append((image, urgent))
        if self.refuses:
            raise Reject(RejectCode.DAMAGED, "The picture cannot be decoded.")
        return VECTOR

    async def encode_text(self, text: str) -> bytes:
        if text not in self.words:
            raise Reject(RejectCode.NO_TEXT, "No words are known here.")
        return np.array(self.words[text], "<f4").tobytes()

    async def close(self) -> None:
        """Nothing is open."""


def blobs_with_picture() -> MemoryBlobs:
    blobs = MemoryBlobs()
    blobs.blobs[PIXELS] = b"png"
    return blobs


def build_deps(encoder: FixedEncoder, text: Calibration | None = None) -> Deps:
    return Deps(blobs_with_picture(), lambda _: HostedEncoder("g1", encoder, text))


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


def asked(pixels: str = PIXELS, *places: Quad) -> SearchFingerprinted:
    return SearchFingerprinted(
        guild_id="1",
        search_id="4",
        question=QUESTION,
        pixels=pixels,
        width=128,
        height=128,
        preprocessing="p1",
        method="f1",
        fingerprint=LOST,
        places=places,
    )


async def test_a_posted_picture_is_embedded_with_low_priority() -> None:
    encoder = FixedEncoder()
    facts = await handle(posted(), build_deps(encoder))
    assert facts == (ImageEmbedded(guild_id="1", channel_id="2", image_id="3", generation="g1", vector=VECTOR),)
    assert encoder.asked == [(b"png", False)]


async def test_a_query_is_urgent_and_carries_the_calibration() -> None:
    encoder = FixedEncoder()
    facts = await handle(asked(), build_deps(encoder))
    assert facts == (
        SearchEmbedded(
            guild_id="1",
            search_id="4",
            question=QUESTION,
            generation="g1",
            vector=VECTOR,
            calibration=Calibration(match_at=0.9, possible_at=0.7),
            trained=False,
            fingerprint=LOST,
            method="f1",
        ),
    )
    assert encoder.asked == [(b"png", True)]


async def test_the_likeliest_regions_of_a_query_get_vectors() -> None:
    encoder = FixedEncoder()
    places = [(x, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0) for x in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)]
    cut: list[Sequence[Quad]] = []

    def views(fingerprint: bytes, quads: Sequence[Quad]) -> list[bytes]:
        assert fingerprint == b"print"
        cut.append(quads)
        return [b"small", *(str(quad[0]).encode() for quad in quads)]

    deps = replace(build_deps(encoder), views=views)
    fingerprint = await deps.blobs.put(b"print")
    event = asked(LOST, *places).model_copy(update={"fingerprint": fingerprint})
    (fact,) = await handle(event, deps)
    assert isinstance(fact, SearchEmbedded)
    assert cut == [tuple(places[:MAX_VIEWS])]
    assert encoder.asked == [(b"small", True), *((str(quad[0]).encode(), True) for quad in places[:MAX_VIEWS])]
    assert fact.views == (VECTOR,) * MAX_VIEWS


@pytest.mark.parametrize("event", [posted(LOST), asked(LOST)])
async def test_a_missing_picture_is_retried(event: ImagePreprocessed | SearchFingerprinted) -> None:
    encoder = FixedEncoder()
    with pytest.raises(Retry, match=LOST):
        await handle(event, build_deps(encoder))
    assert encoder.asked == []


async def test_a_picture_that_the_encoder_cannot_decode_is_rejected() -> None:
    with pytest.raises(Reject):
        await handle(posted(), build_deps(FixedEncoder(refuses=True)))


def wanted(pixels: str = PIXELS, generation: str = "g0") -> AlertSet:
    return AlertSet(
        **ALERT,
        channel_id="8",
        locale="de",
        age_restricted=False,
        requested_at=MOMENT,
        pixels=pixels,
        generation=generation,
        vector=np.array([1, 0], "<f4").tobytes(),
        calibration=Calibration(match_at=0.5, possible_at=0.4),
    )


async def test_the_picture_of_an_alert_is_embedded_in_the_other_generations() -> None:
    encoder = FixedEncoder()
    assert await handle(wanted(), build_deps(encoder)) == (
        AlertEmbedded(**ALERT, generation="g1", vector=VECTOR, calibration=Calibration(match_at=0.9, possible_at=0.7)),
    )
    assert await handle(wanted(generation="g1"), build_deps(encoder)) == ()
    assert encoder.asked == [(b"png", False)]


async def test_the_picture_of_an_alert_is_preprocessed_for_the_generation() -> None:
    encoder = FixedEncoder()
    await handle(wanted(), replace(build_deps(encoder), preprocess_again=lambda picture: picture[::-1]))
    assert encoder.asked == [(b"gnp", False)]


async def test_an_alert_whose_picture_is_gone_is_skipped() -> None:
    assert await handle(wanted(LOST), build_deps(FixedEncoder())) == ()


TEXT = Calibration(match_at=0.9, possible_at=0.2)


def described(words: str, *excluded: str) -> SearchDescribed:
    return SearchDescribed(guild_id="1", search_id="4", question=QUESTION, words=words, excluded=excluded)


async def test_words_are_embedded_with_the_calibration_for_words() -> None:
    encoder = FixedEncoder(words={"a dragon": [0.6, 0.8]})
    assert await handle(described("a dragon"), build_deps(encoder, TEXT)) == (
        SearchEmbedded(
            guild_id="1",
            search_id="4",
            question=QUESTION,
            generation="g1",
            vector=VECTOR,
            calibration=TEXT,
            trained=False,
            by="text",
        ),
    )


async def test_excluded_words_turn_the_vector_but_not_too_far() -> None:
    encoder = FixedEncoder(words={"wanted": [1, 0, 0], "red": [0.8, 0.6, 0], "big": [0.8, 0, 0.6]})
    (fact,) = await handle(described("wanted", "red", "big"), build_deps(encoder, TEXT))
    assert isinstance(fact, SearchEmbedded)
    vector = np.frombuffer(fact.vector, "<f4")
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    direction = np.array([1 - EXCLUDED_WEIGHT * 0.8, -EXCLUDED_WEIGHT * 0.3, -EXCLUDED_WEIGHT * 0.3])
    assert vector == pytest.approx(direction / np.linalg.norm(direction), abs=1e-6)
    assert vector[0] > 0.85 > 0.8 > vector @ [0.8, 0.6, 0]


async def test_excluding_the_wanted_words_still_finds_them() -> None:
    encoder = FixedEncoder(words={"a dragon": [0.6, 0.8]})
    (fact,) = await handle(described("a dragon", "a dragon"), build_deps(encoder, TEXT))
    assert isinstance(fact, SearchEmbedded)
    assert np.frombuffer(fact.vector, "<f4") == pytest.approx(np.array([0.6, 0.8]), abs=1e-6)


@pytest.mark.parametrize(("text", "sentence"), [(TEXT, "No words are known here"), (None, "/find-text is not available here")])
async def test_words_are_rejected_if_the_encoder_has_no_text_model(text: Calibration | None, sentence: str) -> None:
    with pytest.raises(Reject, match=sentence) as refused:
        await handle(described("a dragon"), build_deps(FixedEncoder(), text))
    assert refused.value.code is RejectCode.NO_TEXT


async def test_the_declaration_of_the_stage() -> None:
    deps = build_deps(FixedEncoder())
    made = [type(fact) for event in (posted(), asked(), wanted()) for fact in await handle(event, deps)]
    assert tuple(made) == STAGE.emits
    assert STAGE.families == ("image", "search", "alert")
    assert STAGE.by_generation == (ImagePreprocessed, AlertSet)
