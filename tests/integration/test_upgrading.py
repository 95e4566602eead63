"""The first start on a log that the release before wrote: what follows from the release is changed, and a question goes on."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from nats.aio.client import Client

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.events import (
    Calibration,
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
from infra.nats.journal import JetStreamJournal
from infra.tasks import cancel
from pipeline import topology
from pipeline.clock import utc_now
from pipeline.generations.founding import activated
from pipeline.process import running
from pipeline.registry import STAGES
from pipeline.settings import Settings
from tests.suites.bench_stage import count
from tests.suites.facts import VECTOR
from tests.suites.waiting import eventually
from tests.suites.world import IMPATIENT, Log, art

AS_BEFORE = {
    (SEARCHES, "embed-search"): [kind_filter(SearchPreprocessed), kind_filter(SearchDescribed)],
    (IMAGES, "link-image-g1"): [variant_filter(ImageEmbedded, "g1")],
}
"""What these were for in the release before fingerprints."""

STAGE_IS_NEW = ((SEARCHES, "fingerprint-search"), (IMAGES, "fingerprint-image-g1"))


async def as_the_release_before(client: Client) -> None:
    js = client.jetstream()
    for (stream, name), subjects in AS_BEFORE.items():
        config = (await js.consumer_info(stream, name)).config
        await js.add_consumer(stream, config.evolve(filter_subjects=subjects))
    for stream, name in STAGE_IS_NEW:
        await js.delete_consumer(stream, name)
    config = (await js.stream_info(SEARCHES)).config
    kept = [subject for subject in config.subjects or [] if subject != kind_filter(SearchFingerprinted).replace("*.", "")]
    assert len(kept) == len(config.subjects or []) - 1
    await js.update_stream(config.evolve(subjects=kept))


async def founded(settings: Settings, url: str, client: Client) -> None:
    """An archive that no process works on, as the release before left it."""
    async with running(settings, url, STAGES, policy=IMPATIENT):
        pass
    await as_the_release_before(client)


async def asked(client: Client, journal: JetStreamJournal, folder: Path) -> SearchPreprocessed:
    """A question that was preprocessed, and no more."""
    question = Question(asker=Person(id="5", name="Alex"), requested_at=utc_now(), reply=LocalReply())
    pixels = await open_blob_store(folder / "questions").put(art(1))
    fact = SearchPreprocessed(
        guild_id="7", search_id="11", question=question, pixels=pixels, width=128, height=128, preprocessing="p1"
    )
    assert await journal.record(fact, Origin("11"))
    return fact


@pytest.mark.parametrize("delivered", [False, True], ids=["waiting", "in the hands of one that died"])
async def test_a_question_in_flight_goes_on_and_is_answered_once(
    client: Client,
    journal: JetStreamJournal,
    nats_url: str,
    settings: Callable[..., Settings],
    delivered: bool,
    impatient_log: None,
) -> None:
    ours = settings()
    await founded(ours, nats_url, client)
    await asked(client, journal, ours.data_dir)
    if delivered:
        subscription = await client.jetstream().pull_subscribe_bind("embed-search", stream=SEARCHES)
        await subscription.fetch(1)
        await subscription.unsubscribe()
    async with running(ours, nats_url, STAGES, policy=IMPATIENT) as process:
        log = Log(process.wiring.client)
        await log.holds(SearchAnswered, 1)
        await log.quiet("search")
        for kind in (SearchFingerprinted, SearchEmbedded, SearchMatched, SearchAnswered):
            assert await log.count(kind) == 1, kind
        assert (await log.facts(SearchEmbedded))[0].fingerprint is not None
        assert await count(client, FAILURES) == 0


async def test_one_that_has_its_vector_already_is_answered_by_it(
    client: Client, journal: JetStreamJournal, nats_url: str, settings: Callable[..., Settings]
) -> None:
    ours = settings()
    await founded(ours, nats_url, client)
    question = await asked(client, journal, ours.data_dir)
    embedded = SearchEmbedded(
        guild_id="7",
        search_id="11",
        question=question.question,
        generation="g1",
        vector=VECTOR,
        calibration=Calibration(match_at=0.9, possible_at=0.8),
        trained=True,
    )
    assert await journal.record(embedded, Origin("11"))
    async with running(ours, nats_url, STAGES, policy=IMPATIENT) as process:
        log = Log(process.wiring.client)
        await log.holds(SearchAnswered, 1)
        await log.quiet("search")
        for kind in (SearchEmbedded, SearchMatched, SearchAnswered):
            assert await log.count(kind) == 1, kind
        assert await log.count(SearchFingerprinted) == 0
        assert await count(client, FAILURES) == 0


async def test_what_follows_from_the_release_is_changed_where_nobody_works_and_places_stay(
    client: Client, journal: JetStreamJournal, nats_url: str, settings: Callable[..., Settings]
) -> None:
    ours, js = settings(), client.jetstream()
    await founded(ours, nats_url, client)
    assert {difference.field for difference in await topology.differences(client, STAGES)} == {"", "subjects", "filter_subjects"}
    before = {place: await js.consumer_info(*place) for place in AS_BEFORE}
    await topology.ensure(client, STAGES)
    assert await topology.differences(client, STAGES) == []
    for place, info in before.items():
        now = await js.consumer_info(*place)
        assert (now.created, now.delivered, now.ack_floor) == (info.created, info.delivered, info.ack_floor)


async def test_while_the_release_before_is_at_work_nothing_is_changed(
    client: Client, journal: JetStreamJournal, nats_url: str, settings: Callable[..., Settings]
) -> None:
    ours = settings()
    await founded(ours, nats_url, client)
    differing = await topology.differences(client, STAGES)
    subscription = await client.jetstream().pull_subscribe_bind("embed-search", stream=SEARCHES)
    at_work = asyncio.create_task(subscription.fetch(1, timeout=60))
    await eventually(lambda: waiting(client))
    with pytest.raises(
        MapSeekError, match=r"^Processes of another release are at work .*embed-search.*end them, then start"
    ) as told:
        await topology.ensure(client, STAGES)
    assert "\n" not in str(told.value)
    assert await topology.differences(client, STAGES) == differing
    await cancel(at_work)
    await subscription.unsubscribe()
    await topology.ensure(client, STAGES)
    assert await topology.differences(client, STAGES) == []


async def waiting(client: Client) -> bool:
    return bool((await client.jetstream().consumer_info(SEARCHES, "embed-search")).num_waiting)


async def test_what_a_newer_release_changed_stays_as_it_is(client: Client) -> None:
    await topology.ensure(client, STAGES)
    js = client.jetstream()
    config = (await js.consumer_info(SEARCHES, "match-search")).config
    newer = config.evolve(filter_subjects=["mapseek.search.imagined.*.>"])
    await js.update_stream((await js.stream_info(SEARCHES)).config.evolve(subjects=["mapseek.search.imagined.>"]))
    await js.add_consumer(SEARCHES, newer)
    with pytest.raises(MapSeekError, match=r"mapseek\.search\.imagined.*mapseek topology diff"):
        await topology.ensure(client, STAGES)
    assert (await js.consumer_info(SEARCHES, "match-search")).config.filter_subjects == newer.filter_subjects


async def test_a_generation_of_fingerprints_that_only_a_newer_release_makes_is_refused(
    client: Client, journal: JetStreamJournal, nats_url: str, settings: Callable[..., Settings]
) -> None:
    ours = settings()
    async with running(ours, nats_url, STAGES, policy=IMPATIENT) as process:
        now = (await process.wiring.generations()).now
    newer = activated(now, "g1").model_copy(update={"generation": "g2", "fingerprint": "f9"})
    assert await journal.record(newer, Origin("g2"))
    with pytest.raises(MapSeekError, match=r"^Generation g2 .*fingerprints of method f9, which this release cannot make") as told:
        async with running(ours, nats_url, STAGES, policy=IMPATIENT):
            pass
    assert "\n" not in str(told.value)
