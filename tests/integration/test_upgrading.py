"""The first start on a log of another release: streams and consumers are changed to fit, and a search in flight is answered."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.events import (
    GenerationStarted,
    ImageEmbedded,
    LocalReply,
    Person,
    Question,
    SearchAnswered,
    SearchDescribed,
    SearchEmbedded,
    SearchFingerprinted,
    SearchMatched,
    SearchPreprocessed,
)
from contracts.subjects import FAILURES, IMAGES, SEARCHES, kind_filter, variant_filter
from infra.blobs.files import open_blob_store
from infra.nats.connection import LogAddress
from infra.nats.journal import JetStreamJournal
from infra.tasks import cancel_tasks
from pipeline.clock import utc_now
from pipeline.engine import topology
from pipeline.engine.registry import STAGES
from pipeline.generations.lifecycle import build_generation_activated
from pipeline.process import open_process
from pipeline.settings import Settings
from tests.support.bench_stage import count_messages
from tests.support.waiting import eventually
from tests.support.world import IMPATIENT_POLICY, Log, art_png

WITHOUT_FINGERPRINTS = {
    (SEARCHES, "embed-search"): [kind_filter(SearchPreprocessed), kind_filter(SearchDescribed)],
    (IMAGES, "link-image-g1"): [variant_filter(ImageEmbedded, "g1")],
}
"""The subjects of these consumers in a release without the fingerprint stage."""

FINGERPRINT_CONSUMERS = ((SEARCHES, "fingerprint-search"), (IMAGES, "fingerprint-image-g1"))


async def change_to_another_release(client: Client) -> None:
    """Change the server to that of a release without the fingerprint stage."""
    js = client.jetstream()
    for (stream, name), subjects in WITHOUT_FINGERPRINTS.items():
        config = (await js.consumer_info(stream, name)).config
        await js.add_consumer(stream, config.evolve(filter_subjects=subjects))
    for stream, name in FINGERPRINT_CONSUMERS:
        await js.delete_consumer(stream, name)
    config = (await js.stream_info(SEARCHES)).config
    kept = [subject for subject in config.subjects or [] if subject != kind_filter(SearchFingerprinted).replace("*.", "")]
    assert len(kept) == len(config.subjects or []) - 1
    await js.update_stream(config.evolve(subjects=kept))


async def make_archive(settings: Settings, address: LogAddress, client: Client) -> None:
    """Make an archive as another release left it; no process works on it."""
    async with open_process(settings, address, STAGES, policy=IMPATIENT_POLICY):
        pass
    await change_to_another_release(client)


async def record_search(journal: JetStreamJournal, folder: Path) -> None:
    """Record a search that is preprocessed and not further."""
    question = Question(asker=Person(id="5", name="Alex"), requested_at=utc_now(), reply=LocalReply())
    pixels = await open_blob_store(folder / "questions").put(art_png(1))
    fact = SearchPreprocessed(
        guild_id="7", search_id="11", question=question, pixels=pixels, width=128, height=128, preprocessing="p1"
    )
    assert await journal.record(fact, Origin("11"))


@pytest.mark.parametrize("delivered", [False, True], ids=["waiting", "delivered to a process that died"])
async def test_a_search_in_flight_is_answered_once(
    client: Client,
    journal: JetStreamJournal,
    log_address: LogAddress,
    settings: Callable[..., Settings],
    delivered: bool,
    impatient_log: None,
) -> None:
    ours = settings()
    await make_archive(ours, log_address, client)
    await record_search(journal, ours.data_dir)
    if delivered:
        subscription = await client.jetstream().pull_subscribe_bind("embed-search", stream=SEARCHES)
        await subscription.fetch(1)
        await subscription.unsubscribe()
    async with open_process(ours, log_address, STAGES, policy=IMPATIENT_POLICY) as process:
        log = Log(process.container.client)
        await log.wait_for(SearchAnswered, 1)
        await log.wait_until_idle("search")
        for kind in (SearchFingerprinted, SearchEmbedded, SearchMatched, SearchAnswered):
            assert await log.count(kind) == 1, kind
        assert (await log.facts(SearchEmbedded))[0].fingerprint is not None
        assert await count_messages(client, FAILURES) == 0


async def test_an_idle_server_is_changed_to_this_release_and_consumers_keep_their_positions(
    client: Client, journal: JetStreamJournal, log_address: LogAddress, settings: Callable[..., Settings]
) -> None:
    ours, js = settings(), client.jetstream()
    await make_archive(ours, log_address, client)
    assert {difference.field for difference in await topology.find_differences(client, STAGES)} == {
        "",
        "subjects",
        "filter_subjects",
    }
    before = {place: await js.consumer_info(*place) for place in WITHOUT_FINGERPRINTS}
    await topology.ensure_topology(client, STAGES)
    assert await topology.find_differences(client, STAGES) == []
    for place, info in before.items():
        now = await js.consumer_info(*place)
        assert (now.created, now.delivered, now.ack_floor) == (info.created, info.delivered, info.ack_floor)


async def test_nothing_is_changed_while_processes_of_another_release_run(
    client: Client, journal: JetStreamJournal, log_address: LogAddress, settings: Callable[..., Settings]
) -> None:
    ours = settings()
    await make_archive(ours, log_address, client)
    differing = await topology.find_differences(client, STAGES)
    subscription = await client.jetstream().pull_subscribe_bind("embed-search", stream=SEARCHES)
    at_work = asyncio.create_task(subscription.fetch(1, timeout=60))
    await eventually(lambda: is_fetching(client))
    with pytest.raises(
        MapSeekError, match=r"^Processes of another release work on this log .*embed-search.*stop them, then start"
    ) as caught:
        await topology.ensure_topology(client, STAGES)
    assert "\n" not in str(caught.value)
    assert await topology.find_differences(client, STAGES) == differing
    await cancel_tasks(at_work)
    await subscription.unsubscribe()
    await topology.ensure_topology(client, STAGES)
    assert await topology.find_differences(client, STAGES) == []


async def is_fetching(client: Client) -> bool:
    return bool((await client.jetstream().consumer_info(SEARCHES, "embed-search")).num_waiting)


async def test_changes_by_a_newer_release_stay(client: Client) -> None:
    await topology.ensure_topology(client, STAGES)
    js = client.jetstream()
    config = (await js.consumer_info(SEARCHES, "match-search")).config
    newer = config.evolve(filter_subjects=["mapseek.search.imagined.*.>"])
    await js.update_stream((await js.stream_info(SEARCHES)).config.evolve(subjects=["mapseek.search.imagined.>"]))
    await js.add_consumer(SEARCHES, newer)
    with pytest.raises(MapSeekError, match=r"mapseek\.search\.imagined.*mapseek topology diff"):
        await topology.ensure_topology(client, STAGES)
    assert (await js.consumer_info(SEARCHES, "match-search")).config.filter_subjects == newer.filter_subjects


async def test_a_generation_with_fingerprints_of_a_newer_release_is_refused(
    client: Client, journal: JetStreamJournal, log_address: LogAddress, settings: Callable[..., Settings]
) -> None:
    ours = settings()
    async with open_process(ours, log_address, STAGES, policy=IMPATIENT_POLICY) as process:
        now = (await process.container.generations()).now
    known = await journal.fetch(GenerationStarted, "g1")
    assert known is not None
    newer = known.model_copy(update={"generation": "g2", "fingerprint": "f9"})
    for fact in (newer, build_generation_activated(now.with_fact(newer, 3), "g2")):
        assert await journal.record(fact, Origin("g2"))
    with pytest.raises(MapSeekError, match=r"^Generation g2 .*fingerprint method f9, which this release does not know") as caught:
        async with open_process(ours, log_address, STAGES, policy=IMPATIENT_POLICY):
            pass
    assert "\n" not in str(caught.value)
