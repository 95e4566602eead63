"""The stage fingerprint: fingerprints of archived pictures, fingerprints that are reused, and those of queries."""

import hashlib
from collections.abc import Callable

import pytest

from contracts.envelope import Origin
from contracts.errors import Retry, Unavailable
from contracts.events import (
    Fact,
    ImageFingerprinted,
    ImagePreprocessed,
    Quad,
    SearchFingerprinted,
    SearchPreprocessed,
)
from infra.vision.fingerprint import Fingerprinter
from stages.fingerprint import DEFAULT_METHOD, KNOWN_METHODS, STAGE, Deps, handle
from tests.support.facts import IMAGE, SEARCH
from tests.support.fakes import MemoryBlobs, MemoryFingerprinter, MemoryJournal
from tests.support.workers import ThreadWorkers

PICTURE = b"png"
PIXELS, LOST = hashlib.sha256(PICTURE).hexdigest(), "b" * 64
PLACE: Quad = (0.1, 0.1, 0.9, 0.1, 0.9, 0.9, 0.1, 0.9)


class Bench:
    """All dependencies of the stage, for a generation or (None) for queries."""

    def __init__(self) -> None:
        self.blobs = MemoryBlobs()
        self.blobs.blobs[PIXELS] = PICTURE
        self.fingerprinter = MemoryFingerprinter(places=(PLACE,))
        self.journal = MemoryJournal()

    def deps(
        self, generation: str | None = "g2", method: str = DEFAULT_METHOD, alike: Callable[[str], bool] = lambda _: True
    ) -> Deps:
        return Deps(self.blobs, self.fingerprinter, self.journal, lambda: method, generation, alike)

    async def in_generation(self, generation: str) -> ImageFingerprinted:
        """Handle the picture in a generation, and record the resulting fact."""
        [fact] = await handle(preprocessed(), self.deps(generation))
        assert isinstance(fact, ImageFingerprinted)
        await self.journal.record(fact, Origin("test"))
        return fact


def preprocessed(pixels: str = PIXELS) -> ImagePreprocessed:
    return ImagePreprocessed(**IMAGE, pixels=pixels, thumbnail=PIXELS, width=128, height=128, format="PNG", preprocessing="p1")


def asked(pixels: str = PIXELS) -> SearchPreprocessed:
    return SearchPreprocessed(**SEARCH, pixels=pixels, width=128, height=128, preprocessing="p1")


async def test_a_fingerprint_is_stored_as_a_blob() -> None:
    bench = Bench()
    [fact] = await handle(preprocessed(), bench.deps())
    assert isinstance(fact, ImageFingerprinted)
    assert (fact.image_id, fact.generation, fact.method) == ("9", "g2", "f1")
    assert (fact.hash, fact.quality, fact.features) == (PIXELS, 100, 3)
    assert await bench.blobs.get(fact.fingerprint) == (await MemoryFingerprinter().fingerprint(PICTURE)).data


async def test_the_fingerprint_of_another_generation_with_the_same_pictures_is_reused() -> None:
    bench = Bench()
    first = await bench.in_generation("g1")
    second = await bench.in_generation("g2")
    assert second == first.model_copy(update={"generation": "g2"})
    assert bench.fingerprinter.asked == [PICTURE]


async def test_a_fingerprint_of_other_pictures_or_another_method_is_not_reused() -> None:
    bench = Bench()
    await bench.in_generation("g1")
    await handle(preprocessed(), bench.deps(alike=lambda name: name != "g1"))
    assert len(bench.fingerprinter.asked) == 2, "it is of another preprocessing"
    bench.fingerprinter.method = "f2"
    await handle(preprocessed(), bench.deps(method="f2"))
    assert len(bench.fingerprinter.asked) == 3, "it is of another method"


async def test_a_replay_restores_a_lost_blob() -> None:
    bench = Bench()
    first, second = await bench.in_generation("g1"), await bench.in_generation("g2")
    for generation in ("g1", "g2"):
        await bench.blobs.delete(first.fingerprint)
        assert await bench.in_generation(generation) in (first, second)
        assert await bench.blobs.exists(first.fingerprint), generation


async def test_a_query_gets_a_fingerprint_and_regions() -> None:
    bench = Bench()
    [fact] = await handle(asked(), bench.deps(None))
    assert isinstance(fact, SearchFingerprinted)
    assert fact == SearchFingerprinted(
        **SEARCH,
        pixels=PIXELS,
        width=128,
        height=128,
        preprocessing="p1",
        method="f1",
        fingerprint=fact.fingerprint,
        places=(PLACE,),
    )
    assert await bench.blobs.exists(fact.fingerprint)


@pytest.mark.parametrize(("event", "generation"), [(preprocessed(LOST), "g1"), (asked(LOST), None)])
async def test_a_missing_picture_is_retried(event: Fact, generation: str | None) -> None:
    with pytest.raises(Retry, match=LOST):
        await handle(event, Bench().deps(generation))  # type: ignore[arg-type]


@pytest.mark.parametrize(("event", "generation"), [(preprocessed(), "g1"), (asked(), None)])
async def test_a_method_of_a_newer_release_is_an_outage(event: Fact, generation: str | None) -> None:
    with pytest.raises(Unavailable, match="update MapSeek"):
        await handle(event, Bench().deps(generation, method="f99"))  # type: ignore[arg-type]


async def test_the_declaration_of_the_stage() -> None:
    bench = Bench()
    made = [type(fact) for event in (preprocessed(), asked()) for fact in await handle(event, bench.deps())]
    assert tuple(made) == STAGE.emits
    assert STAGE.families == ("image", "search")
    assert STAGE.by_generation == (ImagePreprocessed,)
    assert KNOWN_METHODS[-1] == DEFAULT_METHOD


def test_the_method_of_new_generations_is_the_one_that_is_made_here() -> None:
    assert Fingerprinter(ThreadWorkers()).method == DEFAULT_METHOD
