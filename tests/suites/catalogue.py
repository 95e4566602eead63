"""What every Catalogue does. A test module subclasses CatalogueSuite and gives the fixtures `catalogue`, `other` and `outage`."""

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from contracts.errors import Unavailable
from contracts.ports import Catalogue

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
    """A post in that guild."""
    return POST | {"metadata": POST["metadata"] | {"guild_id": guild_id}}


async def ids(catalogue: Catalogue, guild_id: str | None = None) -> list[str]:
    """The image ids in the order of a scan."""
    return [entry.image_id async for entry in catalogue.scan(guild_id)]


@dataclass(frozen=True)
class Outage:
    """A catalogue whose database can be taken away and given back, as it would happen outside of tests."""

    catalogue: Catalogue
    begin: Callable[[], object]
    end: Callable[[], object]


class CatalogueSuite:
    """One document an image, set part by part, in any order and any number of times, until it is removed for good."""

    @pytest.fixture
    def catalogue(self) -> Catalogue:
        raise NotImplementedError

    @pytest.fixture
    def other(self) -> Catalogue:
        """A second catalogue on the same data, as another process has it."""
        raise NotImplementedError

    @pytest.fixture
    def outage(self) -> Outage:
        raise NotImplementedError

    async def test_what_was_merged_is_known(self, catalogue: Catalogue) -> None:
        await catalogue.merge("1", POST)
        (entry,) = (await catalogue.entries(["1", "unknown"])).values()
        assert entry.image_id == "1"
        assert entry.document == POST

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

    async def test_removed_is_told_apart_from_unknown(self, catalogue: Catalogue) -> None:
        await catalogue.merge("1", POST)
        await catalogue.remove("1")
        await catalogue.remove("never posted")
        assert await catalogue.removed("1")
        assert await catalogue.removed("never posted")
        assert not await catalogue.removed("2")

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
            assert await ids(late) == []

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
        assert await ids(catalogue) == []
        assert await catalogue.count() == 0
        assert [await other.vector(image, "g1") for image in images] == [None] * len(images)

    async def test_many_at_once_lose_nothing(self, catalogue: Catalogue, other: Catalogue) -> None:
        await asyncio.gather(*((catalogue, other)[number % 2].merge("1", {f"part{number}": number}) for number in range(100)))
        assert (await catalogue.entries(["1"]))["1"].document == {f"part{number}": number for number in range(100)}

    async def test_a_scan_is_ordered_and_whole(self, catalogue: Catalogue) -> None:
        images = [f"{number:04}" for number in range(1003)]
        for batch in range(0, len(images), 50):
            await asyncio.gather(*(catalogue.merge(image, MEDIA) for image in reversed(images[batch : batch + 50])))
        assert await ids(catalogue) == images
        assert len(await catalogue.entries(images)) == len(images)

    async def test_guilds_are_apart(self, catalogue: Catalogue) -> None:
        for image, guild in (("3", "7"), ("1", "8"), ("2", "7")):
            await catalogue.merge(image, post_in(guild))
        await catalogue.merge("0", MEDIA)
        assert await ids(catalogue, "7") == ["2", "3"]
        assert await ids(catalogue, "8") == ["1"]
        assert await ids(catalogue, "9") == []
        assert await ids(catalogue) == ["0", "1", "2", "3"]
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
        original, pixels, thumbnail = "0" * 64, "1" * 64, "2" * 64
        for blob in (original, pixels, thumbnail):
            assert not await catalogue.uses(blob)
        for image in ("1", "2"):
            await catalogue.merge(image, POST | {"original": {"blob": original, "size": 9}})
            await catalogue.merge(image, {"media": {"pixels": pixels, "thumbnail": thumbnail, "width": 1}})
        await catalogue.merge("3", {"metadata": {"filename": "3" * 64}})
        for image in ("1", "2"):
            for blob in (original, pixels, thumbnail):
                assert await other.uses(blob)
            await catalogue.remove(image)
        for blob in (original, pixels, thumbnail, "3" * 64, ""):
            assert not await other.uses(blob)

    async def test_a_blob_is_not_in_use_any_more_when_its_field_was_replaced(self, catalogue: Catalogue) -> None:
        for blob in ("0" * 64, "1" * 64):
            await catalogue.merge("1", {"original": {"blob": blob, "size": 9}})
        assert not await catalogue.uses("0" * 64)
        assert await catalogue.uses("1" * 64)

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
        assert not await catalogue.removed("2")
        await catalogue.merge("2", POST)
        assert await ids(catalogue) == ["2"]

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
        await catalogue.ping()
        assert (await catalogue.entries(["1", "2"]))["1"].document == POST
        assert await catalogue.vector("1", "g1") == VECTOR
        await catalogue.merge("1", MEDIA)
        assert (await catalogue.entries(["1"]))["1"].document == POST | MEDIA
