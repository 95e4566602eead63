"""A killed rebuild: the old catalogue still answers, nothing stays paused for long, and the next rebuild succeeds."""

from collections.abc import Mapping
from pathlib import Path

from nats.aio.client import Client
from nats.js.api import ConsumerInfo

from contracts.events import ImageDownloaded
from contracts.ports import Catalogue, CatalogueRecord
from contracts.subjects import IMAGES, kind_filter
from infra.nats.journal import JetStreamJournal
from pipeline.projections.rebuild_catalogue import PAUSE_DURATION
from stages import persist
from tests.support.facts import posted
from tests.support.mongo_server import WITH_SLOW_MONGODB
from tests.support.programs import run_program, run_to_end
from tests.support.replays import OpenCatalogue, image_history, record_facts, run_persist, vector_at
from tests.support.waiting import eventually


async def read_all_records(catalogue: Catalogue) -> list[CatalogueRecord]:
    return [kept async for kept in catalogue.contents()]


async def list_paused(client: Client) -> list[ConsumerInfo]:
    return [info for info in await client.jetstream().consumers_info(IMAGES) if info.paused]


async def check_rebuild(environment: Mapping[str, str], client: Client, catalogue: Catalogue) -> None:
    """Run the next rebuild. Check that writers continue and that the catalogue agrees with the log."""
    again = await run_to_end("rebuild", "catalogue", environment=environment)
    assert again.code == 0, again
    assert await list_paused(client) == []
    async with run_persist(client, catalogue):
        pass
    verified = await run_to_end("rebuild", "catalogue", "--verify", environment=environment)
    assert (verified.code, verified.out.startswith("identical: ")) == (0, True), verified


@WITH_SLOW_MONGODB
async def test_a_rebuild_killed_while_it_fills_changes_nothing(
    client: Client,
    log: JetStreamJournal,
    catalogue: Catalogue,
    open_catalogue: OpenCatalogue,
    environment: Mapping[str, str],
    tmp_path: Path,
) -> None:
    for number in range(100, 200):
        await record_facts(log, *image_history(str(number)))
    async with run_persist(client, catalogue):
        pass
    await catalogue.put_vector("10", "g1", vector_at(77))
    before = await read_all_records(catalogue)
    async with run_program(tmp_path / "log", "rebuild", "catalogue", environment=environment) as rebuild:

        async def is_filling() -> bool:
            """Return whether the rebuild reads the facts of a catalogue."""
            readers = [info.config for info in await client.jetstream().consumers_info(IMAGES) if not info.config.durable_name]
            return any(kind_filter(ImageDownloaded) in (reader.filter_subjects or ()) for reader in readers)

        await eventually(is_filling, every=0.001)
        await rebuild.kill()
    assert await list_paused(client) == []
    assert await read_all_records(await open_catalogue()) == before
    await check_rebuild(environment, client, catalogue)
    assert await catalogue.vector("10", "g1") == vector_at(10)


@WITH_SLOW_MONGODB
async def test_a_rebuild_killed_while_it_pauses_writers_holds_nothing_for_long(
    client: Client,
    log: JetStreamJournal,
    catalogue: Catalogue,
    open_catalogue: OpenCatalogue,
    environment: Mapping[str, str],
    tmp_path: Path,
) -> None:
    """A writer holds a fact, and the rebuild waits for it for a while."""
    await record_facts(log, *image_history("99"))
    writer = await client.jetstream().pull_subscribe_bind("persist-image", stream=IMAGES)
    [in_hand] = await writer.fetch(1, timeout=5)
    before = await read_all_records(catalogue)
    async with run_program(tmp_path / "log", "rebuild", "catalogue", environment=environment) as rebuild:
        paused = await eventually(lambda: list_paused(client), timeout=60, every=0.01)
        await rebuild.kill()
    assert {info.name for info in paused} <= {"erase-image", "persist-image", "persist-image-g1", "persist-image-g2"}
    assert all(0 < int(info.pause_remaining or 0) / 1e9 <= PAUSE_DURATION.total_seconds() for info in paused)
    assert await read_all_records(await open_catalogue()) == before
    await catalogue.merge("99", persist.build_fields(posted("99")))
    await in_hand.ack_sync()
    await writer.unsubscribe()
    await check_rebuild(environment, client, catalogue)
    assert await catalogue.vector("99", "g2") == vector_at(100)
