"""The options of a replay, and when it may begin the next batch."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from contracts.errors import MapSeekError
from contracts.events import GenerationDropped, GenerationStarted
from contracts.generations import Generations
from pipeline.engine import bulk_consumer
from pipeline.engine.bulk_consumer import Limits
from pipeline.engine.job import Precedence
from pipeline.generations.lifecycle import find_alive_generation
from pipeline.replay.build import find_unused_name
from pipeline.replay.command import Pace
from pipeline.replay.stage_replay import Part, parse_moment
from tests.support.facts import MOMENT


def known(*names: str) -> Generations:
    generations = Generations()
    for number, name in enumerate(names):
        about = {"encoder": "e", "digest": name, "preprocessing": "p1", "dimensions": 4, "model": "m", "precision": "fp32"}
        generations = generations.with_fact(GenerationStarted(generation=name, started_at=MOMENT, **about), number)  # type: ignore[arg-type]
    return generations


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("90m", MOMENT - timedelta(minutes=90)),
        ("2d", MOMENT - timedelta(days=2)),
        ("1w", MOMENT - timedelta(weeks=1)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T15:30+01:00", datetime(2026, 11, 20, 14, 30, tzinfo=UTC)),
        ("2026-11-20T15:30Z", datetime(2026, 11, 20, 15, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_date_a_time_or_how_long_ago(text: str, wanted: datetime) -> None:
    assert parse_moment(text, MOMENT) == wanted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("yesterday", "not a time"),
        ("2 d", "not a time"),
        ("2026-11-20T15:30", "time zone"),
        ("999999w", "earlier than the calendar"),
        ("0001-01-01T00:00+01:00", "earlier than the calendar"),
    ],
)
def test_an_unreadable_time_is_refused_with_an_example(text: str, why: str) -> None:
    with pytest.raises(MapSeekError, match=why):
        parse_moment(text, MOMENT)


def test_equal_parts_have_the_same_digest_and_others_have_their_own() -> None:
    assert Part(since="2d").digest == Part(since="2d").digest
    assert len({part.digest for part in (Part(), Part(since="2d"), Part(until="2d"), Part(image="2d"), Part(from_seq=2))}) == 5


def test_an_unused_name_has_the_number_after_the_highest() -> None:
    assert find_unused_name(Generations()) == "g1"
    assert find_unused_name(known("g1", "g7", "mine", "g2x")) == "g8"
    assert find_unused_name(known("g1", "g2").with_fact(GenerationDropped(generation="g2"), 9)) == "g3"


def test_only_an_existing_generation_can_be_resumed() -> None:
    dropped = known("g1", "g2").with_fact(GenerationDropped(generation="g2"), 9)
    assert find_alive_generation(dropped, "g1").name == "g1"
    with pytest.raises(MapSeekError, match="was dropped"):
        find_alive_generation(dropped, "g2")
    with pytest.raises(MapSeekError, match="there is g1"):
        find_alive_generation(dropped, "g3")


def test_a_slow_replay_works_in_small_batches() -> None:
    assert [Pace(rate).limit_batch(16) for rate in (None, 100, 5.5, 0.2)] == [16, 16, 5, 1]


async def test_a_rate_holds_for_all_tasks_together() -> None:
    slow = Limits(rate=100)
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(slow.wait_for_turn(5) for _ in range(5)))
    assert 0.19 <= asyncio.get_running_loop().time() - began < 2


async def test_nothing_begins_above_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_consumer, "LOAD_CHECK_INTERVAL_S", 0.01)
    loads = [3.0, 2.5, 2.0]
    busy = Limits(max_load=2.0, load=lambda: loads.pop(0))
    await busy.wait_for_turn(1)
    assert loads == []


async def test_a_search_goes_first_but_only_for_a_limited_time() -> None:
    precedence = Precedence(grace=0, patience=0.05)
    limited = Limits(precedence=precedence)
    with precedence.search_in_progress():
        wait_for_turn = asyncio.create_task(limited.wait_for_turn(1))
        await asyncio.sleep(0)
        assert not wait_for_turn.done()
        await asyncio.wait_for(wait_for_turn, 2)
