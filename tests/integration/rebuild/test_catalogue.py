"""Rebuilding the catalogue from a real log while it answers, and comparing it with the log."""

import asyncio

import pytest
from nats.aio.client import Client

from contracts.errors import MapSeekError
from contracts.events import GenerationDropped
from contracts.ports import Catalogue
from contracts.subjects import IMAGES
from infra.nats.journal import JetStreamJournal
from pipeline.projections.rebuild_catalogue import RebuildResult, pause_writers, rebuild_catalogue
from tests.support.facts import posted
from tests.support.fakes import MemoryCatalogue
from tests.support.posts import hidden, shown
from tests.support.replays import IMAGES_POSTED, OpenCatalogue, image_history, keep_reading, record_facts, run_persist, vector_at

POSTED_DURING_REBUILD = 10


def ignore_progress(_: int, __: int) -> None:
    """Do nothing with the progress."""


async def verify(client: Client, catalogue: Catalogue) -> RebuildResult:
    return await rebuild_catalogue(client, catalogue, verify=True, progress=ignore_progress)


async def test_a_catalogue_persisted_in_any_order_agrees_with_the_log(
    client: Client, catalogue: Catalogue, open_catalogue: OpenCatalogue
) -> None:
    async with keep_reading(await open_catalogue()):
        found = await verify(client, catalogue)
    assert (found.comparison.before, found.comparison.different) == (found.comparison.after, 0), found
    assert found.comparison.images == IMAGES_POSTED
    assert found.unsettled == 0


async def test_a_rebuilt_catalogue_is_identical_and_answers_all_the_time(
    client: Client, log: JetStreamJournal, catalogue: Catalogue, open_catalogue: OpenCatalogue
) -> None:
    reader, writer = await open_catalogue(), await open_catalogue()
    places: list[tuple[int, int]] = []
    async with keep_reading(reader), run_persist(client, writer):
        rebuild = asyncio.create_task(
            rebuild_catalogue(client, catalogue, verify=False, progress=lambda done, total: places.append((done, total)))
        )
        for number in range(100, 100 + POSTED_DURING_REBUILD):
            await record_facts(log, *image_history(str(number)))
        found = await rebuild
    assert found.comparison.before == found.comparison.after, found
    assert places[-1][0] == places[-1][1] > 0
    assert await reader.count() == IMAGES_POSTED - 1 + POSTED_DURING_REBUILD
    after = await verify(client, catalogue)
    assert after.comparison.before == after.comparison.after, after
    assert after.comparison.images == IMAGES_POSTED + POSTED_DURING_REBUILD


async def test_planted_differences_are_found_and_a_rebuild_repairs_them(client: Client, catalogue: Catalogue) -> None:
    await catalogue.put_vector("10", "g1", vector_at(77))
    await catalogue.merge("11", {"media": {"pixels": "e" * 64}})
    await catalogue.remove("13")
    await catalogue.merge("never posted", {"metadata": {"guild_id": "7"}})
    found = (await verify(client, catalogue)).comparison
    assert found.before != found.after
    assert (found.different, found.examples) == (
        4,
        (
            "Image 10 is not as the log says: the vector of g1.",
            "Image 11 is not as the log says: media.",
            "Image 13 is removed, but the log says otherwise.",
            "Image never posted is not in the log.",
        ),
    )
    healed = (await rebuild_catalogue(client, catalogue, verify=False, progress=ignore_progress)).comparison
    assert (healed.before, healed.after) == (found.before, found.after)
    again = (await verify(client, catalogue)).comparison
    assert again.before == again.after == found.after


async def test_a_rebuilt_catalogue_hides_the_same_images(client: Client, log: JetStreamJournal, catalogue: Catalogue) -> None:
    async with run_persist(client, catalogue):
        await record_facts(log, hidden(posted("10"), 2), hidden(posted("10")), shown(posted("10")), hidden(posted("11")))
        await record_facts(log, shown(posted("11"), spoiler=True))
    before = (await verify(client, catalogue)).comparison
    assert before.before == before.after
    await catalogue.clear()
    await rebuild_catalogue(client, catalogue, verify=False, progress=ignore_progress)
    assert (await verify(client, catalogue)).comparison == before
    entries = await catalogue.entries(["10", "11"])
    assert {image_id: entry.document["visibility"] for image_id, entry in entries.items()} == {
        "11": {"turn": 1, "hidden": False, "spoiler": True}
    }


async def test_a_lost_catalogue_is_rebuilt(client: Client, catalogue: Catalogue) -> None:
    before = (await verify(client, catalogue)).comparison
    await catalogue.clear()
    await rebuild_catalogue(client, catalogue, verify=False, progress=ignore_progress)
    after = (await verify(client, catalogue)).comparison
    assert (after.before, after.after) == (before.after, before.after)
    assert await catalogue.is_removed("12")


async def test_a_dropped_generation_is_not_rebuilt(client: Client, log: JetStreamJournal, catalogue: Catalogue) -> None:
    await record_facts(log, GenerationDropped(generation="g2"))
    await catalogue.drop_generation("g2")
    found = (await rebuild_catalogue(client, catalogue, verify=False, progress=ignore_progress)).comparison
    assert found.before == found.after
    assert await catalogue.vector("10", "g2") is None
    assert await catalogue.vector("10", "g1") == vector_at(10)


async def test_only_one_rebuilds_at_a_time(client: Client, log: JetStreamJournal) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    class Slow(MemoryCatalogue):
        async def create_replacement(self) -> MemoryCatalogue:
            begun.set()
            await goes_on.wait()
            return await super().create_replacement()

    first = asyncio.create_task(verify(client, Slow()))
    await begun.wait()
    with pytest.raises(MapSeekError, match="being rebuilt already"):
        await verify(client, MemoryCatalogue())
    goes_on.set()
    await first
    await verify(client, MemoryCatalogue())


async def test_writers_are_paused_only_for_a_while_also_if_a_rebuild_is_killed(client: Client, log: JetStreamJournal) -> None:
    js = client.jetstream()

    async def paused() -> dict[str, float]:
        infos = await js.consumers_info(IMAGES)
        return {info.name: info.pause_remaining or 0 for info in infos if info.paused}

    async with pause_writers(client) as (held_at, unsettled):
        remaining = await paused()
        assert sorted(remaining) == ["erase-image", "persist-image", "persist-image-g1", "persist-image-g2"]
        assert {place.durable for place in held_at} == set(remaining)
        assert unsettled == 0
    assert await paused() == {}
