"""The behaviour of every Catalogue.

A test module subclasses CatalogueSuite and provides the fixtures `catalogue`, `other` and `outage`.
"""

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from contracts.errors import Unavailable
from contracts.ports import Catalogue, CatalogueRecord, Document
from tests.support.waiting import eventually

POST: dict[str, Any] = {
    "discord_message_id": "88",
    "message_link": "https://discord.com/channels/7/70/88",
    "image_url": "https://cdn.discordapp.com/attachments/70/1/map.png",
    "metadata": {
        "upload_timestamp": "2025-03-01T12:00:00+00:00",
        "image_dimensions": None,
        "file_size": 12_345,
        "guild_id": "7",
        "channel_id": "70",
        "user_id": "42",
        "user_name": "Zoë 🗺️ 日本 \"quoted\" 'single' $set a.b",
        "filename": "mäp art 🎨.png",
        "content_type": "image/png",
    },
}
MEDIA: dict[str, Any] = {"media": {"pixels": "a" * 64, "width": 128, "height": 256, "format": "PNG"}}
REJECTION: dict[str, Any] = {"rejection": {"stage": "preprocess", "code": "damaged", "reason": "The file ends too early."}}
VECTOR = struct.pack("<4f", 0.1, -0.2, 3.4028235e38, 1e-45)
OTHER_VECTOR = struct.pack("<2f", 0.6, -0.8)


def post_in(guild_id: str) -> dict[str, Any]:
    """Return the document of a post in a guild."""
    return POST | {"metadata": POST["metadata"] | {"guild_id": guild_id}}


async def list_ids(catalogue: Catalogue, guild_id: str | None = None) -> list[str]:
    """List the image ids in the order of a scan."""
    return [entry.image_id async for entry in catalogue.scan(guild_id)]


async def list_contents(catalogue: Catalogue) -> list[CatalogueRecord]:
    """List everything in the catalogue."""
    return [kept async for kept in catalogue.contents()]


def higher_than(number: int) -> Callable[[Document], bool]:
    """Return a condition: whether the part of a document is higher than `number`."""
    return lambda document: document.get("part", {"number": 0})["number"] > number


async def fill_with_images(catalogue: Catalogue, number: int, version: str) -> list[str]:
    """Add `number` images, each with a document and a vector, and a tombstone."""
    images = [f"{each:04}" for each in range(number)]
    await asyncio.gather(*(catalogue.merge(image, POST | {"version": {"of": version}}) for image in images))
    await asyncio.gather(*(catalogue.put_vector(image, "g1", VECTOR) for image in images))
    await catalogue.remove(f"removed in {version}")
    return images


@dataclass(frozen=True)
class Outage:
    """A catalogue whose database can be stopped and started again, as in a real outage."""

    catalogue: Catalogue
    begin: Callable[[], object]
    end: Callable[[], object]


