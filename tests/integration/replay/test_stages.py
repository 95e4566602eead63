"""Every stage can be replayed over any part of the log, except those that send messages to people."""

import asyncio

import pytest

from contracts.envelope import Origin
from contracts.errors import MapSeekError
from contracts.events import SearchAnswered
from contracts.subjects import IMAGES
from infra.nats.reader import read_last_sequence
from infra.tasks import cancel_tasks
from pipeline.engine.bulk_consumer import Concurrency, Limits, yield_to_searches
from pipeline.engine.registry import STAGES
from pipeline.replay.stage_replay import Part, Tally, check_stage, plan_legs, play_leg
from stages import alert, embed, match, notify, persist, reply
from tests.support.facts import QUESTION, requested
from tests.support.replays import IMAGES_TO_REPLAY, DigestEncoder, ReplayArchive
from tests.support.waiting import eventually

BATCH = 8


async def test_an_interrupted_replay_of_a_stage_resumes_and_records_nothing_twice(archive: ReplayArchive) -> None:
    model = DigestEncoder("first")
    async with archive.process(model) as process:
        client = process.container.client
        generations = (await process.container.generations()).now.alive
        before = await read_last_sequence(client, IMAGES)
        tally, part = Tally(), Part(guild="7")
        [leg] = await plan_legs(client, embed.STAGE, part, generations)
        assert (leg.total, leg.left, leg.begun) == (IMAGES_TO_REPLAY, IMAGES_TO_REPLAY, False)
        model.closes_at = 2 * BATCH + 1
        playing = asyncio.create_task(play_leg(process, tally.count_facts(embed.STAGE), leg, Limits(), Concurrency(1, BATCH)))
        await eventually(lambda: len(model.given) > 2 * BATCH)
        await cancel_tasks(playing)
        model.open.set()
        [leg] = await plan_legs(client, embed.STAGE, part, generations)
        assert leg.begun
        assert leg.left < IMAGES_TO_REPLAY
        await play_leg(process, tally.count_facts(embed.STAGE), leg, Limits(), Concurrency(2, BATCH))
        assert len(set(model.given)) == IMAGES_TO_REPLAY
        assert process.runtime.metrics.already_recorded.labels("embed", "image")._value.get() >= IMAGES_TO_REPLAY
        assert await read_last_sequence(client, IMAGES) == before
        [leg] = await plan_legs(client, embed.STAGE, part, generations)
        assert not leg.begun


async def test_only_the_chosen_part_of_the_log_is_replayed(archive: ReplayArchive) -> None:
    async with archive.process(DigestEncoder("first")) as process:
        client = process.container.client
        generations = (await process.container.generations()).now.alive

        async def entries(part: Part) -> int:
            return sum(leg.left for leg in await plan_legs(client, persist.STAGE, part, generations))

        assert await entries(Part()) == 4 * IMAGES_TO_REPLAY
        assert await entries(Part(image="007")) == 4
        assert await entries(Part(guild="8")) == 0
        assert await entries(Part(since="1d")) == 4 * IMAGES_TO_REPLAY
        assert await entries(Part(until="1d")) == 0
        assert await entries(Part(since="2026-01-01", until="2999-01-01")) == 4 * IMAGES_TO_REPLAY
        last = await read_last_sequence(client, IMAGES)
        assert await entries(Part(from_seq=last + 1)) == 0


@pytest.mark.parametrize("stage", [alert.STAGE, notify.STAGE, reply.STAGE])
def test_a_stage_that_sends_messages_to_people_is_not_replayed(stage: object) -> None:
    with pytest.raises(MapSeekError, match="cannot be replayed"):
        check_stage(stage, Part())  # type: ignore[arg-type]


def test_contradictory_options_are_refused() -> None:
    with pytest.raises(MapSeekError, match="search lane"):
        check_stage(match.STAGE, Part(image="9"))
    with pytest.raises(MapSeekError, match="one of them"):
        check_stage(persist.STAGE, Part(since="2d", from_seq=7))


async def test_no_batch_begins_while_a_search_runs_in_any_process(archive: ReplayArchive) -> None:
    async with archive.process(DigestEncoder("first")) as process:
        limits, journal = Limits(), process.container.journal
        watching = asyncio.create_task(yield_to_searches(process.container.client, limits.precedence, patience=30))
        number = 0

        async def noticed() -> bool:
            nonlocal number
            number += 1
            await journal.record(requested(f"s{number}"), Origin("s"))
            try:
                await asyncio.wait_for(limits.wait_for_turn(1), 0.2)
            except TimeoutError:
                return True
            return False

        await eventually(noticed)
        turn = asyncio.create_task(limits.wait_for_turn(1))
        for each in range(1, number + 1):
            assert not turn.done()
            answer = SearchAnswered(guild_id="7", search_id=f"s{each}", question=QUESTION, verdict="none", outcome="local")
            await journal.record(answer, Origin("s"))
        await asyncio.wait_for(turn, 2)
        await cancel_tasks(watching)


def test_every_stage_that_may_be_replayed_has_a_lane() -> None:
    for stage in STAGES:
        if not stage.live_only:
            check_stage(stage, Part())
