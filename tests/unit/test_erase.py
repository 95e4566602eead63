"""The stage erase: what is deleted, what stays because others need it, and that a crash between any two steps loses nothing."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from contracts.envelope import Origin
from contracts.errors import Retry
from contracts.events import (
    Fact,
    ImageDownloaded,
    ImageEmbedded,
    ImageFact,
    ImageFingerprinted,
    ImagePosted,
    ImagePreprocessed,
    ImageRemoved,
    ImageResurfaced,
    StoredFile,
)
from stages import erase
from stages.persist import build_fields
from tests.support.facts import MOMENT, VECTOR, posted
from tests.support.fakes import MemoryBlobs, MemoryCatalogue, MemoryErasure, MemoryJournal

ORIGINAL, PIXELS, THUMBNAIL = b"as posted", b"as RGB", b"small"


class World:
    """A blob store, a catalogue and a log with images."""

    def __init__(self) -> None:
        self.blobs = MemoryBlobs()
        self.catalogue = MemoryCatalogue()
        self.journal = MemoryJournal()
        self.erasure = MemoryErasure(self.journal)
        self.deps = erase.Deps(self.catalogue, self.blobs, self.erasure)

    async def archive(self, image_id: str, *, pixels: bytes = PIXELS, original: bytes = ORIGINAL) -> None:
        """Record and store what the other stages make of an image."""
        blob = await self.blobs.put(original)
        post = posted(image_id).model_copy(update={"source": StoredFile(blob=blob)})
        await self.record(post)
        await self.record(ImageDownloaded(**post.identity, blob=blob, size=len(original)))
        await self.preprocess(post, "p1", pixels)
        await self.fingerprint(post, "g1", b"what is known of " + pixels)
        await self.record(ImageEmbedded(**post.identity, generation="g1", vector=VECTOR))

    async def fingerprint(self, post: ImagePosted, generation: str, data: bytes, method: str = "f1") -> None:
        blob, known = await self.blobs.put(data), {"hash": "0" * 64, "quality": 100, "features": 3}
        made = {"generation": generation, "method": method, "fingerprint": blob, **known}
        await self.record(ImageFingerprinted.model_validate({**post.identity, **made}))

    async def preprocess(self, post: ImagePosted, version: str, pixels: bytes) -> None:
        await self.record(
            ImagePreprocessed(
                **post.identity,
                pixels=await self.blobs.put(pixels),
                thumbnail=await self.blobs.put(THUMBNAIL),
                width=1,
                height=1,
                format="png",
                preprocessing=version,
            )
        )

    async def record(self, fact: ImageFact) -> None:
        await self.journal.record(fact, Origin("m"))
        if isinstance(fact, ImagePosted | ImageDownloaded | ImagePreprocessed | ImageFingerprinted):
            await self.catalogue.merge(fact.image_id, build_fields(fact))

    async def remove(self, image_id: str) -> ImageRemoved:
        post = posted(image_id)
        tombstone = ImageRemoved(**post.identity, message_id=post.message_id, removed_at=MOMENT, cause="deleted")
        await self.record(tombstone)
        return tombstone

    def kinds(self, image_id: str) -> list[str]:
        return [fact.name for fact in self.journal.facts if isinstance(fact, ImageFact) and fact.image_id == image_id]


@pytest.fixture
def world() -> World:
    return World()


async def test_blobs_document_and_facts_are_deleted_and_the_tombstone_stays(world: World) -> None:
    await world.archive("1")
    assert await erase.handle(await world.remove("1"), world.deps) == ()
    assert world.blobs.blobs == {}
    assert await world.catalogue.is_removed("1")
    assert world.kinds("1") == ["removed"]


async def test_shared_blobs_stay_until_the_last_image_is_removed(world: World) -> None:
    await world.archive("1")
    await world.archive("2", pixels=b"other pixels")
    await erase.handle(await world.remove("1"), world.deps)
    assert set(world.blobs.blobs.values()) == {ORIGINAL, b"other pixels", b"what is known of other pixels", THUMBNAIL}
    assert world.kinds("2") == ["posted", "downloaded", "preprocessed", "fingerprinted", "embedded"]
    await erase.handle(await world.remove("2"), world.deps)
    assert world.blobs.blobs == {}


async def test_two_posts_of_the_same_bytes_removed_together_leave_nothing(world: World) -> None:
    for image in ("1", "2"):
        await world.archive(image)
    tombstones = [await world.remove(image) for image in ("1", "2")]
    for tombstone in tombstones:
        await erase.handle(tombstone, world.deps)
    assert world.blobs.blobs == {}


async def test_the_pictures_of_all_preprocessings_are_deleted(world: World) -> None:
    await world.archive("1")
    await world.preprocess(posted("1"), "p2", b"as RGB, made otherwise")
    await erase.handle(await world.remove("1"), world.deps)
    assert world.blobs.blobs == {}


async def test_shared_pictures_of_an_older_preprocessing_stay(world: World) -> None:
    for image_id in ("1", "2"):
        await world.archive(image_id)
        await world.preprocess(posted(image_id), "p2", b"as RGB, made otherwise")
    pictures = {ORIGINAL, PIXELS, THUMBNAIL, b"as RGB, made otherwise"}
    for image_id, left in (("1", {*pictures, b"what is known of as RGB"}), ("2", set())):
        await erase.handle(await world.remove(image_id), world.deps)
        assert set(world.blobs.blobs.values()) == left


async def test_shared_fingerprints_of_an_older_method_stay(world: World) -> None:
    for image_id in ("1", "2"):
        await world.archive(image_id)
        await world.fingerprint(posted(image_id), "g2", b"known otherwise", "f2")
    pictures = {ORIGINAL, PIXELS, THUMBNAIL}
    for image_id, left in (("1", {*pictures, b"what is known of as RGB", b"known otherwise"}), ("2", set())):
        await erase.handle(await world.remove(image_id), world.deps)
        assert set(world.blobs.blobs.values()) == left


async def test_a_fingerprint_shared_by_two_nearly_empty_pictures_stays(world: World) -> None:
    for image_id in ("1", "2"):
        await world.archive(image_id, pixels=image_id.encode(), original=image_id.encode())
        await world.fingerprint(posted(image_id), "g2", b"nothing but one colour", "f2")
    await erase.handle(await world.remove("1"), world.deps)
    assert b"nothing but one colour" in world.blobs.blobs.values()


async def test_a_recently_put_blob_is_waited_for_and_its_facts_stay_until_then(world: World) -> None:
    await world.archive("1")
    tombstone = await world.remove("1")
    world.blobs.untouched_s = 540
    with pytest.raises(Retry, match="put too recently") as retry:
        await erase.handle(tombstone, world.deps)
    assert retry.value.after == pytest.approx(60)
    assert len(world.kinds("1")) == 6
    world.blobs.untouched_s = 600
    await erase.handle(tombstone, world.deps)
    assert world.blobs.blobs == {}
    assert world.kinds("1") == ["removed"]


async def test_the_grace_can_be_set(world: World) -> None:
    await world.archive("1")
    world.blobs.untouched_s = 0
    deps = erase.Deps(world.catalogue, world.blobs, world.erasure, grace=timedelta(0))
    await erase.handle(await world.remove("1"), deps)
    assert world.blobs.blobs == {}


@pytest.mark.parametrize("persist_was_first", [True, False])
async def test_persist_may_run_before_or_after(world: World, persist_was_first: bool) -> None:
    await world.archive("1")
    tombstone = await world.remove("1")
    if persist_was_first:
        await world.catalogue.remove("1")
    await erase.handle(tombstone, world.deps)
    assert world.blobs.blobs == {}


class Killed(BaseException):
    """The process is killed here."""


async def test_a_crash_at_any_step_is_repaired_by_the_next_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    for survived in range(20):
        world = World()
        await world.archive("1")
        tombstone = await world.remove("1")
        steps = 0

        def fatal(target: object, name: str, survived: int = survived) -> None:
            original = getattr(target, name)

            async def call(*arguments: Any) -> Any:
                nonlocal steps
                if steps == survived:
                    raise Killed
                steps += 1
                return await original(*arguments)

            monkeypatch.setattr(target, name, call)

        for target, name in (
            (world.catalogue, "remove"),
            (world.blobs, "delete"),
            (world.erasure, "history"),
            (world.erasure, "erase_image"),
        ):
            fatal(target, name)
        try:
            await erase.handle(tombstone, world.deps)
        except Killed:
            steps = survived + 1
            await erase.handle(tombstone, world.deps)
        else:
            assert survived > 5
            return
        assert world.blobs.blobs == {}
        assert world.kinds("1") == ["removed"]
    raise AssertionError("the erasure takes more steps than expected")


async def test_a_fact_recorded_after_the_erasure_is_erased_too(world: World) -> None:
    await world.archive("1")
    await erase.handle(await world.remove("1"), world.deps)
    identity = posted("1").identity
    late = ImageDownloaded(**identity, blob=await world.blobs.put(ORIGINAL), size=1)
    resurfaced = ImageResurfaced(**identity, late=late.name)
    for fact in (late, resurfaced):
        await world.journal.record(fact, Origin("m"))
    assert world.kinds("1") == ["removed", "downloaded", "resurfaced"]
    await erase.handle(resurfaced, world.deps)
    assert world.blobs.blobs == {}
    assert world.kinds("1") == ["removed"]


async def test_a_fact_recorded_during_the_erasure_leaves_no_blob(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fact is recorded after the log was read and before it is purged. If it were purged, nobody would find its blobs."""
    await world.archive("1")
    delete = world.blobs.delete
    late = b"as RGB, by a stage that was at work"

    async def delete_and_be_late(name: str) -> None:
        await delete(name)
        if "p2" not in [fact.preprocessing for fact in world.journal.facts if isinstance(fact, ImagePreprocessed)]:
            monkeypatch.setattr(world.blobs, "delete", delete)
            await world.preprocess(posted("1"), "p2", late)

    tombstone = await world.remove("1")
    monkeypatch.setattr(world.blobs, "delete", delete_and_be_late)
    await erase.handle(tombstone, world.deps)
    assert world.blobs.blobs == {}
    assert world.kinds("1") == ["removed"]


async def test_an_image_that_is_already_erased_is_no_error(world: World) -> None:
    tombstone = await world.remove("1")
    results: list[Sequence[Fact]] = [await erase.handle(tombstone, world.deps) for _ in range(2)]
    assert results == [(), ()]


def test_the_declaration_of_the_stage() -> None:
    assert erase.STAGE.consumes == (ImageRemoved, ImageResurfaced)
    assert erase.STAGE.emits == ()