class CatalogueSuite:
    """A catalogue has one document an image.

    Its parts may be set in any order and repeatedly, until the image is removed for ever.
    """

    @pytest.fixture
    def catalogue(self) -> Catalogue:
        raise NotImplementedError

    @pytest.fixture
    def other(self) -> Catalogue:
        """A second catalogue on the same data, as in another process."""
        raise NotImplementedError

    @pytest.fixture
    def outage(self) -> Outage:
        raise NotImplementedError

    async def test_what_was_merged_is_known(self, catalogue: Catalogue) -> None:
        await catalogue.merge("1", POST)
        (entry,) = (await catalogue.entries(["1", "unknown"])).values()
        assert entry.image_id == "1"
        assert entry.document == POST

    async def test_a_hidden_image_is_left_out_unless_it_is_asked_for(self, catalogue: Catalogue) -> None:
        for image in ("1", "2", "3"):
            await catalogue.merge(image, POST)
        for image, hidden in (("1", True), ("2", False)):
            await catalogue.merge(image, {"visibility": {"turn": 1, "hidden": hidden, "spoiler": False}})
        assert (await catalogue.entries(["1", "2", "3"])).keys() == {"2", "3"}
        assert (await catalogue.entries(["1", "2", "3"], with_hidden=True)).keys() == {"1", "2", "3"}
        assert await list_ids(catalogue) == await list_ids(catalogue, "7") == ["2", "3"]
        assert [kept.image_id for kept in await list_contents(catalogue)] == ["1", "2", "3"]
        assert await catalogue.count() == await catalogue.count("7") == 3

    async def test_a_hidden_image_keeps_its_blobs_and_can_be_shown_and_removed(self, catalogue: Catalogue) -> None:
        for hidden, seen in ((True, []), (False, ["1"]), (True, [])):
            await catalogue.merge("1", POST | MEDIA | {"visibility": {"turn": 1, "hidden": hidden, "spoiler": True}})
            assert list(await catalogue.entries(["1"])) == seen
            assert await catalogue.uses("a" * 64)
        await catalogue.remove("1")
        assert await catalogue.entries(["1"], with_hidden=True) == {}
        assert not await catalogue.uses("a" * 64)

    async def test_merging_again_changes_nothing(self, catalogue: Catalogue) -> None:
        for _ in range(2):
            await catalogue.merge("1", POST)
        assert (await catalogue.entries(["1"]))["1"].document == POST
        assert await catalogue.count() == 1

    @pytest.mark.parametrize("parts", [[POST, MEDIA, REJECTION], [REJECTION, MEDIA, POST], [MEDIA, POST, REJECTION, MEDIA]])
    async def test_parts_may_come_in_any_order(self, catalogue: Catalogue, parts: list[dict[str, Any]]) -> None:
        for part in parts:
            await catalogue.merge("1", part)
        assert (await catalogue.entries(["1"]))["1"].document == POST | MEDIA | REJECTION

    async def test_a_merged_field_replaces_the_old_one_whole(self, catalogue: Catalogue) -> None:
        await catalogue.merge("1", {"media": {"pixels": "old", "gone": True}})
        await catalogue.merge("1", {"media": {"pixels": "new"}})
        assert (await catalogue.entries(["1"]))["1"].document == {"media": {"pixels": "new"}}

    async def test_vectors_are_kept_by_generation_and_stay_out_of_documents(self, catalogue: Catalogue) -> None:
        await catalogue.merge("1", POST)
        await catalogue.put_vector("1", "g1", OTHER_VECTOR)
        await catalogue.put_vector("1", "ViT-B-32_v2", OTHER_VECTOR)
        await catalogue.put_vector("1", "g1", VECTOR)
        await catalogue.merge("1", MEDIA)
        assert await catalogue.vector("1", "g1") == VECTOR
        assert await catalogue.vector("1", "ViT-B-32_v2") == OTHER_VECTOR
        assert await catalogue.vector("1", "g3") is None
        assert await catalogue.vector("2", "g1") is None
        assert (await catalogue.entries(["1"]))["1"].document == POST | MEDIA
        assert [entry.document async for entry in catalogue.scan()] == [POST | MEDIA]

    async def test_a_vector_may_come_before_its_document(self, catalogue: Catalogue) -> None:
        await catalogue.put_vector("1", "g1", VECTOR)
        assert (await catalogue.entries(["1"]))["1"].document == {}
        await catalogue.merge("1", POST)
        assert await catalogue.vector("1", "g1") == VECTOR
        assert (await catalogue.entries(["1"]))["1"].document == POST

    async def test_removed_differs_from_unknown(self, catalogue: Catalogue) -> None:
        await catalogue.merge("1", POST)
        await catalogue.remove("1")
        await catalogue.remove("never posted")
        assert await catalogue.is_removed("1")
        assert await catalogue.is_removed("never posted")
        assert not await catalogue.is_removed("2")

    async def test_nothing_brings_a_removed_image_back(self, catalogue: Catalogue, other: Catalogue) -> None:
        await catalogue.merge("1", POST)
        await catalogue.put_vector("1", "g1", VECTOR)
        for _ in range(2):
            await catalogue.remove("1")
        for late in (catalogue, other):
            await late.merge("1", POST)
            await late.put_vector("1", "g1", VECTOR)
            assert await late.entries(["1"]) == {}
            assert await late.vector("1", "g1") is None
            assert await late.count() == 0
            assert await list_ids(late) == []

    async def test_removal_wins_however_it_overlaps_with_writes(self, catalogue: Catalogue, other: Catalogue) -> None:
        chance = random.Random(7)
        images = [f"image-{number}" for number in range(60)]
        calls: list[partial[Coroutine[Any, Any, object]]] = []
        for image in images:
            overlapping = [
                partial(catalogue.merge, image, POST),
                partial(other.put_vector, image, "g1", VECTOR),
                partial(catalogue.remove, image),
                partial(other.merge, image, MEDIA),
            ]
            chance.shuffle(overlapping)
            calls += overlapping
        await asyncio.gather(*(call() for call in calls))
        assert await list_ids(catalogue) == []
        assert await catalogue.count() == 0
        assert [await other.vector(image, "g1") for image in images] == [None] * len(images)

    async def test_concurrent_merges_lose_nothing(self, catalogue: Catalogue, other: Catalogue) -> None:
        await asyncio.gather(*((catalogue, other)[number % 2].merge("1", {f"part{number}": number}) for number in range(100)))
        assert (await catalogue.entries(["1"]))["1"].document == {f"part{number}": number for number in range(100)}

    async def test_a_scan_is_ordered_and_whole(self, catalogue: Catalogue) -> None:
        images = [f"{number:04}" for number in range(1003)]
        for batch in range(0, len(images), 50):
            await asyncio.gather(*(catalogue.merge(image, MEDIA) for image in reversed(images[batch : batch + 50])))
        assert await list_ids(catalogue) == images
        assert len(await catalogue.entries(images)) == len(images)

    async def test_guilds_are_separate(self, catalogue: Catalogue) -> None:
        for image, guild in (("3", "7"), ("1", "8"), ("2", "7")):
            await catalogue.merge(image, post_in(guild))
        await catalogue.merge("0", MEDIA)
        assert await list_ids(catalogue, "7") == ["2", "3"]
        assert await list_ids(catalogue, "8") == ["1"]
        assert await list_ids(catalogue, "9") == []
        assert await list_ids(catalogue) == ["0", "1", "2", "3"]
        assert (await catalogue.count("7"), await catalogue.count("8"), await catalogue.count("9"), await catalogue.count()) == (
            2,
            1,
            0,
            4,
        )

    async def test_a_merge_says_whether_the_image_is_there_to_have_it(self, catalogue: Catalogue, other: Catalogue) -> None:
        assert await catalogue.merge("1", POST)
        assert await catalogue.merge("1", MEDIA)
        await other.remove("1")
        for _ in range(2):
            assert not await catalogue.merge("1", POST)
        assert await catalogue.merge("2", POST)

    async def test_a_blob_is_in_use_while_any_document_names_it(self, catalogue: Catalogue, other: Catalogue) -> None:
        original, pixels, thumbnail, fingerprint = named = "0" * 64, "1" * 64, "2" * 64, "4" * 64
        for blob in named:
            assert not await catalogue.uses(blob)
        for image in ("1", "2"):
            await catalogue.merge(image, POST | {"original": {"blob": original, "size": 9}})
            await catalogue.merge(image, {"media": {"pixels": pixels, "thumbnail": thumbnail, "width": 1}})
            await catalogue.merge(image, {"fingerprint": {"blob": fingerprint, "hash": "3" * 64}})
        await catalogue.merge("3", {"metadata": {"filename": "3" * 64}})
        for image in ("1", "2"):
            for blob in named:
                assert await other.uses(blob)
            await catalogue.remove(image)
        for blob in (*named, "3" * 64, ""):
            assert not await other.uses(blob)

    async def test_a_blob_is_not_in_use_any_more_when_its_field_was_replaced(self, catalogue: Catalogue) -> None:
        for blob in ("0" * 64, "1" * 64):
            await catalogue.merge("1", {"original": {"blob": blob, "size": 9}})
        assert not await catalogue.uses("0" * 64)
        assert await catalogue.uses("1" * 64)

    async def test_a_file_is_found_by_its_digest_in_one_guild(self, catalogue: Catalogue, other: Catalogue) -> None:
        blob, another = "0" * 64, "1" * 64
        for image, guild, file in (("1", "7", blob), ("2", "7", blob), ("3", "8", blob), ("4", "7", another)):
            await catalogue.merge(image, post_in(guild) | {"original": {"blob": file, "size": 9}})
            await catalogue.put_vector(image, "g1", VECTOR)
        await catalogue.merge("5", {"original": {"blob": blob, "size": 9}})
        await catalogue.merge("6", post_in("7") | {"media": {"pixels": blob, "thumbnail": blob}, "fingerprint": {"blob": blob}})
        for each in (catalogue, other):
            found = await each.find_file("7", blob)
            assert {image: entry.document for image, entry in found.items()} == {
                image: post_in("7") | {"original": {"blob": blob, "size": 9}} for image in ("1", "2")
            }
            assert all(entry.image_id == image for image, entry in found.items())
            assert await each.find_file("9", blob) == {}
            assert [*await each.find_file("7", another)] == ["4"]
        await other.remove("1")
        await other.merge("2", {"original": {"blob": another, "size": 9}})
        assert await catalogue.find_file("7", blob) == {}
        assert {*await catalogue.find_file("7", another)} == {"2", "4"}
        await catalogue.merge("4", {"visibility": {"turn": 1, "hidden": True, "spoiler": False}})
        assert {*await catalogue.find_file("7", another)} == {"2"}

    async def test_a_file_is_found_in_the_catalogue_that_replaced_another(self, catalogue: Catalogue) -> None:
        await catalogue.merge("1", POST | {"original": {"blob": "0" * 64, "size": 9}})
        beside = await catalogue.create_replacement()
        await beside.merge("2", POST | {"original": {"blob": "0" * 64, "size": 9}})
        assert [*await beside.find_file("7", "0" * 64)] == ["2"]
        await catalogue.replace_with(beside)
        await beside.close()
        assert [*await catalogue.find_file("7", "0" * 64)] == ["2"]

    async def test_no_images_are_no_entries(self, catalogue: Catalogue) -> None:
        await catalogue.merge("1", POST)
        assert await catalogue.entries([]) == {}

    async def test_clear_forgets_everything_even_removals(self, catalogue: Catalogue) -> None:
        await catalogue.merge("1", POST)
        await catalogue.put_vector("1", "g1", VECTOR)
        await catalogue.remove("2")
        await catalogue.clear()
        assert await catalogue.count() == 0
        assert await catalogue.vector("1", "g1") is None
        assert not await catalogue.is_removed("2")
        await catalogue.merge("2", POST)
        assert await list_ids(catalogue) == ["2"]

    async def test_a_merge_may_depend_on_what_is_there(self, catalogue: Catalogue) -> None:
        assert await catalogue.merge("1", {"part": {"number": 2}}, unless=higher_than(2))
        assert await catalogue.merge("1", {"part": {"number": 1}}, unless=higher_than(1))
        assert (await catalogue.entries(["1"]))["1"].document == {"part": {"number": 2}}
        assert await catalogue.merge("1", {"part": {"number": 3}}, unless=higher_than(3))
        assert (await catalogue.entries(["1"]))["1"].document == {"part": {"number": 3}}
        await catalogue.remove("1")
        assert not await catalogue.merge("1", {"part": {"number": 4}}, unless=higher_than(4))
        assert await catalogue.entries(["1"]) == {}

    async def test_a_conditional_merge_is_atomic(self, catalogue: Catalogue, other: Catalogue) -> None:
        numbers = [*range(1, 41)]
        random.Random(7).shuffle(numbers)
        both = (catalogue, other)
        merges = [both[each % 2].merge("1", {"part": {"number": each}}, unless=higher_than(each)) for each in numbers]
        await asyncio.gather(*merges)
        assert (await catalogue.entries(["1"]))["1"].document == {"part": {"number": 40}}

    async def test_the_contents_are_all_that_is_kept_in_order(self, catalogue: Catalogue) -> None:
        for image in ("5", "3", "1"):
            await catalogue.merge(image, POST)
        await catalogue.put_vector("3", "g2", OTHER_VECTOR)
        await catalogue.put_vector("3", "g1", VECTOR)
        for image in ("4", "1", "0", "9"):
            await catalogue.remove(image)
        assert await list_contents(catalogue) == [
            CatalogueRecord("0", {}, {}, removed=True),
            CatalogueRecord("1", {}, {}, removed=True),
            CatalogueRecord("3", POST, {"g1": VECTOR, "g2": OTHER_VECTOR}),
            CatalogueRecord("4", {}, {}, removed=True),
            CatalogueRecord("5", POST, {}),
            CatalogueRecord("9", {}, {}, removed=True),
        ]

    async def test_the_contents_are_whole(self, catalogue: Catalogue) -> None:
        images = await fill_with_images(catalogue, 1003, "v1")
        assert [kept.image_id for kept in await list_contents(catalogue)] == [*images, "removed in v1"]

    async def test_a_dropped_generation_is_gone_from_every_image_and_nothing_else(self, catalogue: Catalogue) -> None:
        for image in ("1", "2", "3"):
            await catalogue.merge(image, POST)
            await catalogue.put_vector(image, "g1", VECTOR)
        for image in ("1", "2"):
            await catalogue.put_vector(image, "g2", OTHER_VECTOR)
        assert await catalogue.drop_generation("g2") == 2
        assert await catalogue.drop_generation("g2") == 0
        assert await catalogue.drop_generation("g3") == 0
        assert await list_contents(catalogue) == [CatalogueRecord(image, POST, {"g1": VECTOR}) for image in ("1", "2", "3")]

    async def test_a_second_catalogue_is_empty_and_separate(self, catalogue: Catalogue) -> None:
        await fill_with_images(catalogue, 3, "v1")
        before = await list_contents(catalogue)
        beside = await catalogue.create_replacement()
        assert await list_contents(beside) == []
        await fill_with_images(beside, 2, "v2")
        await beside.clear()
        await fill_with_images(beside, 2, "v3")
        assert await list_contents(catalogue) == before
        assert len(await list_contents(beside)) == 3
        await beside.close()
        assert await list_contents(catalogue) == before
        again = await catalogue.create_replacement()
        assert await list_contents(again) == []
        await again.close()

    async def test_an_abandoned_second_catalogue_is_discarded(self, catalogue: Catalogue) -> None:
        left = await catalogue.create_replacement()
        await fill_with_images(left, 2, "v2")
        beside = await catalogue.create_replacement()
        assert await list_contents(beside) == []
        for each in (left, beside):
            await each.close()

    async def test_a_removed_image_is_removed_from_the_second_catalogue_too(self, catalogue: Catalogue) -> None:
        await fill_with_images(catalogue, 3, "v1")
        beside = await catalogue.create_replacement()
        await fill_with_images(beside, 3, "v2")
        await catalogue.remove("0001")
        assert [kept.image_id for kept in await list_contents(beside)] == ["0000", "0002", "removed in v2"]
        await beside.close()

    async def test_the_second_catalogue_replaces_the_first_for_every_process(self, catalogue: Catalogue, other: Catalogue) -> None:
        await fill_with_images(catalogue, 5, "v1")
        await catalogue.put_vector("0002", "g2", OTHER_VECTOR)
        await catalogue.remove("0000")
        await catalogue.merge("0001", {"gone": {"soon": 1}})
        for version in ("v2", "v3", "v4"):
            beside = await catalogue.create_replacement()
            await fill_with_images(beside, 3, version)
            await beside.merge("0000", {"original": {"blob": "c" * 64, "size": 9}})
            wanted = await list_contents(beside)
            await catalogue.replace_with(beside)
            await beside.close()
            for each in (catalogue, other):
                assert await list_contents(each) == wanted
                assert await each.count("7") == 3
                assert await each.uses("c" * 64)
                assert not await each.is_removed("removed in v1")
                assert await each.is_removed(f"removed in {version}")
        await other.merge("5", POST)
        await other.remove("0000")
        await other.put_vector("0001", "g2", VECTOR)
        assert await catalogue.count() == 3
        assert await catalogue.vector("0001", "g2") == VECTOR

    async def test_a_reader_never_finds_an_empty_or_a_half_catalogue(self, catalogue: Catalogue, other: Catalogue) -> None:
        images = await fill_with_images(catalogue, 60, "v1")
        beside = await catalogue.create_replacement()
        await fill_with_images(beside, 60, "v2")
        versions: list[str] = []
        replacing = asyncio.create_task(catalogue.replace_with(beside))
        while not replacing.done() or "v2" not in versions:
            entries = await other.entries(images)
            assert len(entries) == len(images)
            for entry in entries.values():
                assert entry.document["metadata"] == POST["metadata"]
                versions.append(entry.document["version"]["of"])
            assert await other.count("7") == len(images)
            assert await other.vector(images[-1], "g1") == VECTOR
            await asyncio.sleep(0)  # one in memory waits for nothing
        await replacing
        await beside.close()
        assert {entry.document["version"]["of"] async for entry in other.scan()} == {"v2"}

    async def test_it_answers_a_ping(self, catalogue: Catalogue) -> None:
        await catalogue.ping()

    async def test_a_database_that_is_down_is_unavailable_and_serves_again_afterwards(self, outage: Outage) -> None:
        catalogue = outage.catalogue
        await catalogue.merge("1", POST)
        await catalogue.put_vector("1", "g1", VECTOR)
        outage.begin()
        down: list[Callable[[], Awaitable[object]]] = [
            catalogue.ping,
            lambda: catalogue.merge("1", MEDIA),
            lambda: catalogue.put_vector("2", "g1", VECTOR),
            lambda: catalogue.remove("1"),
            catalogue.clear,
        ]
        for call in down:
            with pytest.raises(Unavailable, match="catalogue is unavailable") as failure:
                await call()
            assert failure.value.dependency == "catalogue"
        outage.end()

        async def serves() -> bool:
            with suppress(Unavailable):
                await catalogue.ping()
                return True
            return False

        await eventually(serves)
        assert (await catalogue.entries(["1", "2"]))["1"].document == POST
        assert await catalogue.vector("1", "g1") == VECTOR
        await catalogue.merge("1", MEDIA)
        assert (await catalogue.entries(["1"]))["1"].document == POST | MEDIA
