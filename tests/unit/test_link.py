"""The stage link on the real embedded index: which images are reposts, and of which post."""

import numpy as np
import pytest

from contracts.envelope import Origin
from contracts.errors import BlobMissing, Retry
from contracts.events import Calibration, Evidence, ImageDownloaded, ImageEmbedded, ImageFingerprinted, ImageReposted, Quad
from contracts.ports import PrintComparison
from infra.vectors.index import EmbeddedIndex
from stages.link import FIRST_CANDIDATES, MIN_DISTINCTIVE_FEATURES, STAGE, Deps, handle
from stages.matching import ArchiveFingerprints
from stages.persist import build_fields
from tests.support.fakes import FixedComparer, MemoryBlobs, MemoryCatalogue, MemoryFeatures, MemoryJournal

MATCHING = Calibration(match_at=0.9, possible_at=0.6)
HIDDEN = {"visibility": {"turn": 1, "hidden": True, "spoiler": False}}
PART: Quad = (0, 0, 0.5, 0, 0.5, 1, 0, 1)


def direction(degrees: float) -> bytes:
    """Build a unit vector. Vectors that are up to 25 degrees apart match."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], "<f4").tobytes()


class Guild:
    """An archive to post in. `day` is a day of January."""

    def __init__(self) -> None:
        self.index, self.catalogue = EmbeddedIndex(), MemoryCatalogue()
        self.features, self.comparing, self.blobs = MemoryFeatures(), FixedComparer(), MemoryBlobs()
        self.journal, self.degrees = MemoryJournal(), dict[str, float]()
        self.serves = True

    async def post(
        self,
        image_id: str,
        probability: float | None = 0.97,
        evidence: Evidence | None = None,
        *,
        day: int,
        degrees: float = 90,
        message_id: str | None = None,
        guild: str = "7",
        file: str | None = None,
    ) -> None:
        """Archive an image, with the probability that it shows the same piece as the image that is linked later."""
        self.degrees[image_id] = degrees
        self.index.add(guild, "g1", image_id, "70", direction(degrees))
        self.features.add(guild, "g1", image_id, await self.blobs.put(image_id.encode()))
        self.features.shared.append(image_id)
        if probability is not None:
            self.comparing.results[image_id.encode()] = PrintComparison(probability, evidence or Evidence(by="points"))
        self.catalogue.documents[image_id] = {
            "discord_message_id": message_id or f"m{image_id}",
            "metadata": {"guild_id": guild, "upload_timestamp": f"2026-01-{day:02}T12:00:00+00:00"},
        }
        if file is not None:
            self.catalogue.documents[image_id]["original"] = {"blob": file, "size": 9}
            downloaded = ImageDownloaded(guild_id=guild, channel_id="80", image_id=image_id, blob=file, size=9)
            await self.journal.record(downloaded, Origin("message-1"))

    async def link(self, image_id: str, generation: str = "g1", features: int = 400, quality: int = 100) -> list[ImageReposted]:
        """Handle the vector while there is no fingerprint yet, then the fingerprint, and return the resulting reposts."""
        image = {"guild_id": "7", "channel_id": "80", "thread_of": "8", "image_id": image_id, "generation": generation}
        embedded = ImageEmbedded(**image, vector=direction(self.degrees.get(image_id, 90)))
        await self.journal.record(embedded, Origin("message-1"))
        if not await self.journal.holds(ImageFingerprinted, *embedded.key):
            assert await handle(embedded, self.deps) == ()
        blob = await self.blobs.put(image_id.encode())
        known_by = {"hash": "0" * 64, "quality": quality, "features": features}
        fingerprinted = ImageFingerprinted(**image, method="f1", fingerprint=blob, **known_by)
        facts = await handle(fingerprinted, self.deps)
        await self.journal.record(fingerprinted, Origin("message-1"))
        return [fact for fact in facts if isinstance(fact, ImageReposted)]

    @property
    def deps(self) -> Deps:
        prints = ArchiveFingerprints(self.features, self.comparing, self.blobs)
        return Deps(self.journal, self.index, self.catalogue, prints, MATCHING, lambda: self.serves)


@pytest.fixture
def guild() -> Guild:
    return Guild()


async def test_a_later_post_of_a_piece_is_a_repost_of_the_first(guild: Guild) -> None:
    await guild.post("10", day=3)
    await guild.post("11", 0.95, Evidence(by="hash"), day=2)
    await guild.post("12", day=5)
    await guild.post("13", 0.85, day=1)
    await guild.post("20", day=4)
    assert await guild.link("20") == [
        ImageReposted(guild_id="7", channel_id="80", thread_of="8", image_id="20", generation="g1", same_as="11", score=0.95)
    ]


async def test_a_hidden_post_is_not_the_first_post(guild: Guild) -> None:
    await guild.post("10", day=1)
    await guild.post("11", day=2)
    await guild.post("20", day=3)
    await guild.catalogue.merge("10", HIDDEN)
    (fact,) = await guild.link("20")
    assert fact.same_as == "11"


async def test_an_image_that_is_hidden_meanwhile_is_linked_for_when_it_is_shown_again(guild: Guild) -> None:
    await guild.post("10", day=1)
    await guild.post("20", day=2)
    await guild.catalogue.merge("20", HIDDEN)
    guild.index.hide("20", 1)
    (fact,) = await guild.link("20")
    assert fact.same_as == "10"


async def test_a_part_of_a_piece_or_a_similar_picture_is_no_repost(guild: Guild) -> None:
    await guild.post("10", 0.99, Evidence(by="points", place=PART), day=1)
    await guild.post("11", 0.99, Evidence(by="points", shown=0.4), day=1)
    await guild.post("12", 0.99, Evidence(by="vector"), day=1)
    await guild.post("13", 0.01, degrees=0, day=1)
    await guild.post("20", day=2, degrees=0)
    assert await guild.link("20") == []


async def test_a_near_vector_is_enough_for_a_picture_with_few_features(guild: Guild) -> None:
    await guild.post("10", 0.3, day=1, degrees=10)
    await guild.post("11", 0.3, day=2, degrees=40)
    await guild.post("20", day=3, degrees=10)
    (fact,) = await guild.link("20", features=MIN_DISTINCTIVE_FEATURES - 1)
    assert fact.same_as == "10"
    assert fact.score == pytest.approx(1, abs=1e-3)
    assert await guild.link("20", features=MIN_DISTINCTIVE_FEATURES) == []


async def test_an_image_without_a_readable_fingerprint_is_linked_by_its_vector(guild: Guild) -> None:
    await guild.post("10", None, day=1, degrees=10)
    guild.index.add("7", "g1", "11", "70", direction(12))
    guild.catalogue.documents["11"] = {"discord_message_id": "m", "metadata": {"upload_timestamp": "2025-01-01T12:00:00+00:00"}}
    await guild.post("20", day=2, degrees=10)
    assert [fact.same_as for fact in await guild.link("20")] == ["11"]
    await guild.catalogue.remove("11")
    assert [fact.same_as for fact in await guild.link("20")] == ["10"]


async def test_the_earliest_post_is_no_repost_even_if_it_is_archived_last(guild: Guild) -> None:
    await guild.post("10", day=3)
    await guild.post("11", day=3)
    await guild.post("20", day=2)
    assert await guild.link("20") == []


async def test_posts_of_the_same_moment_are_no_reposts_of_each_other(guild: Guild) -> None:
    await guild.post("10", day=3)
    await guild.post("20", day=3)
    assert await guild.link("10") == await guild.link("20") == []


async def test_images_of_one_message_are_no_reposts_of_each_other(guild: Guild) -> None:
    await guild.post("10", day=3, message_id="m")
    await guild.post("20", day=4, message_id="m")
    assert await guild.link("20") == []


async def test_an_image_of_another_guild_or_generation_is_not_linked(guild: Guild) -> None:
    await guild.post("10", day=1, guild="8")
    await guild.post("20", day=2)
    assert await guild.link("20") == []
    await guild.post("11", day=1)
    assert await guild.link("20", generation="g2") == []


async def test_an_image_without_similar_ones_reads_no_document(guild: Guild) -> None:
    await guild.post("10", 0.01, day=1)
    guild.catalogue.down = True
    assert await guild.link("20") == []


async def test_the_image_need_not_be_in_the_indexes_yet(guild: Guild) -> None:
    await guild.post("20", day=2)
    guild.index, guild.features = EmbeddedIndex(), MemoryFeatures()
    await guild.post("10", day=1)
    assert [fact.same_as for fact in await guild.link("20")] == ["10"]


async def test_the_later_one_of_fingerprint_and_vector_finds_both(guild: Guild) -> None:
    await guild.post("10", day=1)
    await guild.post("20", day=2)
    by_fingerprint = await guild.link("20")
    embedded = await guild.journal.fetch(ImageEmbedded, "7", "20", "g1")
    assert embedded is not None
    assert await handle(embedded, guild.deps) == tuple(by_fingerprint)
    assert len(by_fingerprint) == 1
    guild.journal = MemoryJournal()
    fingerprinted = ImageFingerprinted(
        **embedded.identity, generation="g1", method="f1", fingerprint="0" * 64, hash="0" * 64, quality=9, features=400
    )
    assert await handle(fingerprinted, guild.deps) == ()


async def test_the_first_of_very_many_posts_is_found_and_each_is_compared_once(guild: Guild) -> None:
    for number in range(10 * FIRST_CANDIDATES):
        await guild.post(f"{number:03}", day=2)
    await guild.post("first", day=1)
    await guild.post("new", day=3)
    assert [fact.same_as for fact in await guild.link("new")] == ["first"]
    assert len(guild.comparing.compared) == len(set(guild.comparing.compared))


async def test_a_match_that_is_no_longer_catalogued_is_skipped(guild: Guild) -> None:
    await guild.post("10", day=1)
    await guild.post("11", day=2)
    await guild.post("20", day=3)
    await guild.catalogue.remove("10")
    assert [fact.same_as for fact in await guild.link("20")] == ["11"]


async def test_a_fingerprint_handled_before_its_post_is_retried(guild: Guild) -> None:
    await guild.post("10", day=1)
    with pytest.raises(Retry, match="the post of image 20 is not catalogued yet"):
        await guild.link("20")
    guild.catalogue.documents["20"] = {"media": {}}
    with pytest.raises(Retry, match="the post of image 20 is not catalogued yet"):
        await guild.link("20")


async def test_a_missing_fingerprint_blob_is_retried_unless_the_image_is_removed(
    guild: Guild, monkeypatch: pytest.MonkeyPatch
) -> None:
    await guild.post("20", day=1)

    async def lost(name: str) -> bytes:
        raise BlobMissing(name)

    monkeypatch.setattr(guild.blobs, "get", lost)
    with pytest.raises(Retry, match="is not in the blob store"):
        await guild.link("20")
    await guild.catalogue.remove("20")
    assert await guild.link("20") == []


async def test_a_removed_image_is_no_repost(guild: Guild) -> None:
    await guild.post("10", day=1)
    await guild.catalogue.remove("20")
    assert await guild.link("20") == []


async def test_a_generation_that_is_being_built_links_nothing(guild: Guild) -> None:
    await guild.post("10", day=1)
    await guild.post("20", day=2)
    guild.serves = False
    guild.catalogue.down = True
    assert await guild.link("20") == []


async def test_only_the_generation_that_linked_an_image_links_it_again(guild: Guild) -> None:
    await guild.post("10", day=1)
    await guild.post("20", day=2)
    guild.features.add("7", "g2", "10", await guild.blobs.put(b"10"))
    (fact,) = await guild.link("20")
    await guild.catalogue.merge("20", build_fields(fact))
    assert await guild.link("20", generation="g2") == []
    assert await guild.link("20") == [fact]


def test_the_declaration_of_the_stage() -> None:
    assert STAGE.by_generation == (ImageFingerprinted, ImageEmbedded)
    assert (STAGE.name, STAGE.consumes, STAGE.emits) == ("link", (ImageFingerprinted, ImageEmbedded), (ImageReposted,))


async def test_the_very_same_file_is_the_same_piece_whatever_it_shows(guild: Guild) -> None:
    await guild.post("10", 0.0, Evidence(by="vector"), day=1, degrees=0)
    await guild.post("11", 0.0, Evidence(by="vector"), day=3, degrees=0, file="f" * 64)
    await guild.post("12", 0.0, Evidence(by="vector"), day=2, degrees=0, file="f" * 64)
    await guild.post("13", 0.0, Evidence(by="vector"), day=1, degrees=0, file="e" * 64)
    await guild.post("14", 0.0, Evidence(by="vector"), day=1, degrees=0, file="f" * 64, guild="8")
    await guild.post("20", day=4, degrees=0, file="f" * 64)
    (fact,) = await guild.link("20", features=0, quality=0)
    assert (fact.same_as, fact.score) == ("12", 1.0)


async def test_blank_pictures_are_not_one_piece(guild: Guild) -> None:
    await guild.post("10", 0.0, Evidence(by="vector"), day=1, degrees=0)
    await guild.post("20", day=2, degrees=0, file="f" * 64)
    assert await guild.link("20", features=0, quality=0) == []
    assert [fact.same_as for fact in await guild.link("20", features=0, quality=1)] == ["10"]
